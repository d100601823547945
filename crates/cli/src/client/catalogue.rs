use super::connection::MESSAGE;
use super::query::client;
use super::{ClientError, Connection};
use firebreak_domain::AgreementId;
use firebreak_wire::catalogue::v1::catalogue_service_client::CatalogueServiceClient;
use firebreak_wire::catalogue::v1::{
    DatasetSummary, DescribeDatasetRequest, DescribeDatasetResponse, ListDatasetsRequest,
};
use firebreak_wire::query::v1::{Account, GetBudgetRequest, GetBudgetResponse, GetLossRequest, GetLossResponse};
use tonic::transport::Channel;

/// What the caller may ask.
///
/// # Errors
/// [`ClientError`].
pub async fn list_datasets(connection: &Connection) -> Result<Vec<DatasetSummary>, ClientError> {
    Ok(catalogue(connection).list_datasets(ListDatasetsRequest {}).await?.into_inner().datasets)
}

/// A dataset's contract, as far as the caller may ask it.
///
/// # Errors
/// [`ClientError::Refused`] with `UNKNOWN_DATASET` for one that does not exist or that the caller may not see.
pub async fn describe_dataset(connection: &Connection, dataset: &str) -> Result<DescribeDatasetResponse, ClientError> {
    let request = DescribeDatasetRequest { dataset: dataset.to_owned() };
    Ok(catalogue(connection).describe_dataset(request).await?.into_inner())
}

/// The accounts that the caller's questions under an agreement are charged to.
///
/// # Errors
/// [`ClientError`].
pub async fn get_budget(connection: &Connection, agreement: &AgreementId) -> Result<Vec<Account>, ClientError> {
    Ok(get_budget_and_caps(connection, agreement).await?.accounts)
}

/// The same, and how the caps of the agreement's match stand.
///
/// # Errors
/// [`ClientError`].
pub async fn get_budget_and_caps(
    connection: &Connection,
    agreement: &AgreementId,
) -> Result<GetBudgetResponse, ClientError> {
    let request = GetBudgetRequest { agreement: agreement.to_string() };
    Ok(client(connection).get_budget(request).await?.into_inner())
}

/// What every person of each register can have lost at most, by all that was ever released.
///
/// # Errors
/// [`ClientError`].
pub async fn get_loss(connection: &Connection) -> Result<GetLossResponse, ClientError> {
    Ok(client(connection).get_loss(GetLossRequest {}).await?.into_inner())
}

fn catalogue(connection: &Connection) -> CatalogueServiceClient<Channel> {
    CatalogueServiceClient::new(connection.channel()).max_decoding_message_size(MESSAGE)
}
