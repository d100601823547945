//! What a side of a join commits to, line by line.

use super::inside::{ALL, Pair, own, send};
use crate::matching::side::Side;
use agency_adapter::app::PreparedJoin;
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::{LeafKind, SealedOpening, SignedLeaf};
use firebreak_domain::RequestId;
use firebreak_store::LeafHash;
use firebreak_tests::run;
use sha2::{Digest, Sha256};

const READER: &str = "overseer-west";

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What a payload says behind the line of its request.
fn lines(payload: &[u8]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(payload)?;
    let (request, rest) = text.split_once('\n').context("one line")?;
    ensure!(request.starts_with("request sha256 "), "{request}");
    ensure!(rest.ends_with('\n'), "{rest}");
    Ok(rest.lines().map(str::to_owned).collect())
}

/// What an overseer reads of the one leaf of that kind that waits for the log.
async fn opened(pair: &Pair, side: &Side, kind: LeafKind) -> Result<Vec<String>> {
    let key = pair.federation.opening_key(READER)?;
    let (leaves, _) = side.app.outstanding().await?;
    let mut found = Vec::new();
    for outstanding in leaves {
        let leaf = SignedLeaf::decode(&outstanding.leaf)?;
        if leaf.leaf().kind == kind {
            found.push(SealedOpening::from_bytes(outstanding.sealed)?.open(&key, leaf.leaf())?);
        }
    }
    let [opened] = found.as_slice() else { bail!("{} leaves", found.len()) };
    lines(&opened.opening.payload)
}

#[test]
fn a_commitment_is_to_the_seed_the_key_the_terms_and_the_list() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let ada = pair.federation.issue("nso", "analyst", "ada")?.identity().clone();
        let request = pair.request(1, ALL)?;
        let Ok(PreparedJoin { run, evidence }) = pair.left.app.prepare_join(&request, &ada).await? else {
            bail!("refused")
        };
        let kept = pair.left.app.state().kept_join(run.name()).await?.context("nothing is kept")?;
        let seed = kept.get(..32).context("no seed")?;
        let read = opened(&pair, &pair.left, LeafKind::JoinCommitted).await?;
        pair.visit().await?;
        run.logged(&pair.left.app).await?;
        let list = own(&run)?;
        let due = [
            format!("seed sha256 {}", sha256(&[b"firebreak join seed 1\n".as_slice(), seed].concat())),
            format!("key sha256 {}", sha256(&run.key()[..32])),
            format!("terms sha256 {}", hex::encode(run.terms())),
            format!("own list sha256 {}", sha256(&list)),
        ];
        assert_eq!(lines(&evidence.opening.payload)?, due);
        assert_eq!(read, due, "the overseers read something else");
        // What a replay names is what stands there.
        let request = RequestId::from_bytes([1; 16]);
        let [replayed] = pair.left.app.replay_join(&request).await?[..] else { bail!("not one join") };
        assert_eq!(replayed.leaf, Some(*LeafHash::of(evidence.leaf.as_bytes()).as_bytes()));
        let told = replayed.committed;
        let key = told.key.context("no key")?;
        for (line, hash) in due.iter().zip([told.seed, key, told.terms, told.own_list]) {
            ensure!(line.ends_with(&hex::encode(hash)), "{line}");
        }
        Ok(())
    })
}

#[test]
fn the_leaf_of_a_list_sent_on_names_what_came_what_was_added_and_what_was_made() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        send(&left, &right)?;
        send(&right, &left)?;
        let made = left.sent_on(&pair.left.app).await?;
        let request = RequestId::from_bytes([1; 16]);
        let [replayed] = pair.left.app.replay_join(&request).await?[..] else { bail!("not one join") };
        let told = replayed.sent.context("nothing was sent")?;
        assert_eq!(told.received, right.own()?.hash);
        assert_eq!(told.sent_on, made.hash);
        let due = [("received", told.received), ("added", told.added), ("sent on", told.sent_on)];
        let due = due.map(|(what, hash)| format!("{what} sha256 {}", hex::encode(hash)));
        assert_eq!(opened(&pair, &pair.left, LeafKind::JoinSent).await?, due);
        Ok(())
    })
}
