use super::query::{estimand, foreseen};
use super::{ROWS, refused, status};
use crate::app::{App, Failure, ShownPublication};
use firebreak_domain::{Identity, OrgId, PublicationId, PublicationStep, ReasonCode, Refusal, SeriesId, Timestamp};
use firebreak_node::SubmittedQuery;
use firebreak_store::PublicationStage;
use firebreak_transport::peer;
use firebreak_wire::figures_from_bytes;
use firebreak_wire::publication::v1::publication_service_server::PublicationService;
use firebreak_wire::publication::v1::{self as wire, get_publication_response::Step};
use firebreak_wire::query::v1::{RequestHeader, Row, Rows};
use std::fmt::Display;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// What every interval covers.
const INTERVALS: &str = "standard errors and 95 % intervals cover the noise alone: neither what bounding and clamping \
                         leave out, nor any error in the data";

/// Releases made public.
pub struct Publications {
    app: Arc<App>,
    wake: Arc<Notify>,
}

impl Publications {
    /// Serves `app`; `wake` calls the courier.
    #[must_use]
    pub const fn new(app: Arc<App>, wake: Arc<Notify>) -> Self {
        Self { app, wake }
    }

    async fn step(
        &self,
        caller: Identity,
        header: Option<RequestHeader>,
        step: Result<PublicationStep, Refusal>,
    ) -> Result<Response<wire::PublicationStepResponse>, Status> {
        let submitted = SubmittedQuery::read_publication(header.as_ref(), step.clone());
        let app = Arc::clone(&self.app);
        // It goes on when its caller is gone: what is stored also gets into the log.
        let taken = tokio::spawn(async move {
            match (submitted, step) {
                (Ok(submitted), Ok(step)) => app.take_step(&submitted, &step, &caller).await,
                (Err(unread), _) => Err(app.refuse_unread(unread, &caller).await),
                (Ok(_), Err(refusal)) => {
                    Err(crate::app::Unanswered::Refused { refusal: Box::new(refusal), receipt: None })
                }
            }
        });
        let taken = taken.await.map_err(|_| Status::internal("the gateway could not answer"))?;
        self.wake.notify_one();
        let taken = taken.map_err(status)?;
        let publication = Some(head(&self.app, &taken.publication).map_err(failed)?.0.publication.unwrap_or_default());
        Ok(Response::new(wire::PublicationStepResponse { publication, receipt: taken.receipt.unwrap_or_default() }))
    }

    async fn found(
        &self,
        caller: &Identity,
        request: &wire::GetPublicationRequest,
    ) -> Result<ShownPublication, Status> {
        let unknown = || refused(Refusal::new(ReasonCode::UnknownPublication));
        let found = if request.publication_id.is_empty() {
            // What has not the form of a name is the name of nothing.
            let (Ok(organisation), Ok(series)) =
                (OrgId::new(request.organisation.as_str()), SeriesId::new(request.series.as_str()))
            else {
                return Err(unknown());
            };
            let revision = (request.revision != 0).then_some(request.revision);
            self.app.open_revision(&organisation, &series, revision).await
        } else {
            let id: PublicationId = request.publication_id.parse().map_err(|_| unknown())?;
            self.app.publication_by_id(&id, caller).await
        };
        found.map_err(failed)?.ok_or_else(unknown)
    }
}

fn failed(failure: Failure) -> Status {
    status(failure.into())
}

/// A part of a step, read.
fn read<T, E: Display>(read: Result<T, E>) -> Result<T, Refusal> {
    read.map_err(|error| Refusal::new(ReasonCode::MalformedRequest).because(error.to_string()))
}

#[tonic::async_trait]
impl PublicationService for Publications {
    async fn draft_publication(
        &self,
        request: Request<wire::DraftPublicationRequest>,
    ) -> Result<Response<wire::PublicationStepResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let wire::DraftPublicationRequest { header, release_id, series, revises } = request.into_inner();
        let step = read(release_id.parse())
            .and_then(|release| Ok(PublicationStep::Draft { release, series: read(SeriesId::new(series))?, revises }));
        self.step(caller, header, step).await
    }

    async fn embargo_publication(
        &self,
        request: Request<wire::EmbargoPublicationRequest>,
    ) -> Result<Response<wire::PublicationStepResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let wire::EmbargoPublicationRequest { header, publication_id, until } = request.into_inner();
        let until = Timestamp::from_secs(until);
        let step = read(publication_id.parse()).map(|publication| PublicationStep::Embargo { publication, until });
        self.step(caller, header, step).await
    }

    async fn publish_publication(
        &self,
        request: Request<wire::PublishPublicationRequest>,
    ) -> Result<Response<wire::PublicationStepResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let wire::PublishPublicationRequest { header, publication_id } = request.into_inner();
        let step = read(publication_id.parse()).map(|publication| PublicationStep::Publish { publication });
        self.step(caller, header, step).await
    }

    async fn withdraw_publication(
        &self,
        request: Request<wire::WithdrawPublicationRequest>,
    ) -> Result<Response<wire::PublicationStepResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let wire::WithdrawPublicationRequest { header, publication_id } = request.into_inner();
        let step = read(publication_id.parse()).map(|publication| PublicationStep::Withdraw { publication });
        self.step(caller, header, step).await
    }

    async fn list_publications(
        &self,
        request: Request<wire::ListPublicationsRequest>,
    ) -> Result<Response<wire::ListPublicationsResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let mut shown = self.app.open_publications().await.map_err(failed)?;
        shown.extend(self.app.own_publications(&caller).await.map_err(failed)?);
        let publications = shown.iter().map(|one| Ok(head(&self.app, one)?.0.publication.unwrap_or_default()));
        let publications = publications.collect::<Result<_, Failure>>().map_err(failed)?;
        Ok(Response::new(wire::ListPublicationsResponse { publications }))
    }

    type GetPublicationStream = ReceiverStream<Result<wire::GetPublicationResponse, Status>>;

    async fn get_publication(
        &self,
        request: Request<wire::GetPublicationRequest>,
    ) -> Result<Response<Self::GetPublicationStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        let found = self.found(&caller, &request.into_inner()).await?;
        let (head, rows) = head(&self.app, &found).map_err(failed)?;
        let (send, receive) = mpsc::channel(8);
        tokio::spawn(async move {
            let rows = rows.chunks(ROWS).map(|some| Step::Rows(Rows { rows: some.to_vec() }));
            for step in std::iter::once(Step::Head(head)).chain(rows) {
                let step = Some(step);
                if send.send(Ok(wire::GetPublicationResponse { step })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

/// A publication as sent: its head, and its rows.
pub(super) fn head(app: &App, shown: &ShownPublication) -> Result<(wire::PublicationHead, Vec<Row>), Failure> {
    use wire::publication::State;
    let ShownPublication { stored, figures, revised } = shown;
    let withdrawn = stored.stage == PublicationStage::Withdrawn;
    let figures = match figures_from_bytes(figures) {
        Some(figures) => figures,
        None if withdrawn => wire::PublishedFigures::default(),
        None => return Err(Failure::Answer("published figures")),
    };
    let (state, until) = match stored.stage {
        PublicationStage::Draft => (State::Draft, 0),
        PublicationStage::Embargoed(until) => (State::Embargoed, until.secs()),
        PublicationStage::Published if *revised => (State::Revised, 0),
        PublicationStage::Published => (State::Published, 0),
        PublicationStage::Withdrawn => (State::Withdrawn, 0),
    };
    let (published, address) = (stored.published.as_ref(), app.address(stored));
    let citation =
        figures.citation.map(|cited| firebreak_wire::query::v1::Citation { address: address.clone(), ..cited });
    let cited = citation.clone().unwrap_or_default();
    let publication = wire::Publication {
        publication_id: stored.id.to_string(),
        organisation: stored.organisation.to_string(),
        series: stored.series.to_string(),
        revision: published.map_or(0, |p| p.revision),
        state: state.into(),
        embargo_until: until,
        published: published.map_or(0, |p| p.at.secs()),
        address,
        release_id: stored.release.to_string(),
        dataset: stored.datasets.clone(),
        title: cited.title,
        cut: cited.cut,
    };
    let head = wire::PublicationHead {
        publication: Some(publication),
        estimand: estimand(figures.accepted.as_ref().and_then(foreseen)),
        accepted: figures.accepted,
        citation,
        receipt: published.and_then(|p| p.receipt.clone()).unwrap_or_default(),
        intervals: INTERVALS.to_owned(),
        all_groups: figures.all_groups,
        left_out: figures.left_out,
    };
    Ok((head, figures.rows))
}
