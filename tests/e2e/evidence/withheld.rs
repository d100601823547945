//! A gateway that withholds an agency's newest leaf, or the log altogether, from an adapter that has just started.

use super::outstanding::{HEALTH, Said, ask};
use anyhow::{Context, Result, bail};
use firebreak::client::Ask;
use firebreak_audit::{Log, NoteKey, SignedLeaf};
use firebreak_domain::ReasonCode;
use firebreak_testbed::{Federation, Program, Programs};
use firebreak_tests::{Caller, Liar, Own, ask_until_answered, run};
use firebreak_wire::agency::v1::{ConfirmLeavesRequest, LeafInclusion, ListOutstandingLeavesRequest};
use std::time::Duration;
use tokio::time::sleep;
use tonic::Code;

/// The log that the gateway has left, and the agency's leaves in it that are no refusals, the newest last.
struct Left {
    log: Log,
    own: Vec<(u64, SignedLeaf)>,
}

impl Left {
    fn open(federation: &Federation) -> Result<Self> {
        let key = NoteKey::decode(&std::fs::read(federation.layout().gateway().join("log.key"))?)?;
        let log = Log::open(&federation.layout().log(), key)?;
        let mut own = Vec::new();
        log.published().for_each_entry(|index, signed| {
            let leaf = signed.leaf();
            if leaf.signer_org.as_str() == HEALTH.0 && leaf.kind.tells_of_ledger() {
                own.push((index, signed));
            }
        })?;
        Ok(Self { log, own })
    }

    /// The log as it is, to an adapter that has accepted `accepted` leaves of it, with that leaf as its newest.
    fn shown(&self, accepted: u64, newest: Option<&(u64, SignedLeaf)>) -> Result<ConfirmLeavesRequest> {
        let published = self.log.published();
        let size = published.checkpoint().size();
        let bytes = |hashes: Vec<[u8; 32]>| hashes.iter().map(|hash| hash.to_vec()).collect();
        let inclusion = |(index, leaf): &(u64, SignedLeaf)| {
            let leaf_hash = firebreak_store::LeafHash::of(leaf.as_bytes()).as_bytes().to_vec();
            Ok::<_, anyhow::Error>(LeafInclusion {
                leaf_hash,
                index: *index,
                proof: bytes(published.inclusion_proof(*index, size)?),
            })
        };
        Ok(ConfirmLeavesRequest {
            checkpoint: published.checkpoint().note().to_owned(),
            consistency: bytes(published.consistency_proof(accepted, size)?),
            leaves: self.own.iter().map(inclusion).collect::<Result<_>>()?,
            newest_leaf: newest.map(|(_, leaf)| leaf.as_bytes().to_vec()).unwrap_or_default(),
            newest_inclusion: newest.map(inclusion).transpose()?,
        })
    }
}

#[test]
fn a_gateway_that_shows_no_log_or_an_old_leaf_does_not_open_the_gate() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(300)?;
        let liar = Liar::listen(&federation).await?;
        let programs = Programs::built()?;
        let mut live = federation.start(&programs, &[liar.address()]).await?;
        liar.wait_for_agencies().await?;
        let ada = Caller::ADA.connect(&federation, live.address).await?;
        let sql = |cost: u32| format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {cost}");
        for cost in [5, 10] {
            ask_until_answered(&ada, &Ask::new(HEALTH.1, HEALTH.2, &sql(cost))?).await?;
        }
        for tries in 0.. {
            let waiting = liar.agency(HEALTH.0)?.list_outstanding_leaves(ListOutstandingLeavesRequest {}).await?;
            if waiting.into_inner().leaves.is_empty() {
                break;
            }
            anyhow::ensure!(tries < 100, "the leaves never reached the log");
            sleep(Duration::from_millis(100)).await;
        }

        // From here on the liar is the only gateway, and the adapter has just started.
        live.gateway.kill().await?;
        let adapter = live.adapters.iter_mut().find(|a| a.agency == HEALTH.0).context("no such adapter")?;
        adapter.started.kill().await?;
        let configuration = federation.layout().adapter(HEALTH.0).join("adapter.toml");
        adapter.started = programs.start(Program::Adapter, &configuration)?;
        adapter.started.address().await?;
        let accepted = accepted(&liar).await?;
        let left = Left::open(&federation)?;
        let [.., older, newest] = left.own.as_slice() else { bail!("the agency has too few leaves") };

        let lies = [
            ("nothing", ConfirmLeavesRequest::default()),
            ("no newest leaf", left.shown(accepted, None)?),
            ("an older leaf", left.shown(accepted, Some(older))?),
            (
                "the log as it is, without its checkpoint",
                ConfirmLeavesRequest { checkpoint: String::new(), ..left.shown(accepted, Some(newest))? },
            ),
        ];
        for (what, lie) in lies {
            let said = liar.agency(HEALTH.0)?.confirm_leaves(lie).await;
            let status = said.err().with_context(|| format!("{what} was taken up"))?;
            assert_eq!(status.code(), Code::FailedPrecondition, "{what}: {status}");
        }
        let outstanding = ReasonCode::EvidenceOutstanding;
        assert_eq!(ask(&liar, &federation, HEALTH, &sql(20)).await?, Said::Refused(outstanding));

        // The twin: the same log, and the leaf that is the newest in it.
        liar.agency(HEALTH.0)?.confirm_leaves(left.shown(accepted, Some(newest))?).await?;
        assert_eq!(ask(&liar, &federation, HEALTH, &sql(30)).await?, Said::Answered);
        Ok(())
    })
}

/// The size of the log that the adapter has accepted, once it has dialled again.
async fn accepted(liar: &Liar) -> Result<u64> {
    for _ in 0..100 {
        if let Ok(mut adapter) = liar.agency(HEALTH.0) {
            // A connection of before the restart may still be listed.
            if let Ok(answer) = adapter.list_outstanding_leaves(ListOutstandingLeavesRequest {}).await {
                return Ok(answer.into_inner().log_size);
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("the adapter never dialled again")
}
