//! What the gateway finds in a list that a side has sent on to be counted. Between the gateway and one agency's program
//! stands somebody with that agency's key, who speaks for it and passes on all that it says but for the points.

use super::inside::{ALL, LEFT, RIGHT};
use super::relayed::Relay;
use crate::tunnels::{adapter, gateway, in_front, recorded};
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, ClientError, run_query};
use firebreak_domain::ReasonCode;
use firebreak_testbed::gateway_identity;
use firebreak_tests::{Caller, Liar, Own, ask_until_answered, refusal_of, run};
use firebreak_transport::{Shutdown, dial_reverse};
use firebreak_wire::agency::v1 as wire;
use firebreak_wire::agency::v1::agency_service_client::AgencyServiceClient;
use firebreak_wire::agency::v1::agency_service_server::{AgencyService, AgencyServiceServer};
use firebreak_wire::agency::v1::run_join_response::Step;
use firebreak_wire::{reason_to_wire, refusal_of_status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// Bytes of a point and its label.
const POINT: usize = 34;

/// Speaks to the gateway in the left agency's place.
struct Speaker {
    program: AgencyServiceClient<Channel>,
    /// Whether the first two points of what is sent to be counted change places.
    swaps: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl AgencyService for Speaker {
    type ExecuteQueryStream = ReceiverStream<Result<wire::ExecuteQueryResponse, Status>>;
    type RunJoinStream = ReceiverStream<Result<wire::RunJoinResponse, Status>>;
    type AcceptTunnelStream = ReceiverStream<Result<wire::AcceptTunnelResponse, Status>>;

    async fn execute_query(
        &self,
        _: Request<wire::ExecuteQueryRequest>,
    ) -> Result<Response<Self::ExecuteQueryStream>, Status> {
        Err(Status::unimplemented("a join asks no side for it"))
    }

    async fn check_join(
        &self,
        request: Request<wire::CheckJoinRequest>,
    ) -> Result<Response<wire::CheckJoinResponse>, Status> {
        self.program.clone().check_join(request.into_inner()).await
    }

    async fn run_join(&self, request: Request<wire::RunJoinRequest>) -> Result<Response<Self::RunJoinStream>, Status> {
        let mut steps = self.program.clone().run_join(request.into_inner()).await?.into_inner();
        let (say, said) = mpsc::channel(4);
        let swaps = Arc::clone(&self.swaps);
        tokio::spawn(async move {
            loop {
                let mut next = tokio::select! {
                    next = steps.message() => next,
                    // Dropped with what the gateway holds of it.
                    () = say.closed() => return,
                };
                if let Ok(Some(wire::RunJoinResponse { step: Some(Step::Points(points)) })) = &mut next
                    && let ([first, second, ..], _) = points.as_chunks_mut::<POINT>()
                    && swaps.swap(false, Ordering::SeqCst)
                {
                    std::mem::swap(first, second);
                }
                let Some(next) = next.transpose() else { return };
                if say.send(next).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn report_join_fault(
        &self,
        request: Request<wire::ReportJoinFaultRequest>,
    ) -> Result<Response<wire::ReportJoinFaultResponse>, Status> {
        self.program.clone().report_join_fault(request.into_inner()).await
    }

    async fn accept_tunnel(
        &self,
        _: Request<Streaming<wire::AcceptTunnelRequest>>,
    ) -> Result<Response<Self::AcceptTunnelStream>, Status> {
        Err(Status::unimplemented("the left side opens the tunnel"))
    }

    async fn list_outstanding_leaves(
        &self,
        request: Request<wire::ListOutstandingLeavesRequest>,
    ) -> Result<Response<wire::ListOutstandingLeavesResponse>, Status> {
        self.program.clone().list_outstanding_leaves(request.into_inner()).await
    }

    async fn confirm_leaves(
        &self,
        request: Request<wire::ConfirmLeavesRequest>,
    ) -> Result<Response<wire::ConfirmLeavesResponse>, Status> {
        self.program.clone().confirm_leaves(request.into_inner()).await
    }

    async fn list_caps(&self, _: Request<wire::ListCapsRequest>) -> Result<Response<wire::ListCapsResponse>, Status> {
        Err(Status::unimplemented("a join asks no side for it"))
    }
}

async fn reported(program: &mut AgencyServiceClient<Channel>, session: &[u8], reason: ReasonCode) -> Result<Status> {
    let reason = reason_to_wire(reason).into();
    let request = wire::ReportJoinFaultRequest { session: session.to_vec(), reason, sent_on: true };
    program.report_join_fault(request).await.err().context("it was taken")
}

#[test]
fn what_the_gateway_finds_in_a_list_is_recorded_by_both_agencies_and_ends_no_session() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(300)?;
        let shutdown = Shutdown::new();
        let genuine = gateway(&federation, &shutdown).await?;
        let before = in_front(&federation, Relay::before(&federation, genuine.address).await?, &shutdown).await?;
        // The left agency's program serves a false gateway, through which somebody has it speak to the genuine one.
        let liar = Liar::listen(&federation).await?;
        let left = adapter(&federation, LEFT, &[before, liar.address()], &shutdown).await?;
        let right = adapter(&federation, RIGHT, &[genuine.address], &shutdown).await?;
        let mut program = None;
        for _ in 0..200 {
            program = liar.agency(LEFT).ok();
            if program.is_some() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let mut program = program.context("the program did not dial")?;
        let swaps = Arc::new(AtomicBool::new(true));
        let speaker = Speaker { program: program.clone(), swaps: Arc::clone(&swaps) };
        let (credential, trust) = (federation.issue(LEFT, "adapter", "main")?, federation.authority().trust_anchor()?);
        let dialler = dial_reverse(
            &[format!("localhost:{}", genuine.address.port())],
            &credential,
            &trust,
            &gateway_identity().parse()?,
            &Routes::new(AgencyServiceServer::new(speaker)),
            &shutdown,
        );

        // A gateway cannot say what it likes of any join.
        let unknown = reported(&mut program, &[7; 32], ReasonCode::HostileInput).await?;
        assert_eq!(refusal_of_status(&unknown).context("no refusal")?.reason, "SESSION_MISMATCH");
        let other = reported(&mut program, &[7; 32], ReasonCode::BudgetExhausted).await?;
        ensure!(other.code() == tonic::Code::InvalidArgument, "{other}");

        let ada = Caller::ADA.connect(&federation, genuine.address).await?;
        let ask = Ask::new("school-vaccinations", "school-health", ALL)?;
        let mut refused = None;
        for _ in 0..200 {
            let refusal = refusal_of(run_query(&ada, &ask, &mut |_| {}).await)?.refusal;
            if !["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE"].contains(&refusal.reason.as_str()) {
                refused = Some(refusal);
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let refusal = refused.context("the programs did not find each other")?;
        assert_eq!(refusal.reason, "HOSTILE_INPUT");
        let detail = refusal.metadata.get("detail").context("no detail")?;
        ensure!(detail.contains("the list of health-agency, which education-agency sent on"), "{detail}");
        for agency in [LEFT, RIGHT] {
            // The agencies are told while the answer goes out.
            let mut found = recorded(&federation, agency).await?;
            for _ in 0..100 {
                if found.leaves_of(ReasonCode::HostileInput) > 0 {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
                found = recorded(&federation, agency).await?;
            }
            assert_eq!(found.leaves_of(ReasonCode::HostileInput), 1, "{agency}: {:?}", found.reasons);
            ensure!(found.ended.is_empty(), "{agency} ends its session by a gateway's word");
        }
        ensure!(!swaps.load(Ordering::SeqCst), "nothing was changed");
        let answer: Result<_, ClientError> = ask_until_answered(&ada, &ask).await;
        ensure!(answer?.rows.len() == 1, "the same request goes on");
        shutdown.request();
        genuine.finished().await;
        left.finished().await;
        right.finished().await;
        dialler.finished().await;
        Ok(())
    })
}
