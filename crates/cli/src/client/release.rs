use super::query::{client, collect};
use super::{Ask, ClientError, Connection, QueryAnswer, Step};
use firebreak_domain::{Act, ReleaseName};
use firebreak_wire::query::v1::{Citation, CiteReleaseRequest, GetReleaseRequest};

/// Asks for a stored release by its name, under the agreement and for the purpose of `ask`, reporting each step as it
/// comes; where `ask` has a question, for what the release adds up to for that question. It costs what the release's
/// own question costs, and the persons lose nothing more by it.
///
/// # Errors
/// [`ClientError::Refused`]; failures of the connection, after which the same `ask` may be sent again at no cost.
pub async fn get_release(
    connection: &Connection,
    ask: &Ask,
    name: ReleaseName,
    report: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<QueryAnswer, ClientError> {
    let roll_up = ask.sql.as_ref().map(|_| ask.question());
    let act = Act::Release { name, roll_up: ask.canonical() };
    let header = connection.sign(ask, act, connection.own_organisation())?;
    let request = GetReleaseRequest { header: Some(header), release_id: name.to_string(), roll_up };
    collect(client(connection).get_release(request).await?.into_inner(), report).await
}

/// How to cite a release that the caller may ask for. Nothing is charged or signed.
///
/// # Errors
/// [`ClientError::Refused`]; failures of the connection.
pub async fn cite_release(connection: &Connection, ask: &Ask, name: ReleaseName) -> Result<Citation, ClientError> {
    let request = CiteReleaseRequest {
        agreement: ask.agreement.to_string(),
        purpose: ask.purpose.to_string(),
        release_id: name.to_string(),
    };
    let answer = client(connection).cite_release(request).await?.into_inner();
    answer.citation.ok_or(ClientError::Answer("it holds no citation"))
}
