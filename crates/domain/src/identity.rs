use crate::{InvalidId, OrgId};
use std::fmt;
use std::str::FromStr;

/// Who is at the other end of a connection: `spiffe://<domain>/org/<org>/<role>/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The trust domain.
    pub trust_domain: String,
    /// The organisation.
    pub org: OrgId,
    /// What it is at that organisation.
    pub role: IdentityRole,
    /// Its own name within organisation and role.
    pub id: String,
}

/// What an identity may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentityRole {
    /// The gateway.
    Gateway,
    /// An agency's adapter, towards the federation.
    Adapter,
    /// A person who asks for aggregates.
    Analyst,
    /// A machine that receives.
    Endpoint,
    /// A person who reviews policy.
    Overseer,
    /// A data-protection authority.
    Authority,
    /// An agency's own staff, on the adapter's local listener only: the front desk, which acts on matches. Nobody else
    /// takes their keys out.
    Officer,
    /// Staff that works on cases.
    Caseworker,
    /// Staff that answers for data.
    Steward,
    /// Staff that runs the adapter.
    Admin,
}

impl IdentityRole {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::Gateway,
        Self::Adapter,
        Self::Analyst,
        Self::Endpoint,
        Self::Overseer,
        Self::Authority,
        Self::Officer,
        Self::Caseworker,
        Self::Steward,
        Self::Admin,
    ];

    /// The role's place in the URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Adapter => "adapter",
            Self::Analyst => "analyst",
            Self::Endpoint => "endpoint",
            Self::Overseer => "overseer",
            Self::Authority => "authority",
            Self::Officer => "officer",
            Self::Caseworker => "caseworker",
            Self::Steward => "steward",
            Self::Admin => "admin",
        }
    }

    /// Whether the role exists on an adapter's local listener only, under the agency's own CA.
    #[must_use]
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Officer | Self::Caseworker | Self::Steward | Self::Admin)
    }
}

/// A URI that is not one of ours. Does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of the form.
    #[error("the name in the certificate is not spiffe://<domain>/org/<org>/<role>/<id>")]
    Form,
    /// A part is not well formed.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let rest = uri.strip_prefix("spiffe://").ok_or(IdentityError::Form)?;
        let [trust_domain, "org", org, role, id] = rest.split('/').collect::<Vec<_>>()[..] else {
            return Err(IdentityError::Form);
        };
        let role = IdentityRole::ALL.into_iter().find(|r| r.as_str() == role).ok_or(IdentityError::Form)?;
        // The trust domain and the last part obey the same rule as an organisation's name.
        Ok(Self {
            trust_domain: OrgId::new(trust_domain)?.into(),
            org: OrgId::new(org)?,
            role,
            id: OrgId::new(id)?.into(),
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/org/{}/{}/{}", self.trust_domain, self.org, self.role.as_str(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_reads_back_as_written() {
        let uri = "spiffe://firebreak.example/org/nso/analyst/ada";
        assert_eq!(uri.parse::<Identity>().unwrap().to_string(), uri);
    }

    #[test]
    fn other_uris_are_refused() {
        for uri in [
            "",
            "https://firebreak.example/org/nso/analyst/ada",
            "spiffe://firebreak.example/org/nso/analyst",
            "spiffe://firebreak.example/org/nso/analyst/ada/",
            "spiffe://firebreak.example/org/nso/root/ada",
            "spiffe://firebreak.example/org/NSO/analyst/ada",
            "spiffe:///org/nso/analyst/ada",
            "spiffe://firebreak.example/team/nso/analyst/ada",
        ] {
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
        }
    }
}
