//! The sets that an agency offers as a sender.

use super::MatchError;
use firebreak_domain::{ColumnName, DatasetId};
use firebreak_psi::NormalisedInput;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Short, PoisonError};
use tokio::sync::Mutex;

/// Identifiers, each once.
pub type OfferedSet = Arc<Vec<NormalisedInput>>;

/// A set and what it was made from; empty until one was made.
type Place = Arc<Mutex<Option<(String, OfferedSet)>>>;

/// One set for each dataset and field, for as long as what it was made from is the same.
///
/// PRIVACY: identifiers of whole registers stay in memory here, and no more of them than the latest.
#[derive(Default)]
pub struct OfferedSets(Short<BTreeMap<(DatasetId, ColumnName), Place>>);

impl OfferedSets {
    /// The set of that dataset and field. It is made if there is none, or one from something else, as `made_from` says;
    /// that one is dropped before. Whoever asks meanwhile waits for it. Also says whether it was there.
    pub(super) async fn get<F>(
        &self,
        dataset: &DatasetId,
        field: &ColumnName,
        made_from: String,
        make: F,
    ) -> Result<(OfferedSet, bool), MatchError>
    where
        F: AsyncFnOnce() -> Result<Vec<NormalisedInput>, MatchError>,
    {
        let place = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry((dataset.clone(), field.clone())).or_default())
        };
        let mut kept = place.lock().await;
        if let Some((_, set)) = kept.as_ref().filter(|(from, _)| *from == made_from) {
            return Ok((Arc::clone(set), true));
        }
        *kept = None;
        let set = Arc::new(make().await?);
        *kept = Some((made_from, Arc::clone(&set)));
        Ok((set, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_psi::Normaliser;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    async fn ask(sets: &OfferedSets, field: &str, from: &str, made: &AtomicUsize) -> (OfferedSet, bool) {
        let normaliser = Normaliser::from_number(1).unwrap();
        let make = async || {
            made.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(vec![normaliser.normalise("AB 123 456").unwrap()])
        };
        let (dataset, field) = ("education.enrolments".parse().unwrap(), field.parse().unwrap());
        sets.get(&dataset, &field, from.to_owned(), make).await.unwrap()
    }

    #[tokio::test]
    async fn those_who_ask_at_once_have_one_set_made() {
        let (sets, made) = (OfferedSets::default(), AtomicUsize::new(0));
        let ask = || ask(&sets, "national_no", "2024", &made);
        let ((one, _), (two, _), (three, _)) = tokio::join!(ask(), ask(), ask());
        assert!(Arc::ptr_eq(&one, &two) && Arc::ptr_eq(&two, &three));
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert!(ask().await.1, "it is kept");
    }

    #[tokio::test]
    async fn of_a_dataset_and_field_the_latest_set_alone_is_kept() {
        let (sets, made) = (OfferedSets::default(), AtomicUsize::new(0));
        let first = Arc::downgrade(&ask(&sets, "national_no", "2023", &made).await.0);
        assert!(first.upgrade().is_some(), "nothing is kept");
        let (_, kept) = ask(&sets, "national_no", "2024", &made).await;
        assert!(!kept, "a set of another cut was given");
        assert!(first.upgrade().is_none(), "the identifiers of an earlier cut are still in memory");
        ask(&sets, "passport_no", "2024", &made).await;
        assert!(ask(&sets, "national_no", "2024", &made).await.1, "another field has a place of its own");
        assert_eq!(made.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_set_that_could_not_be_made_is_made_by_the_next() {
        let (sets, made) = (OfferedSets::default(), AtomicUsize::new(0));
        let (dataset, field) = ("education.enrolments".parse().unwrap(), "national_no".parse().unwrap());
        let failed = sets.get(&dataset, &field, "2024".to_owned(), async || Err(MatchError::Failed)).await;
        assert!(failed.is_err());
        assert!(!ask(&sets, "national_no", "2024", &made).await.1);
    }
}
