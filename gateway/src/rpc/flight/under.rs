//! Under which agreement, and for what, a call of Flight SQL asks: its headers say so.

use crate::app::{App, Visible};
use firebreak_domain::{Agreement, DatasetId, Identity, ReasonCode, Refusal};
use tonic::metadata::MetadataMap;

/// The header that names the agreement.
const AGREEMENT: &str = "firebreak-agreement";
/// The header that names the purpose.
const PURPOSE: &str = "firebreak-purpose";
/// The header that asks, over several agencies, for what some of them give should others give no answer.
const PARTIAL: &str = "firebreak-partial";
/// What ADBC's driver puts before a header's name, to have an option that sends the header with each call.
const OPTION: &str = "adbc.flight.sql.rpc.call_header.";

/// Agreement and purpose as they were typed, and whether a partial answer is wanted.
pub(super) struct Under {
    pub agreement: String,
    pub purpose: String,
    pub partial: bool,
}

impl Under {
    /// Reads the headers of a call, which asks about a dataset as far as that can be read.
    ///
    /// # Errors
    /// `MALFORMED_REQUEST`, with the very lines that are missing in a Python program.
    pub(super) fn of(
        metadata: &MetadataMap,
        app: &App,
        caller: &Identity,
        dataset: Option<&DatasetId>,
    ) -> Result<Self, Refusal> {
        match (header(metadata, AGREEMENT)?, header(metadata, PURPOSE)?) {
            (Some(agreement), Some(purpose)) => Ok(Self { agreement, purpose, partial: partial(metadata)? }),
            (agreement, purpose) => {
                let example = example(app, caller, agreement.as_deref(), dataset);
                let missing = match (&agreement, &purpose) {
                    (None, None) => "its agreement and its purpose",
                    (None, Some(_)) => "its agreement",
                    (Some(_), _) => "its purpose",
                };
                let mut lines = Vec::new();
                if agreement.is_none() {
                    lines.push(line(AGREEMENT, &example.agreement));
                }
                if purpose.is_none() {
                    lines.push(line(PURPOSE, &example.purpose));
                }
                let refusal = Refusal::new(ReasonCode::MalformedRequest)
                    .because(format!("a header of each call names {missing}, and this call has none"));
                Err(refusal.instead(format!("add to db_kwargs {}", lines.join(" "))))
            }
        }
    }
}

/// What these clients can do where a signature is demanded, which they cannot make.
pub(super) fn without_signature(
    refusal: Refusal,
    app: &App,
    caller: &Identity,
    dataset: Option<&DatasetId>,
) -> Refusal {
    if refusal.reason != ReasonCode::SignatureRequired {
        return refusal;
    }
    let visible = app.list_datasets(caller).unwrap_or_default();
    refusal.instead(match unsigned(&visible, dataset) {
        Some(agreement) => format!("change in db_kwargs {}", line(AGREEMENT, agreement.id.as_str())),
        None => "ask by the command `firebreak query`, which signs".to_owned(),
    })
}

/// Of the caller's agreements one that asks for no signature, over that dataset where one is named.
fn unsigned<'a>(visible: &'a [Visible], dataset: Option<&DatasetId>) -> Option<&'a Agreement> {
    let is_of = |one: &&Visible, dataset: &DatasetId| {
        let part_of = one.contract.part_of.as_ref().map(|part_of| &part_of.dataset);
        one.contract.id == *dataset || part_of == Some(dataset)
    };
    let asked = visible.iter().filter(|one| dataset.is_none_or(|dataset| is_of(one, dataset)));
    asked.flat_map(|one| &one.agreements).map(AsRef::as_ref).find(|agreement: &&Agreement| agreement.gateway_asserted)
}

/// A line of a Python program that sends a header with each call.
fn line(name: &str, value: &str) -> String {
    format!("\"{OPTION}{name}\": \"{value}\",")
}

/// The value of a header; `None` where there is none or an empty one.
fn header(metadata: &MetadataMap, name: &str) -> Result<Option<String>, Refusal> {
    let malformed =
        |what: &str| Refusal::new(ReasonCode::MalformedRequest).because(format!("the header {name} {what}"));
    let mut values = metadata.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    // SECURITY: of two values, what stands before the gateway may have looked at the other.
    if values.any(|value| value != first) {
        return Err(malformed("has more than one value"));
    }
    let text = first.to_str().map_err(|_| malformed("is not text"))?.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Whether a partial answer is wanted.
fn partial(metadata: &MetadataMap) -> Result<bool, Refusal> {
    match header(metadata, PARTIAL)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            let what = format!("the header {PARTIAL} is true or false");
            Err(Refusal::new(ReasonCode::MalformedRequest).because(what))
        }
    }
}

/// What the caller could write: of its own agreements one that asks for no signature, which these clients cannot make.
fn example(app: &App, caller: &Identity, named: Option<&str>, dataset: Option<&DatasetId>) -> Under {
    let visible = app.list_datasets(caller).unwrap_or_default();
    let found = match named {
        Some(named) => {
            let mut agreements = visible.iter().flat_map(|one| &one.agreements).map(AsRef::as_ref);
            agreements.find(|agreement: &&Agreement| agreement.id.as_str() == named)
        }
        None => unsigned(&visible, dataset),
    };
    let purpose = found.and_then(|agreement| agreement.purposes.first());
    Under {
        agreement: found.map_or_else(|| "an agreement".to_owned(), |agreement| agreement.id.to_string()),
        purpose: purpose.map_or_else(|| "a purpose of it".to_owned(), ToString::to_string),
        partial: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_once_and_an_empty_one_is_none() {
        let mut metadata = MetadataMap::new();
        assert_eq!(header(&metadata, AGREEMENT).unwrap(), None);
        metadata.insert(AGREEMENT, " ".parse().unwrap());
        assert_eq!(header(&metadata, AGREEMENT).unwrap(), None);
        metadata.insert(AGREEMENT, "statistics".parse().unwrap());
        metadata.append(AGREEMENT, "statistics".parse().unwrap());
        assert_eq!(header(&metadata, AGREEMENT).unwrap().as_deref(), Some("statistics"));
        metadata.append(AGREEMENT, "others".parse().unwrap());
        let refusal = header(&metadata, AGREEMENT).unwrap_err();
        assert!(!refusal.to_string().contains("others") && !refusal.to_string().contains("statistics"), "{refusal}");
    }

    #[test]
    fn a_partial_answer_is_wanted_where_the_header_says_so_and_in_no_other_words() {
        let of = |value: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(PARTIAL, value.parse().unwrap());
            partial(&metadata)
        };
        assert_eq!(partial(&MetadataMap::new()), Ok(false));
        assert_eq!((of("true"), of("false"), of("")), (Ok(true), Ok(false), Ok(false)));
        assert!(of("yes").is_err());
    }

    #[test]
    fn a_header_that_is_no_text_is_refused_without_repeating_it() {
        let mut metadata = MetadataMap::new();
        metadata.insert(PURPOSE, tonic::metadata::MetadataValue::try_from(b"\xc3\xa9t".as_slice()).unwrap());
        let refusal = header(&metadata, PURPOSE).unwrap_err();
        assert_eq!(refusal.to_string(), "every field has its form: the header firebreak-purpose is not text");
    }
}
