//! What every person of each register can have lost, at most.

use super::{HTML, JSON, LOSS, document, escaped};
use crate::app::{App, Losses, RegisterLoss};
use firebreak_domain::{Charge, UnitSpaceId};
use firebreak_privacy::{epsilon_text, shown_epsilon};
use firebreak_transport::Page;
use serde_json::{Value, json};

/// The page at a path below `/loss/`; `None` where there is none. It changes with every answer, and nobody keeps it.
pub(super) fn page(app: &App, path: &str) -> Option<Page> {
    let (content_type, lay_out): (_, fn(&Losses) -> String) = match path {
        "" => (HTML, html),
        "index.json" => (JSON, json),
        _ => return None,
    };
    match app.losses() {
        Ok(losses) => Some(Page::new(content_type, true, lay_out(&losses).into_bytes().into())),
        Err(failure) => {
            tracing::error!(error_kind = %failure, "losses could not be shown");
            None
        }
    }
}

/// A charge in numbers: `rho_nano`, `delta_atto`, `epsilon_nano` as in `query.v1.Charge`, and the ε at δ = 10⁻⁶ that ρ
/// implies.
fn charge(charge: &Charge) -> Value {
    json!({
        "rho_nano": charge.rho.nano(),
        "delta_atto": charge.delta.atto(),
        "epsilon_nano": charge.epsilon.nano(),
        "epsilon_at_1e-6": shown_epsilon(charge.rho),
    })
}

/// As JSON: `format` (1), `together` and `registers`, each with `unit_space`, `agency`, `for_life`, `limit_for_life`,
/// `limit_per_year` and `years`; the limits and the agency are null where policy names a register no longer.
fn json(losses: &Losses) -> String {
    let register = |(space, loss): (&UnitSpaceId, &RegisterLoss)| {
        let years = loss.by_year.iter().map(|(year, spent)| json!({ "year": year, "spent": charge(spent) }));
        let policy = loss.policy.as_ref();
        json!({
            "unit_space": space.as_str(),
            "agency": policy.map(|(agency, ..)| agency.as_str()),
            "for_life": charge(&loss.for_life),
            "limit_for_life": policy.map(|(.., for_life)| charge(for_life)),
            "limit_per_year": policy.map(|(_, per_year, _)| charge(per_year)),
            "years": years.collect::<Vec<_>>(),
        })
    };
    let registers: Vec<_> = losses.registers.iter().map(register).collect();
    let all = json!({
        "format": firebreak_domain::FORMAT,
        "registers": registers,
        "together": charge(&losses.together),
    });
    format!("{all}\n")
}

/// As a page for people.
fn html(losses: &Losses) -> String {
    let row = |space: &str, agency: &str, time: &str, lost: &Charge, limit: Option<&Charge>| {
        let cells = |charge: Option<&Charge>| match charge {
            Some(charge) => format!("<td>{}</td><td>{}</td>", charge.rho, escaped(&epsilon_text(charge.rho))),
            None => "<td>closed</td><td>closed</td>".to_owned(),
        };
        let (lost, limit) = (cells(Some(lost)), cells(limit));
        let (space, agency) = (escaped(space), escaped(agency));
        format!("<tr><th scope=\"row\">{space}</th><td>{agency}</td><td>{time}</td>{lost}{limit}</tr>\n")
    };
    let mut rows = String::new();
    for (space, loss) in &losses.registers {
        let (agency, per_year, for_life) = match &loss.policy {
            Some((agency, per_year, for_life)) => (agency.as_str(), Some(per_year), Some(for_life)),
            None => ("", None, None),
        };
        for (year, spent) in &loss.by_year {
            rows += &row(space.as_str(), agency, &year.to_string(), spent, per_year);
        }
        rows += &row(space.as_str(), agency, "for life", &loss.for_life, for_life);
    }
    let delta = losses.together.delta.atto();
    let beside = match delta {
        0 => String::new(),
        delta => format!(
            " and beside it a \u{3b4} of {:.1e} for groups that were selected, over all registers",
            delta as f64 * 1e-18
        ),
    };
    let lead = format!(
        "<p>What every person of each register can have lost by all statistics that were ever released about it, \
         whatever was asked and by whom: an upper bound, the same for everybody, which tells of nobody in particular. A \
         person who is in every register can have lost at most \u{3c1} {} (\u{3b5} {} at \u{3b4} = \
         10\u{207b}\u{2076}){beside}. Losses add up as \u{3c1}; their \u{3b5} do not add up. Whom a permitted match \
         concerned stands in the agencies\u{2019} own registers.</p>\n<p>The same for programs: \
         <a href=\"{LOSS}index.json\">index.json</a>. <a href=\"{}\">Publications</a>.</p>",
        losses.together.rho,
        escaped(&epsilon_text(losses.together.rho)),
        super::FOLDER,
    );
    let headings =
        ["Register", "Kept by", "Time", "Lost, \u{3c1}", "Lost, \u{3b5}", "Limit, \u{3c1}", "Limit, \u{3b5}"];
    document("What a person can have lost", &lead, "By register and year", &headings, &rows)
}
