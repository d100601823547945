//! One side of a match as its program is, and a peer in the tunnel that is none of ours: what both say over the wire.

mod receiver;
mod sender;

use anyhow::{Context, Result};
use firebreak_audit::{LeafKind, SignedLeaf};
use firebreak_domain::{ReasonCode, SystemClock};
use firebreak_testbed::Federation;
use firebreak_transport::Shutdown;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The gateway, in this process.
pub(super) async fn gateway(
    federation: &Federation,
    shutdown: &Shutdown,
) -> Result<firebreak_gateway::program::Running> {
    let checked = firebreak_gateway::program::check(&federation.configure_gateway(ANY, None, None)?)?;
    Ok(firebreak_gateway::program::serve(checked, Arc::new(SystemClock), shutdown).await?)
}

/// An agency's adapter, in this process, which dials those gateways.
pub(super) async fn adapter(
    federation: &Federation,
    agency: &str,
    gateways: &[SocketAddr],
    shutdown: &Shutdown,
) -> Result<agency_adapter::program::Running> {
    let checked = agency_adapter::program::check(&federation.configure_adapter(agency, gateways, None)?)?;
    Ok(agency_adapter::program::serve(checked, Arc::new(SystemClock), shutdown).await?)
}

/// What an agency's program has recorded of matches.
struct Recorded {
    /// The reasons in its leaves of refusals, in their order, but for those of the log that is not seen yet.
    reasons: Vec<ReasonCode>,
    /// The reasons for which sessions ended.
    ended: Vec<String>,
    /// Elements counted against caps.
    counted: i64,
    /// Sessions that are open.
    open: i64,
}

/// Reads it from the state of the running program.
async fn recorded(federation: &Federation, agency: &str) -> Result<Recorded> {
    let file = federation.layout().adapter(agency).join("state/state.sqlite");
    let mut database = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
    let leaves = sqlx::query_scalar::<_, Vec<u8>>("SELECT bytes FROM leaves ORDER BY seq").fetch_all(&mut database);
    let mut reasons = Vec::new();
    for bytes in leaves.await? {
        let leaf = SignedLeaf::decode(&bytes)?;
        if leaf.leaf().kind == LeafKind::Refusal {
            reasons.push(leaf.leaf().reason.context("a refusal without a reason")?);
        }
    }
    reasons.retain(|reason| *reason != ReasonCode::EvidenceOutstanding);
    let ended = sqlx::query_scalar("SELECT reason FROM session_ends ORDER BY reason").fetch_all(&mut database);
    let ended = ended.await?;
    let counted = "SELECT coalesce(sum(elements), 0) FROM evaluated_chunks";
    let counted = sqlx::query_scalar(counted).fetch_one(&mut database).await?;
    let open = "SELECT count(*) FROM sessions WHERE secret IS NOT NULL";
    let open = sqlx::query_scalar(open).fetch_one(&mut database).await?;
    database.close().await?;
    Ok(Recorded { reasons, ended, counted, open })
}
