//! Matched keys that leave the adapter, with what was disclosed of their persons: to an officer of the receiver, and never
//! without an entry in its register.

use super::{App, MatchError};
use firebreak_domain::{ColumnName, DatasetId, FORMAT, Identity, MATCHED_BY_COLUMNS, ReasonCode, Refusal};
use firebreak_format::FormatError;
use firebreak_format::records::{RecordFile, RecordFormat};
use firebreak_node::{SubmittedMatch, decide_match};
use firebreak_policy::Denial;
use firebreak_store::{DisclosedValues, HandOutForm, HandedOut, NewHandedOut, RecordedMatch};
use sha2::{Digest, Sha256};

/// What the policy in force lets a file hold.
struct Permitted {
    /// The name of the column that names a person.
    unit: String,
    /// The dataset of which the agreement discloses columns now.
    dataset: Option<DatasetId>,
    /// Those columns.
    columns: Vec<ColumnName>,
}

/// A handing-out that is asked for.
pub struct AskedHandOut<'a> {
    /// The match, as a request for it made now would be: whether its receiver may have it is decided by the policy in
    /// force.
    pub submitted: &'a SubmittedMatch,
    /// The adapter, which signed that.
    pub own: &'a Identity,
    /// Who gets it.
    pub officer: &'a Identity,
    /// The session.
    pub session: [u8; 32],
    /// What the register says of that session.
    pub recorded: &'a RecordedMatch,
}

impl App {
    /// The keys of the persons whom a session matched as a file, in an order that tells nothing, recorded as handed
    /// out. Beside each stands by which key of the agreement it was matched and whether that is provisional, and behind
    /// that the columns that the session disclosed, as long as they are kept and the agreement names them; empty of whom
    /// nothing was disclosed. The same session gives the same file each time until then.
    ///
    /// # Errors
    /// [`MatchError`]: nothing may leave. A refusal is recorded in the log.
    pub async fn hand_out(
        &self,
        asked: &AskedHandOut<'_>,
        format: RecordFormat,
    ) -> Result<(Vec<u8>, HandedOut), MatchError> {
        let permitted = self.decide_hand_out(asked).await?;
        let disclosure = self.state.disclosure(&asked.session).await?;
        let disclosure = disclosure.filter(|disclosure| {
            disclosure.delete_at > self.state.now() && permitted.dataset.as_ref() == Some(&disclosure.dataset)
        });
        // The places among the values, with their names.
        let columns: Vec<(usize, &ColumnName)> = disclosure
            .iter()
            .flat_map(|disclosure| disclosure.columns.iter().enumerate())
            .filter(|(_, column)| permitted.columns.contains(column))
            .collect();
        let (number, session) = (FORMAT.to_string(), hex::encode(asked.session));
        let mut told = vec![
            ("format", number.as_str()),
            ("session", session.as_str()),
            ("agreement", asked.recorded.agreement.as_str()),
            ("purpose", asked.recorded.purpose.as_str()),
        ];
        if let Some((dataset, cut)) = &asked.recorded.cut {
            told.extend([("dataset", dataset.as_str()), ("cut", cut.as_str())]);
        }
        let delete_by = disclosure.as_ref().map(|disclosure| disclosure.delete_at.to_string());
        told.extend(delete_by.iter().filter(|_| !columns.is_empty()).map(|day| ("delete_by", day.as_str())));
        let by = self.state.matched_by(&asked.session).await?;
        // Beside each key, so that they stay together wherever the rows go.
        let by = by.as_ref().map(|by| [by.key.as_str(), if by.provisional { "true" } else { "false" }]);
        let names = std::iter::once(permitted.unit.as_str())
            .chain(by.iter().flat_map(|_| MATCHED_BY_COLUMNS))
            .chain(columns.iter().map(|(_, column)| column.as_str()));
        let mut file = RecordFile::new(format, &names.collect::<Vec<_>>(), &told).map_err(unwritten)?;
        let rows = self
            .each_page(asked, !columns.is_empty(), |keys, values| {
                let of = |place: usize| {
                    let texts = values.iter().map(|row| row.as_ref().and_then(|row| row.get(place)));
                    texts.map(|text| text.map_or("", String::as_str)).collect::<Vec<_>>()
                };
                let keys: Vec<_> = keys.iter().map(String::as_str).collect();
                let rows = keys.len();
                let file_columns = std::iter::once(keys)
                    .chain(by.iter().flatten().map(|said| vec![*said; rows]))
                    .chain(columns.iter().map(|(place, _)| of(*place)));
                file.push(&file_columns.collect::<Vec<_>>()).map_err(unwritten)
            })
            .await?;
        let file = file.finish().map_err(unwritten)?;
        let form = match format {
            RecordFormat::Csv => HandOutForm::Csv,
            RecordFormat::Parquet => HandOutForm::Parquet,
        };
        let entry = self.record_hand_out(asked, form, rows, Sha256::digest(&file).into()).await?;
        Ok((file, entry))
    }

    /// The same keys one by one, recorded as handed out in a list.
    ///
    /// # Errors
    /// As [`App::hand_out`].
    pub async fn hand_out_list(&self, asked: &AskedHandOut<'_>) -> Result<(Vec<String>, HandedOut), MatchError> {
        self.decide_hand_out(asked).await?;
        let (mut keys, mut hash) = (Vec::new(), Sha256::new());
        let rows = self
            .each_page(asked, false, |page, _| {
                for key in &page {
                    hash.update(key.as_bytes());
                    hash.update(b"\n");
                }
                keys.extend(page);
                Ok(())
            })
            .await?;
        let entry = self.record_hand_out(asked, HandOutForm::List, rows, hash.finalize().into()).await?;
        Ok((keys, entry))
    }

    /// Decides, by the policy in force, whether the match would be permitted to its receiver now.
    async fn decide_hand_out(&self, asked: &AskedHandOut<'_>) -> Result<Permitted, MatchError> {
        let intent = asked.submitted.intent(asked.own);
        let decided = decide_match(asked.submitted, asked.own, &self.policy, &self.trust, self.state.now());
        let permit = match decided {
            Ok((permit, _)) => permit,
            Err(denial) => return Err(self.refuse_match(denial, &intent).await),
        };
        let terms = permit.agreement().matching.as_ref();
        let contract = terms.and_then(|terms| permit.contract(&terms.receiver_dataset));
        match contract.and_then(|contract| contract.privacy_unit()) {
            Some(unit) => {
                let payload = terms.and_then(|terms| terms.payload.as_ref());
                let columns = payload.map_or_else(Vec::new, |payload| payload.columns.clone());
                let dataset = terms.map(|terms| terms.sender_dataset.clone());
                Ok(Permitted { unit: unit.name.to_string(), dataset, columns })
            }
            None => {
                let (refusal, facts) = (Refusal::new(ReasonCode::DatasetNotCovered), permit.facts().clone());
                Err(self.refuse_match(Denial { refusal, facts }, &intent).await)
            }
        }
    }

    /// Takes the keys of a session page by page, with what was disclosed if it is wanted. Gives how many there are.
    async fn each_page(
        &self,
        asked: &AskedHandOut<'_>,
        disclosed: bool,
        mut take: impl FnMut(Vec<String>, &[Option<DisclosedValues>]) -> Result<(), MatchError> + Send,
    ) -> Result<u64, MatchError> {
        let (mut rows, mut last) = (0, None);
        loop {
            let page = self.state.matched_page(&asked.session, last).await?;
            let values =
                if disclosed { self.state.disclosed_values(&asked.session, &page.persons).await? } else { Vec::new() };
            let keys = page.persons.iter().map(|key| String::from_utf8(key.to_vec()));
            let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|_| MatchError::Failed)?;
            rows += keys.len() as u64;
            take(keys, &values)?;
            last = page.last;
            if last.is_none() {
                return Ok(rows);
            }
        }
    }

    // SECURITY: what is not on the disk as handed out does not leave.
    //
    // PRIVACY: no leaf tells of it. The log is everybody's, and whoever matched nobody has nothing taken out: a leaf
    // would tell the sender whether anybody matched.
    async fn record_hand_out(
        &self,
        asked: &AskedHandOut<'_>,
        form: HandOutForm,
        rows: u64,
        sha256: [u8; 32],
    ) -> Result<HandedOut, MatchError> {
        let what = NewHandedOut {
            officer: asked.officer.clone(),
            session: asked.session,
            agreement: asked.recorded.agreement.clone(),
            purpose: asked.recorded.purpose.clone(),
            form,
            rows,
            sha256,
        };
        Ok(self.state.record_handed_out(what).await?)
    }
}

fn unwritten(error: FormatError) -> MatchError {
    tracing::error!(error_kind = %error, "a file of matched keys could not be written");
    MatchError::Failed
}
