//! Releases on their way to everybody: drafts, what lies under an embargo, what is published.
//!
//! What is shown of one, and who drafted it, is sealed: an insider with the database reads no draft, and puts none of
//! another's content in its place. That a row says `published` is not enough to show it: the caller compares the
//! evidence beside it with the log.

use crate::{LeafHash, NewLeaf, State, StoreError, codec, outbox, writer::Work};
use firebreak_domain::{OrgId, PublicationId, ReleaseName, SeriesId, Timestamp};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use zeroize::Zeroizing;

const TABLE: &str = "publications";

/// Where a publication is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicationStage {
    /// Begun.
    Draft,
    /// To be published at that time.
    Embargoed(Timestamp),
    /// Published; a later revision may have taken its place.
    Published,
    /// Given up before anybody saw it.
    Withdrawn,
}

/// As what a publication is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedAs {
    /// The number of it in its series, from 1.
    pub revision: u32,
    /// When.
    pub at: Timestamp,
    /// The evidence given to [`State::publish`].
    pub evidence: Vec<u8>,
    /// The receipt given to [`State::open_publication`]; until then nobody is to see it.
    pub receipt: Option<String>,
}

/// A publication as it is stored.
pub struct StoredPublication {
    /// Its name.
    pub id: PublicationId,
    /// The digest of the request that drafted it.
    pub digest: [u8; 32],
    /// Whose it is.
    pub organisation: OrgId,
    /// Its series.
    pub series: SeriesId,
    /// The dataset that it is of, or those that are joined, as an answer names them.
    pub datasets: String,
    /// The release.
    pub release: ReleaseName,
    /// Whether it is to replace what its series has published.
    pub revises: bool,
    /// Where it is.
    pub stage: PublicationStage,
    /// As what it is published, if it is.
    pub published: Option<PublishedAs>,
    /// The rest, as it was given.
    // PRIVACY: it tells who drafted it, hence no Debug, and a seal on the disk.
    pub content: Zeroizing<Vec<u8>>,
}

/// A draft to be stored.
pub struct NewPublication {
    /// Its name.
    pub id: PublicationId,
    /// The digest of the request that drafts it.
    pub digest: [u8; 32],
    /// Whose it is.
    pub organisation: OrgId,
    /// Its series.
    pub series: SeriesId,
    /// The dataset that it is of, or those that are joined, as an answer names them.
    pub datasets: String,
    /// The release.
    pub release: ReleaseName,
    /// Whether it is to replace what its series has published.
    pub revises: bool,
    /// The rest, to be sealed.
    pub content: Vec<u8>,
}

/// Whether a step was taken. A step that was not leaves no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepTaken {
    /// It was, with its leaf, in one transaction.
    Now(LeafHash),
    /// The publication is not where the step begins.
    No,
}

/// What of publications is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed<'a> {
    /// Those that everybody may see, of everybody.
    Open,
    /// All of one organisation that nobody else sees.
    Hidden(&'a OrgId),
    /// Embargoes that end by then.
    Due(Timestamp),
    /// Published, without the receipt that opens them.
    Unopened,
}

const COLUMNS: &str = "SELECT id, digest, organisation, series, dataset, release, revises, state, until, revision, \
                       published_at, evidence, receipt, sealed FROM publications";
const DRAFT: i64 = 0;
const EMBARGOED: i64 = 1;
const PUBLISHED: i64 = 2;
const WITHDRAWN: i64 = 3;

impl State {
    /// Stores a draft with its leaf; [`StepTaken::No`] if there is a publication of that name already.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was stored.
    pub async fn draft_publication(&self, new: NewPublication, leaf: NewLeaf) -> Result<StepTaken, StoreError> {
        let sealed = self.seal_publication(&new.id, &new.organisation, &new.series, &new.content)?;
        self.write(move |work| Box::pin(draft(work, new, sealed, leaf))).await
    }

    /// Moves a draft, or what lies under an embargo, to a stage before publication, with its new content and the leaf
    /// that tells of it.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was changed.
    pub async fn prepare_publication(
        &self,
        publication: &StoredPublication,
        stage: PublicationStage,
        content: &[u8],
        leaf: NewLeaf,
    ) -> Result<StepTaken, StoreError> {
        let StoredPublication { id, organisation, series, .. } = publication;
        let sealed = self.seal_publication(id, organisation, series, content)?;
        let (state, until) = match stage {
            PublicationStage::Draft => (DRAFT, None),
            PublicationStage::Embargoed(until) => (EMBARGOED, Some(until.secs())),
            PublicationStage::Withdrawn => (WITHDRAWN, None),
            // INVARIANT: published with evidence alone, by `publish`.
            PublicationStage::Published => return Ok(StepTaken::No),
        };
        let id = *id;
        self.write(move |work| {
            Box::pin(async move {
                let moved = sqlx::query(
                    "UPDATE publications SET state = ?, until = ?, sealed = ? WHERE id = ? AND state IN (0, 1)",
                )
                .bind(state)
                .bind(until)
                .bind(sealed.as_slice())
                .bind(id.as_bytes().as_slice())
                .execute(work.sql())
                .await?
                .rows_affected();
                taken(work, moved, &leaf).await
            })
        })
        .await
    }

    /// Publishes as the next revision of its series, with evidence and leaf; [`StepTaken::No`] if the next is another
    /// than `revision`, or the publication is published or withdrawn. Nobody is to see it before
    /// [`State::open_publication`].
    ///
    /// # Errors
    /// [`StoreError`]: nothing was changed.
    pub async fn publish(
        &self,
        publication: &StoredPublication,
        revision: u32,
        evidence: &[u8],
        leaf: NewLeaf,
    ) -> Result<StepTaken, StoreError> {
        let (id, organisation, series) = (publication.id, publication.organisation.clone(), publication.series.clone());
        let evidence = evidence.to_vec();
        self.write(move |work| {
            Box::pin(async move {
                if next_revision(work.sql(), &organisation, &series).await? != revision {
                    return Ok(StepTaken::No);
                }
                let at = work.now();
                let moved = sqlx::query(
                    "UPDATE publications SET state = 2, until = NULL, revision = ?, published_at = ?, evidence = ?
                     WHERE id = ? AND state IN (0, 1)",
                )
                .bind(revision)
                .bind(at.secs())
                .bind(evidence.as_slice())
                .bind(id.as_bytes().as_slice())
                .execute(work.sql())
                .await?
                .rows_affected();
                taken(work, moved, &leaf).await
            })
        })
        .await
    }

    /// Lets everybody see what is published, once its leaf is in the log at that place.
    ///
    /// # Errors
    /// [`StoreError`]: nobody sees it yet.
    pub async fn open_publication(&self, id: &PublicationId, receipt: &str) -> Result<(), StoreError> {
        let (id, receipt) = (*id, receipt.to_owned());
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query("UPDATE publications SET receipt = ? WHERE id = ? AND state = 2 AND receipt IS NULL")
                    .bind(receipt)
                    .bind(id.as_bytes().as_slice())
                    .execute(work.sql())
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// The number that the next publication of a series gets.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn next_revision(&self, organisation: &OrgId, series: &SeriesId) -> Result<u32, StoreError> {
        let mut reading = self.shared.readers.acquire().await?;
        next_revision(&mut reading, organisation, series).await
    }

    /// A publication by its name, whoever may see it.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn publication(&self, id: &PublicationId) -> Result<Option<StoredPublication>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?")))
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(|row| self.read_publication(row)).transpose()
    }

    /// What everybody sees of a series: that revision, or the newest.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn open_revision(
        &self,
        organisation: &OrgId,
        series: &SeriesId,
        revision: Option<u32>,
    ) -> Result<Option<StoredPublication>, StoreError> {
        let open = "state = 2 AND receipt IS NOT NULL AND organisation = ? AND series = ?";
        let one = "(? IS NULL OR revision = ?) ORDER BY revision DESC LIMIT 1";
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE {open} AND {one}")))
            .bind(organisation.as_str())
            .bind(series.as_str())
            .bind(revision)
            .bind(revision)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(|row| self.read_publication(row)).transpose()
    }

    /// What everybody sees, by organisation, series and revision.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn publications(&self) -> Result<Vec<StoredPublication>, StoreError> {
        self.listed(Listed::Open).await
    }

    /// Drafts and embargoed publications of an organisation, by series.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn hidden_publications(&self, organisation: &OrgId) -> Result<Vec<StoredPublication>, StoreError> {
        self.listed(Listed::Hidden(organisation)).await
    }

    /// What lies under an embargo that ends by `now`.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn due_publications(&self, now: Timestamp) -> Result<Vec<StoredPublication>, StoreError> {
        self.listed(Listed::Due(now)).await
    }

    /// What was published and never opened, because the program ended between the two.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn unopened_publications(&self) -> Result<Vec<StoredPublication>, StoreError> {
        self.listed(Listed::Unopened).await
    }

    /// Where a release is published: organisation, series and revision of the first of its publications that everybody
    /// sees.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn published_at(&self, release: &ReleaseName) -> Result<Option<StoredPublication>, StoreError> {
        let open = "release = ? AND state = 2 AND receipt IS NOT NULL ORDER BY published_at, revision LIMIT 1";
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE {open}")))
            .bind(release.as_bytes().as_slice())
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(|row| self.read_publication(row)).transpose()
    }

    async fn listed(&self, listed: Listed<'_>) -> Result<Vec<StoredPublication>, StoreError> {
        const ORDER: &str = "ORDER BY organisation, series, revision, id";
        let (condition, org, time) = match listed {
            Listed::Open => ("state = 2 AND receipt IS NOT NULL AND ? IS NULL AND ? IS NULL", None, None),
            Listed::Hidden(org) => ("state IN (0, 1) AND organisation = ? AND ? IS NULL", Some(org.as_str()), None),
            Listed::Due(now) => ("state = 1 AND ? IS NULL AND until <= ?", None, Some(now.secs())),
            Listed::Unopened => ("state = 2 AND receipt IS NULL AND ? IS NULL AND ? IS NULL", None, None),
        };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE {condition} {ORDER}")))
            .bind(org)
            .bind(time)
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter().map(|row| self.read_publication(row)).collect()
    }

    fn seal_publication(
        &self,
        id: &PublicationId,
        organisation: &OrgId,
        series: &SeriesId,
        content: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        Ok(self.shared.keys.publications.seal(TABLE, &place(id, organisation, series), content)?)
    }

    fn read_publication(&self, row: &SqliteRow) -> Result<StoredPublication, StoreError> {
        const WHAT: &str = "publication";
        let malformed = || StoreError::Malformed(WHAT);
        let id = PublicationId::from_bytes(codec::fixed(WHAT, row.try_get(0)?)?);
        let organisation = OrgId::new(row.try_get::<String, _>(2)?).map_err(|_| malformed())?;
        let series = SeriesId::new(row.try_get::<String, _>(3)?).map_err(|_| malformed())?;
        let until = row.try_get::<Option<i64>, _>(8)?.map(Timestamp::from_secs);
        let stage = match (row.try_get::<i64, _>(7)?, until) {
            (DRAFT, None) => PublicationStage::Draft,
            (EMBARGOED, Some(until)) => PublicationStage::Embargoed(until),
            (PUBLISHED, None) => PublicationStage::Published,
            (WITHDRAWN, None) => PublicationStage::Withdrawn,
            _ => return Err(malformed()),
        };
        let (revision, at): (Option<u32>, Option<i64>) = (row.try_get(9)?, row.try_get(10)?);
        let published = match (stage, revision, at, row.try_get::<Option<Vec<u8>>, _>(11)?) {
            (PublicationStage::Published, Some(revision), Some(at), Some(evidence)) => {
                Some(PublishedAs { revision, at: Timestamp::from_secs(at), evidence, receipt: row.try_get(12)? })
            }
            (PublicationStage::Published, ..) => return Err(malformed()),
            _ => None,
        };
        let content =
            self.shared.keys.publications.open(TABLE, &place(&id, &organisation, &series), row.try_get(13)?)?;
        Ok(StoredPublication {
            id,
            digest: codec::fixed(WHAT, row.try_get(1)?)?,
            datasets: row.try_get(4)?,
            release: ReleaseName::from_bytes(codec::fixed(WHAT, row.try_get(5)?)?),
            revises: row.try_get(6)?,
            organisation,
            series,
            stage,
            published,
            content,
        })
    }
}

async fn draft(work: &mut Work, new: NewPublication, sealed: Vec<u8>, leaf: NewLeaf) -> Result<StepTaken, StoreError> {
    let made = sqlx::query(
        "INSERT INTO publications (id, digest, organisation, series, dataset, release, revises, state, sealed)
         VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(new.id.as_bytes().as_slice())
    .bind(new.digest.as_slice())
    .bind(new.organisation.as_str())
    .bind(new.series.as_str())
    .bind(&new.datasets)
    .bind(new.release.as_bytes().as_slice())
    .bind(new.revises)
    .bind(sealed.as_slice())
    .execute(work.sql())
    .await?
    .rows_affected();
    taken(work, made, &leaf).await
}

/// Records the leaf of a step that changed a row.
async fn taken(work: &mut Work, rows: u64, leaf: &NewLeaf) -> Result<StepTaken, StoreError> {
    if rows == 0 { Ok(StepTaken::No) } else { Ok(StepTaken::Now(outbox::insert_leaf(work, leaf).await?)) }
}

async fn next_revision(
    connection: &mut SqliteConnection,
    organisation: &OrgId,
    series: &SeriesId,
) -> Result<u32, StoreError> {
    let last: i64 =
        sqlx::query_scalar("SELECT coalesce(max(revision), 0) FROM publications WHERE organisation = ? AND series = ?")
            .bind(organisation.as_str())
            .bind(series.as_str())
            .fetch_one(connection)
            .await?;
    u32::try_from(last + 1).map_err(|_| StoreError::Malformed("publication"))
}

/// Where the content of a publication opens: in its own row alone, under its own address.
fn place(id: &PublicationId, organisation: &OrgId, series: &SeriesId) -> Vec<u8> {
    let mut place = id.as_bytes().to_vec();
    codec::put_bytes(&mut place, organisation.as_str().as_bytes());
    codec::put_bytes(&mut place, series.as_str().as_bytes());
    place
}
