use crate::{EndpointId, OrgId, UnknownFormat, check_format};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// What kind of body receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientClass {
    /// Reviews policy and the log.
    Oversight,
    /// Makes statistics.
    Statistics,
    /// Serves people: a clinic, a school.
    Service,
    /// Decides on entry, residence or removal, whatever else it does; and everybody who is not registered.
    Enforcement,
}

impl RecipientClass {
    /// Its name in files, policies and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oversight => "oversight",
            Self::Statistics => "statistics",
            Self::Service => "service",
            Self::Enforcement => "enforcement",
        }
    }
}

/// Who receives: an organisation (the caller's own, for an answer), or a registered endpoint (for an export).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipient {
    /// An organisation.
    Organisation(OrgId),
    /// An endpoint.
    Endpoint(EndpointId),
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organisation(org) => write!(f, "organisation:{org}"),
            Self::Endpoint(endpoint) => write!(f, "endpoint:{endpoint}"),
        }
    }
}

/// SHA-256 of a key's SubjectPublicKeyInfo: the one key by which an agency is known inside a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin([u8; 32]);

impl Pin {
    /// Wraps a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Pin {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix("sha256:").ok_or("a pin is sha256: and 64 hexadecimal digits")?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| "a pin is sha256: and 64 hexadecimal digits")?;
        Ok(Self(bytes))
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> String {
        pin.to_string()
    }
}

/// `endpoints.toml`: who takes part, of what class, and to whom each passes on what it gets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Format number of the file.
    pub format: u32,
    /// The organisations.
    #[serde(default, rename = "organisation")]
    pub organisations: Vec<Organisation>,
    /// The endpoints, each of an organisation.
    #[serde(default, rename = "endpoint")]
    pub endpoints: Vec<Endpoint>,
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organisation {
    /// Its name.
    pub id: OrgId,
    /// In words.
    pub title: String,
    /// Its class.
    pub class: RecipientClass,
    /// The bodies it belongs to.
    #[serde(default)]
    pub parents: Vec<OrgId>,
    /// The organisations to which it passes data on: contractors, other offices, third countries.
    #[serde(default)]
    pub passes_to: Vec<OrgId>,
    /// The pinned key of its adapter, if it is an agency.
    #[serde(default)]
    pub pin: Option<Pin>,
}

/// An endpoint: a machine of an organisation that receives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its name, unique in the bundle.
    pub id: EndpointId,
    /// Whose it is.
    pub organisation: OrgId,
    /// Its own class; the organisation's still counts.
    pub class: RecipientClass,
    /// The organisations to which it passes data on.
    #[serde(default)]
    pub passes_to: Vec<OrgId>,
}

/// A registry that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Written for a later program.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// An organisation or endpoint is declared twice.
    #[error("{0} is declared twice")]
    Duplicate(String),
}

/// The class by which a party is judged, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassFinding {
    /// The class after everything that it passes data on to.
    pub class: RecipientClass,
    /// Whether the party itself is in the registry.
    pub registered: bool,
    /// The way from the party to the enforcement body that decided, party first; empty if none did.
    pub path: Vec<OrgId>,
}

impl Registry {
    /// Checks format and uniqueness. Unknown names are no error: they count as enforcement.
    ///
    /// # Errors
    /// The first [`RegistryError`] found.
    pub fn check(&self) -> Result<(), RegistryError> {
        check_format("endpoints.toml", self.format)?;
        let mut seen = BTreeSet::new();
        for name in self.organisations.iter().map(|o| o.id.as_str()) {
            if !seen.insert(name) {
                return Err(RegistryError::Duplicate(format!("organisation {name}")));
            }
        }
        let mut seen = BTreeSet::new();
        for name in self.endpoints.iter().map(|e| e.id.as_str()) {
            if !seen.insert(name) {
                return Err(RegistryError::Duplicate(format!("endpoint {name}")));
            }
        }
        Ok(())
    }

    /// The organisation of that name.
    #[must_use]
    pub fn organisation(&self, id: &OrgId) -> Option<&Organisation> {
        self.organisations.iter().find(|o| o.id == *id)
    }

    /// The endpoint of that name.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.id == *id)
    }

    /// The class by which `org` is judged: enforcement if it, a parent, one of its endpoints, or anybody to whom
    /// these pass data on at any distance is enforcement or not registered; otherwise its own.
    #[must_use]
    pub fn class_of(&self, org: &OrgId) -> ClassFinding {
        let mut came_from: BTreeMap<&OrgId, Option<&OrgId>> = BTreeMap::from([(org, None)]);
        let mut queue = VecDeque::from([org]);
        while let Some(at) = queue.pop_front() {
            let known = self.organisation(at);
            let worst = self.endpoints.iter().any(|e| e.organisation == *at && e.class == RecipientClass::Enforcement);
            if worst || known.is_none_or(|o| o.class == RecipientClass::Enforcement) {
                let mut path = vec![at.clone()];
                let mut step = came_from.get(at).copied().flatten();
                while let Some(previous) = step {
                    path.push(previous.clone());
                    step = came_from.get(previous).copied().flatten();
                }
                path.reverse();
                return ClassFinding {
                    class: RecipientClass::Enforcement,
                    registered: self.organisation(org).is_some(),
                    path,
                };
            }
            let edges = known.into_iter().flat_map(|o| o.parents.iter().chain(&o.passes_to));
            let of_endpoints = self.endpoints.iter().filter(|e| e.organisation == *at).flat_map(|e| e.passes_to.iter());
            for next in edges.chain(of_endpoints) {
                came_from.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    Some(at)
                });
            }
        }
        let class = self.organisation(org).map_or(RecipientClass::Enforcement, |o| o.class);
        ClassFinding { class, registered: true, path: Vec::new() }
    }

    /// The class by which a recipient is judged: [`Registry::class_of`] or [`Registry::class_of_endpoint`].
    #[must_use]
    pub fn class_of_recipient(&self, recipient: &Recipient) -> ClassFinding {
        match recipient {
            Recipient::Organisation(org) => self.class_of(org),
            Recipient::Endpoint(endpoint) => self.class_of_endpoint(endpoint),
        }
    }

    /// The class by which an endpoint is judged: its own and its organisation's, whichever is worse. An endpoint
    /// that is not registered is enforcement.
    #[must_use]
    pub fn class_of_endpoint(&self, id: &EndpointId) -> ClassFinding {
        match self.endpoint(id) {
            None => ClassFinding { class: RecipientClass::Enforcement, registered: false, path: Vec::new() },
            Some(endpoint) => {
                let finding = self.class_of(&endpoint.organisation);
                if finding.class == RecipientClass::Enforcement {
                    finding
                } else {
                    ClassFinding { class: endpoint.class.max(finding.class), ..finding }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(id: &str, class: RecipientClass, parents: &[&str], passes_to: &[&str]) -> Organisation {
        let ids = |names: &[&str]| names.iter().map(|n| OrgId::new(*n).unwrap()).collect();
        Organisation {
            id: OrgId::new(id).unwrap(),
            title: id.into(),
            class,
            parents: ids(parents),
            passes_to: ids(passes_to),
            pin: None,
        }
    }

    fn registry() -> Registry {
        use RecipientClass::{Enforcement, Service, Statistics};
        Registry {
            format: 1,
            organisations: vec![
                org("clinic", Service, &[], &[]),
                org("school", Service, &[], &["it-firm"]),
                org("it-firm", Service, &[], &["cloud"]),
                org("cloud", Service, &[], &["border"]),
                org("border", Enforcement, &[], &[]),
                org("nso", Statistics, &[], &["clinic", "nso"]),
                org("desk", Service, &["border"], &[]),
                org("leaky", Service, &[], &["nobody"]),
            ],
            endpoints: vec![Endpoint {
                id: EndpointId::new("school-portal").unwrap(),
                organisation: OrgId::new("clinic").unwrap(),
                class: RecipientClass::Service,
                passes_to: vec![],
            }],
        }
    }

    fn class(id: &str) -> ClassFinding {
        registry().class_of(&OrgId::new(id).unwrap())
    }

    #[test]
    fn whoever_passes_on_to_enforcement_at_any_distance_is_enforcement() {
        let finding = class("school");
        assert_eq!(finding.class, RecipientClass::Enforcement);
        let path: Vec<_> = finding.path.iter().map(OrgId::as_str).collect();
        assert_eq!(path, ["school", "it-firm", "cloud", "border"]);
        assert_eq!(class("desk").class, RecipientClass::Enforcement);
    }

    #[test]
    fn an_unregistered_party_is_enforcement_and_taints_whoever_passes_on_to_it() {
        assert_eq!(class("nobody").class, RecipientClass::Enforcement);
        assert!(!class("nobody").registered);
        assert_eq!(class("leaky").class, RecipientClass::Enforcement);
        assert!(class("leaky").registered);
    }

    #[test]
    fn a_cycle_of_harmless_parties_stays_harmless() {
        assert_eq!(class("nso").class, RecipientClass::Statistics);
        assert_eq!(class("clinic").class, RecipientClass::Service);
    }

    #[test]
    fn an_organisation_is_as_bad_as_its_worst_endpoint() {
        let mut registry = registry();
        if let Some(endpoint) = registry.endpoints.first_mut() {
            endpoint.class = RecipientClass::Enforcement;
        }
        let finding = registry.class_of(&OrgId::new("clinic").unwrap());
        assert_eq!(finding.class, RecipientClass::Enforcement);
    }
}
