//! A match with a payload in this process, over pupils that a test lists itself.

use super::Rows;
use crate::matching::side::{RECEIVER, SENDER, opening, submitted_under};
use crate::matching::sides::Sides;
use agency_adapter::app::{AskedHandOut, MatchError, MatchReport, OpenRequest, Receiver, SenderSession};
use anyhow::{Context, Result, ensure};
use firebreak_domain::{Clock, ManualClock, SystemClock, Timestamp};
use firebreak_format::records::RecordFormat;
use firebreak_node::SubmittedMatch;
use firebreak_policy::Validity;
use firebreak_policy::signing::sign_contract;
use firebreak_population::{Population, Register};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, with_rows};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// The sample's agreement with a payload.
pub const AGREEMENT: &str = "vaccination-letters";
/// So many that two of the receiver's persons have one number.
const PERSONS: u32 = 3_000;
const DAY: i64 = 86_400;

/// The receiver's own persons by their numbers.
#[derive(Clone)]
pub struct Patients {
    alone: Vec<(String, String)>,
    shared: (Vec<String>, String),
    /// The years in which those were born.
    born: [i32; 2],
}

impl Patients {
    fn of(population: &Population) -> Result<Self> {
        let mut by_number: BTreeMap<String, Vec<(String, i32)>> = BTreeMap::new();
        for patient in population.truth().filter(|row| row.register == Register::Health) {
            if let Some(number) = patient.national_number {
                by_number.entry(number.to_string()).or_default().push((patient.person_key, patient.birth_year));
            }
        }
        let shared = by_number.iter().find_map(|(number, persons)| match persons.as_slice() {
            [(one, first), (other, second)] if first != second => {
                Some(((vec![one.clone(), other.clone()], number.clone()), [*first, *second]))
            }
            _ => None,
        });
        let (shared, born) = shared.context("nobody shares a number with somebody of another age")?;
        let alone = by_number.iter().filter_map(|(number, persons)| match persons.as_slice() {
            [(key, _)] => Some((key.clone(), number.clone())),
            _ => None,
        });
        let alone: Vec<_> = alone.take(7).collect();
        ensure!(alone.len() == 7, "too few patients");
        Ok(Self { alone, shared, born })
    }

    /// The key and number of one of seven who have a number alone.
    pub fn alone(&self, place: usize) -> (&str, &str) {
        self.alone.get(place).map_or(("", ""), |(key, number)| (key, number))
    }

    /// The keys of two who have one number, and that number.
    pub const fn shared(&self) -> (&Vec<String>, &String) {
        (&self.shared.0, &self.shared.1)
    }

    /// A selection of the first of those two and not the other.
    pub fn of_the_first(&self) -> String {
        format!("birth_year = {}", self.born[0])
    }
}

/// A row of the sender's.
pub struct Pupil([String; 4]);

impl Pupil {
    /// Under that key and number.
    pub fn of(key: &str, number: &str, region: &str, language: &str) -> Self {
        Self([key, number, region, language].map(str::to_owned))
    }
}

/// The sender's contract with an open code for the language, so that a test can look for it.
pub fn with_any_language(federation: &Federation) -> Result<()> {
    let file = federation.layout().bundle().join("contracts/education.pupils.toml");
    let text = fs::read_to_string(&file)?;
    let (before, language) = text.split_once("name = \"language\"").context("no language")?;
    let (of_language, behind) = language.split_once("[column.domain]").context("no domain")?;
    let (_, behind) = behind.split_once("[[column]]").context("it is the last")?;
    let domain = "[column.domain]\ntype = \"open\"\nlength = 10\n\n[[column]]";
    fs::write(&file, format!("{before}name = \"language\"{of_language}{domain}{behind}"))?;
    Ok(sign_contract(&file, &federation.signing_key(SENDER)?)?)
}

/// The agreement with another retention of what it discloses.
pub fn days(federation: &Federation, days: u32) -> Result<()> {
    let file = federation.layout().bundle().join(format!("agreements/{AGREEMENT}.toml"));
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains("retention_days = 90"), "another retention");
    Ok(fs::write(&file, text.replace("retention_days = 90", &format!("retention_days = {days}")))?)
}

/// A match whose session is open and whose set is committed to.
pub struct Disclosing {
    pub start: Timestamp,
    pub clock: Arc<ManualClock>,
    pub patients: Patients,
    machine: Option<Receiver>,
    session: SenderSession,
    opening: OpenRequest,
    tags: u32,
    report: Option<MatchReport>,
    pub sides: Sides,
}

impl Disclosing {
    /// Begins one over those pupils, after `change` was made to the bundle.
    pub async fn start(
        change: impl FnOnce(&Federation) -> Result<()>,
        pupils: impl FnOnce(&Patients) -> Vec<Pupil>,
    ) -> Result<Self> {
        Self::selecting(change, pupils, |_| String::new()).await
    }

    /// The same, of those of the receiver's persons who are selected.
    pub async fn selecting(
        change: impl FnOnce(&Federation) -> Result<()>,
        pupils: impl FnOnce(&Patients) -> Vec<Pupil>,
        selection: impl FnOnce(&Patients) -> String,
    ) -> Result<Self> {
        let (federation, folder) = Own::prepare(PERSONS)?;
        change(&federation)?;
        let patients = Patients::of(federation.population())?;
        let (pupils, selection) = (pupils(&patients), selection(&patients));
        let file = federation.layout().population().join("education/pupils.parquet");
        let of = |row: u32, column: usize| {
            let value = pupils.get(row as usize).and_then(|Pupil(values)| values.get(column));
            value.cloned().unwrap_or_default()
        };
        let rows = u32::try_from(pupils.len())?;
        with_rows(
            &file,
            rows,
            &[
                ("person_key", &|row| of(row, 0)),
                ("national_number", &|row| of(row, 1)),
                ("region", &|row| of(row, 2)),
                ("language", &|row| of(row, 3)),
            ],
        )?;
        let start = SystemClock.now();
        let made = start.plus_secs(-60 * DAY);
        federation.sign_bundle(1, None, Validity { made, valid_from: made, valid_until: start.plus_secs(20 * DAY) })?;
        let clock = Arc::new(ManualClock::at(start));
        let mut sides = Sides::open(federation, folder, clock.clone()).await?;
        let own = sides.federation.issue(RECEIVER, "adapter", "main")?;
        let submitted = submitted_under(&own, AGREEMENT, 42, start)?;
        let prepared = sides.prepare(&submitted, selection.as_str()).await?;
        let session = sides.accept(&submitted).await?;
        let opening = opening(&prepared)?;
        let (key, tags) = session.open(&sides.sender.app, &opening).await?;
        let machine = Some(sides.begin(prepared, &key, tags).await?);
        Ok(Self { start, clock, patients, machine, session, opening, tags, report: None, sides })
    }

    /// The receiver's session.
    pub fn machine(&mut self) -> Result<&mut Receiver> {
        self.machine.as_mut().context("the match is over")
    }

    /// Every chunk, from one side to the other and back.
    pub async fn evaluate(&mut self) -> Result<()> {
        let machine = self.machine.as_mut().context("the match is over")?;
        Ok(self.sides.evaluate(&self.session, machine).await?)
    }

    /// The sender's list from that byte on.
    pub async fn list(&self, offset: u64) -> Result<Vec<u8>, MatchError> {
        self.sides.list(&self.session, offset).await
    }

    /// Bytes of an entry of the list: ten of a tag, and a row with sixteen of its seal.
    pub const fn entry(&self) -> usize {
        10 + self.opening.payload.row_bytes as usize + 16
    }

    /// Ends the match, and gives what it came to.
    pub async fn finish(&mut self) -> Result<MatchReport> {
        self.session.close(&self.sides.sender.app).await?;
        let machine = self.machine.take().context("the match is over")?;
        ensure!(machine.tag_bytes() == u64::from(self.tags) * self.entry() as u64, "an entry has another length");
        let report = machine.finish(&self.sides.receiver.app).await?;
        self.report = Some(report.clone());
        Ok(report)
    }

    fn submitted(&self) -> Result<SubmittedMatch> {
        let own = self.sides.federation.issue(RECEIVER, "adapter", "main")?;
        submitted_under(&own, AGREEMENT, 42, self.clock.now())
    }

    /// Both programs as they are after they were killed and started again, on the same request.
    pub async fn restart(&mut self) -> Result<()> {
        self.machine = None;
        self.sides.restart_sender().await?;
        self.sides.restart_receiver().await?;
        let submitted = self.submitted()?;
        let prepared = self.sides.prepare(&submitted, "").await?;
        let session = self.sides.accept(&submitted).await?;
        let (key, tags) = session.open(&self.sides.sender.app, &self.opening).await?;
        self.session = session;
        self.machine = Some(self.sides.begin(prepared, &key, tags).await?);
        Ok(())
    }

    /// A second bundle, by which one column less is disclosed, taken up by both programs as they start again. Gives what
    /// becomes of the same request at the receiver, and at the sender.
    pub async fn with_a_column_less(&mut self) -> Result<[Result<(), MatchError>; 2]> {
        let (both, one) = ("columns = [\"region\", \"language\"]\nretention", "columns = [\"region\"]\nretention");
        let (made, valid_until) = (self.start, self.start.plus_secs(20 * DAY));
        let validity = Validity { made, valid_from: made.plus_secs(-60), valid_until };
        self.machine = None;
        self.sides.second_bundle(AGREEMENT, both, Some(one), validity).await?;
        self.sides.restart_receiver().await?;
        self.sides.restart_sender().await?;
        self.sides.has_second()?;
        let submitted = self.submitted()?;
        let prepared = self.sides.prepare(&submitted, "").await.map(drop);
        let session = self.sides.accept(&submitted).await?;
        self.opening.bundle_sequence = 2;
        self.opening.payload.columns.pop();
        self.opening.payload.row_bytes = 2;
        Ok([prepared, session.open(&self.sides.sender.app, &self.opening).await.map(drop)])
    }

    /// The heading of the file that an officer gets now, and what it holds of each person behind the key of the agreement,
    /// which is one and provisional of nobody.
    pub async fn handed_out(&self) -> Result<(String, Rows)> {
        let session = self.report.as_ref().context("the match goes on")?.session;
        let recorded = self.sides.receiver.app.state().recorded_match(&session).await?.context("it is not recorded")?;
        let officer = self.sides.federation.issue_local(RECEIVER, "officer", "counter")?.identity().clone();
        let submitted = self.submitted()?;
        let own = &self.sides.identity;
        let asked = AskedHandOut { submitted: &submitted, own, officer: &officer, session, recorded: &recorded };
        let (file, entry) = self.sides.receiver.app.hand_out(&asked, RecordFormat::Csv).await?;
        let text = String::from_utf8(file)?;
        let mut lines = text.split_terminator("\r\n");
        let heading = lines.next().context("an empty file")?.to_owned();
        let mut rows = Rows::new();
        for line in lines {
            let mut values = line.split(',').map(str::to_owned);
            let key = values.next().context("a line without a key")?;
            let by = [values.next(), values.next()];
            ensure!(by == ["number", "false"].map(|said| Some(said.to_owned())), "matched by another key: {by:?}");
            ensure!(rows.insert(key, values.collect()).is_none(), "a person stands there twice");
        }
        ensure!(entry.what.rows == rows.len() as u64, "the register counts otherwise");
        Ok((heading, rows))
    }
}
