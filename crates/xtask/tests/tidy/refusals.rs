//! Every reason for a refusal has a number on the wire and a section that explains it.

use crate::{assert_tidy, read, root};

/// A reason as the domain crate declares it.
struct Reason {
    code: String,
    rule: String,
}

/// The reasons in their order: lines `Variant = "CODE", "rule";`.
fn reasons(source: &str) -> Vec<Reason> {
    let lines = source.lines().filter_map(|line| {
        let (variant, rest) = line.trim().strip_suffix("\";")?.split_once(" = \"")?;
        let (code, rule) = rest.split_once("\", \"")?;
        let declares =
            variant.chars().all(char::is_alphanumeric) && code.chars().all(|c| c == '_' || c.is_ascii_uppercase());
        declares.then(|| Reason { code: code.to_owned(), rule: rule.to_owned() })
    });
    lines.collect()
}

/// The page's sections of that level: heading without its marks, and text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n### ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).map(|(title, text)| (title.trim(), text)).collect()
}

fn unexplained(reasons: &[Reason], page: &str) -> Vec<String> {
    const PARTS: [&str; 3] = ["**Why.**", "**Instead.**", "**Example.**"];
    let sections = sections(page);
    let mut faults = Vec::new();
    for reason in reasons {
        let of_reason: Vec<_> = sections.iter().filter(|(title, _)| *title == format!("`{}`", reason.code)).collect();
        let [(_, text)] = of_reason.as_slice() else {
            faults.push(format!("{}: {} sections in docs/REFUSALS.md", reason.code, of_reason.len()));
            continue;
        };
        if !text.lines().any(|line| line.strip_prefix("> ") == Some(reason.rule.as_str())) {
            faults.push(format!("{}: its section does not quote the rule as the program says it", reason.code));
        }
        faults.extend(
            PARTS.iter().filter(|part| !text.contains(**part)).map(|part| format!("{}: no {part}", reason.code)),
        );
    }
    let known = |title: &str| reasons.iter().any(|reason| title == format!("`{}`", reason.code));
    faults.extend(
        sections.iter().filter(|(title, _)| !known(title)).map(|(title, _)| format!("{title}: no such reason")),
    );
    faults
}

fn numberless(reasons: &[Reason], proto: &str) -> Vec<String> {
    let has_number = |code: &str| proto.lines().any(|line| line.trim().starts_with(&format!("REASON_CODE_{code} = ")));
    let without = reasons.iter().filter(|reason| !has_number(&reason.code));
    without.map(|reason| format!("{}: no value in refusal.proto", reason.code)).collect()
}

#[test]
fn every_reason_is_explained_and_has_its_number() {
    let reasons = reasons(&read(&root().join("crates/domain/src/refusal.rs")));
    assert!(reasons.len() >= 52, "the reasons were not read");
    let mut faults = unexplained(&reasons, &read(&root().join("docs/REFUSALS.md")));
    faults.extend(numberless(&reasons, &read(&root().join("proto/firebreak/policy/v1/refusal.proto"))));
    assert_tidy(&faults);
}

#[test]
fn a_reason_without_section_rule_or_number_is_found() {
    let reasons = reasons("    A = \"NO_A\", \"no a\";\n    B = \"NO_B\", \"no b\";\n let c = \"x\";\n");
    assert_eq!(reasons.len(), 2);
    let page = "# Page\n\n### `NO_A`\n\n> no b\n\n**Why.** So.\n**Instead.** That.\n**Example.** This.\n\n### `NO_C`\n";
    assert_eq!(
        unexplained(&reasons, page),
        [
            "NO_A: its section does not quote the rule as the program says it",
            "NO_B: 0 sections in docs/REFUSALS.md",
            "`NO_C`: no such reason",
        ]
    );
    assert_eq!(numberless(&reasons, "  REASON_CODE_NO_A = 1;"), ["NO_B: no value in refusal.proto"]);
}
