use super::connection::MESSAGE;
use super::{Ask, ClientError, Connection};
use firebreak_domain::{Act, OrgId, PublicationId, PublicationStep, SeriesId};
use firebreak_format::PublishedAnswer;
use firebreak_wire::publication::v1::publication_service_client::PublicationServiceClient;
use firebreak_wire::publication::v1::{
    DraftPublicationRequest, EmbargoPublicationRequest, GetPublicationRequest, ListPublicationsRequest, Publication,
    PublicationStepResponse, PublishPublicationRequest, WithdrawPublicationRequest, get_publication_response::Step,
};
use tonic::transport::Channel;

/// Which publication.
#[derive(Debug, Clone)]
pub enum Published {
    /// By its id: also a draft of the caller's organisation.
    Id(PublicationId),
    /// That revision of a series, or the newest.
    Revision(OrgId, SeriesId, Option<u32>),
}

/// Takes a step of a publication, under the agreement and for the purpose of `ask`. Sent again it is the same step.
///
/// # Errors
/// [`ClientError::Refused`]; failures of the connection, after which the same `ask` may be sent again.
pub async fn take_step(
    connection: &Connection,
    ask: &Ask,
    step: PublicationStep,
) -> Result<PublicationStepResponse, ClientError> {
    let header = Some(connection.sign(ask, Act::Publication(step.clone()), connection.own_organisation())?);
    let mut client = client(connection);
    let taken = match step {
        PublicationStep::Draft { release, series, revises } => {
            let (release_id, series) = (release.to_string(), series.to_string());
            client.draft_publication(DraftPublicationRequest { header, release_id, series, revises }).await?
        }
        PublicationStep::Embargo { publication, until } => {
            let (publication_id, until) = (publication.to_string(), until.secs());
            client.embargo_publication(EmbargoPublicationRequest { header, publication_id, until }).await?
        }
        PublicationStep::Publish { publication } => {
            let publication_id = publication.to_string();
            client.publish_publication(PublishPublicationRequest { header, publication_id }).await?
        }
        PublicationStep::Withdraw { publication } => {
            let publication_id = publication.to_string();
            client.withdraw_publication(WithdrawPublicationRequest { header, publication_id }).await?
        }
    };
    Ok(taken.into_inner())
}

/// What is published, and what the caller's organisation has drafted as far as the caller may publish it.
///
/// # Errors
/// Failures of the connection.
pub async fn list_publications(connection: &Connection) -> Result<Vec<Publication>, ClientError> {
    Ok(client(connection).list_publications(ListPublicationsRequest {}).await?.into_inner().publications)
}

/// A publication with its figures.
///
/// # Errors
/// [`ClientError::Refused`]; failures of the connection.
pub async fn get_publication(connection: &Connection, published: &Published) -> Result<PublishedAnswer, ClientError> {
    let request = match published {
        Published::Id(id) => GetPublicationRequest { publication_id: id.to_string(), ..Default::default() },
        Published::Revision(organisation, series, revision) => GetPublicationRequest {
            publication_id: String::new(),
            organisation: organisation.to_string(),
            series: series.to_string(),
            revision: revision.unwrap_or_default(),
        },
    };
    let mut steps = client(connection).get_publication(request).await?.into_inner();
    let (mut head, mut rows) = (None, Vec::new());
    while let Some(message) = steps.message().await? {
        match message.step {
            None => {}
            Some(Step::Head(step)) => head = Some(step),
            Some(Step::Rows(some)) => rows.extend(some.rows),
        }
    }
    let head = head.ok_or(ClientError::Answer("it has no head"))?;
    Ok(PublishedAnswer::new(head, rows))
}

fn client(connection: &Connection) -> PublicationServiceClient<Channel> {
    PublicationServiceClient::new(connection.channel()).max_decoding_message_size(MESSAGE)
}
