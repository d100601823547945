//! Chunks on their way: while the sender works on one, with the next already there, the one before it is verified and
//! another is blinded.

use super::Receiver;
use crate::app::App;
use crate::app::matching::fault::of_peer;
use crate::app::matching::{MatchError, MatchStep};
use firebreak_psi::{BlindedChunk, PsiError, Slot, VerifiedChunk};
use firebreak_records::{OwnTag, WithheldPlaces};
use firebreak_store::{Participation, Spool};
use futures::stream::{FuturesOrdered, StreamExt};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use tokio::task::{JoinError, JoinHandle, block_in_place, spawn_blocking};
use zeroize::Zeroizing;

/// A chunk that was blinded for those who took part at that moment.
pub(super) struct Ready {
    number: u32,
    who: Arc<Participation>,
    choice: WithheldPlaces,
    chunk: Blinded,
}

/// A chunk, with what its places hold.
pub(super) struct Blinded {
    slots: Vec<Slot>,
    chunk: BlindedChunk,
}

/// The sender's answer to a chunk, as it comes.
pub type Answer<E> = Pin<Box<dyn Future<Output = Result<Vec<u8>, E>> + Send>>;

/// A chunk, and what the sender made of it.
struct Answered {
    number: u32,
    chunk: Blinded,
    evaluated: Vec<u8>,
}

/// A chunk that is with the sender.
type Sent<E> = Pin<Box<dyn Future<Output = Result<Answered, E>> + Send>>;

/// The most chunks that are with the sender or wait to be verified: one on which it works, and one with which it goes on
/// while the first is on its way.
const ON_THEIR_WAY: usize = 2;

/// The chunks of a session that were not verified yet, on their way to the sender and back. Beside those two at most one
/// is being verified and one blinded ahead. If it is dropped, what was verified stays, and so does every chunk that was sent
/// and every answer that it took: no more is done again than to blind one chunk and to verify one.
pub struct Exchange<'a, E, F> {
    receiver: &'a mut Receiver,
    evaluate: F,
    /// The next chunk to blind.
    next: u32,
    blinding: Option<JoinHandle<Result<Ready, MatchError>>>,
    ready: Option<Ready>,
    sent: FuturesOrdered<Sent<E>>,
    answered: VecDeque<Answered>,
    verifying: Option<JoinHandle<Result<VerifiedChunk, PsiError>>>,
}

impl<E: From<MatchError> + 'static, F: FnMut(u32, Vec<u8>) -> Answer<E>> Exchange<'_, E, F> {
    /// Goes on until another chunk is verified and its tags are on the disk; `None` once all are.
    ///
    /// Before a chunk is sent there is a [`Receiver::check`], and who takes part is asked; where that has changed since
    /// it was blinded, it is blinded anew.
    ///
    /// # Errors
    /// Those of the sender's answers, [`MatchError::Fault`] for an answer whose proof does not hold or that is none, and
    /// other [`MatchError`]s.
    pub async fn verified(&mut self, app: &App) -> Result<Option<MatchStep>, E> {
        loop {
            self.start(app).await?;
            if self.is_idle() {
                return Ok(None);
            }
            tokio::select! {
                blinded = finished(&mut self.blinding) => {
                    self.blinding = None;
                    self.ready = Some(blinded.map_err(|_| MatchError::Failed)??);
                }
                Some(answered) = self.sent.next() => {
                    let answered = answered?;
                    block_in_place(|| self.receiver.keep_answered(answered.number, &answered.evaluated))?;
                    self.answered.push_back(answered);
                }
                verified = finished(&mut self.verifying) => {
                    self.verifying = None;
                    let verified = verified.map_err(|_| MatchError::Failed)?.map_err(of_peer)?;
                    self.receiver.keep_verified(&verified)?;
                    return Ok(Some(self.receiver.evaluating()));
                }
            }
        }
    }

    /// Starts whatever can be.
    async fn start(&mut self, app: &App) -> Result<(), E> {
        if self.sent.len().saturating_add(self.answered.len()) < ON_THEIR_WAY
            && let Some(ready) = self.ready.take()
        {
            let (number, chunk) = self.receiver.settle(app, ready).await?;
            let answer = match block_in_place(|| kept(&self.receiver.answered, number))? {
                Some(kept) => Box::pin(async move { Ok(kept.to_vec()) }),
                None => (self.evaluate)(number, chunk.chunk.as_bytes().to_vec()),
            };
            self.sent.push_back(Box::pin(async move { Ok(Answered { number, chunk, evaluated: answer.await? }) }));
        }
        // After the chunk before it was settled: the choice goes on behind that one's.
        if self.blinding.is_none() && self.ready.is_none() && self.next < self.receiver.params().chunks() {
            self.blinding = Some(self.receiver.blind_ahead(app, self.next).await?);
            self.next = self.next.saturating_add(1);
        }
        if self.verifying.is_none()
            && let Some(Answered { number, chunk, evaluated }) = self.answered.pop_front()
        {
            tracing::debug!(sequence = number, "a chunk is verified");
            let arithmetic = Arc::clone(&self.receiver.blinding);
            let verify = move || arithmetic.verify(&chunk.chunk, &chunk.slots, &evaluated);
            self.verifying = Some(spawn_blocking(verify));
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.blinding.is_none() && self.ready.is_none() && self.sent.is_empty() && self.verifying.is_none()
    }
}

impl Receiver {
    /// Begins to have every chunk evaluated that was not verified yet. `evaluate` sends the sender a chunk of that
    /// number, and gives its answer.
    pub fn exchange<E: 'static, F: FnMut(u32, Vec<u8>) -> Answer<E>>(&mut self, evaluate: F) -> Exchange<'_, E, F> {
        let next = self.verified();
        Exchange {
            receiver: self,
            evaluate,
            next,
            blinding: None,
            ready: None,
            sent: FuturesOrdered::new(),
            answered: VecDeque::new(),
            verifying: None,
        }
    }

    /// The next chunk to be evaluated, after a [`Receiver::check`]; `None` once all are verified. It is the same until
    /// it was accepted.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn next(&mut self, app: &App) -> Result<Option<(u32, BlindedChunk)>, MatchError> {
        self.check(app).await?;
        let number = self.verified();
        if number >= self.params().chunks() {
            return Ok(None);
        }
        let ready = self.blind_ahead(app, number).await?.await.map_err(|_| MatchError::Failed)??;
        let (number, blinded) = self.settle(app, ready).await?;
        Ok(Some((number, blinded.chunk)))
    }

    /// Verifies an evaluated chunk and keeps its tags, on the disk before this returns.
    ///
    /// # Errors
    /// [`MatchError::Fault`] for evaluations whose proof does not hold, and for what is none; nothing is kept of them.
    /// [`MatchError::Failed`] for a chunk other than the next.
    pub fn accept(&mut self, chunk: &BlindedChunk, evaluated: &[u8]) -> Result<(), MatchError> {
        if chunk.id().number != self.verified() {
            return Err(PsiError::ChunkRepeated.into());
        }
        block_in_place(|| {
            let slots = self.slots(chunk.id().number, &self.withheld.kept(chunk.id().number)?)?;
            let verified = self.blinding.verify(chunk, &slots, evaluated).map_err(of_peer)?;
            self.keep_answered(chunk.id().number, evaluated)?;
            self.keep_verified(&verified)
        })
    }

    /// Begins to blind a chunk for those who take part now. The chunk before it is settled.
    async fn blind_ahead(&self, app: &App, number: u32) -> Result<JoinHandle<Result<Ready, MatchError>>, MatchError> {
        let who = self.prepared.participants.now(app).await?;
        let (choice, slots, sent) = block_in_place(|| {
            let choice = self.choose(app, number, &who)?;
            let slots = self.slots(number, &choice)?;
            Ok::<_, MatchError>((choice, slots, kept(&self.sent, number)?))
        })?;
        let blinding = Arc::clone(&self.blinding);
        if sent.is_none() {
            tracing::debug!(sequence = number, "a chunk is blinded");
        }
        Ok(spawn_blocking(move || {
            let chunk = match sent {
                Some(sent) => blinding.kept(number, &slots, &sent),
                None => blinding.blind(number, &slots),
            };
            Ok(Ready { number, who, choice, chunk: Blinded { chunk: chunk?, slots } })
        }))
    }

    /// Decides for good who takes part in a chunk, and gives it as it is to be sent. Both are on the disk before this
    /// returns.
    async fn settle(&mut self, app: &App, ready: Ready) -> Result<(u32, Blinded), MatchError> {
        self.check(app).await?;
        let who = self.prepared.participants.now(app).await?;
        let Ready { number, who: then, mut choice, chunk: mut blinded } = ready;
        if !Arc::ptr_eq(&who, &then) && !self.withheld.holds(number) {
            tracing::debug!(sequence = number, "a chunk is blinded");
            choice = block_in_place(|| self.choose(app, number, &who))?;
            let slots = block_in_place(|| self.slots(number, &choice))?;
            blinded = Blinded { chunk: block_in_place(|| self.blinding.blind(number, &slots))?, slots };
        }
        block_in_place(|| {
            self.withheld.keep(number, &choice)?;
            Ok::<_, MatchError>(self.sent.keep(number as usize, blinded.chunk.as_bytes())?)
        })?;
        Ok((number, blinded))
    }

    fn choose(&self, app: &App, number: u32, who: &Participation) -> Result<WithheldPlaces, MatchError> {
        let takes_part = |key: &[u8]| who.allows(&app.state.person_reference(key));
        self.withheld.choose(number, &self.prepared.files, &takes_part)
    }

    fn keep_answered(&mut self, number: u32, evaluated: &[u8]) -> Result<(), MatchError> {
        Ok(self.answered.keep(number as usize, evaluated)?)
    }

    fn keep_verified(&mut self, verified: &VerifiedChunk) -> Result<(), MatchError> {
        if verified.id().number != self.verified() {
            return Err(PsiError::ChunkRepeated.into());
        }
        // With the key of its row, where the match has a payload.
        let mut own = Zeroizing::new(Vec::with_capacity(verified.bytes()));
        let keys = verified.keys().iter().map(|key| Some(key.expose())).chain(std::iter::repeat(None));
        for (tag, key) in verified.tags().zip(keys) {
            OwnTag { tag, key }.put(&mut own);
        }
        Ok(block_in_place(|| self.own.add(&own))?)
    }
}

/// The piece of that number, if it was kept.
fn kept(spool: &Spool, number: u32) -> Result<Option<Zeroizing<Vec<u8>>>, MatchError> {
    let number = number as usize;
    Ok((number < spool.len()).then(|| spool.get(number)).transpose()?)
}

async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}
