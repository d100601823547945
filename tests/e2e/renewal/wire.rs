//! A wire that stops what passes it.

use anyhow::{Context, Result};
use firebreak_testbed::Address;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that one connection may carry to the other end before it is stopped: part of a match's first chunk, and more
/// than anything else that an adapter says in that time.
const MUCH: usize = 100_000;

/// A wire on which, once it is to be watched, every connection that carries much is stopped in the midst of it until
/// all may go on.
pub struct Wire {
    address: Address,
    state: Arc<watch::Sender<State>>,
}

#[derive(Default)]
struct State {
    watched: bool,
    stopped: usize,
    open: bool,
}

impl Wire {
    /// A wire to that address.
    pub async fn to(target: Address) -> Result<Self> {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = tcp.local_addr()?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let held = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((near, _)) = tcp.accept().await {
                tokio::spawn(carry(near, target, Arc::clone(&held)));
            }
        });
        Ok(Self { address, state })
    }

    /// Where it is dialled.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Counts from now on.
    pub fn watch(&self) {
        self.state.send_modify(|state| state.watched = true);
    }

    /// Waits until a connection is stopped.
    pub async fn stopped(&self) -> Result<()> {
        self.state.subscribe().wait_for(|state| state.stopped > 0).await.map(drop).context("the wire is gone")
    }

    /// Lets everything go on.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }
}

async fn carry(near: TcpStream, target: Address, state: Arc<watch::Sender<State>>) -> Result<()> {
    let far = TcpStream::connect(target).await?;
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let back = async { copy(&mut from_far, &mut to_near).await.map(drop) };
    let forth = async {
        let (mut carried, mut piece) = (0, vec![0; 16 * 1024]);
        loop {
            let count = from_near.read(&mut piece).await?;
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok::<_, anyhow::Error>(());
            };
            to_far.write_all(bytes).await?;
            if !state.borrow().watched {
                continue;
            }
            let before = carried;
            carried += count;
            if before <= MUCH && carried > MUCH {
                state.send_modify(|state| state.stopped += 1);
                let _ = state.subscribe().wait_for(|state| state.open).await;
            }
        }
    };
    // Where one side ends the other has nothing more to say.
    tokio::select! {
        ended = back => Ok(ended?),
        ended = forth => ended,
    }
}
