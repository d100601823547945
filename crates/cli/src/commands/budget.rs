//! `firebreak budget`.

use super::query::limit_and_spent;
use crate::arguments::GatewayOptions;
use crate::client::{ClientError, get_budget_and_caps};
use crate::failure::Failure;
use crate::number::count;
use crate::table::{Table, wrap};
use crate::terminal::{Terminal, printable};
use clap::Args;
use firebreak_domain::{AgreementId, Delta, Rho};
use firebreak_privacy::epsilon_text;
use firebreak_wire::cap_from_wire;
use firebreak_wire::query::v1::{Account, MatchCap};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The data-sharing agreement
    #[arg(long)]
    agreement: String,
    #[command(flatten)]
    gateway: GatewayOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let agreement = AgreementId::new(arguments.agreement).map_err(ClientError::from)?;
    let connection = arguments.gateway.connect().await?;
    let budget = get_budget_and_caps(&connection, &agreement).await?;
    let mut parts = Vec::new();
    if !budget.accounts.is_empty() {
        parts.push(shown(&budget.accounts, terminal.width));
    }
    if !budget.caps.is_empty() {
        parts.push(caps_shown(&budget.caps, terminal.width));
    }
    Ok(terminal.block(parts.join("\n"))?)
}

/// How the caps of a match stand. What a later gateway counts beside is left out.
fn caps_shown(caps: &[MatchCap], width: usize) -> String {
    let standings: Vec<_> = caps.iter().filter_map(cap_from_wire).collect();
    let mut table = Table::new().text("Match key").text("Cap of the match").number("Cap").number("Used").number("Left");
    for standing in &standings {
        let left = |used| count(standing.cap.saturating_sub(used));
        let unknown = || "not known".to_owned();
        table.row([
            standing.key.to_string(),
            format!("{} {}", standing.counted, standing.period),
            count(standing.cap),
            standing.used.map_or_else(unknown, count),
            standing.used.map_or_else(unknown, left),
        ]);
    }
    let mut text = table.render(width) + "Padding counts like what it hides.\n";
    if standings.iter().any(|standing| standing.used.is_none()) {
        let why = "The sender, who alone counts, gave no answer: ask again when its adapter is connected.";
        text += &wrap(why, width).join("\n");
        text.push('\n');
    }
    text
}

pub(crate) fn shown(accounts: &[Account], width: usize) -> String {
    let mut table = Table::new().text("Account").number("Limit ρ").number("Spent ρ").number("Left ρ");
    for side in ["Limit ε", "Spent ε", "Left ε"] {
        table = table.number(side);
    }
    for account in accounts {
        let (limit, spent) = limit_and_spent(account);
        let left = Rho::from_nano(limit.rho.nano().saturating_sub(spent.rho.nano()));
        let sides = [limit.rho, spent.rho, left];
        let rhos = sides.iter().map(ToString::to_string);
        table.row(std::iter::once(account.of.clone()).chain(rhos).chain(sides.iter().map(|rho| epsilon_text(*rho))));
    }
    let mut text = table.render(width) + "ε at δ = 1e-6. Losses add up as ρ; their ε do not add up.\n";
    // Most accounts have none.
    for account in accounts {
        let (limit, spent) = limit_and_spent(account);
        if spent.delta != Delta::default() {
            let of = printable(&account.of);
            text += &wrap(&format!("δ {} spent of {}: {of}", spent.delta, limit.delta), width).join("\n");
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::{CapPeriod, CapStanding, Charge, Counted};
    use firebreak_wire::{cap_to_wire, charge_to_wire};

    #[test]
    fn each_cap_shows_what_is_used_and_left_or_that_nobody_said() {
        let agreement = AgreementId::new("round").unwrap();
        let cap = |counted, period, used| {
            let key = "number".parse().unwrap();
            cap_to_wire(&agreement, &CapStanding { key, counted, period, cap: 12_288, used })
        };
        let known = cap(Counted::Evaluations, CapPeriod::Year(2026), Some(4096));
        let text = caps_shown(&[known.clone(), cap(Counted::Tags, CapPeriod::Life, Some(20_000))], 100);
        let line =
            |text: &str, at: usize| text.lines().nth(at).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line(&text, 2), "number evaluations in 2026 12 288 4 096 8 192");
        assert_eq!(line(&text, 3), "number tags over the agreement's life 12 288 20 000 0", "never below nought");
        assert!(!text.contains("no answer"), "{text}");
        let text = caps_shown(&[known, cap(Counted::Tags, CapPeriod::Life, None)], 100);
        assert_eq!(line(&text, 3), "number tags over the agreement's life 12 288 not known not known");
        assert!(text.contains("gave no answer"), "{text}");
    }

    #[test]
    fn each_account_shows_limit_spent_and_left_in_both_units() {
        let charge = |nano| Some(charge_to_wire(Charge::of_rho(Rho::from_nano(nano))));
        let account = |of: &str, limit, spent| Account { of: of.into(), limit: charge(limit), spent: charge(spent) };
        let text = shown(&[account("agreement a", 1_000_000_000, 995_000_000), account("you", 5, 7)], 100);
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["agreement", "a", "1", "0.995", "0.005", "8.43", "8.41", "0.53"]);
        assert_eq!(lines[3], ["you", "0.000000005", "0.000000007", "0", "<0.01", "<0.01", "0.00"]);
        assert_eq!(lines.len(), 5, "of δ nothing is said where none was spent");
        let delta = |atto| Some(charge_to_wire(Charge { delta: Delta::from_atto(atto), ..Charge::default() }));
        let account = Account { of: "you".into(), limit: delta(100_000_000_000), spent: delta(100_000_000) };
        assert!(shown(&[account], 100).contains("δ 0.0000000001 spent of 0.0000001: you"));
    }
}
