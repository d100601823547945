use super::*;
use std::fs;

const CONTRACT: &str = r#"
format = 1
id = "pay.slips"
title = "Pay slips"
description = "Monthly pay"
controller = "The pay office"
agency = "pay-office"
population = "Everybody paid"
cuts = ["2024", "2025"]
unit_space = { id = "pay.persons", register_size = 1000, rho_per_year = 1000000000, rho_for_life = 2000000000 }
contribution = { rows_per_person = 12 }

[[column]]
name = "person"
label = "Person"
definition = "The pay office's own key"
role = "privacy_unit"
domain = { type = "text" }

[[column]]
name = "gross"
label = "Gross pay"
definition = "In whole euros"
role = "measure"
domain = { type = "integer", min = 0, max = 20000 }
"#;

fn run_on(binding: &str, files: &[(&str, &str)]) -> (Result<(), Failure>, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("contract.toml"), CONTRACT).unwrap();
    fs::write(at("binding.toml"), binding).unwrap();
    for (name, content) in files {
        fs::write(at(name), content).unwrap();
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal =
        Terminal { out: &mut out, err: &mut err, width: 80, out_is_terminal: false, err_is_terminal: false };
    let arguments = Check {
        contract: at("contract.toml"),
        binding: (!binding.is_empty()).then(|| at("binding.toml")),
        data: (!binding.is_empty()).then(|| folder.path().to_owned()),
    };
    let end = check(&arguments, &mut terminal);
    (end, String::from_utf8(out).unwrap())
}

const BINDING: &str = r#"
format = 1
dataset = "pay.slips"
cut = [{ id = "2024", file = "a.csv" }, { id = "2025", file = "b.csv" }]
column = { gross = "Gross Pay" }
"#;

#[test]
fn a_contract_alone_is_checked() {
    let (end, out) = run_on("", &[]);
    end.unwrap();
    assert!(out.contains("pay.slips holds"), "{out}");
}

#[test]
fn what_fits_is_said_to_fit() {
    let (end, out) =
        run_on(BINDING, &[("a.csv", "person,\"Gross Pay\",extra\n"), ("b.csv", "Gross Pay,person\r\n1,2\r\n")]);
    end.unwrap();
    assert!(out.contains("pay.slips fits"), "{out}");
}

#[test]
fn each_misfit_has_its_cut_its_place_and_its_remedy_and_quotes_no_row() {
    let (end, out) = run_on(BINDING, &[("a.csv", "person,pay\nada-lovelace,5\n")]);
    assert!(matches!(end, Err(Failure::Misfits(2))));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("cut 2024, column gross: the file has no column 'Gross Pay'; add"), "{out}");
    assert!(lines[1].starts_with("cut 2025: the file cannot be read"), "{out}");
    assert!(!out.contains("ada-lovelace"));
}

#[test]
fn a_contract_that_does_not_hold_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let contract = folder.path().join("c.toml");
    fs::write(&contract, CONTRACT.replace("privacy_unit", "identifier")).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal =
        Terminal { out: &mut out, err: &mut err, width: 80, out_is_terminal: false, err_is_terminal: false };
    let end = check(&Check { contract, binding: None, data: None }, &mut terminal);
    assert!(matches!(end, Err(Failure::Content { .. })));
}
