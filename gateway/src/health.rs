//! What the gRPC health service says of the gateway, for load balancers and supervisors.

use crate::rpc::{Catalogue, Export, Flight, Matching, Query};
use arrow_flight::flight_service_server::FlightServiceServer;
use firebreak_wire::catalogue::v1::catalogue_service_server::CatalogueServiceServer;
use firebreak_wire::export::v1::export_service_server::ExportServiceServer;
use firebreak_wire::matching::v1::matching_service_server::MatchingServiceServer;
use firebreak_wire::query::v1::query_service_server::QueryServiceServer;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The gateway as a whole, which has no name, and each of its services.
const SERVICES: [&str; 6] = [
    "",
    <QueryServiceServer<Query> as NamedService>::NAME,
    <CatalogueServiceServer<Catalogue> as NamedService>::NAME,
    <ExportServiceServer<Export> as NamedService>::NAME,
    <FlightServiceServer<Flight> as NamedService>::NAME,
    <MatchingServiceServer<Matching> as NamedService>::NAME,
];

/// Tells the health service how things stand.
#[derive(Clone)]
pub(crate) struct Health(HealthReporter);

impl Health {
    pub(crate) const fn new(reporter: HealthReporter) -> Self {
        Self(reporter)
    }

    /// Everything serves, or nothing does: without a log or a policy every service refuses.
    pub(crate) async fn say(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            self.0.set_service_status(service, status).await;
        }
    }
}
