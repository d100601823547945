//! The joins that run: which two agencies each is of, and the tunnel between them.

use super::{AgencyError, App, Unanswered};
use firebreak_domain::{Identity, Operation, OrgId, ReasonCode, Recipient, RecipientClass, Refusal};
use firebreak_policy::{DecisionFacts, Denial, OutputKind};
use firebreak_transport::ByteStream;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type Session = [u8; 32];

/// The joins that run.
#[derive(Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<Session, Arc<Running>>>>);

struct Running {
    left: OrgId,
    right: OrgId,
    /// Whether both sides are prepared. Closed when the join is over.
    prepared: watch::Receiver<bool>,
}

/// A join that runs, until it is dropped.
pub(super) struct Flight {
    session: Session,
    all: Arc<Mutex<HashMap<Session, Arc<Running>>>>,
    prepared: watch::Sender<bool>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.session);
    }
}

impl Flight {
    /// Says that both sides are prepared: the tunnel may be opened.
    pub(super) fn is_prepared(&self) {
        self.prepared.send_replace(true);
    }
}

impl InFlight {
    /// Begins a join between two agencies.
    ///
    /// # Errors
    /// `SESSION_MISMATCH` if the same request is being answered already.
    pub(super) fn begin(&self, session: Session, left: OrgId, right: OrgId) -> Result<Flight, Refusal> {
        let (prepared, watched) = watch::channel(false);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&session) {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(refusal.because("this request is being answered already: wait for its end"));
        }
        all.insert(session, Arc::new(Running { left, right, prepared: watched }));
        drop(all);
        Ok(Flight { session, all: Arc::clone(&self.0), prepared })
    }

    /// The join of that session whose left side is an adapter of `agency`.
    fn find(&self, session: &Session, agency: &OrgId) -> Option<Arc<Running>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(session).filter(|running| running.left == *agency).map(Arc::clone)
    }
}

/// A join's tunnel that was let in.
pub struct JoinTunnel {
    /// The right side's end. What goes through it is TLS between the two agencies' own keys.
    pub right: ByteStream,
    over: watch::Receiver<bool>,
}

impl JoinTunnel {
    /// Takes the tunnel apart: its end, and a future that is done when the join is over and the tunnel to be cut.
    pub fn parts(self) -> (ByteStream, impl Future<Output = ()> + Send + use<>) {
        let Self { right, mut over } = self;
        (right, async move { while over.changed().await.is_ok() {} })
    }
}

impl App {
    /// Lets the left side of a join that runs reach the right one, once both are prepared. There is no request behind a
    /// join's tunnel but the analyst's, which is decided; whoever asks for any other has evidence of the refusal.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn open_join_tunnel(&self, session: &[u8], caller: &Identity) -> Result<JoinTunnel, Unanswered> {
        let found = session
            .try_into()
            .ok()
            .and_then(|session: &Session| Some((*session, self.joins.find(session, &caller.org)?)));
        let Some((session, running)) = found else {
            let refusal = Refusal::new(ReasonCode::SessionMismatch).because("no join of that session runs here");
            return Err(self.refuse(self.denied(refusal, caller), None).await);
        };
        let mut over = running.prepared.clone();
        // It ends when the join does, at the latest.
        let prepared = over.wait_for(|prepared| *prepared).await.is_ok();
        if !prepared {
            let refusal = Refusal::new(ReasonCode::AgencyUnavailable).because("the join is over");
            return Err(self.refuse(self.denied(refusal, caller), None).await);
        }
        match self.agencies.open_join_tunnel(&running.right, caller, &session).await {
            Ok(right) => Ok(JoinTunnel { right, over }),
            Err(AgencyError::NotConnected | AgencyError::Lost | AgencyError::Unreadable) => {
                let refusal = Refusal::new(ReasonCode::AgencyUnavailable);
                let refusal = refusal.because(format!("{} cannot be reached", running.right));
                Err(self.refuse(self.denied(refusal, caller), None).await)
            }
        }
    }

    /// The denial of a tunnel behind which there is no request.
    fn denied(&self, refusal: Refusal, caller: &Identity) -> Denial {
        let bundle = self.policy.accepted();
        let found = bundle.as_ref().map(|bundle| bundle.class_of(&Recipient::Organisation(caller.org.clone())));
        let facts = DecisionFacts {
            bundle_sequence: bundle.as_ref().map_or(0, |bundle| bundle.sequence()),
            organisation: found.as_ref().filter(|found| found.registered).map(|_| caller.org.clone()),
            operation: Operation::Aggregate,
            output: OutputKind::DpAggregate,
            agreement: None,
            purpose: None,
            legal_basis: None,
            recipient_class: found.map_or(RecipientClass::Enforcement, |found| found.class),
            datasets: Vec::new(),
        };
        Denial { refusal, facts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(name: &str) -> OrgId {
        OrgId::new(name).unwrap()
    }

    #[test]
    fn a_tunnel_is_of_a_join_that_runs_and_for_its_left_side_alone() {
        let joins = InFlight::default();
        let flight = joins.begin([1; 32], org("a"), org("b")).unwrap();
        assert!(joins.begin([1; 32], org("a"), org("b")).is_err(), "it runs already");
        assert!(joins.find(&[1; 32], &org("a")).is_some());
        for (session, agency) in [([1; 32], "b"), ([1; 32], "c"), ([2; 32], "a")] {
            assert!(joins.find(&session, &org(agency)).is_none(), "{agency}");
        }
        let mut watched = joins.find(&[1; 32], &org("a")).unwrap().prepared.clone();
        flight.is_prepared();
        assert!(*watched.borrow_and_update());
        drop(flight);
        assert!(watched.has_changed().is_err(), "whoever watches it hears that it is over");
        assert!(joins.find(&[1; 32], &org("a")).is_none());
    }
}
