use crate::support::{ADA, Federation, GATEWAY, HEALTH, Running, any, ask, id, until};
use firebreak_domain::{Clock, SystemClock};
use firebreak_transport::{Limits, Server, ServerTls, Validity, connect};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

async fn limited(federation: &Federation, limits: Limits) -> Running {
    let tls = ServerTls::federation(&federation.issue(GATEWAY), &federation.trust);
    Running::start(Server::bind(any(), tls).await.unwrap().with_limits(limits))
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_or_is_garbage_ends_alone() {
    let federation = Federation::new();
    let limits = Limits { handshake_time: Duration::from_millis(300), handshakes: 2, ..Limits::default() };
    let gateway = limited(&federation, limits).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    let mut garbage = TcpStream::connect(gateway.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    for mut socket in silent {
        let read = timeout(Duration::from_secs(3), socket.read(&mut [0; 16])).await.expect("still open");
        assert_eq!(read.unwrap_or(0), 0);
    }
    let channel = connect(&gateway.at(), &federation.issue(ADA), &federation.trust, &id(GATEWAY)).await.unwrap();
    ask(channel).await.unwrap();
}

#[tokio::test]
async fn one_identity_cannot_take_all_connections() {
    let federation = Federation::new();
    let gateway = limited(&federation, Limits { connections_per_peer: 2, ..Limits::default() }).await;
    let (ada, health) = (federation.issue(ADA), federation.issue(HEALTH));
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(connect(&gateway.at(), &ada, &federation.trust, &id(GATEWAY)).await.unwrap());
    }
    assert!(connect(&gateway.at(), &ada, &federation.trust, &id(GATEWAY)).await.is_err());
    assert!(connect(&gateway.at(), &health, &federation.trust, &id(GATEWAY)).await.is_ok());
    drop(open);
    // The place is free again once the server has seen the end.
    let mut back = false;
    for _ in 0..100 {
        back = connect(&gateway.at(), &ada, &federation.trust, &id(GATEWAY)).await.is_ok();
        if back {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(back);
}

#[tokio::test]
async fn a_connection_ends_when_its_peers_certificate_does() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let now = SystemClock.now();
    let soon = Validity { not_before: now.plus_secs(-60), not_after: now.plus_secs(2) };
    let short = federation.ca.issue(&id(ADA), &[], soon).unwrap();
    let channel = connect(&gateway.at(), &short, &federation.trust, &id(GATEWAY)).await.unwrap();
    let lasting = connect(&gateway.at(), &federation.issue(ADA), &federation.trust, &id(GATEWAY)).await.unwrap();
    ask(channel.clone()).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    assert!(ask(channel).await.is_err());
    ask(lasting).await.unwrap();
    assert_eq!(gateway.seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_shutdown_closes_the_port_and_cuts_what_does_not_finish() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let address = gateway.at();
    let channel = connect(&address, &federation.issue(ADA), &federation.trust, &id(GATEWAY)).await.unwrap();
    ask(channel.clone()).await.unwrap();
    // A stream that would never end by itself.
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let mut watch = health.watch(tonic_health::pb::HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    gateway.shutdown.request();
    let ended = timeout(Duration::from_secs(5), watch.message()).await.expect("the stream outlived the limit");
    assert!(ended.is_err() || ended.unwrap().is_none());
    let mut closed = false;
    until("the port is closed", || {
        closed = std::net::TcpStream::connect(&address).is_err();
        closed
    })
    .await;
}
