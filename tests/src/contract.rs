//! Contracts of a federation's bundle, changed and signed anew by their agency.

use anyhow::{Context, Result, ensure};
use firebreak_policy::Candidate;
use firebreak_policy::signing::sign_contract;
use firebreak_testbed::{AGENCIES, Federation};
use std::fs;

/// Gives a dataset's contract these values, each in place of that in the one line `key = …`, and has its agency sign
/// it. The bundle is to be signed anew.
///
/// # Errors
/// A dataset without contract, a key that does not stand once in it, or a folder that cannot be written.
pub fn change_contract(federation: &Federation, dataset: &str, values: &[(&str, &str)]) -> Result<()> {
    rewrite_contract(federation, dataset, |text| {
        let mut text = text.to_owned();
        for (key, value) in values {
            let begin = format!("{key} = ");
            ensure!(text.lines().filter(|line| line.starts_with(&begin)).count() == 1, "{key} does not stand once");
            let changed = text.lines().map(|line| match line.strip_prefix(&begin) {
                Some(_) => format!("{begin}{value}\n"),
                None => format!("{line}\n"),
            });
            text = changed.collect();
        }
        Ok(text)
    })
}

/// The same for every dataset of an agency, whose contracts say alike what they say of its register.
///
/// # Errors
/// As [`change_contract`].
pub fn change_contracts(federation: &Federation, agency: &str, values: &[(&str, &str)]) -> Result<()> {
    let (_, _, datasets) = AGENCIES.iter().find(|(name, _, _)| *name == agency).context("no such agency")?;
    datasets.iter().try_for_each(|dataset| change_contract(federation, dataset, values))
}

/// Gives a dataset's contract another text, and has its agency sign it. The bundle is to be signed anew.
///
/// # Errors
/// As [`change_contract`], and those of the change.
pub fn rewrite_contract(
    federation: &Federation,
    dataset: &str,
    change: impl FnOnce(&str) -> Result<String>,
) -> Result<()> {
    let holds = |(_, _, datasets): &&(&str, &str, &[&str])| datasets.contains(&dataset);
    let (agency, _, _) = AGENCIES.iter().find(holds).context("no agency has this dataset")?;
    let file = federation.layout().bundle().join(format!("contracts/{dataset}.toml"));
    let before = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let after = change(&before).with_context(|| format!("the contract of {dataset}"))?;
    ensure!(before != after, "nothing is changed in the contract of {dataset}");
    fs::write(&file, after)?;
    Ok(sign_contract(&file, &federation.signing_key(agency)?)?)
}

/// The digest by which the next bundle names the one that lies in the federation's folder.
///
/// # Errors
/// A folder that holds no bundle.
pub fn offered_digest(federation: &Federation) -> Result<[u8; 32]> {
    Ok(Candidate::read(&federation.layout().bundle())?.manifest().digest())
}
