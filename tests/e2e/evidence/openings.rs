//! What overseers read: the opening of every leaf, which nobody else can.

use crate::catalogue::{Done, done, program};
use crate::python::script;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, MatchAsk, list_openings, run_match};
use firebreak_audit::{Opened, OpeningKey, Receipt, SealedOpening, SignedLeaf, VerifierKey, verified_leaves};
use firebreak_domain::ReasonCode;
use firebreak_tests::{
    Caller, Own, ask_until_answered, copy_folder, files_below, passes, refusal_of, run, verified_refusal,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

const OVERSEER: Caller = Caller("oversight-council", "overseer", "nora");
const READER: &str = "overseer-west";
const RECEIVER: &str = "health-agency";

/// The log and the sealed openings, read with an overseer's key: leaf and what was opened, by number.
async fn opened(own: &Own, key: &OpeningKey) -> Result<BTreeMap<u64, (SignedLeaf, Opened)>> {
    let overseer = OVERSEER.connect(&own.federation, own.live.address).await?;
    let mut sealed = BTreeMap::new();
    let size = list_openings(&overseer, 0, &mut |index, bytes| {
        sealed.insert(index, bytes.to_vec());
    })
    .await?;
    let copy = own.federation.layout().root().join(format!("copy-{size}"));
    copy_folder(&own.federation.layout().log(), &copy)?;
    let log_key: VerifierKey = own.federation.log_key().parse()?;
    let mut leaves = BTreeMap::new();
    verified_leaves(&copy, &log_key, |index, leaf| {
        leaves.insert(index, leaf);
    })?;
    ensure!(leaves.len() as u64 == size && sealed.len() == leaves.len(), "{size} leaves, {} openings", sealed.len());
    let open = |(index, leaf): (u64, SignedLeaf)| {
        let bytes = sealed.get(&index).context("a leaf without an opening")?;
        let opened = SealedOpening::from_bytes(bytes.clone())?.open(key, leaf.leaf())?;
        Ok((index, (leaf, opened)))
    };
    leaves.into_iter().map(open).collect()
}

/// Waits until no leaf is on its way to the log, then ends everything but its gateway.
async fn quiet(own: &Own) -> Result<()> {
    let checkpoint = own.federation.layout().log().join("checkpoint");
    let (mut before, mut same) = (Vec::new(), 0);
    while same < 8 {
        sleep(Duration::from_millis(250)).await;
        let now = fs::read(&checkpoint)?;
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

fn firebreak(own: &Own, words: &[&str]) -> Result<Done> {
    let mut command = program("firebreak")?;
    command.args(words).current_dir(own.federation.layout().root());
    done(&mut command)
}

#[test]
fn an_overseer_reads_what_was_asked_behind_every_leaf_and_nobody_else_does() -> Result<()> {
    run(async {
        let mut own = Own::start(600, &[]).await?;
        let key: VerifierKey = own.federation.log_key().parse()?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let typed = "nowhere-4711";
        let answered = Ask::new(
            "health-statistics",
            "health-planning",
            "SELECT COUNT(*) AS n FROM health.visits WHERE cost >= 4711",
        )?;
        let again = Ask { request_id: MatchAsk::new("a", "p")?.request_id, ..answered.clone() };
        let refused = Ask::new(
            "health-statistics",
            "health-planning",
            &format!("SELECT COUNT(*) AS n FROM health.visits WHERE region = '{typed}'"),
        )?;
        ask_until_answered(&ada, &answered).await?;
        ask_until_answered(&ada, &again).await?;
        let told = refusal_of(firebreak::client::run_query(&ada, &refused, &mut |_| {}).await)?;
        let receipt = told.receipt().context("a refusal without a receipt")?;
        let receipt = verified_refusal(receipt, &key, ReasonCode::LiteralMismatch)?;
        let desk = Caller::connect_local(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
        let matched = MatchAsk::new("vaccination-round", "vaccination-round")?;
        while let Err(error) = run_match(&desk, &matched, &mut |_| {}).await {
            ensure!(passes(&error), "{error}");
            sleep(Duration::from_millis(100)).await;
        }
        quiet(&own).await?;
        own.kill_gateway().await?;
        own.start_gateway().await?;
        quiet(&own).await?;

        let reader = own.federation.opening_key(READER)?;
        let read = opened(&own, &reader).await?;
        let kinds: BTreeSet<&str> = read.values().map(|(leaf, _)| leaf.leaf().kind.as_str()).collect();
        for kind in [
            "bundle_accepted",
            "release",
            "stored_release",
            "refusal",
            "match_authorised",
            "match_committed",
            "match_done",
        ] {
            ensure!(kinds.contains(kind), "no leaf of {kind}: {kinds:?}");
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (index, (leaf, opened)) in &read {
            let (payload, request) = (text(&opened.opening.payload), text(&opened.request));
            let asked = match leaf.leaf().kind.as_str() {
                "release" | "stored_release" => payload.clone(),
                "bundle_accepted" => continue,
                _ => request.clone(),
            };
            ensure!(asked.starts_with("firebreak intent format 1\n"), "leaf {index}: {asked}");
            if !request.is_empty() {
                let hash = format!("request sha256 {}\n", hex::encode(Sha256::digest(request.as_bytes())));
                ensure!(payload.starts_with(&hash), "leaf {index} does not commit to its request");
            }
        }
        // What the refused caller holds commits to its request and repeats nothing of it.
        let (_, told) = read.get(&receipt.index).context("the refusal's leaf")?;
        ensure!(text(&told.request).contains(typed), "the refused question is not there");
        let opening = receipt.opening.context("a receipt without an opening")?;
        ensure!(opening == told.opening && !text(&opening.payload).contains(typed));

        // No program of the federation can read it, and its files do not show it.
        for folder in [own.federation.layout().gateway(), own.federation.layout().adapter(RECEIVER)] {
            for file in files_below(&folder)? {
                let bytes = fs::read(&file)?;
                let shows = bytes.windows(typed.len()).any(|window| window == typed.as_bytes());
                ensure!(!shows, "{} shows what was typed", file.display());
            }
        }
        ensure!(opened(&own, &OpeningKey::generate()?).await.is_err(), "a stranger's key reads them");
        Ok(())
    })
}

#[test]
fn openings_are_listed_for_bodies_of_oversight_alone() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let listed = |caller: Caller| {
            let own = &own;
            async move {
                let connection = caller.connect(&own.federation, own.live.address).await?;
                refusal_of(list_openings(&connection, 0, &mut |_, _| {}).await)
            }
        };
        for org in ["removal-office", "nso", "nobody-knows-them"] {
            let refused = listed(Caller(org, "overseer", "nora")).await.with_context(|| org.to_owned())?;
            assert_eq!(refused.refusal.reason, "ROLE_NOT_ALLOWED", "{org}");
        }
        let overseer = OVERSEER.connect(&own.federation, own.live.address).await?;
        ensure!(list_openings(&overseer, 0, &mut |_, _| {}).await.is_ok(), "an oversight body is refused");
        Ok(())
    })
}

#[test]
fn an_overseer_fetches_and_opens_on_the_command_line_and_hears_of_what_is_missing() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let ask =
            Ask::new("health-statistics", "health-planning", "SELECT COUNT(*) AS n FROM health.visits WHERE cost > 7")?;
        let answer = ask_until_answered(&ada, &ask).await?;
        let index = Receipt::decode(answer.released.receipt.as_bytes())?.index.to_string();
        quiet(&own).await?;
        let layout = own.federation.layout();
        own.federation.issue(OVERSEER.0, OVERSEER.1, OVERSEER.2)?;
        let path = |path: &Path| path.display().to_string();
        let (out, copy) = (path(&layout.root().join("openings")), path(&layout.root().join("copy")));
        copy_folder(&layout.log(), copy.as_ref())?;
        let identity = path(&layout.certificate(OVERSEER.0, OVERSEER.1, OVERSEER.2));
        let authority = path(&layout.authority().join("ca.pem"));
        let gateway = format!("localhost:{}", own.live.address.port());
        let gateway_identity = firebreak_testbed::gateway_identity();
        let connection = [
            "--gateway",
            &gateway,
            "--gateway-identity",
            &gateway_identity,
            "--identity",
            &identity,
            "--authority",
            &authority,
        ];
        let fetch = [&["audit", "fetch", "--out", &out][..], &connection].concat();
        let first = firebreak(&own, &fetch)?;
        ensure!(first.code == Some(0) && !first.out.starts_with("0 new"), "{}{}", first.out, first.err);
        let second = firebreak(&own, &fetch)?;
        ensure!(second.code == Some(0) && second.out.starts_with("0 new"), "{}{}", second.out, second.err);

        let key = path(&layout.opening_key(READER));
        let open = ["audit", "open", "--log", &copy, "--key", own.federation.log_key(), "--openings", &out];
        let all = firebreak(&own, &[&open[..], &["--opening-key", &key]].concat())?;
        ensure!(all.code == Some(0), "{}{}", all.out, all.err);
        for part in ["bundle_accepted", "measure count_rows", "release sha256", "leaves of the log open"] {
            ensure!(all.out.contains(part), "{part} is missing:\n{}", all.out);
        }
        // The same by another implementation of RFC 9180, from the documented format alone.
        let reader = OpeningKey::parse(&fs::read_to_string(&key)?)?;
        let (mut commitments, mut expected) = (String::new(), String::new());
        for (index, (leaf, opened)) in opened(&own, &reader).await? {
            commitments += &format!("{index} {}\n", hex::encode(leaf.leaf().commitment));
            let shown = |bytes: &[u8]| if bytes.is_empty() { "-".to_owned() } else { hex::encode(bytes) };
            expected += &format!("{index} {} {}\n", shown(&opened.opening.payload), shown(&opened.request));
        }
        assert_eq!(script("openings.py", &[&out, &key], &commitments)?, expected);

        let one = firebreak(&own, &[&open[..], &["--opening-key", &key, "--index", &index]].concat())?;
        ensure!(one.out.matches("Leaf ").count() == 1 && one.out.contains(&format!("Leaf {index}: release")));

        // One left out, one changed: each is named, with whom to ask.
        let kept = fs::read_to_string(&out)?;
        let mut lines: Vec<String> = kept.lines().map(str::to_owned).collect();
        let left_out = lines.remove(1);
        let changed = lines.pop().context("too few openings")?;
        let last = if changed.ends_with("AA==") { "BB==" } else { "AA==" };
        let (number, sealed) = changed.split_once(' ').context("no number")?;
        lines.push(format!("{number} {}{last}", sealed.get(..sealed.len() - 4).unwrap_or_default()));
        fs::write(&out, lines.join("\n") + "\n")?;
        let wrong = firebreak(&own, &[&open[..], &["--opening-key", &key]].concat())?;
        ensure!(wrong.code == Some(1), "{}{}", wrong.out, wrong.err);
        let left_out = left_out.split(' ').next().unwrap_or_default();
        for part in [format!("leaf {left_out}, signed by"), format!("leaf {number}, signed by"), "2 of".to_owned()] {
            ensure!((wrong.out.clone() + &wrong.err).contains(&part), "{part}:\n{}{}", wrong.out, wrong.err);
        }
        Ok(())
    })
}
