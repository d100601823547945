use crate::support::{EDUCATION, Federation, GATEWAY, HEALTH, Running, Seen, any, ask, id, routes, until};
use firebreak_domain::OrgId;
use firebreak_transport::{ReverseDialer, Server, ServerTls, Shutdown, dial_reverse};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn health() -> OrgId {
    OrgId::new("health").unwrap()
}

fn dial(federation: &Federation, who: &str, address: &str, shutdown: &Shutdown) -> (ReverseDialer, Seen) {
    let (routes, seen) = routes();
    let credential = federation.issue(who);
    let dialer = dial_reverse(&[address.to_owned()], &credential, &federation.trust, &id(GATEWAY), &routes, shutdown);
    (dialer, seen)
}

async fn both_up(gateway: &Running) {
    until("two connections", || gateway.adapters.connected() == [(health(), 2)]).await;
}

#[tokio::test]
async fn the_side_that_accepted_asks_the_side_that_dialled() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let (dialer, seen) = dial(&federation, HEALTH, &gateway.at(), &Shutdown::new());
    both_up(&gateway).await;
    let state = dialer.state();
    until("the adapter knows", || state.borrow().complete()).await;
    for _ in 0..4 {
        ask(gateway.adapters.channel(&health()).unwrap()).await.unwrap();
    }
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|peer| peer.identity == id(GATEWAY)));
    let connections: HashSet<_> = seen.iter().map(|peer| peer.exporter).collect();
    assert_eq!(connections.len(), 2, "the two connections take turns");
    assert!(gateway.adapters.channel(&OrgId::new("education").unwrap()).is_none());
    // Nothing that the adapter serves was asked of the gateway.
    assert!(gateway.seen.lock().unwrap().is_empty());
}

/// A wire that can be cut between two parties.
struct Wire {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Wire {
    async fn to(target: SocketAddr) -> Self {
        let tcp = TcpListener::bind(any()).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut near, _) = tcp.accept().await.unwrap();
                open.spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, tasks }
    }
}

#[tokio::test]
async fn a_lost_connection_leaves_the_set_at_once_and_is_made_again() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let wire = Wire::to(gateway.address).await;
    let at = wire.address;
    let (dialer, _) = dial(&federation, HEALTH, &at.to_string(), &Shutdown::new());
    both_up(&gateway).await;
    let old = gateway.adapters.channel(&health()).unwrap();
    ask(old.clone()).await.unwrap();

    drop(wire.tasks);
    let gone = until("the gateway notices", || gateway.adapters.channel(&health()).is_none());
    timeout(Duration::from_secs(2), gone).await.expect("a dead connection stayed");
    assert_eq!(ask(old).await.unwrap_err().code(), tonic::Code::Unavailable);

    // The same address answers again.
    let tcp = TcpListener::bind(at).await.unwrap();
    let target = gateway.address;
    tokio::spawn(async move {
        loop {
            let (mut near, _) = tcp.accept().await.unwrap();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    both_up(&gateway).await;
    ask(gateway.adapters.channel(&health()).unwrap()).await.unwrap();
    let state = dialer.state();
    until("the adapter knows", || state.borrow().complete()).await;
}

#[tokio::test]
async fn connections_that_may_no_longer_stay_are_cut_and_come_back_only_if_admitted() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let (_health, _) = dial(&federation, HEALTH, &gateway.at(), &Shutdown::new());
    let (_education, _) = dial(&federation, EDUCATION, &gateway.at(), &Shutdown::new());
    until("both agencies", || gateway.adapters.connected().iter().map(|(_, live)| live).sum::<usize>() == 4).await;
    let cut = gateway.adapters.channel(&health()).unwrap();
    gateway.adapters.retain(|peer| peer.identity.org != health());
    assert!(gateway.adapters.channel(&health()).is_none());
    assert!(ask(cut).await.is_err());
    ask(gateway.adapters.channel(&OrgId::new("education").unwrap()).unwrap()).await.unwrap();
    // Admitted again, they return.
    until("they redial", || gateway.adapters.channel(&health()).is_some()).await;
}

#[tokio::test]
async fn an_adapter_that_is_not_admitted_is_never_asked_and_knows_that_it_is_not_connected() {
    let federation = Federation::new();
    let tls = ServerTls::federation(&federation.issue(GATEWAY), &federation.trust);
    let server = Server::bind(any(), tls).await.unwrap();
    let gateway = Running::start_admitting(server, |peer| peer.identity == id(HEALTH));
    let (stranger, _) = dial(&federation, EDUCATION, &gateway.at(), &Shutdown::new());
    let (_known, _) = dial(&federation, HEALTH, &gateway.at(), &Shutdown::new());
    both_up(&gateway).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(gateway.adapters.connected(), [(health(), 2)]);
    assert_eq!(stranger.state().borrow().total(), 0);
}

#[tokio::test]
async fn an_adapter_does_not_serve_another_identity_in_the_gateways_place() {
    let federation = Federation::new();
    let impostor = federation.serve(&federation.issue(EDUCATION)).await;
    let (dialer, seen) = dial(&federation, HEALTH, &impostor.at(), &Shutdown::new());
    sleep(Duration::from_millis(500)).await;
    assert!(impostor.adapters.connected().is_empty());
    assert_eq!(dialer.state().borrow().total(), 0);
    assert!(seen.lock().unwrap().is_empty());

    let gateway = federation.gateway().await;
    let (_twin, _) = dial(&federation, HEALTH, &gateway.at(), &Shutdown::new());
    both_up(&gateway).await;
}

#[tokio::test]
async fn an_adapter_that_ends_is_forgotten_and_does_not_redial() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let shutdown = Shutdown::new();
    let (dialer, _) = dial(&federation, HEALTH, &gateway.at(), &shutdown);
    both_up(&gateway).await;
    shutdown.request();
    timeout(Duration::from_secs(5), dialer.finished()).await.expect("still there");
    until("forgotten", || gateway.adapters.connected().is_empty()).await;

    let (dialer, _) = dial(&federation, HEALTH, &gateway.at(), &Shutdown::new());
    both_up(&gateway).await;
    drop(dialer);
    until("dropped", || gateway.adapters.connected().is_empty()).await;
    sleep(Duration::from_millis(500)).await;
    assert!(gateway.adapters.connected().is_empty());
}

#[tokio::test]
async fn one_organisation_cannot_fill_the_set() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let dialled: Vec<_> = (0..6).map(|_| dial(&federation, HEALTH, &gateway.at(), &Shutdown::new())).collect();
    until("eight connections", || gateway.adapters.connected() == [(health(), 8)]).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(gateway.adapters.connected(), [(health(), 8)]);
    ask(gateway.adapters.channel(&health()).unwrap()).await.unwrap();
    drop(dialled);
}

#[tokio::test]
async fn a_dialer_that_is_dropped_takes_its_streams_with_it() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let (dialer, _) = dial(&federation, HEALTH, &gateway.at(), &Shutdown::new());
    both_up(&gateway).await;
    let mut asking = HealthClient::new(gateway.adapters.channel(&health()).unwrap());
    let mut watch = asking.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    drop(dialer);
    let ended = timeout(Duration::from_secs(5), watch.message()).await.expect("the stream outlived its dialer");
    assert!(ended.is_err() || ended.unwrap().is_none());
}
