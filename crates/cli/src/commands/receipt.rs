//! Storing the receipt that came with an answer or a refusal.

use super::files;
use crate::client::ClientError;
use crate::failure::Failure;
use std::path::Path;

/// Stores the receipt of whatever came, if a file for it was named: a refusal has one too.
pub(super) fn keep<T>(
    came: Result<T, ClientError>,
    receipt_of: impl FnOnce(&T) -> &str,
    file: Option<&Path>,
) -> Result<T, Failure> {
    match (came, file) {
        (Ok(answer), None) => Ok(answer),
        (Ok(answer), Some(file)) => {
            files::write(file, receipt_of(&answer).as_bytes())?;
            Ok(answer)
        }
        (Err(ClientError::Refused(mut refused)), Some(file)) => {
            if let Some(receipt) = refused.receipt() {
                files::write(file, receipt.as_bytes())?;
                refused.receipt_file = Some(file.to_owned());
            }
            Err(ClientError::Refused(refused).into())
        }
        (Err(error), _) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::{ReasonCode, Refusal};
    use firebreak_wire::status_of_refusal;

    #[test]
    fn answers_and_refusals_leave_their_receipt_where_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (answered, refused) = (folder.path().join("a"), folder.path().join("r"));
        keep(Ok("receipt of an answer"), |text| text, Some(&answered)).unwrap();
        assert_eq!(std::fs::read_to_string(&answered).unwrap(), "receipt of an answer");

        let status = status_of_refusal(&Refusal::new(ReasonCode::Suspended), Some("receipt of a refusal"));
        let kept = keep(Err::<(), _>(status.clone().into()), |()| "", Some(&refused));
        let Err(Failure::Client(ClientError::Refused(kept))) = kept else { panic!("not refused") };
        assert_eq!(kept.receipt_file, Some(refused.clone()));
        assert_eq!(std::fs::read_to_string(&refused).unwrap(), "receipt of a refusal");

        let kept = keep(Err::<(), _>(status.into()), |()| "", None);
        assert!(matches!(kept, Err(Failure::Client(ClientError::Refused(r))) if r.receipt_file.is_none()));
    }
}
