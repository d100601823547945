use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, PollSender};

/// The largest chunk of a tunnel, in bytes. A larger one ends the tunnel.
pub const MAX_CHUNK: usize = 64 * 1024;
/// Chunks that wait between a tunnel's stream and who reads it.
const WAITING: usize = 4;

/// A byte stream carried as chunks in two channels, one each way.
///
/// A chunk holds 1 to [`MAX_CHUNK`] bytes; an **empty chunk is the clean end** of its direction. A channel that
/// closes without one was cut: the reader gets `UnexpectedEof`, never an end. A writer waits while the channel is
/// full.
#[derive(Debug)]
pub struct ByteStream {
    incoming: mpsc::Receiver<Bytes>,
    /// The part of the last chunk that was not read yet.
    rest: Bytes,
    ended: bool,
    outgoing: PollSender<Bytes>,
    finished: bool,
}

impl ByteStream {
    /// Joins what comes in and what goes out.
    #[must_use]
    pub fn new(incoming: mpsc::Receiver<Bytes>, outgoing: mpsc::Sender<Bytes>) -> Self {
        Self { incoming, rest: Bytes::new(), ended: false, outgoing: PollSender::new(outgoing), finished: false }
    }

    /// Two streams, each reading what the other writes.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (left_out, right_in) = mpsc::channel(WAITING);
        let (right_out, left_in) = mpsc::channel(WAITING);
        (Self::new(left_in, left_out), Self::new(right_in, right_out))
    }
}

/// Turns a stream of chunks, such as a gRPC stream, into a channel for [`ByteStream::new`].
///
/// An error of the stream, or its end without an empty chunk, closes the channel: the reader sees a cut. When the
/// reader goes, the stream is dropped.
#[must_use]
pub fn receive_chunks<S, E>(stream: S) -> mpsc::Receiver<Bytes>
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Send,
{
    let (chunks, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = chunks.closed() => return,
            };
            let Some(Ok(chunk)) = next else { return };
            if chunks.send(chunk).await.is_err() {
                return;
            }
        }
    });
    receiver
}

impl AsyncRead for ByteStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() && !self.ended {
            match ready!(self.incoming.poll_recv(cx)) {
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Some(chunk) if chunk.len() > MAX_CHUNK => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Some(chunk) if chunk.is_empty() => self.ended = true,
                Some(chunk) => self.rest = chunk,
            }
        }
        let count = self.rest.len().min(buf.remaining());
        self.rest.split_to(count).copy_to_slice(buf.initialize_unfilled_to(count));
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

fn reader_gone<E>(_: E) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // An empty chunk would be an end.
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.outgoing.poll_reserve(cx)).map_err(reader_gone)?;
        let chunk = buf.get(..MAX_CHUNK).unwrap_or(buf);
        self.outgoing.send_item(Bytes::copy_from_slice(chunk)).map_err(reader_gone)?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A chunk sent is the channel's: there is nothing to push.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            ready!(self.outgoing.poll_reserve(cx)).map_err(reader_gone)?;
            self.outgoing.send_item(Bytes::new()).map_err(reader_gone)?;
            self.outgoing.close();
            self.finished = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Which way a chunk passes a [`relay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first stream to the second.
    Forth,
    /// From the second stream to the first.
    Back,
}

/// How a [`relay`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayEnd {
    /// Both sides said that they were done.
    Finished,
    /// One side went away or broke the rules of chunks.
    Broken,
    /// It was cut.
    Cut,
}

/// Passes chunks between two streams as they are, one at a time each way, until both ends are done or `cut`.
///
/// `meter` sees the direction and size of each chunk before it is passed on, and may cancel `cut`, which stops
/// that very chunk. It sees no content. However the relay ends, both streams are dropped.
pub async fn relay(
    first: ByteStream,
    second: ByteStream,
    meter: impl Fn(Direction, usize),
    cut: &CancellationToken,
) -> RelayEnd {
    let (Some(to_first), Some(to_second)) = (first.outgoing.get_ref().cloned(), second.outgoing.get_ref().cloned())
    else {
        return RelayEnd::Broken;
    };
    let pass = async {
        tokio::try_join!(
            pass((first.rest, first.incoming), to_second, |size| meter(Direction::Forth, size), cut),
            pass((second.rest, second.incoming), to_first, |size| meter(Direction::Back, size), cut),
        )
    };
    // The streams' own senders would keep the channels open after the relay has let go of its copies.
    drop((first.outgoing, second.outgoing));
    tokio::select! {
        biased;
        () = cut.cancelled() => RelayEnd::Cut,
        passed = pass => match passed {
            _ if cut.is_cancelled() => RelayEnd::Cut,
            // Who has said that it is done may leave without hearing the rest.
            Ok((Passed::ToTheEnd, _) | (_, Passed::ToTheEnd)) => RelayEnd::Finished,
            Ok((Passed::UntilItsReaderLeft, Passed::UntilItsReaderLeft)) | Err(Broken) => RelayEnd::Broken,
        },
    }
}

/// How far one direction came.
enum Passed {
    ToTheEnd,
    UntilItsReaderLeft,
}

/// A direction whose writer left without saying that it was done, or sent too much, or that was cut.
struct Broken;

/// Passes one direction on until its clean end, or until nobody reads it.
async fn pass(
    (rest, mut from): (Bytes, mpsc::Receiver<Bytes>),
    to: mpsc::Sender<Bytes>,
    meter: impl Fn(usize),
    cut: &CancellationToken,
) -> Result<Passed, Broken> {
    let mut next = (!rest.is_empty()).then_some(rest);
    loop {
        let chunk = match next.take() {
            Some(rest) => rest,
            None => tokio::select! {
                chunk = from.recv() => chunk.ok_or(Broken)?,
                () = to.closed() => return Ok(Passed::UntilItsReaderLeft),
            },
        };
        if chunk.len() > MAX_CHUNK {
            return Err(Broken);
        }
        meter(chunk.len());
        if cut.is_cancelled() {
            return Err(Broken);
        }
        let end = chunk.is_empty();
        if to.send(chunk).await.is_err() {
            return Ok(Passed::UntilItsReaderLeft);
        }
        if end {
            return Ok(Passed::ToTheEnd);
        }
    }
}
