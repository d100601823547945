use super::*;
use firebreak_domain::{ManualClock, Timestamp};
use firebreak_policy::Validity;
use firebreak_policy::signing::{SigningKey, cosign, write_manifest};
use firebreak_store::StateKey;
use firebreak_transport::{Ca, Credential};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_secs(1_740_830_400);
const DAY: i64 = 86_400;
const VALIDITY: Validity = Validity { made: NOW, valid_from: NOW, valid_until: NOW.plus_secs(90 * DAY) };

/// The folder of a program and the one that overseers put their bundles in.
struct Ground {
    folder: TempDir,
    credential: Credential,
    root: Vec<SigningKey>,
}

fn keys(names: [&str; 3]) -> Vec<SigningKey> {
    names.map(|name| SigningKey::generate(name).unwrap()).into()
}

fn overseers_toml(keys: &[SigningKey]) -> String {
    let overseer = |key: &SigningKey| {
        let key = key.verifier_key();
        let id = key.split('+').next().unwrap();
        let seal = hex::encode([id.as_bytes()[0]; 32]);
        format!("[[overseer]]\nid = \"{id}\"\ntitle = \"{id}\"\nkey = \"{key}\"\nseal_key = \"x25519:{seal}\"\n")
    };
    let overseers: String = keys.iter().map(overseer).collect();
    format!("format = 1\nthreshold = 2\n{overseers}")
}

impl Ground {
    /// A trust root, and no bundle yet.
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let root = keys(["amina", "bela", "chidi"]);
        let identity = "spiffe://firebreak.example/org/health/adapter/main".parse().unwrap();
        let authority = Ca::generate("test", "firebreak.example").unwrap();
        let credential = authority.issue(&identity, &[], firebreak_transport::Validity::days(1)).unwrap();
        fs::create_dir_all(folder.path().join("offered/policies")).unwrap();
        fs::write(folder.path().join("trust-root.toml"), overseers_toml(&root)).unwrap();
        let this = Self { folder, credential, root };
        this.write("endpoints.toml", "format = 1\n");
        this.write("overseers.toml", &overseers_toml(&this.root));
        this.write("policies/all.cedar", "@id(\"all\")\npermit (principal, action, resource);\n");
        this
    }

    fn offered(&self) -> PathBuf {
        self.folder.path().join("offered")
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.offered().join(file), text).unwrap();
    }

    /// Lists and signs what is offered, and gives its digest.
    fn sign(&self, sequence: u64, previous: Option<[u8; 32]>, by: &[&SigningKey]) -> [u8; 32] {
        write_manifest(&self.offered(), sequence, previous, VALIDITY).unwrap();
        by.iter().for_each(|key| cosign(&self.offered(), key).unwrap());
        Candidate::read(&self.offered()).unwrap().manifest().digest()
    }

    fn copy(&self, sequence: u64) -> PathBuf {
        self.folder.path().join("state/bundles").join(sequence.to_string())
    }

    /// Puts what is offered in the place of the program's own copy.
    fn swap(&self, sequence: u64) {
        let copy = self.copy(sequence);
        fs::remove_dir_all(&copy).unwrap();
        Candidate::read(&self.offered()).unwrap().write(&copy).unwrap();
    }

    async fn state(&self) -> State {
        let clock = Arc::new(ManualClock::at(NOW));
        State::open(&self.folder.path().join("state"), StateKey::from_bytes([7; 32]), clock).await.unwrap()
    }

    async fn open(&self, state: &State) -> Result<PolicyInForce, PolicyError> {
        let bundles = Bundles { folder: "offered".into(), trust_root: "trust-root.toml".into(), interval_seconds: 1 };
        PolicyInForce::open(&bundles, self.folder.path(), &self.folder.path().join("state"), state).await
    }

    /// A start of the program, which looks at the offered folder once and ends.
    async fn run(&self) -> Result<u64, PolicyError> {
        let state = self.state().await;
        let outcome = match self.open(&state).await {
            Ok(policy) => {
                let recorder = Recorder::new(&self.credential, policy.sealer()).unwrap();
                policy.refresh(&recorder, &state).await.unwrap();
                Ok(policy.accepted().map_or(0, |bundle| bundle.sequence()))
            }
            Err(error) => Err(error),
        };
        state.close().await;
        outcome
    }

    /// Three bundles one after another: by the root, by the root and its successors, by the successors alone.
    async fn succeeded(&self) -> (Vec<SigningKey>, [u8; 32]) {
        let [amina, bela, _] = &self.root[..] else { panic!("three") };
        let first = self.sign(1, None, &[amina, bela]);
        assert_eq!(self.run().await.unwrap(), 1);
        let new = keys(["dora", "emil", "fay"]);
        self.write("overseers.toml", &overseers_toml(&new));
        let second = self.sign(2, Some(first), &[amina, bela, &new[0], &new[1]]);
        assert_eq!(self.run().await.unwrap(), 2);
        self.sign(3, Some(second), &[&new[0], &new[2]]);
        assert_eq!(self.run().await.unwrap(), 3);
        (new, second)
    }
}

#[tokio::test]
async fn a_program_starts_again_under_overseers_who_succeeded_the_pinned_ones() {
    let ground = Ground::new();
    let (new, _) = ground.succeeded().await;
    // Nothing is offered any more: what it starts with is its own copy.
    fs::remove_dir_all(ground.offered()).unwrap();
    let state = ground.state().await;
    let policy = ground.open(&state).await.unwrap();
    let bundle = policy.bundle().unwrap();
    assert_eq!(bundle.sequence(), 3);
    assert!(bundle.in_force(NOW));
    assert_eq!(bundle.overseers().overseers[0].key, new[0].verifier_key());
    assert_eq!(state.accepted_bundle().map(|b| b.manifest), Some(bundle.watermark().manifest));
}

#[tokio::test]
async fn a_copy_that_was_swapped_for_another_signed_bundle_is_refused() {
    let ground = Ground::new();
    let (new, second) = ground.succeeded().await;
    let kept = TempDir::new().unwrap();
    Candidate::read(&ground.copy(3)).unwrap().write(kept.path()).unwrap();
    let refused = async |what: &str| {
        let error = ground.run().await.expect_err(what);
        assert!(matches!(error, PolicyError::CopyChanged { accepted: 3, .. }), "{what}: {error}");
        assert!(error.to_string().contains("put back the bundle whose manifest has SHA-256"), "{error}");
    };
    // By the quorum in force, of the same number and after the same one.
    ground.write("README.md", "another");
    ground.sign(3, Some(second), &[&new[0], &new[1]]);
    ground.swap(3);
    refused("another of the overseers in force").await;
    // By the pinned root, which is the quorum of nothing any more.
    ground.write("overseers.toml", &overseers_toml(&ground.root));
    ground.sign(3, Some(second), &[&ground.root[0], &ground.root[1]]);
    ground.swap(3);
    refused("another of the pinned overseers").await;
    ground.sign(1, None, &[&ground.root[0], &ground.root[1]]);
    ground.swap(3);
    refused("an earlier one").await;
    fs::remove_dir_all(ground.copy(3)).unwrap();
    refused("none").await;
    // The twin: the bundle that was accepted, put back.
    Candidate::read(kept.path()).unwrap().write(&ground.copy(3)).unwrap();
    assert_eq!(ground.run().await.unwrap(), 3);
}

#[tokio::test]
async fn a_copy_stripped_of_its_signatures_is_refused() {
    let ground = Ground::new();
    ground.succeeded().await;
    let file = ground.copy(3).join("manifest.note");
    let note = fs::read_to_string(&file).unwrap();
    let (text, _) = note.split_once("\n\n").unwrap();
    fs::write(&file, format!("{text}\n\n")).unwrap();
    assert!(ground.run().await.is_err());
    fs::write(&file, note).unwrap();
    assert_eq!(ground.run().await.unwrap(), 3);
}
