//! Which role may make which call. One table; what is not in it is refused.

use firebreak_domain::IdentityRole::{self, Adapter, Analyst, Authority, Endpoint, Gateway, Overseer};
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_transport::Peer;
use firebreak_wire::status_of_refusal;
use http::{Request, Response};
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tower::{Layer, Service};

const ANYBODY: &[IdentityRole] = &[Gateway, Adapter, Analyst, Endpoint, Overseer, Authority];

/// Every call, and who may make it.
pub const CALLS: &[(&str, &[IdentityRole])] = &[
    ("/firebreak.query.v1.QueryService/RunQuery", &[Analyst]),
    ("/firebreak.query.v1.QueryService/ValidateQuery", &[Analyst]),
    ("/firebreak.query.v1.QueryService/GetBudget", &[Analyst]),
    ("/firebreak.query.v1.QueryService/GetLoss", ANYBODY),
    ("/firebreak.query.v1.QueryService/GetRelease", &[Analyst]),
    ("/firebreak.query.v1.QueryService/CiteRelease", &[Analyst]),
    ("/firebreak.catalogue.v1.CatalogueService/ListDatasets", &[Analyst, Endpoint, Overseer, Authority]),
    ("/firebreak.catalogue.v1.CatalogueService/DescribeDataset", &[Analyst, Endpoint, Overseer, Authority]),
    ("/firebreak.evidence.v1.EvidenceService/ListOpenings", &[Overseer]),
    ("/firebreak.export.v1.ExportService/RequestExport", &[Analyst, Endpoint]),
    ("/firebreak.publication.v1.PublicationService/DraftPublication", &[Analyst]),
    ("/firebreak.publication.v1.PublicationService/EmbargoPublication", &[Analyst]),
    ("/firebreak.publication.v1.PublicationService/PublishPublication", &[Analyst]),
    ("/firebreak.publication.v1.PublicationService/WithdrawPublication", &[Analyst]),
    ("/firebreak.publication.v1.PublicationService/ListPublications", ANYBODY),
    ("/firebreak.publication.v1.PublicationService/GetPublication", ANYBODY),
    ("/firebreak.matching.v1.MatchingService/OpenTunnel", &[Adapter]),
    // Flight SQL asks questions and browses the catalogue by the same methods: it is for those who ask. What it has and
    // the gateway has not is refused by name.
    ("/arrow.flight.protocol.FlightService/Handshake", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/ListFlights", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/GetFlightInfo", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/PollFlightInfo", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/GetSchema", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/DoGet", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/DoPut", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/DoExchange", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/DoAction", &[Analyst]),
    ("/arrow.flight.protocol.FlightService/ListActions", &[Analyst]),
    ("/grpc.health.v1.Health/Check", ANYBODY),
    ("/grpc.health.v1.Health/Watch", ANYBODY),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ANYBODY),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ANYBODY),
];

/// Whether `role` may make the call of that path.
#[must_use]
pub fn is_allowed(path: &str, role: IdentityRole) -> bool {
    CALLS.iter().any(|(call, roles)| *call == path && roles.contains(&role))
}

/// Refuses, before anything is decoded, every call that its caller's role does not have.
#[derive(Debug, Clone, Copy)]
pub struct AccessLayer;

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access { inner }
    }
}

/// The service that [`AccessLayer`] makes.
#[derive(Debug, Clone)]
pub struct Access<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Access<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let status = match request.extensions().get::<Arc<Peer>>() {
            None => Some(Status::unauthenticated("the connection carries no identity")),
            Some(peer) if is_allowed(request.uri().path(), peer.identity.role) => None,
            Some(_) => Some(status_of_refusal(&Refusal::new(ReasonCode::RoleNotAllowed), None)),
        };
        match status {
            None => Box::pin(self.inner.call(request)),
            Some(status) => {
                metrics::counter!("firebreak_calls_refused_total").increment(1);
                let refused = status.into_http::<R>();
                Box::pin(async move { Ok(refused) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_of_an_agency_or_of_staff_is_served_here() {
        for (call, _) in CALLS {
            assert!(!call.contains(".agency.") && !call.contains(".local."), "{call}");
        }
        assert!(!is_allowed("/firebreak.agency.v1.AgencyService/ExecuteQuery", IdentityRole::Gateway));
        assert!(!is_allowed("/firebreak.query.v1.QueryService/RunQuery", IdentityRole::Adapter));
    }
}
