//! Facts of a bundle, each of which alone decides whether somebody may receive.

use firebreak_domain::{Endpoint, Organisation, RecipientClass, Registry};

/// One fact in `endpoints.toml` that differs from the sample's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// The immigration agency, with its desk, is a service.
    ImmigrationServes,
    /// The removal office, with its desk, is a service of its own and no part of the immigration agency.
    RemovalServes,
    /// The contractor's host passes nothing on.
    HostKeeps,
    /// The relief fund, with its inbox, is registered as a service.
    NewcomerRegistered,
    /// The school census desk, of the education agency, passes on to the contractor what it gets.
    SchoolDeskPassesOn,
    /// The health agency is enforcement.
    HealthEnforces,
    /// The health agency is a statistics office.
    HealthCounts,
}

impl Fact {
    /// Those by which a refusal of the sample becomes another outcome.
    pub const LIFTING: [Self; 4] =
        [Self::ImmigrationServes, Self::RemovalServes, Self::HostKeeps, Self::NewcomerRegistered];

    /// Makes it so.
    pub fn write(self, registry: &mut Registry) -> anyhow::Result<()> {
        match self {
            Self::ImmigrationServes => serves(registry, "immigration-agency"),
            Self::RemovalServes => serves(registry, "removal-office"),
            Self::HostKeeps => {
                organisation(registry, "cloud-host").for_each(|host| host.passes_to.clear());
            }
            Self::NewcomerRegistered => {
                registry.organisations.push(Organisation {
                    id: "relief-fund".parse()?,
                    title: "Relief Fund".to_owned(),
                    class: RecipientClass::Service,
                    parents: Vec::new(),
                    passes_to: Vec::new(),
                    pin: None,
                });
                registry.endpoints.push(Endpoint {
                    id: "relief-fund-inbox".parse()?,
                    organisation: "relief-fund".parse()?,
                    class: RecipientClass::Service,
                    passes_to: Vec::new(),
                });
            }
            Self::SchoolDeskPassesOn => {
                for desk in registry.endpoints.iter_mut().filter(|e| e.id.as_str() == "school-census-desk") {
                    desk.passes_to.push("it-contractor".parse()?);
                }
            }
            Self::HealthEnforces => {
                organisation(registry, "health-agency").for_each(|health| health.class = RecipientClass::Enforcement);
            }
            Self::HealthCounts => {
                organisation(registry, "health-agency").for_each(|health| health.class = RecipientClass::Statistics);
            }
        }
        Ok(())
    }
}

fn organisation<'a>(registry: &'a mut Registry, id: &'a str) -> impl Iterator<Item = &'a mut Organisation> {
    registry.organisations.iter_mut().filter(move |o| o.id.as_str() == id)
}

fn serves(registry: &mut Registry, id: &str) {
    organisation(registry, id).for_each(|office| {
        office.class = RecipientClass::Service;
        office.parents.clear();
    });
    let desks = registry.endpoints.iter_mut().filter(|e| e.organisation.as_str() == id);
    desks.for_each(|desk| desk.class = RecipientClass::Service);
}
