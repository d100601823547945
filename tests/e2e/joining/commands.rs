//! A join that was answered by the programs, made again by stewards of both agencies: on the command line and by RPC.

use super::inside::{ALL, LEFT, RIGHT};
use crate::matching::commands::{certificate_of, firebreak_at};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Ask, Profile, replay_join};
use firebreak_audit::{LeafKind, Receipt};
use firebreak_store::LeafHash;
use firebreak_tests::{Caller, Own, ask_until_answered, run};
use firebreak_wire::local::v1::ReplayOutcome;

/// The hash that is shown beside a name.
fn hash<'a>(out: &'a str, name: &str) -> Result<&'a str> {
    let from = out.lines().skip_while(|line| !line.trim_start().starts_with(name));
    let hash = from.flat_map(str::split_whitespace).find(|word| word.len() == 64);
    hash.with_context(|| format!("no {name} in\n{out}"))
}

#[test]
fn stewards_of_both_agencies_make_a_join_again_and_hold_it_against_the_log_and_each_other() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let ask = Ask::new("school-vaccinations", "school-health", ALL)?;
        let answer = ask_until_answered(&ada, &ask).await?;
        // What the log holds of both commitments, and what opens it.
        let key = own.federation.log_key().parse()?;
        let (mut committed, mut counted) = (Vec::new(), String::new());
        for receipt in Receipt::each(answer.released.receipt.as_bytes()) {
            let verified = Receipt::decode(receipt)?.verify(&key)?;
            let leaf = verified.leaf.leaf();
            let opened = verified.opening.as_ref().context("no opening")?;
            let payload = String::from_utf8(opened.payload.clone())?;
            if leaf.kind == LeafKind::JoinCommitted {
                let hash = hex::encode(LeafHash::of(verified.leaf.as_bytes()).as_bytes());
                committed.push((leaf.signer_org.to_string(), hash, payload));
            } else {
                counted = payload;
            }
        }
        let folder = own.federation.layout().root().join("command-line");
        let request = hex::encode(ask.request_id.as_bytes());
        let mut shown = Vec::new();
        for agency in [LEFT, RIGHT] {
            let authority = own.federation.layout().local_authority(agency);
            let steward = certificate_of(agency, &authority, "steward", folder.join(agency))?;
            let done = firebreak_at(&own, agency, &steward, &["join", "replay", &request])?;
            assert_eq!(done.code, Some(0), "{}", done.err);
            let out = done.out;
            ensure!(!out.contains("DIFFERENT") && out.contains("opens to the seed"), "{out}");
            assert_eq!(out.matches("as committed").count(), 5, "{out}");
            let (_, leaf, lines) = committed.iter().find(|(org, _, _)| org == agency).context("no commitment")?;
            assert_eq!(hash(&out, "Leaf")?, leaf);
            for (name, line) in [("Seed", "seed"), ("Key", "key"), ("Terms", "terms"), ("Own list", "own list")] {
                let line = format!("\n{line} sha256 {}\n", hash(&out, name)?);
                ensure!(lines.contains(&line), "{line} is not in\n{lines}");
            }
            // What the gateway counted is what the agency says it sent.
            let line = format!("\ncounted from {agency} sha256 {}\n", hash(&out, "Sent on")?);
            ensure!(counted.contains(&line), "{line} is not in\n{counted}");

            let profile = Profile {
                identity: Some(steward),
                authority: Some(authority.join("ca.pem")),
                local: Some(format!("localhost:{}", own.live.adapter(agency)?.local.port())),
                ..Profile::default()
            };
            let joins = replay_join(&profile.connect_local().await?, &ask.request_id).await?;
            let [join] = joins.as_slice() else { bail!("{} joins", joins.len()) };
            let outcomes = [join.commitment(), join.key(), join.own_list(), join.added(), join.sent_on()];
            assert_eq!(outcomes, [ReplayOutcome::Equal; 5]);
            assert_eq!(hex::encode(&join.leaf), *leaf);

            let officer = certificate_of(agency, &authority, "officer", folder.join(format!("{agency}-officer")))?;
            let refused = firebreak_at(&own, agency, &officer, &["join", "replay", &request])?;
            assert_eq!((refused.code, refused.out.as_str()), (Some(3), ""), "{}", refused.err);
            ensure!(refused.err.contains("ROLE_NOT_ALLOWED"), "{}", refused.err);
            shown.push(out);
        }
        let [left, right] = shown.as_slice() else { bail!("not two agencies") };
        for (one, other) in [(left, right), (right, left)] {
            assert_eq!(hash(one, "Other's key")?, hash(other, "Key")?);
            assert_eq!(hash(one, "Received")?, hash(other, "Own list")?);
        }
        let steward = folder.join(LEFT);
        let unknown = firebreak_at(&own, LEFT, &steward, &["join", "replay", &"00".repeat(16)])?;
        assert_eq!((unknown.code, unknown.out.trim()), (Some(0), ""), "{}", unknown.err);
        ensure!(unknown.err.contains("No join of that request is kept"), "{}", unknown.err);
        Ok(())
    })
}
