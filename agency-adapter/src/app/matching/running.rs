//! Which sessions run in this program. The files of a session are written by one run of it alone.

use super::epoch::SharedEpoch;
use super::offer::Offer;
use super::sender::Open;
use firebreak_domain::{ReasonCode, Refusal, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OnceCell;

type Name = [u8; 32];

/// The sessions of one adapter, on either side.
#[derive(Default)]
pub struct Running {
    receiving: Arc<Mutex<HashSet<Name>>>,
    sending: Mutex<HashMap<Name, Weak<OnceCell<Open>>>>,
    epochs: Mutex<HashMap<Name, Lasting>>,
}

/// What is offered in an epoch, and when that ends. It stays while nobody asks: to form it again takes minutes.
struct Lasting {
    ends: Timestamp,
    offer: Arc<OnceCell<Arc<Offer>>>,
}

/// A session that this adapter receives, until it is dropped.
pub(super) struct Receiving {
    name: Name,
    all: Arc<Mutex<HashSet<Name>>>,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Running {
    /// Begins to receive a session.
    ///
    /// # Errors
    /// `SESSION_MISMATCH` if it is being received already.
    pub(super) fn receive(&self, name: Name) -> Result<Receiving, Refusal> {
        if !self.receiving.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(refusal.because("this request is being run already: wait for its end, or send a new one"));
        }
        Ok(Receiving { name, all: Arc::clone(&self.receiving) })
    }

    /// What is open of a session that this adapter sends: a receiver that comes back by another tunnel, before it is
    /// noticed that the first one is gone, finds the same.
    pub(super) fn send(&self, name: Name) -> Arc<OnceCell<Open>> {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.retain(|_, open| open.strong_count() > 0);
        if let Some(open) = sending.get(&name).and_then(Weak::upgrade) {
            return open;
        }
        let open = Arc::new(OnceCell::new());
        sending.insert(name, Arc::downgrade(&open));
        open
    }

    /// What this adapter offers in an epoch, to all sessions of it.
    pub(super) fn epoch(&self, epoch: &SharedEpoch) -> Arc<OnceCell<Arc<Offer>>> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = || Lasting { ends: epoch.epoch.ends, offer: Arc::default() };
        Arc::clone(&epochs.entry(epoch.name).or_insert_with(lasting).offer)
    }

    /// Has an epoch end at that time.
    pub(super) fn end_epoch(&self, name: &Name, ends: Timestamp) {
        if let Some(lasting) = self.epochs.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            lasting.ends = ends;
        }
    }

    /// Forgets what was offered in epochs that are over, and its keys.
    pub(super) fn end_epochs(&self, now: Timestamp) {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, lasting| lasting.ends > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_received_once_at_a_time_and_sent_from_one_place() {
        let running = Running::default();
        let first = running.receive([1; 32]).unwrap();
        let refused = running.receive([1; 32]).map(drop).unwrap_err();
        assert_eq!(refused.reason, ReasonCode::SessionMismatch);
        assert!(running.receive([2; 32]).is_ok(), "another session waits for it");
        drop(first);
        assert!(running.receive([1; 32]).is_ok(), "it ended");
        let one = running.send([1; 32]);
        assert!(Arc::ptr_eq(&one, &running.send([1; 32])));
        assert!(!Arc::ptr_eq(&one, &running.send([2; 32])));
        let gone = Arc::downgrade(&one);
        drop(one);
        running.send([1; 32]);
        assert!(gone.upgrade().is_none());
    }
}
