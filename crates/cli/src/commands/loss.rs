//! `firebreak loss`.

use crate::arguments::GatewayOptions;
use crate::client::get_loss;
use crate::failure::Failure;
use crate::table::{Table, wrap};
use crate::terminal::Terminal;
use clap::Args;
use firebreak_domain::Rho;
use firebreak_privacy::epsilon_text;
use firebreak_wire::query::v1::{Charge, GetLossResponse};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    gateway: GatewayOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let connection = arguments.gateway.connect().await?;
    let loss = get_loss(&connection).await?;
    Ok(terminal.block(shown(&loss, terminal.width))?)
}

fn shown(loss: &GetLossResponse, width: usize) -> String {
    let mut table = Table::new().text("Register").text("Kept by").text("Time");
    for heading in ["Lost ρ", "Limit ρ", "Lost ε", "Limit ε"] {
        table = table.number(heading);
    }
    for register in &loss.registers {
        let mut row = |time: String, lost: Option<&Charge>, limit: Option<&Charge>| {
            let (lost, limit) = (rho(lost), limit.map(|limit| rho(Some(limit))));
            let shown = |of: &dyn Fn(Rho) -> String| limit.map_or_else(|| "closed".to_owned(), of);
            table.row([
                register.unit_space.clone(),
                register.agency.clone(),
                time,
                lost.to_string(),
                shown(&|limit| limit.to_string()),
                epsilon_text(lost),
                shown(&epsilon_text),
            ]);
        };
        for year in &register.years {
            row(year.year.to_string(), year.spent.as_ref(), register.limit_per_year.as_ref());
        }
        row("for life".to_owned(), register.for_life.as_ref(), register.limit_for_life.as_ref());
    }
    let together = rho(loss.together.as_ref());
    let delta = loss.together.as_ref().map_or(0, |together| together.delta_atto);
    let beside = if delta == 0 {
        String::new()
    } else {
        format!(" and beside it a δ of {:.1e} for groups that were selected, over all registers", delta as f64 * 1e-18)
    };
    let told = format!(
        "A person who is in every register can have lost at most ρ {together} (ε {} at δ = 1e-6){beside}, whatever was \
         asked and by whom. Losses add up as ρ; their ε do not add up. It holds for released statistics; whom a permitted \
         match concerned stands in the agencies' registers.",
        epsilon_text(together)
    );
    let mut text = table.render(width) + "\n";
    for line in wrap(&told, width) {
        text += &format!("{line}\n");
    }
    text
}

fn rho(charge: Option<&Charge>) -> Rho {
    Rho::from_nano(charge.map_or(0, |charge| charge.rho_nano))
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::query::v1::{RegisterLoss, YearLoss};

    #[test]
    fn every_register_shows_its_years_and_its_life_and_the_sum_stands_below() {
        let charge = |rho_nano| Some(Charge { rho_nano, ..Charge::default() });
        let loss = GetLossResponse {
            registers: vec![
                RegisterLoss {
                    unit_space: "health.persons".into(),
                    agency: "health-agency".into(),
                    for_life: charge(30_000_000),
                    limit_for_life: charge(4_000_000_000),
                    years: vec![
                        YearLoss { year: 2025, spent: charge(10_000_000) },
                        YearLoss { year: 2026, spent: charge(20_000_000) },
                    ],
                    limit_per_year: charge(1_000_000_000),
                },
                RegisterLoss {
                    unit_space: "old.persons".into(),
                    for_life: charge(5_000_000),
                    years: vec![YearLoss { year: 2025, spent: charge(5_000_000) }],
                    ..RegisterLoss::default()
                },
            ],
            together: charge(35_000_000),
        };
        let text = shown(&loss, 100);
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["health.persons", "health-agency", "2025", "0.01", "1", "0.75", "8.43"]);
        assert_eq!(lines[4], ["health.persons", "health-agency", "for", "life", "0.03", "4", "1.32", "18.87"]);
        assert_eq!(lines[6], ["old.persons", "for", "life", "0.005", "closed", "0.53", "closed"]);
        assert!(text.contains("at most ρ 0.035 (ε 1.43 at δ = 1e-6)"), "{text}");
        assert!(text.contains("their ε do not add up"), "{text}");
    }
}
