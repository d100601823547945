//! What load balancers and supervisors are told.

use anyhow::{Result, bail};
use firebreak_testbed::{Address, Federation, gateway_identity};
use firebreak_tests::{Caller, Own, run};
use firebreak_transport::connect;
use std::time::Duration;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The gateway as a whole and its services.
pub const SERVICES: [&str; 6] = [
    "",
    "firebreak.query.v1.QueryService",
    "firebreak.catalogue.v1.CatalogueService",
    "firebreak.export.v1.ExportService",
    "firebreak.matching.v1.MatchingService",
    "arrow.flight.protocol.FlightService",
];

/// Waits until the gateway says of itself and of every service that it serves, or that it does not.
pub async fn says(federation: &Federation, gateway: Address, status: ServingStatus) -> Result<()> {
    let trust = federation.authority().trust_anchor()?;
    let monitor = federation.issue("dpa", "authority", "monitor")?;
    let address = format!("localhost:{}", gateway.port());
    let channel = connect(&address, &monitor, &trust, &gateway_identity().parse()?).await?;
    let mut client = HealthClient::new(channel);
    let mut told = Vec::new();
    for _ in 0..100 {
        told.clear();
        for service in SERVICES {
            let request = HealthCheckRequest { service: service.to_owned() };
            told.push(client.check(request).await?.into_inner().status());
        }
        if told == [status; SERVICES.len()] {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("it says {told:?}")
}

#[test]
fn a_gateway_that_cannot_write_its_log_says_that_it_does_not_serve() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        says(&own.federation, own.live.address, ServingStatus::Serving).await?;
        let log = own.federation.layout().log();
        std::fs::rename(&log, log.with_extension("away"))?;
        std::fs::write(&log, "no folder")?;
        // A refusal is evidence too, and cannot be written.
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let ask = firebreak::client::Ask::new("no-such-thing", "health-planning", "SELECT COUNT(*) AS n FROM a.b")?;
        assert!(firebreak::client::run_query(&ada, &ask, &mut |_| {}).await.is_err());
        says(&own.federation, own.live.address, ServingStatus::NotServing).await
    })
}
