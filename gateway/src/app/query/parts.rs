//! The parts of an answer, each by one agency: one alone, or those of a logical dataset.

use super::{About, App, Asked, Failure, Given, Held, HeldPart, Unanswered, check_release};
use crate::app::agencies::{AgencyAnswer, AgencyError};
use firebreak_domain::{Identity, Intent, ReasonCode, Refusal, RequestId};
use firebreak_node::{DecidedPart, StoredQuestion, facts_of};
use firebreak_policy::DecisionFacts;
use firebreak_privacy::Released;
use firebreak_query::{CheckedQuery, Part};
use firebreak_store::{Abandoned, Claim, OwnRelease, RequestKey, ReserveError, Reserved, StoreError};
use sha2::{Digest, Sha256};

/// An accepted request, whose parts are finished.
pub(super) struct Accepting<'a> {
    pub(super) asked: &'a Asked,
    pub(super) caller: &'a Identity,
    pub(super) facts: &'a DecisionFacts,
    pub(super) intent: &'a Intent,
    pub(super) contest: &'a str,
}

/// What became of a part.
pub(super) enum PartEnd {
    /// Its release.
    Given(Box<CheckedQuery>, Given),
    /// Its agency gave no answer: why, and what that means for its charge.
    Missing(Part, String),
    /// Its agency, one of several, refuses: why, and what the caller is told if nothing else is.
    Refused { part: Part, why: String, refused: Box<Unanswered> },
}

/// The agency that answers a question, and its dataset.
pub(super) fn part_of(query: &CheckedQuery) -> Part {
    Part { agency: query.agency().clone(), dataset: query.dataset().clone() }
}

/// What is reserved for the part of a request that is at place `at`.
pub(super) fn claim(at: usize, part: &DecidedPart, intent: &Intent, caller: &Identity) -> Claim {
    let request_id = match at {
        0 => intent.request_id,
        _ => request_id_of_part(&intent.request_id, &part_of(&part.query)),
    };
    Claim {
        key: RequestKey { principal: caller.to_string(), request_id, digest: intent.digest() },
        release_key: part.price.release_key(),
        charge: part.price.charge(),
        accounts: part.accounts.clone(),
    }
}

/// The number under which this gateway's ledger knows a further part of a request: it follows from the request's own,
/// so that the same request finds it again.
pub(super) fn request_id_of_part(request: &RequestId, part: &Part) -> RequestId {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(b"firebreak part of a request format 1\n")
        .chain_update(request.as_bytes())
        .chain_update(part.dataset.as_str())
        .finalize()
        .into();
    let mut id = [0; 16];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    RequestId::from_bytes(id)
}

/// The refusal of a request of which parts are missing.
pub(super) fn unavailable(missing: &[(Part, String)], some_answered: bool) -> Refusal {
    let why: Vec<&str> = missing.iter().map(|(_, why)| why.as_str()).collect();
    let why = why.join("; ");
    let refusal = Refusal::new(ReasonCode::AgencyUnavailable);
    if !some_answered {
        return refusal.because(why);
    }
    let kept =
        "what the other agencies answered is stored: the same request completes it and is charged for the rest alone";
    refusal.because(format!("{why}; {kept}")).instead("ask for a partial answer, or send the same request again later")
}

impl HeldPart {
    /// Whether what is stored for the request answers it still.
    pub(super) fn still_answers(&self) -> Result<bool, Failure> {
        let (Held::Own(OwnRelease { release, .. }) | Held::Repeat(release)) = &self.held else { return Ok(true) };
        let released = Released::decode(&release.bytes).map_err(|_| Failure::Answer("a stored answer"))?;
        Ok(released.check(&self.query).is_ok() && released.charge() == self.price.charge())
    }
}

impl App {
    /// Reserves all claims of one request, or none.
    pub(super) async fn reserve(&self, claims: &[Claim]) -> Result<Vec<Reserved>, ReserveError> {
        match claims {
            // What one request was answered is had from memory.
            [Claim { key, release_key, charge, accounts }] => {
                Ok(vec![self.state.reserve(key, release_key, *charge, accounts).await?])
            }
            all => self.state.reserve_all(all).await,
        }
    }

    /// Gives back what was reserved for a request that goes no further.
    pub(super) async fn give_back(&self, parts: Vec<HeldPart>) -> Result<(), StoreError> {
        for part in parts {
            if let Held::Reservation(reservation) = part.held {
                self.state.abandon(reservation).await?;
            }
        }
        Ok(())
    }

    /// Has the agency of a part answer, or takes the stored release; then puts the evidence into the log. `of_several`
    /// says whether other agencies answer the rest.
    pub(super) async fn finish_part(
        &self,
        part: HeldPart,
        request: &Accepting<'_>,
        of_several: bool,
    ) -> Result<PartEnd, Unanswered> {
        let HeldPart { query, price, held } = part;
        let Accepting { asked, caller, intent, contest, .. } = *request;
        let facts = facts_of(request.facts, &query);
        let exported = asked.submitted.export.is_some();
        let about = About { facts: &facts, intent, exported, charge: price.charge() };
        let reservation = match held {
            Held::Own(own) => return Ok(PartEnd::Given(Box::new(query), self.give_own(own, &about).await?)),
            Held::Repeat(stored) => {
                return Ok(PartEnd::Given(Box::new(query), self.give_repeat(&stored, &about).await?));
            }
            Held::Reservation(reservation) => reservation,
        };
        let agency = query.agency();
        match self.agencies.execute(agency, caller, asked).await {
            Ok(AgencyAnswer::Released(release)) => {
                check_release(&release, &query, &about)?;
                let asked = asked.submitted.query.as_ref().map_err(|_| Failure::Answer("an answer to no question"))?;
                // A part is kept as the answer to the question over it alone, which anybody may ask for by its name.
                let question = StoredQuestion::encode(&asked.of_part(query.dataset()), &query);
                let given = self.store(reservation, release, &about, &question).await?;
                Ok(PartEnd::Given(Box::new(query), given))
            }
            Ok(AgencyAnswer::Refused(mut refused)) => {
                // Nothing was measured: the agency says so under its own signature.
                self.state.abandon(reservation).await?;
                if !of_several {
                    return Err(self.refused_by_agency(refused, agency, intent, contest.to_owned()).await);
                }
                let Refusal { reason, detail, .. } = &refused.refusal;
                let said = if detail.is_empty() { reason.rule() } else { detail };
                let why = format!("{agency} refuses ({reason}): {said}");
                let detail = format!("{agency}: {said}");
                refused.refusal.detail = detail;
                match self.refused_by_agency(refused, agency, intent, contest.to_owned()).await {
                    refused @ Unanswered::Refused { .. } => {
                        Ok(PartEnd::Refused { part: part_of(&query), why, refused: Box::new(refused) })
                    }
                    failed @ Unanswered::Failed(_) => Err(failed),
                }
            }
            Err(AgencyError::NotConnected) => {
                let why = match self.state.abandon(reservation).await? {
                    Abandoned::Refunded if of_several => {
                        format!("{agency} is not connected; nothing was charged for it")
                    }
                    Abandoned::Refunded => format!("{agency} is not connected; nothing was charged"),
                    Abandoned::Kept => {
                        format!("{agency} is not connected; a retry under the same request id costs nothing more")
                    }
                };
                Ok(PartEnd::Missing(part_of(&query), why))
            }
            Err(AgencyError::Lost | AgencyError::Unreadable) => {
                reservation.mark_executing();
                if !of_several {
                    return Err(Failure::Agency.into());
                }
                let why = "gave no answer; what was charged for it pays for a retry under the same request id";
                Ok(PartEnd::Missing(part_of(&query), format!("{agency} {why}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_a_number_of_its_own_in_the_ledger_and_keeps_it() {
        let part = |dataset: &str| Part { agency: "a".parse().unwrap(), dataset: dataset.parse().unwrap() };
        let of = |id: u8, dataset: &str| request_id_of_part(&RequestId::from_bytes([id; 16]), &part(dataset));
        assert_eq!(of(1, "a.x"), of(1, "a.x"));
        assert_ne!(of(1, "a.x"), of(1, "b.x"));
        assert_ne!(of(1, "a.x"), of(2, "a.x"));
        assert_ne!(of(1, "a.x"), RequestId::from_bytes([1; 16]));
    }
}
