//! Seven ways in which an enforcement body could try to get at people, each refused.

use crate::scenes::{local_profile, profile, title};
use anyhow::{Result, bail};
use firebreak::client::{Ask, ClientError, Export, MatchAsk, Refused, request_export, run_match, run_query};
use firebreak_testbed::{Federation, Live};
use firebreak_wire::export::v1::ExportKind;

/// What somebody tries.
struct Attempt {
    words: &'static str,
    who: (&'static str, &'static str, &'static str),
    agreement: &'static str,
    asks: For,
}

enum For {
    Export { kind: ExportKind, endpoint: Option<&'static str> },
    Query(&'static str),
    Match,
}

const ATTEMPTS: [Attempt; 7] = [
    Attempt {
        words: "It asks for patients' records, outright.",
        who: ("immigration-agency", "endpoint", "residence-casework"),
        agreement: "shared-tables",
        asks: For::Export { kind: ExportKind::Identifiable, endpoint: Some("residence-casework") },
    },
    Attempt {
        words: "It asks a contractor of a school portal to fetch them: data would reach it two steps on.",
        who: ("it-contractor", "endpoint", "contractor-inbox"),
        agreement: "shared-tables",
        asks: For::Export { kind: ExportKind::Identifiable, endpoint: Some("contractor-inbox") },
    },
    Attempt {
        words: "It sets up an endpoint under a new name, which nobody registered.",
        who: ("relief-fund", "endpoint", "inbox"),
        agreement: "shared-tables",
        asks: For::Export { kind: ExportKind::Identifiable, endpoint: Some("relief-fund-inbox") },
    },
    Attempt {
        words: "It asks for rows without names, which it would match itself.",
        who: ("removal-office", "endpoint", "removal-desk"),
        agreement: "shared-tables",
        asks: For::Export { kind: ExportKind::Pseudonymous, endpoint: Some("removal-desk") },
    },
    Attempt {
        words: "It asks for statistics only: how many patients were seen in a region.",
        who: ("removal-office", "analyst", "max"),
        agreement: "shared-tables",
        asks: For::Query("SELECT COUNT(*) AS n FROM health.visits WHERE region = 'R01'"),
    },
    Attempt {
        words: "It asks for patients by national number.",
        who: ("removal-office", "analyst", "max"),
        agreement: "shared-tables",
        asks: For::Query("SELECT national_number, COUNT(*) AS n FROM health.visits GROUP BY national_number"),
    },
    Attempt {
        words: "It asks for a match: which permit holders have a child at school?",
        who: ("immigration-agency", "caseworker", "desk"),
        agreement: "residence-check",
        asks: For::Match,
    },
];

/// Makes all seven attempts, and shows each refusal.
pub async fn refused(federation: &Federation, live: &Live) -> Result<()> {
    title("3. An enforcement body wants identities");
    for (number, Attempt { words, who, agreement, asks }) in ATTEMPTS.iter().enumerate() {
        println!("\n  {}. {words}", number + 1);
        let refused = match asks {
            For::Match => {
                let local = live.adapter(who.0)?.local;
                let connection = local_profile(federation, who.0, (who.1, who.2), local).connect_local().await?;
                let ask = MatchAsk::new(agreement, "vaccination-round")?;
                refusal(run_match(&connection, &ask, &mut |_| {}).await)?
            }
            For::Query(sql) => {
                let connection = profile(federation, live.address, *who)?.connect().await?;
                refusal(run_query(&connection, &Ask::new(agreement, "service-planning", sql)?, &mut |_| {}).await)?
            }
            For::Export { kind, endpoint } => {
                let connection = profile(federation, live.address, *who)?.connect().await?;
                let ask = Ask::without_question(agreement, "service-planning")?;
                let export = Export {
                    kind: *kind,
                    endpoint: endpoint.map(str::to_owned),
                    dataset: Some("health.visits".to_owned()),
                };
                refusal(request_export(&connection, &ask, &export, &mut |_| {}).await)?
            }
        };
        let told = |key: &str| refused.refusal.metadata.get(key).cloned().unwrap_or_default();
        println!("     refused: {} — {}", refused.refusal.reason, told("rule"));
        for (label, key) in [("because", "detail"), ("decided by", "policies"), ("instead", "suggestion")] {
            if !told(key).is_empty() {
                println!("     {label}: {}", told(key));
            }
        }
    }
    Ok(())
}

/// The refusal in an outcome. Anything else would be a fault of this program, and ends the demonstration.
fn refusal<T>(outcome: Result<T, ClientError>) -> Result<Refused> {
    match outcome {
        Err(ClientError::Refused(refused)) => Ok(*refused),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("an attempt of an enforcement body was answered"),
    }
}
