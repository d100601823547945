use crate::support::{EDUCATION, Federation, HEALTH, Seen, ask, id, routes, until};
use bytes::Bytes;
use firebreak_domain::{Identity, Pin};
use firebreak_transport::{
    ByteStream, CertificateError, ConnectError, Credential, Direction, MAX_CHUNK, RelayEnd, Shutdown, connect_pinned,
    receive_chunks, relay, serve_pinned,
};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

type Served = JoinHandle<Result<(), ConnectError>>;

/// Two agencies, each with a key and with what it pins of the other, joined by a relay that meters.
struct Session {
    asks: (Credential, Identity, Pin),
    serves: (Credential, Identity, Pin),
    seen: Seen,
    sizes: Arc<Mutex<[usize; 2]>>,
    cut: CancellationToken,
}

impl Session {
    fn between(health: &Credential, education: &Credential) -> Self {
        Self {
            asks: (health.clone(), id(EDUCATION), education.pin()),
            serves: (education.clone(), id(HEALTH), health.pin()),
            seen: Seen::default(),
            sizes: Arc::default(),
            cut: CancellationToken::new(),
        }
    }

    async fn open(&mut self) -> (Result<(Channel, [u8; 32]), ConnectError>, Served, JoinHandle<RelayEnd>) {
        let (near, near_relay) = ByteStream::pair();
        let (far_relay, far) = ByteStream::pair();
        let (sizes, cut) = (Arc::clone(&self.sizes), self.cut.clone());
        let relayed = tokio::spawn(async move {
            let meter =
                |way: Direction, size: usize| sizes.lock().unwrap()[usize::from(way == Direction::Back)] += size;
            relay(near_relay, far_relay, meter, &cut).await
        });
        let (routes, seen) = routes();
        self.seen = seen;
        let (credential, expected, pin) = self.serves.clone();
        let served =
            tokio::spawn(async move { serve_pinned(far, &credential, &expected, pin, routes, &Shutdown::new()).await });
        let (credential, expected, pin) = &self.asks;
        (connect_pinned(near, credential, expected, *pin).await, served, relayed)
    }
}

fn pair() -> (Federation, Credential, Credential) {
    let federation = Federation::new();
    let (health, education) = (federation.issue(HEALTH), federation.issue(EDUCATION));
    (federation, health, education)
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(5), work).await.expect("took more than five seconds")
}

#[tokio::test]
async fn pinned_peers_speak_through_a_relay_and_share_what_binds_their_session() {
    let (_, health, education) = pair();
    let mut session = Session::between(&health, &education);
    let (connected, served, relayed) = session.open().await;
    let (channel, exporter) = connected.unwrap();
    ask(channel.clone()).await.unwrap();
    let seen = session.seen.lock().unwrap().pop().unwrap();
    assert_eq!(seen.identity, id(HEALTH));
    assert_eq!(seen.pin, health.pin());
    assert_eq!(seen.exporter, exporter);
    assert!(session.sizes.lock().unwrap().iter().all(|&size| size > 0));

    let (second, ..) = session.open().await;
    assert_ne!(second.unwrap().1, exporter, "another session, another binding");

    drop(channel);
    soon(served).await.unwrap().unwrap();
    assert_eq!(soon(relayed).await.unwrap(), RelayEnd::Finished);
}

#[tokio::test]
async fn the_common_authoritys_certificate_with_the_right_name_and_another_key_is_refused_inside_a_tunnel() {
    let (federation, health, education) = pair();
    // The authority issues both names once more, to somebody else.
    let (false_health, false_education) = (federation.issue(HEALTH), federation.issue(EDUCATION));

    let mut server = Session::between(&health, &education);
    server.serves.0 = false_education;
    let (connected, served, _) = server.open().await;
    assert!(matches!(connected.unwrap_err(), ConnectError::WrongPeer(CertificateError::OtherKey)));
    assert!(soon(served).await.unwrap().is_err());

    let mut client = Session::between(&health, &education);
    client.asks.0 = false_health;
    let (connected, served, _) = client.open().await;
    assert!(matches!(connected.unwrap_err(), ConnectError::Refused(_)));
    let refused = soon(served).await.unwrap().unwrap_err();
    assert!(matches!(refused, ConnectError::WrongPeer(CertificateError::OtherKey)), "{refused}");
    assert!(client.seen.lock().unwrap().is_empty());

    let mut twin = Session::between(&health, &education);
    let (connected, ..) = twin.open().await;
    ask(connected.unwrap().0).await.unwrap();
}

#[tokio::test]
async fn the_pinned_key_with_another_name_is_refused_inside_a_tunnel() {
    let (_, health, education) = pair();
    let mut session = Session::between(&health, &education);
    session.asks.1 = id("spiffe://firebreak.test/org/education/adapter/two");
    let (connected, ..) = session.open().await;
    assert!(matches!(connected.unwrap_err(), ConnectError::WrongPeer(CertificateError::OtherIdentity)));
}

#[tokio::test]
async fn inside_a_tunnel_the_pin_alone_counts_whoever_issued_the_certificate() {
    let (_, health, _) = pair();
    let education = Federation::new().issue(EDUCATION);
    let mut session = Session::between(&health, &education);
    let (connected, ..) = session.open().await;
    ask(connected.unwrap().0).await.unwrap();
}

#[tokio::test]
async fn a_cut_stops_a_tunnel_at_both_ends() {
    let (_, health, education) = pair();
    let mut session = Session::between(&health, &education);
    let (connected, served, relayed) = session.open().await;
    let (channel, _) = connected.unwrap();
    ask(channel.clone()).await.unwrap();
    session.cut.cancel();
    assert_eq!(soon(relayed).await.unwrap(), RelayEnd::Cut);
    assert!(ask(channel).await.is_err());
    soon(served).await.unwrap().unwrap();
    assert_eq!(session.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_meter_can_stop_the_very_chunk_that_is_too_much() {
    let (mut near, near_relay) = ByteStream::pair();
    let (far_relay, mut far) = ByteStream::pair();
    let cut = CancellationToken::new();
    let passed = AtomicUsize::new(0);
    let meter = |_, size| {
        if passed.fetch_add(size, Ordering::SeqCst) + size > 20 {
            cut.cancel();
        }
    };
    let write = async {
        for _ in 0..3 {
            let _ = near.write_all(&[7; 10]).await;
        }
    };
    let mut received = Vec::new();
    let read = far.read_to_end(&mut received);
    let (end, (), read) = soon(async { tokio::join!(relay(near_relay, far_relay, meter, &cut), write, read) }).await;
    assert_eq!(end, RelayEnd::Cut);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(received.len() <= 20);
}

#[tokio::test]
async fn bytes_arrive_in_order_whatever_the_sizes_and_then_end() {
    let (mut near, near_relay) = ByteStream::pair();
    let (far_relay, mut far) = ByteStream::pair();
    let sent: Vec<u8> = (0..1_000_003_u32).map(|n| (n * 7 % 251) as u8).collect();
    let cut = CancellationToken::new();
    let largest = AtomicUsize::new(0);
    let meter = |_, size| {
        largest.fetch_max(size, Ordering::SeqCst);
    };
    let write = async {
        let mut rest = &sent[..];
        for size in [1, 2, 3, 100, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1].into_iter().cycle() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            near.write_all(now).await.unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        near.shutdown().await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        // The other direction is still open.
        let mut back = Vec::new();
        near.read_to_end(&mut back).await.unwrap();
        back
    };
    let read = async {
        let mut received = Vec::new();
        let mut piece = vec![0; 70_001];
        for size in [1, 7, 1000, 70_001].into_iter().cycle() {
            match far.read(&mut piece[..size]).await.unwrap() {
                0 => break,
                count => received.extend_from_slice(&piece[..count]),
            }
        }
        far.write_all(b"thanks").await.unwrap();
        far.shutdown().await.unwrap();
        received
    };
    let (end, back, received) =
        soon(async { tokio::join!(relay(near_relay, far_relay, meter, &cut), write, read) }).await;
    assert_eq!(end, RelayEnd::Finished);
    assert!(received == sent);
    assert_eq!(back, b"thanks");
    assert_eq!(largest.into_inner(), MAX_CHUNK);
}

#[tokio::test]
async fn a_stream_that_stops_without_its_end_is_an_error_to_the_reader() {
    for clean in [true, false] {
        let (mut near, mut far) = ByteStream::pair();
        near.write_all(b"abc").await.unwrap();
        if clean {
            near.shutdown().await.unwrap();
        }
        drop(near);
        let mut received = Vec::new();
        let read = far.read_to_end(&mut received).await;
        assert_eq!(received, b"abc");
        assert_eq!(read.map_err(|error| error.kind()), if clean { Ok(3) } else { Err(ErrorKind::UnexpectedEof) });
    }
}

#[tokio::test]
async fn a_writer_waits_for_its_reader() {
    let (mut near, mut far) = ByteStream::pair();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let writing = tokio::spawn(async move {
        for _ in 0..100 {
            near.write_all(&[1; 1000]).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(written.load(Ordering::SeqCst) < 10, "nothing was read and all was written");
    far.read_exact(&mut vec![0; 100_000]).await.unwrap();
    soon(writing).await.unwrap();
}

#[tokio::test]
async fn a_chunk_that_is_too_large_ends_the_tunnel() {
    for (size, fits) in [(MAX_CHUNK, true), (MAX_CHUNK + 1, false)] {
        let (send, incoming) = mpsc::channel(2);
        let (outgoing, _kept) = mpsc::channel(2);
        send.send(Bytes::from(vec![0; size])).await.unwrap();
        let mut stream = ByteStream::new(incoming, outgoing);
        let read = stream.read(&mut vec![0; size]).await.map_err(|error| error.kind());
        assert_eq!(read, if fits { Ok(size) } else { Err(ErrorKind::InvalidData) });

        let (send, incoming) = mpsc::channel(2);
        let (outgoing, _kept) = mpsc::channel(2);
        send.send(Bytes::from(vec![0; size])).await.unwrap();
        drop(send);
        let (far, _far_end) = ByteStream::pair();
        let passed = AtomicUsize::new(0);
        let meter = |_, size| {
            passed.fetch_add(size, Ordering::SeqCst);
        };
        let end = soon(relay(ByteStream::new(incoming, outgoing), far, meter, &CancellationToken::new())).await;
        assert_eq!(end, RelayEnd::Broken);
        assert_eq!(passed.into_inner() > 0, fits);
    }
}

#[tokio::test]
async fn a_reader_that_goes_breaks_the_relay_even_while_nothing_is_sent() {
    let (near, near_relay) = ByteStream::pair();
    let (far_relay, far) = ByteStream::pair();
    let relayed = tokio::spawn(async move { relay(near_relay, far_relay, |_, _| {}, &CancellationToken::new()).await });
    tokio::task::yield_now().await;
    assert!(!relayed.is_finished());
    drop(far);
    assert_eq!(soon(relayed).await.unwrap(), RelayEnd::Broken);
    drop(near);
}

#[tokio::test]
async fn a_failed_stream_of_chunks_is_a_cut_and_a_reader_that_goes_drops_it() {
    let chunks = [Ok(Bytes::from_static(b"ab")), Err("lost"), Ok(Bytes::from_static(b"cd"))];
    let (outgoing, _kept) = mpsc::channel(1);
    let mut stream = ByteStream::new(receive_chunks(tokio_stream::iter(chunks)), outgoing);
    let mut received = Vec::new();
    assert_eq!(stream.read_to_end(&mut received).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(received, b"ab");

    let (source, endless) = mpsc::channel::<Result<Bytes, ()>>(1);
    drop(receive_chunks(tokio_stream::wrappers::ReceiverStream::new(endless)));
    until("the source is dropped", || source.is_closed()).await;
}
