//! Callers of the gateway, by their identities.

use anyhow::{Result, bail};
use firebreak::client::{ClientError, Connection, Profile, Refused};
use firebreak_testbed::{Address, CASEWORKER, Federation, OFFICER, gateway_identity};

/// Somebody who calls: organisation, role, name.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub &'static str, pub &'static str, pub &'static str);

impl Caller {
    /// The statistician of most tests.
    pub const ADA: Self = Self("nso", "analyst", "ada");

    /// A connection to a gateway, under a certificate of the federation.
    pub async fn connect(self, federation: &Federation, gateway: Address) -> Result<Connection> {
        let Self(org, role, id) = self;
        federation.issue(org, role, id)?;
        let layout = federation.layout();
        let profile = Profile {
            identity: Some(layout.certificate(org, role, id)),
            authority: Some(layout.authority().join("ca.pem")),
            gateway: Some(format!("localhost:{}", gateway.port())),
            gateway_identity: Some(gateway_identity()),
            ..Profile::default()
        };
        Ok(profile.connect().await?)
    }

    /// A connection to an agency's own adapter, as its caseworker.
    pub async fn connect_local(federation: &Federation, agency: &str, local: Address) -> Result<Connection> {
        Self::connect_staff(federation, agency, CASEWORKER, local).await
    }

    /// A connection to an agency's own adapter, as its officer, to whom alone matched keys are handed out.
    pub async fn connect_officer(federation: &Federation, agency: &str, local: Address) -> Result<Connection> {
        Self::connect_staff(federation, agency, OFFICER, local).await
    }

    async fn connect_staff(
        federation: &Federation,
        agency: &str,
        (role, id): (&str, &str),
        local: Address,
    ) -> Result<Connection> {
        let layout = federation.layout();
        let profile = Profile {
            identity: Some(layout.staff_certificate(agency, role, id)),
            authority: Some(layout.local_authority(agency).join("ca.pem")),
            local: Some(format!("localhost:{}", local.port())),
            ..Profile::default()
        };
        Ok(profile.connect_local().await?)
    }
}

/// The refusal in an outcome.
pub fn refusal_of<T>(outcome: Result<T, ClientError>) -> Result<Refused> {
    match outcome {
        Err(ClientError::Refused(refused)) => Ok(*refused),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("answered, and not refused"),
    }
}
