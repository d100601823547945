//! A bundle that would follow the one in force, and the ways in which no program may take it up.

use anyhow::{Context, Result};
use firebreak_policy::signing::{SigningKey, cosign, write_manifest};
use firebreak_policy::{Overseers, Validity};
use firebreak_testbed::Federation;
use std::fs;
use std::path::PathBuf;

/// A way to put a successor into the folder that no program may take up.
pub struct Flaw {
    /// What is wrong with it.
    pub name: &'static str,
    /// Lists and signs the folder, wrongly.
    pub offer: fn(&Successor<'_>) -> Result<()>,
    /// What each program says of it.
    pub said: &'static str,
}

/// Every one.
pub const FLAWS: &[Flaw] = &[
    Flaw { name: "unsigned", offer: |s| s.list(), said: "the manifest is not signed" },
    Flaw {
        name: "stripped of its signatures",
        offer: |s| {
            s.list()?;
            s.sign(&["overseer-north", "overseer-south"])?;
            let text = s.manifest()?;
            let (text, _) = text.split_once("\n\n").context("no signatures")?;
            fs::write(s.folder.join("manifest.note"), format!("{text}\n"))?;
            Ok(())
        },
        said: "the manifest is not signed",
    },
    Flaw {
        name: "signed by one",
        offer: |s| {
            s.list()?;
            s.sign(&["overseer-north"])
        },
        said: "1 of 2 signatures",
    },
    Flaw {
        name: "signed twice by one",
        offer: |s| {
            s.list()?;
            s.sign(&["overseer-north"])?;
            let text = s.manifest()?;
            let signature = text.lines().last().context("no signature")?;
            fs::write(s.folder.join("manifest.note"), format!("{text}{signature}\n"))?;
            Ok(())
        },
        said: "1 of 2 signatures",
    },
    Flaw {
        name: "signed by one, and by a new key under another's name",
        offer: |s| {
            s.list()?;
            s.sign(&["overseer-north"])?;
            Ok(cosign(&s.folder, &SigningKey::generate("overseer-south")?)?)
        },
        said: "1 of 2 signatures",
    },
    Flaw {
        name: "naming its own signers",
        offer: |s| {
            let file = s.folder.join("overseers.toml");
            let kept = fs::read_to_string(&file)?;
            let mut overseers: Overseers = toml::from_str(&kept)?;
            let strangers = ["stranger-one", "stranger-two", "stranger-three"];
            let keys: Vec<_> = strangers.iter().map(|n| s.federation.signing_key(n)).collect::<Result<_>>()?;
            for (overseer, (name, key)) in overseers.overseers.iter_mut().zip(strangers.iter().zip(&keys)) {
                overseer.id = name.parse()?;
                overseer.key = key.verifier_key();
            }
            fs::write(&file, toml::to_string(&overseers)?)?;
            s.list()?;
            s.sign(&strangers)
        },
        said: "0 of 2 signatures",
    },
    Flaw {
        name: "edited after signing",
        offer: |s| {
            s.list()?;
            s.sign(&["overseer-north", "overseer-south"])?;
            let file = s.folder.join("policies/sample.cedar");
            let text = fs::read_to_string(&file)?;
            fs::write(&file, text + "\n@id(\"all\")\npermit(principal, action, resource);\n")?;
            Ok(())
        },
        said: "policies/sample.cedar differs from the manifest",
    },
    Flaw {
        name: "following on something else",
        offer: |s| {
            write_manifest(&s.folder, 2, Some([7; 32]), s.validity)?;
            s.sign(&["overseer-north", "overseer-south"])
        },
        said: "does not name the bundle in force as its predecessor",
    },
    Flaw {
        name: "another of the same sequence",
        offer: |s| {
            write_manifest(&s.folder, 1, None, s.validity)?;
            s.sign(&["overseer-north", "overseer-south"])
        },
        said: "sequence 1 is not above 1",
    },
];

/// A successor of the bundle in force: the same without one agreement.
pub struct Successor<'a> {
    /// Whose it is.
    pub federation: &'a Federation,
    /// Its folder.
    pub folder: PathBuf,
    /// The digest of the manifest before.
    pub previous: [u8; 32],
    /// When it counts.
    pub validity: Validity,
}

impl Successor<'_> {
    /// Lists its files as the second bundle, unsigned.
    pub fn list(&self) -> Result<()> {
        write_manifest(&self.folder, 2, Some(self.previous), self.validity)?;
        Ok(())
    }

    /// Has it signed by the keys of those names.
    pub fn sign(&self, names: &[&str]) -> Result<()> {
        for name in names {
            cosign(&self.folder, &self.federation.signing_key(name)?)?;
        }
        Ok(())
    }

    fn manifest(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("manifest.note"))?)
    }
}
