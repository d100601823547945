//! What each side's program makes of what the other says wrong in the tunnel. Somebody stands in the middle of it with
//! both agencies' keys, which no gateway has, and passes on what either says but for one thing.

use super::inside::{ALL, LEFT, RIGHT};
use crate::tunnels::{self, Answers, Garbled, Recorded, adapter, dial, gateway, in_front, recorded};
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, ClientError, Connection, QueryAnswer, Refused, run_query};
use firebreak_domain::ReasonCode;
use firebreak_testbed::Federation;
use firebreak_tests::{Caller, HeldFile, Own, ask_until_answered, refusal_of, run, send};
use firebreak_transport::{Credential, Shutdown, connect_pinned, serve_pinned};
use firebreak_wire::matching::v1 as wire;
use firebreak_wire::matching::v1::join_session_service_client::JoinSessionServiceClient;
use firebreak_wire::matching::v1::join_session_service_server::{JoinSessionService, JoinSessionServiceServer};
use firebreak_wire::matching::v1::matching_service_server::MatchingService;
use firebreak_wire::reason_to_wire;
use std::future::pending;
use std::mem::replace;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// Larger than any message inside a tunnel.
const TOO_LARGE: usize = 2 << 20;
/// Bytes of a point, and with its label.
const POINT: usize = 32;
const ENTRY: usize = 34;

/// What is not passed on as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    // By the left side.
    ExporterOfAnotherConnection,
    AnotherBundle,
    AnotherRuleForIdentifiers,
    PointsLargerThanAnyMessage,
    PointsThatAreNoMessage,
    Points(Spoiled),
    PointsThatAreNoneWhileTheListIsRead,
    PointsAgain,
    PointsCutShort,
    FaultWhenAllIsSaid,
    NothingMore,
    // By the right side.
    KeyNotProved,
    KeyOfAnotherSession,
    List(Spoiled),
    ListLargerThanAnyMessage,
    ListThatIsNoMessage,
    ListTooShort,
    NoAnswer,
    // By neither.
    CutInTheMiddle,
}

/// What becomes of points on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoiled {
    NoPoint,
    Identity,
    OneTwice,
    TenTimesTheSize,
}

impl Spoiled {
    fn spoil(self, points: &mut Vec<u8>) {
        match self {
            Self::NoPoint => points.iter_mut().take(POINT).for_each(|byte| *byte = 0xff),
            Self::Identity => points.iter_mut().take(POINT).for_each(|byte| *byte = 0),
            Self::OneTwice => points.copy_within(..ENTRY, ENTRY),
            Self::TenTimesTheSize => *points = points.repeat(10),
        }
    }
}

#[derive(Default)]
struct Now {
    lie: Option<Lie>,
    /// The right side's key in the session before.
    key: Vec<u8>,
    /// The tunnel that is being served.
    tunnel: Option<AbortHandle>,
    /// A connection to the right side on which nothing is said any more.
    silent: Option<Channel>,
    /// Whether the right side was asked for its list.
    asked_for_list: bool,
    /// The list, which it has to wait for.
    held: Option<HeldFile>,
}

/// Stands where the gateway does, and asks the genuine one as the left side. It lies when it is told to.
#[derive(Clone)]
pub struct Relay {
    gateway: Channel,
    left: Credential,
    right: Credential,
    /// Where the right side keeps the files of its sessions.
    sessions: PathBuf,
    now: Arc<Mutex<Now>>,
}

impl Relay {
    /// In front of the genuine gateway.
    pub async fn before(federation: &Federation, gateway: SocketAddr) -> Result<Self> {
        Ok(Self {
            gateway: dial(federation, LEFT, gateway).await?,
            left: federation.issue(LEFT, "adapter", "main")?,
            right: federation.issue(RIGHT, "adapter", "main")?,
            sessions: federation.layout().adapter(RIGHT).join("state/sessions"),
            now: Arc::default(),
        })
    }

    fn now<T>(&self, part: impl FnOnce(&mut Now) -> T) -> T {
        part(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lies(&self, lie: Lie) -> bool {
        self.now(|now| now.lie == Some(lie))
    }
}

#[tonic::async_trait]
impl MatchingService for Relay {
    type OpenTunnelStream = Answers;

    async fn open_tunnel(
        &self,
        request: Request<Streaming<wire::OpenTunnelRequest>>,
    ) -> Result<Response<Self::OpenTunnelStream>, Status> {
        let mut frames = request.into_inner();
        let header = tunnels::header(&mut frames).await?;
        let (stream, opened) = tunnels::open(&self.gateway, header).await?;
        let connected = connect_pinned(stream, &self.left, self.right.identity(), self.right.pin()).await;
        let (channel, exporter) = connected.map_err(|error| Status::unavailable(error.to_string()))?;
        let (stream, answers) = tunnels::take(frames, opened, |_, _| {});
        let between = Between { channel, exporter, relay: self.clone() };
        let relay = self.clone();
        let garbles = move |path: &str| relay.lies(Lie::ListThatIsNoMessage) && path.ends_with("/ListPoints");
        let routes = Routes::new(Garbled { service: JoinSessionServiceServer::new(between), garbles });
        let (credential, expected, pin) = (self.right.clone(), self.left.identity().clone(), self.left.pin());
        let serving =
            tokio::spawn(
                async move { serve_pinned(stream, &credential, &expected, pin, routes, &Shutdown::new()).await },
            );
        self.now(|now| now.tunnel = Some(serving.abort_handle()));
        Ok(Response::new(answers))
    }
}

/// The genuine right side, behind the relay.
struct Between {
    channel: Channel,
    exporter: [u8; 32],
    relay: Relay,
}

impl Between {
    fn right(&self) -> JoinSessionServiceClient<Channel> {
        JoinSessionServiceClient::new(self.channel.clone())
    }

    fn lies(&self, lie: Lie) -> bool {
        self.relay.lies(lie)
    }
}

#[tonic::async_trait]
impl JoinSessionService for Between {
    type ListPointsStream = ReceiverStream<Result<wire::ListPointsResponse, Status>>;

    async fn open_join(
        &self,
        request: Request<wire::OpenJoinRequest>,
    ) -> Result<Response<wire::OpenJoinResponse>, Status> {
        let mut said = request.into_inner();
        if !self.lies(Lie::ExporterOfAnotherConnection) {
            said.exporter = self.exporter.to_vec();
        }
        said.bundle_sequence += u64::from(self.lies(Lie::AnotherBundle));
        said.normaliser += u32::from(self.lies(Lie::AnotherRuleForIdentifiers));
        let session = said.session.clone();
        let mut answer = self.right().open_join(said).await?.into_inner();
        let before = self.relay.now(|now| replace(&mut now.key, answer.key.clone()));
        if self.lies(Lie::KeyNotProved) {
            // The first byte of the response.
            answer.key.iter_mut().skip(64).take(1).for_each(|byte| *byte ^= 1);
        }
        if self.lies(Lie::KeyOfAnotherSession) {
            answer.key = before;
        }
        if self.lies(Lie::PointsThatAreNoneWhileTheListIsRead) {
            let list = self.relay.sessions.join(hex::encode(session)).join("own-points");
            let held = HeldFile::at(&list).map_err(|error| Status::internal(format!("{error:#}")))?;
            self.relay.now(|now| (now.held, now.asked_for_list) = (Some(held), false));
        }
        Ok(Response::new(answer))
    }

    async fn put_points(
        &self,
        request: Request<wire::PutPointsRequest>,
    ) -> Result<Response<wire::PutPointsResponse>, Status> {
        let mut said = request.into_inner();
        let lie = self.relay.now(|now| now.lie);
        match lie {
            Some(Lie::PointsLargerThanAnyMessage) => said.points = vec![1; TOO_LARGE],
            Some(Lie::Points(spoiled)) => spoiled.spoil(&mut said.points),
            Some(Lie::PointsAgain) => {
                self.right().put_points(said.clone()).await?;
            }
            Some(Lie::PointsCutShort) => {
                let received = said.offset.saturating_add(said.points.len() as u64);
                said.points.truncate(said.points.len() / 2 / ENTRY * ENTRY);
                self.right().put_points(said).await?;
                return Ok(Response::new(wire::PutPointsResponse { received }));
            }
            Some(Lie::PointsThatAreNoneWhileTheListIsRead) => {
                Spoiled::NoPoint.spoil(&mut said.points);
                while !self.relay.now(|now| now.asked_for_list) {
                    sleep(Duration::from_millis(10)).await;
                }
                // By then it has looked whether the session goes on, and waits where it reads.
                sleep(Duration::from_millis(500)).await;
                let answer = self.right().put_points(said).await;
                self.relay.now(|now| now.held = None);
                // What the left side hears is what the list says.
                return if answer.is_err() { pending().await } else { answer };
            }
            Some(Lie::PointsThatAreNoMessage) => {
                let path = "/firebreak.matching.v1.JoinSessionService/PutPoints";
                let answer = send(&self.channel, path, vec![0xff; 3]).await;
                answer.map_err(|error| Status::internal(error.to_string()))??;
            }
            Some(Lie::NothingMore) => {
                let received = said.offset.saturating_add(said.points.len() as u64);
                return Ok(Response::new(wire::PutPointsResponse { received }));
            }
            Some(Lie::NoAnswer) => pending().await,
            Some(Lie::CutInTheMiddle) => {
                if let Some(tunnel) = self.relay.now(|now| now.tunnel.take()) {
                    tunnel.abort();
                }
                pending().await
            }
            _ => {}
        }
        self.right().put_points(said).await
    }

    async fn list_points(
        &self,
        request: Request<wire::ListPointsRequest>,
    ) -> Result<Response<Self::ListPointsStream>, Status> {
        self.relay.now(|now| now.asked_for_list = true);
        let pieces = self.right().list_points(request.into_inner()).await?.into_inner();
        if !self.lies(Lie::ListLargerThanAnyMessage) && !self.lies(Lie::ListTooShort) {
            let relay = self.relay.clone();
            return Ok(Response::new(tunnels::pass_on(pieces, move |piece: &mut wire::ListPointsResponse| {
                if let Some(Lie::List(spoiled)) = relay.now(|now| now.lie) {
                    spoiled.spoil(&mut piece.points);
                }
            })));
        }
        let (piece, list) = mpsc::channel(1);
        if self.lies(Lie::ListLargerThanAnyMessage) {
            let _ = piece.try_send(Ok(wire::ListPointsResponse { points: vec![1; TOO_LARGE] }));
        }
        Ok(Response::new(ReceiverStream::new(list)))
    }

    async fn close_join(
        &self,
        request: Request<wire::CloseJoinRequest>,
    ) -> Result<Response<wire::CloseJoinResponse>, Status> {
        let mut said = request.into_inner();
        if self.lies(Lie::NothingMore) {
            // The left side goes when nobody answers; its connection to the right one stays.
            let channel = self.channel.clone();
            self.relay.now(|now| now.silent = Some(channel));
            pending().await
        }
        if self.lies(Lie::FaultWhenAllIsSaid) {
            said.reason = reason_to_wire(ReasonCode::ProofRejected).into();
        }
        self.right().close_join(said).await
    }
}

/// Both sides' programs, the gateway, and the relay between them.
struct Relayed {
    federation: Federation,
    relay: Relay,
    ada: Connection,
    programs: [agency_adapter::program::Running; 2],
    gateway: firebreak_gateway::program::Running,
    shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl Relayed {
    async fn start() -> Result<Self> {
        let (federation, folder) = Own::prepare(300)?;
        let shutdown = Shutdown::new();
        let gateway = gateway(&federation, &shutdown).await?;
        let relay = Relay::before(&federation, gateway.address).await?;
        let before = in_front(&federation, relay.clone(), &shutdown).await?;
        // The first gateway is asked for the tunnel; the second, genuine one has both sides run.
        let left = adapter(&federation, LEFT, &[before, gateway.address], &shutdown).await?;
        let right = adapter(&federation, RIGHT, &[gateway.address], &shutdown).await?;
        let ada = Caller::ADA.connect(&federation, gateway.address).await?;
        Ok(Self { federation, relay, ada, programs: [left, right], gateway, shutdown, _folder: folder })
    }

    /// Asks while the relay does that, once the programs have found each other.
    async fn ask(&self, ask: &Ask, lie: Option<Lie>) -> Result<QueryAnswer, ClientError> {
        self.relay.now(|now| now.lie = lie);
        let begins = ["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE"];
        let mut tries = 0;
        loop {
            match run_query(&self.ada, ask, &mut |_| {}).await {
                Err(ClientError::Refused(refused))
                    if tries < 100 && begins.contains(&refused.refusal.reason.as_str()) =>
                {
                    tries += 1;
                    sleep(Duration::from_millis(100)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn refused(&self, ask: &Ask, lie: Option<Lie>) -> Result<Refused> {
        refusal_of(self.ask(ask, lie).await).with_context(|| format!("{lie:?}"))
    }

    /// What both sides have recorded.
    async fn recorded(&self) -> Result<[Recorded; 2]> {
        Ok([recorded(&self.federation, LEFT).await?, recorded(&self.federation, RIGHT).await?])
    }

    async fn stop(self) {
        self.shutdown.request();
        self.gateway.finished().await;
        for program in self.programs {
            program.finished().await;
        }
    }
}

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("school-vaccinations", "school-health", sql)?)
}

/// Each of the lies ends a session of its own, on both sides, for that reason.
async fn found_out(lies: &[(Lie, ReasonCode)]) -> Result<()> {
    // Of each two sides so many as the sample's budget is enough for.
    for few in lies.chunks(4) {
        found_out_between_two(few).await?;
    }
    Ok(())
}

async fn found_out_between_two(lies: &[(Lie, ReasonCode)]) -> Result<()> {
    let relayed = Relayed::start().await?;
    let mut over = Vec::new();
    for (lie, reason) in lies.iter().copied() {
        let (before, asked) = (relayed.recorded().await?, ask(ALL)?);
        let refused = relayed.refused(&asked, Some(lie)).await?;
        assert_eq!(refused.refusal.reason, reason.as_str(), "{lie:?}");
        ensure!(refused.refusal.metadata.contains_key("contest"), "nobody says how to contest it");
        let after = relayed.recorded().await?;
        for (agency, before, after) in [(LEFT, &before[0], &after[0]), (RIGHT, &before[1], &after[1])] {
            // One leaf, and none of any other reason.
            assert_eq!(
                after.reasons.strip_prefix(&*before.reasons),
                Some(&[reason][..]),
                "{lie:?}: leaves of {agency}"
            );
            let of_reason = |ended: &[String]| ended.iter().filter(|ended| *ended == reason.as_str()).count();
            assert_eq!(of_reason(&after.ended), of_reason(&before.ended) + 1, "{lie:?}: {agency} goes on");
        }
        over.push((asked, lie, reason));
    }
    // They are over for good, whatever the other side says from now on. Last, since the side that the gateway does not wait
    // for may record its refusal later.
    for (asked, lie, reason) in over {
        let again = relayed.refused(&asked, None).await?;
        assert_eq!(again.refusal.reason, reason.as_str(), "{lie:?}, again");
    }
    relayed.stop().await;
    Ok(())
}

#[test]
fn what_the_left_side_says_wrong_is_named_and_recorded_by_both_and_ends_the_session() -> Result<()> {
    run(found_out(&[
        (Lie::PointsLargerThanAnyMessage, ReasonCode::SizeExceeded),
        (Lie::PointsThatAreNoMessage, ReasonCode::HostileInput),
        (Lie::Points(Spoiled::NoPoint), ReasonCode::HostileInput),
        (Lie::Points(Spoiled::Identity), ReasonCode::HostileInput),
        (Lie::Points(Spoiled::OneTwice), ReasonCode::HostileInput),
        (Lie::Points(Spoiled::TenTimesTheSize), ReasonCode::SizeExceeded),
        (Lie::PointsCutShort, ReasonCode::WrongCount),
        (Lie::PointsThatAreNoneWhileTheListIsRead, ReasonCode::HostileInput),
    ]))
}

#[test]
fn what_the_right_side_says_wrong_is_named_and_recorded_by_both_and_ends_the_session() -> Result<()> {
    run(found_out(&[
        (Lie::KeyNotProved, ReasonCode::ProofRejected),
        (Lie::KeyOfAnotherSession, ReasonCode::ProofRejected),
        (Lie::List(Spoiled::NoPoint), ReasonCode::HostileInput),
        (Lie::List(Spoiled::Identity), ReasonCode::HostileInput),
        (Lie::List(Spoiled::OneTwice), ReasonCode::HostileInput),
        (Lie::List(Spoiled::TenTimesTheSize), ReasonCode::SizeExceeded),
        (Lie::ListLargerThanAnyMessage, ReasonCode::SizeExceeded),
        (Lie::ListThatIsNoMessage, ReasonCode::HostileInput),
        (Lie::ListTooShort, ReasonCode::WrongCount),
    ]))
}

/// Each of the lies ends an attempt, on both sides, for that reason, and the same request goes on. Each asks another
/// question, since what was released once is given again without a session.
async fn goes_on(lies: &[(Lie, ReasonCode, &str)]) -> Result<()> {
    let relayed = Relayed::start().await?;
    for (lie, reason, labels) in lies.iter().copied() {
        let question = match labels {
            "" => ALL.to_owned(),
            labels => ALL.replace("COUNT", &format!("{labels}, COUNT")) + " GROUP BY " + labels,
        };
        let asked = ask(&question)?;
        let before = relayed.recorded().await?;
        let refused = relayed.refused(&asked, Some(lie)).await?;
        assert_eq!(refused.refusal.reason, reason.as_str(), "{lie:?}");
        for (before, found) in before.iter().zip(relayed.recorded().await?) {
            let leaves = found.leaves_of(reason) - before.leaves_of(reason);
            assert_eq!(leaves, 1, "{lie:?}: {:?}", found.reasons);
            ensure!(found.ended.is_empty(), "{lie:?} ends it: {:?}", found.ended);
        }
        relayed.relay.now(|now| now.lie = None);
        ask_until_answered(&relayed.ada, &asked).await?;
    }
    relayed.stop().await;
    Ok(())
}

#[test]
fn another_connection_bundle_or_rule_points_again_and_a_cut_are_named_by_both_and_the_same_request_goes_on()
-> Result<()> {
    run(async {
        goes_on(&[
            (Lie::ExporterOfAnotherConnection, ReasonCode::SessionMismatch, ""),
            (Lie::AnotherBundle, ReasonCode::BundleMismatch, "e.level"),
            (Lie::AnotherRuleForIdentifiers, ReasonCode::NormaliserMismatch, "v.vaccine"),
            (Lie::CutInTheMiddle, ReasonCode::ConnectionLost, "e.level, v.vaccine"),
        ])
        .await?;
        goes_on(&[(Lie::PointsAgain, ReasonCode::SessionMismatch, "")]).await
    })
}

#[test]
fn a_fault_that_the_left_side_tells_when_both_lists_have_arrived_is_recorded_all_the_same() -> Result<()> {
    run(async {
        let relayed = Relayed::start().await?;
        // Whether it comes before the right side has sent its list on, or after: that is a race.
        let _ = relayed.ask(&ask(ALL)?, Some(Lie::FaultWhenAllIsSaid)).await;
        let [_, right] = relayed.recorded().await?;
        assert_eq!(right.leaves_of(ReasonCode::ProofRejected), 1, "{:?}", right.reasons);
        assert_eq!(right.ended, [ReasonCode::ProofRejected.as_str()]);
        relayed.stop().await;
        Ok(())
    })
}

/// A side that falls silent to the other, which finds it out and tells it, or is found out as well: in real time, which is
/// a minute and more.
async fn silent(lie: Lie) -> Result<()> {
    let (relayed, asked) = (Relayed::start().await?, ask(ALL)?);
    let refused = relayed.refused(&asked, Some(lie)).await?;
    assert_eq!(refused.refusal.reason, "PEER_STALLED", "{lie:?}");
    let stalled = |side: &Recorded| side.leaves_of(ReasonCode::PeerStalled);
    let mut found = relayed.recorded().await?;
    // The gateway does not wait for the second.
    for _ in 0..900 {
        if found.iter().all(|side| stalled(side) > 0) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        found = relayed.recorded().await?;
    }
    for side in &found {
        assert_eq!(stalled(side), 1, "{lie:?}: {:?}", side.reasons);
        ensure!(side.ended.is_empty(), "{lie:?} ends it: {:?}", side.ended);
    }
    relayed.relay.now(|now| now.lie = None);
    ask_until_answered(&relayed.ada, &asked).await?;
    relayed.stop().await;
    Ok(())
}

#[test]
fn a_side_that_falls_silent_is_named_by_both_and_the_same_request_goes_on() -> Result<()> {
    run(async {
        tokio::try_join!(silent(Lie::NoAnswer), silent(Lie::NothingMore))?;
        Ok(())
    })
}
