use super::refused;
use crate::app::{App, Described, Visible};
use firebreak_domain::{ColumnRole, Domain};
use firebreak_transport::peer;
use firebreak_wire::catalogue::v1 as wire;
use firebreak_wire::catalogue::v1::catalogue_service_server::CatalogueService;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// What a caller may ask.
pub struct Catalogue {
    app: Arc<App>,
}

impl Catalogue {
    /// Serves `app`.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl CatalogueService for Catalogue {
    async fn list_datasets(
        &self,
        request: Request<wire::ListDatasetsRequest>,
    ) -> Result<Response<wire::ListDatasetsResponse>, Status> {
        let visible = self.app.list_datasets(&peer(&request)?.identity).map_err(refused)?;
        Ok(Response::new(wire::ListDatasetsResponse { datasets: visible.iter().map(summary).collect() }))
    }

    async fn describe_dataset(
        &self,
        request: Request<wire::DescribeDatasetRequest>,
    ) -> Result<Response<wire::DescribeDatasetResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let described = self.app.describe_dataset(&caller, &request.into_inner().dataset).map_err(refused)?;
        Ok(Response::new(description(&described)))
    }
}

fn summary(visible: &Visible) -> wire::DatasetSummary {
    let access = |agreement: &Arc<firebreak_domain::Agreement>| wire::Access {
        agreement: agreement.id.to_string(),
        purposes: agreement.purposes.iter().map(ToString::to_string).collect(),
    };
    wire::DatasetSummary {
        id: visible.contract.id.to_string(),
        title: visible.contract.title.clone(),
        agency: visible.contract.agency.to_string(),
        access: visible.agreements.iter().map(access).collect(),
        part_of: visible.contract.part_of.as_ref().map(|part| part.dataset.to_string()).unwrap_or_default(),
    }
}

/// The columns of a dataset that the caller may ask, in the contract's order.
pub(super) fn askable(described: &Described) -> impl Iterator<Item = &firebreak_domain::Column> {
    described
        .visible
        .contract
        .columns
        .iter()
        .filter(|c| c.role != ColumnRole::PrivacyUnit && described.columns.contains(&c.name) && role(c.role).is_some())
}

/// All that the caller is told of a dataset.
pub(super) fn description(described: &Described) -> wire::DescribeDatasetResponse {
    let contract = &described.visible.contract;
    wire::DescribeDatasetResponse {
        summary: Some(summary(&described.visible)),
        description: contract.description.clone(),
        controller: contract.controller.clone(),
        population: contract.population.clone(),
        privacy_unit: contract.privacy_unit().map(|c| c.name.to_string()).unwrap_or_default(),
        rows_per_person: contract.contribution.rows_per_person,
        cuts: contract.cuts.iter().map(ToString::to_string).collect(),
        columns: askable(described).map(column).collect(),
        example: described.example.clone(),
    }
}

const fn role(role: ColumnRole) -> Option<&'static str> {
    match role {
        ColumnRole::Category => Some("category"),
        ColumnRole::Measure => Some("measure"),
        ColumnRole::Filter => Some("filter"),
        ColumnRole::PrivacyUnit | ColumnRole::MatchKey | ColumnRole::Identifier | ColumnRole::Withheld => None,
    }
}

fn column(column: &firebreak_domain::Column) -> wire::Column {
    let codes = match &column.domain {
        Domain::Category { codes, .. } => {
            codes.iter().map(|c| wire::Code { code: c.code.clone(), label: c.label.clone() }).collect()
        }
        other => other.codes().into_iter().map(|code| wire::Code { label: code.clone(), code }).collect(),
    };
    wire::Column {
        name: column.name.to_string(),
        label: column.label.clone(),
        definition: column.definition.clone(),
        role: role(column.role).unwrap_or_default().to_owned(),
        domain: domain(&column.domain),
        codes,
        special: column.special.map(|s| s.as_str().to_owned()).unwrap_or_default(),
    }
}

fn domain(domain: &Domain) -> String {
    match domain {
        Domain::Category { codes, .. } => format!("one of {} codes", codes.len()),
        Domain::Month { first, last } => format!("month, {first} to {last}"),
        Domain::Year { first, last } => format!("year, {first} to {last}"),
        Domain::Integer { min, max } => format!("whole number, {min} to {max}"),
        Domain::Decimal { min, max, decimals } => format!("number with {decimals} decimals, {min} to {max}"),
        Domain::Date { first, last } => format!("day, {first} to {last}"),
        Domain::Open { length } => {
            let shown = "groups of it are shown where they hold enough persons";
            format!("code of up to {length} signs, of which no list is declared: {shown}")
        }
        Domain::LeftOut => "yes where a row stands for another that the bound on a person's rows leaves out".to_owned(),
        Domain::Text => "text".to_owned(),
    }
}
