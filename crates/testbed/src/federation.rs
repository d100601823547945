//! The folder of a federation: population, certificates, keys, policy bundle, configurations.

use anyhow::{Context, Result};
use firebreak_audit::{NoteKey, OpeningKey};
use firebreak_domain::{Clock, Identity, Registry, SystemClock};
use firebreak_policy::signing::{SigningKey, cosign, sign_contract, write_manifest};
use firebreak_policy::{AgencyKey, Overseer, Overseers, Validity as BundleValidity};
use firebreak_population::Population;
use firebreak_transport::{Ca, Credential, Validity};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Role and name of every agency's caseworker, who has matches run.
pub const CASEWORKER: (&str, &str) = ("caseworker", "desk");
/// Role and name of every agency's officer, who takes out what was matched.
pub const OFFICER: (&str, &str) = ("officer", "counter");

/// The trust domain of the demonstration.
pub const TRUST_DOMAIN: &str = "firebreak.example";
/// The agencies, each with the folder of its files and the datasets that it serves.
pub const AGENCIES: [(&str, &str, &[&str]); 3] = [
    ("health-agency", "health", &["health.visits", "health.vaccinations", "health.interpreting"]),
    ("education-agency", "education", &["education.enrolments", "education.pupils", "education.interpreting"]),
    ("immigration-agency", "immigration", &["immigration.permits"]),
];
/// The cut that is asked when none is named.
pub const CUT: &str = "2024-Q4";
/// The name of the log, which is also its key's.
const LOG: &str = "firebreak.example/log";
/// The overseers of the sample bundle.
const OVERSEERS: [&str; 3] = ["overseer-north", "overseer-south", "overseer-west"];
/// Days for which certificates of the demonstration are good.
const DAYS: u32 = 30;

/// How large a federation is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Persons in the population.
    pub persons: u32,
    /// The population's seed.
    pub seed: u64,
    /// Milliseconds of the smallest tick on which an answer leaves.
    pub tick_milliseconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { persons: 100_000, seed: 1, tick_milliseconds: 100 }
    }
}

/// Where things lie in a federation's folder.
#[derive(Debug, Clone)]
pub struct Layout(PathBuf);

impl Layout {
    /// A federation in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The population's files and truth.
    #[must_use]
    pub fn population(&self) -> PathBuf {
        self.0.join("population")
    }

    /// The federation's certificate authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.0.join("certificates/authority")
    }

    /// An agency's own certificate authority, for its staff.
    #[must_use]
    pub fn local_authority(&self, agency: &str) -> PathBuf {
        self.0.join(format!("certificates/{agency}-staff-authority"))
    }

    /// The certificate of an identity.
    #[must_use]
    pub fn certificate(&self, org: &str, role: &str, id: &str) -> PathBuf {
        self.0.join(format!("certificates/{org}-{role}-{id}"))
    }

    /// The certificate, under the agency's own authority, of its staff or of the listener for them.
    #[must_use]
    pub fn staff_certificate(&self, agency: &str, role: &str, id: &str) -> PathBuf {
        self.0.join(format!("certificates/{agency}-staff-{role}-{id}"))
    }

    /// The bundle folder that gateway and adapters look at.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.0.join("bundle")
    }

    /// The keys of overseers and of agencies' contracts.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The key with which an overseer reads openings.
    #[must_use]
    pub fn opening_key(&self, overseer: &str) -> PathBuf {
        self.keys().join(format!("{overseer}.opening-key"))
    }

    /// The gateway's folder.
    #[must_use]
    pub fn gateway(&self) -> PathBuf {
        self.0.join("gateway")
    }

    /// The public log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.gateway().join("log")
    }

    /// An adapter's folder.
    #[must_use]
    pub fn adapter(&self, agency: &str) -> PathBuf {
        self.0.join(agency)
    }
}

/// A federation's folder, with the authorities that can issue further certificates.
pub struct Federation {
    layout: Layout,
    options: Options,
    population: Population,
    ca: Ca,
    log_key: String,
}

/// The gateway's identity.
#[must_use]
pub fn gateway_identity() -> String {
    format!("spiffe://{TRUST_DOMAIN}/org/federation/gateway/main")
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/sample")
}

/// Held while something is made that is not there yet: tests of one process share a federation, and may want the same at once.
fn alone() -> MutexGuard<'static, ()> {
    static MAKING: Mutex<()> = Mutex::new(());
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Federation {
    /// Makes everything in `folder`, which must be empty or not there. `say` hears of each step.
    ///
    /// # Errors
    /// A folder that cannot be written, or a sample that does not fit the programs.
    pub fn prepare(folder: &Path, options: &Options, mut say: impl FnMut(&str)) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let layout = Layout::new(&folder.canonicalize()?);
        say(&format!("a population of {} persons, each agency with its own files", options.persons));
        let population = Population::new(options.persons, options.seed)?;
        population.write(&layout.population())?;
        say("certificates (the demonstration's own authority: not for production)");
        let ca = Ca::generate("Federation", TRUST_DOMAIN)?;
        ca.save(&layout.authority())?;
        fs::create_dir_all(layout.gateway())?;
        let log_key = NoteKey::generate(LOG)?;
        write_secret(&layout.gateway().join("log.key"), log_key.encode().as_bytes())?;
        let this = Self { log_key: log_key.verifier().to_string(), layout, options: *options, population, ca };
        this.issue_uri(&gateway_identity(), "federation", "gateway", "main")?;
        for (agency, _, _) in AGENCIES {
            this.issue(agency, "adapter", "main")?;
            let local = Ca::generate(&format!("Staff of {agency}"), TRUST_DOMAIN)?;
            local.save(&this.layout.local_authority(agency))?;
            for (role, id) in [CASEWORKER, OFFICER] {
                this.issue_local(agency, role, id)?;
            }
        }
        say("a policy bundle, its contracts signed by the agencies, signed by two of three overseers");
        this.write_bundle()?;
        fs::write(this.layout.root().join("log.pub"), format!("{}\n", this.log_key))?;
        Ok(this)
    }

    /// Where things lie.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The population.
    #[must_use]
    pub const fn population(&self) -> &Population {
        &self.population
    }

    /// The federation's authority.
    #[must_use]
    pub const fn authority(&self) -> &Ca {
        &self.ca
    }

    /// The log's public key.
    #[must_use]
    pub fn log_key(&self) -> &str {
        &self.log_key
    }

    /// A certificate of the federation, made if it is not there yet.
    ///
    /// # Errors
    /// A name that is none, or a folder that cannot be written.
    pub fn issue(&self, org: &str, role: &str, id: &str) -> Result<Credential> {
        self.issue_uri(&format!("spiffe://{TRUST_DOMAIN}/org/{org}/{role}/{id}"), org, role, id)
    }

    fn issue_uri(&self, uri: &str, org: &str, role: &str, id: &str) -> Result<Credential> {
        let _alone = alone();
        let folder = self.layout.certificate(org, role, id);
        if folder.is_dir() {
            return Ok(Credential::load(&folder)?);
        }
        let identity: Identity = uri.parse()?;
        let credential = self.ca.issue(&identity, &["localhost"], Validity::days(DAYS))?;
        credential.save(&folder)?;
        Ok(credential)
    }

    /// A certificate of an agency's staff, made if it is not there yet.
    ///
    /// # Errors
    /// As [`Federation::issue`].
    pub fn issue_local(&self, agency: &str, role: &str, id: &str) -> Result<Credential> {
        let _alone = alone();
        let folder = self.layout.staff_certificate(agency, role, id);
        if folder.is_dir() {
            return Ok(Credential::load(&folder)?);
        }
        let ca = Ca::load(&self.layout.local_authority(agency))?;
        let identity: Identity = format!("spiffe://{TRUST_DOMAIN}/org/{agency}/{role}/{id}").parse()?;
        let credential = ca.issue(&identity, &["localhost"], Validity::days(DAYS))?;
        credential.save(&folder)?;
        Ok(credential)
    }

    /// The signing key of an overseer or of an agency's contracts, made if it is not there yet.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn signing_key(&self, name: &str) -> Result<SigningKey> {
        let _alone = alone();
        let file = self.layout.keys().join(format!("{name}.key"));
        if let Ok(text) = fs::read_to_string(&file) {
            return Ok(SigningKey::parse(&text)?);
        }
        let key = SigningKey::generate(name)?;
        fs::create_dir_all(self.layout.keys())?;
        write_secret(&file, key.secret().as_bytes())?;
        Ok(key)
    }

    /// The key with which an overseer reads openings, made if it is not there yet.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn opening_key(&self, name: &str) -> Result<OpeningKey> {
        let file = self.layout.opening_key(name);
        if let Ok(text) = fs::read_to_string(&file) {
            return Ok(OpeningKey::parse(&text)?);
        }
        let key = OpeningKey::generate()?;
        fs::create_dir_all(self.layout.keys())?;
        write_secret(&file, key.secret().as_bytes())?;
        Ok(key)
    }

    fn write_bundle(&self) -> Result<()> {
        let (from, to) = (sample().join("bundle"), self.layout.bundle());
        for folder in ["agreements", "assessments", "contracts", "policies"] {
            copy_folder(&from.join(folder), &to.join(folder))?;
        }
        let mut registry: Registry = toml::from_str(&fs::read_to_string(from.join("endpoints.toml"))?)?;
        for (agency, _, _) in AGENCIES {
            let pin = self.issue(agency, "adapter", "main")?.pin();
            for organisation in registry.organisations.iter_mut().filter(|o| o.id.as_str() == agency) {
                organisation.pin = Some(pin);
            }
        }
        fs::write(to.join("endpoints.toml"), toml::to_string(&registry)?)?;
        let overseer = |name: &str| {
            let key = self.signing_key(name)?.verifier_key();
            let (id, title) = (name.parse()?, format!("Overseer {name}"));
            Ok::<_, anyhow::Error>(Overseer { id, title, key, seal_key: self.opening_key(name)?.seal_key() })
        };
        let agency = |(name, _, _): &(&str, &str, &[&str])| {
            let key = self.signing_key(name)?.verifier_key();
            Ok::<_, anyhow::Error>(AgencyKey { id: name.parse()?, key })
        };
        let overseers = Overseers {
            format: 1,
            threshold: 2,
            overseers: OVERSEERS.iter().map(|n| overseer(n)).collect::<Result<_>>()?,
            agencies: AGENCIES.iter().map(agency).collect::<Result<_>>()?,
        };
        let text = toml::to_string(&overseers)?;
        fs::write(to.join("overseers.toml"), &text)?;
        fs::write(self.layout.root().join("trust-root.toml"), &text)?;
        let size = self.population.declared_register_size();
        for (name, _, datasets) in AGENCIES {
            for dataset in datasets {
                let file = to.join(format!("contracts/{dataset}.toml"));
                let text =
                    fs::read_to_string(&file)?.replace("register_size = 100_000", &format!("register_size = {size}"));
                fs::write(&file, text)?;
                sign_contract(&file, &self.signing_key(name)?)?;
            }
        }
        let now = SystemClock.now();
        self.sign_bundle(
            1,
            None,
            BundleValidity {
                made: now,
                valid_from: now.plus_secs(-60),
                valid_until: now.plus_secs(i64::from(DAYS) * 86_400),
            },
        )
    }

    /// Lists the files of the bundle folder as they are in a manifest, signed by two of three overseers.
    ///
    /// # Errors
    /// A folder that is no bundle.
    pub fn sign_bundle(&self, sequence: u64, previous: Option<[u8; 32]>, validity: BundleValidity) -> Result<()> {
        write_manifest(&self.layout.bundle(), sequence, previous, validity)?;
        for name in OVERSEERS.iter().take(2) {
            cosign(&self.layout.bundle(), &self.signing_key(name)?)?;
        }
        Ok(())
    }

    /// Writes the gateway's configuration, and gives its file.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn configure_gateway(
        &self,
        listen: SocketAddr,
        metrics: Option<SocketAddr>,
        public_log: Option<SocketAddr>,
    ) -> Result<PathBuf> {
        let certificates = self.layout.certificate("federation", "gateway", "main");
        let text = format!(
            "listen = \"{listen}\"\nstate_folder = \"state\"\nstate_key = \"state.key\"\nlog_folder = \"log\"\n\
             log_key = \"log.key\"\n{}{}{}{}",
            metrics.map(|m| format!("metrics = \"{m}\"\n")).unwrap_or_default(),
            public_log.map(|l| format!("public_log = \"{l}\"\n")).unwrap_or_default(),
            tls("federation", &certificates, &self.layout.authority()),
            self.bundles(),
        );
        let file = self.layout.gateway().join("gateway.toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Writes an adapter's configuration for gateways at those addresses, and gives its file.
    ///
    /// # Errors
    /// A folder that cannot be written, or an agency that is none.
    pub fn configure_adapter(
        &self,
        agency: &str,
        gateways: &[SocketAddr],
        metrics: Option<SocketAddr>,
    ) -> Result<PathBuf> {
        let (_, folder, datasets) = AGENCIES.iter().find(|(a, _, _)| *a == agency).context("no such agency")?;
        let home = self.layout.adapter(agency);
        fs::create_dir_all(home.join("bindings"))?;
        for dataset in *datasets {
            fs::copy(sample().join(format!("bindings/{dataset}.toml")), home.join(format!("bindings/{dataset}.toml")))?;
        }
        let bindings: Vec<_> = datasets.iter().map(|d| format!("\"bindings/{d}.toml\"")).collect();
        let certificates = self.layout.certificate(agency, "adapter", "main");
        self.issue_local(agency, "adapter", "main")?;
        let local = self.layout.staff_certificate(agency, "adapter", "main");
        let text = format!(
            "gateways = [{}]\ngateway_identity = \"{}\"\nlog_key = \"{}\"\nstate_folder = \"state\"\n\
             state_key = \"state.key\"\ndata_folder = \"{}\"\nbindings = [{}]\ntick_milliseconds = {}\n{}{}{}\
             [local]\nlisten = \"127.0.0.1:0\"\n{}",
            gateways.iter().map(|g| format!("\"{g}\"")).collect::<Vec<_>>().join(", "),
            gateway_identity(),
            self.log_key,
            self.layout.population().join(folder).display(),
            bindings.join(", "),
            self.options.tick_milliseconds,
            metrics.map(|m| format!("metrics = \"{m}\"\n")).unwrap_or_default(),
            tls("federation", &certificates, &self.layout.authority()),
            self.bundles(),
            tls("local.tls", &local, &self.layout.local_authority(agency)),
        );
        let file = home.join("adapter.toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    fn bundles(&self) -> String {
        format!(
            "[bundles]\nfolder = \"{}\"\ntrust_root = \"{}\"\ninterval_seconds = 1\n",
            self.layout.bundle().display(),
            self.layout.root().join("trust-root.toml").display()
        )
    }
}

fn tls(table: &str, certificates: &Path, authority: &Path) -> String {
    format!(
        "[{table}]\ncertificate = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"\nauthority = \"{1}/ca.pem\"\n\
         trust_domain = \"{TRUST_DOMAIN}\"\n",
        certificates.display(),
        authority.display()
    )
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("the sample {} is missing", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn write_secret(file: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = fs::OpenOptions::new();
    open.write(true).create_new(true).mode(0o600).open(file)?.write_all(bytes)?;
    Ok(())
}
