use std::fmt;

/// Which program was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    Gateway,
    Adapter,
}

/// On which step of a request a kill fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    GatewayBefore,
    GatewayReserved,
    GatewaySettled,
    GatewayLogged,
    GatewayAnswered,
    AdapterBefore,
    AdapterReserved,
    AdapterSettled,
    AdapterAnswered,
}

/// What a killed program left on its disk.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// Requests that it had charged.
    pub requests: u64,
    /// Releases that it had stored.
    pub releases: u64,
    /// Leaves that it had not yet seen in the log.
    pub outstanding: u64,
    /// The loss that its ledger records, in nano-ρ.
    pub recorded: u64,
}

impl Step {
    pub const ALL: [Self; 9] = [
        Self::GatewayBefore,
        Self::GatewayReserved,
        Self::GatewaySettled,
        Self::GatewayLogged,
        Self::GatewayAnswered,
        Self::AdapterBefore,
        Self::AdapterReserved,
        Self::AdapterSettled,
        Self::AdapterAnswered,
    ];

    /// The steps of a program, in the order of a request.
    pub const fn of(killed: Killed) -> &'static [Self] {
        match killed {
            Killed::Gateway => Self::ALL.split_at(5).0,
            Killed::Adapter => Self::ALL.split_at(5).1,
        }
    }

    /// The step of a kill, after `done` requests had come to their end before; `answered` if the caller had its answer.
    pub const fn at(killed: Killed, left: &Left, done: u64, answered: bool) -> Self {
        match killed {
            Killed::Gateway if left.requests == done => Self::GatewayBefore,
            Killed::Gateway if left.releases == done => Self::GatewayReserved,
            Killed::Gateway if answered => Self::GatewayAnswered,
            Killed::Gateway if left.outstanding > 0 => Self::GatewaySettled,
            Killed::Gateway => Self::GatewayLogged,
            Killed::Adapter if left.requests == done => Self::AdapterBefore,
            Killed::Adapter if left.releases == done => Self::AdapterReserved,
            Killed::Adapter if answered => Self::AdapterAnswered,
            Killed::Adapter => Self::AdapterSettled,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GatewayBefore => "gateway: before it reserved",
            Self::GatewayReserved => "gateway: reserved, the agency at work",
            Self::GatewaySettled => "gateway: settled, its leaves not confirmed in the log",
            Self::GatewayLogged => "gateway: logged, the caller without an answer",
            Self::GatewayAnswered => "gateway: answered",
            Self::AdapterBefore => "adapter: before it reserved",
            Self::AdapterReserved => "adapter: reserved, not settled",
            Self::AdapterSettled => "adapter: settled, the caller without an answer",
            Self::AdapterAnswered => "adapter: answered",
        })
    }
}
