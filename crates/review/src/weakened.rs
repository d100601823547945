use firebreak_policy::constitution::{Constitution, ConstitutionError, PREFIX, SOURCES};
use std::sync::Arc;

/// A constitution with something missing, and what the prover must then find allowed.
#[derive(Debug, Clone)]
pub struct Weakened {
    /// What was done to it, in words.
    pub change: String,
    /// The result.
    pub constitution: Constitution,
    /// The id of the property that no longer holds.
    pub property: &'static str,
}

/// Each policy of the constitution beside the property that falls when it is removed.
const REMOVED: [(&str, &str); 24] = [
    ("enforcement-receives-only-published", "enforcement-receives-a-match"),
    ("enforcement-publishes-nothing", "enforcement-publishes"),
    ("rows-do-not-leave", "rows-leave"),
    ("each-operation-has-its-output", "a-match-in-disguise"),
    ("disclosures-are-agreed", "persons-are-disclosed-otherwise"),
    ("disclosures-are-for-services", "persons-are-disclosed-to-others"),
    ("somebody-receives", "nobody-receives"),
    ("recipients-are-the-agreements", "another-recipient"),
    ("a-match-is-its-receivers-to-ask", "anothers-match"),
    ("biometric-and-genetic-never", "biometric-or-genetic"),
    ("identifiers-are-not-read", "an-identifier-is-read"),
    ("special-kinds-on-a-named-ground", "a-special-kind-without-a-ground"),
    ("special-kinds-are-not-matched", "a-special-kind-is-matched"),
    ("datasets-are-the-agreements", "another-dataset"),
    ("columns-are-the-agreements", "another-column"),
    ("the-caller-takes-part", "no-agreement"),
    ("the-agreement-is-in-force", "out-of-force"),
    ("the-agreement-is-assessed", "unassessed"),
    ("purposes-are-the-agreements", "another-purpose"),
    ("operations-are-the-agreements", "another-operation"),
    ("a-join-is-the-agreements", "a-join-without-terms"),
    ("a-bundle-is-in-force", "no-bundle"),
    ("nothing-while-suspended", "suspended"),
    ("the-caller-signs", "unsigned"),
];

/// Edits that somebody could argue for: what was changed, the text before and after, the property that falls.
const EDITED: [(&str, &str, &str, &str); 16] = [
    (
        "enforcement counts among the harmless classes",
        r#"["oversight", "statistics", "service"].containsAll"#,
        r#"["oversight", "statistics", "service", "enforcement"].containsAll"#,
        "enforcement-learns-something-unpublished",
    ),
    (
        "one harmless recipient covers the others",
        r#"["oversight", "statistics", "service"].containsAll"#,
        r#"["oversight", "statistics", "service"].containsAny"#,
        "enforcement-learns-something-unpublished",
    ),
    (
        "enforcement may have aggregates",
        r#"context.output == "published_release" ||"#,
        r#"context.output == "published_release" || context.output == "dp_aggregate" ||"#,
        "enforcement-learns-something-unpublished",
    ),
    (
        "an emergency lifts the rule about enforcement",
        r#"context.output == "published_release" ||"#,
        r#"context.output == "published_release" || context.purpose == "emergency" ||"#,
        "enforcement-receives-a-match",
    ),
    (
        "only known enforcement is refused, not classes that nobody knows",
        r#"["oversight", "statistics", "service"].containsAll(context.recipient_classes)"#,
        r#"!context.recipient_classes.contains("enforcement")"#,
        "a-class-nobody-knows-receives",
    ),
    (
        "rows under other names may leave",
        r#"["dp_aggregate", "published_release", "match"]"#,
        r#"["dp_aggregate", "published_release", "match", "pseudonymous"]"#,
        "rows-leave",
    ),
    (
        "genetic data are forgotten",
        r#"containsAny(["biometric", "genetic"])"#,
        r#"contains("biometric")"#,
        "biometric-or-genetic",
    ),
    (
        "statistics offices may have columns of persons",
        r#"["service"].containsAll"#,
        r#"["service", "statistics"].containsAll"#,
        "persons-are-disclosed-to-others",
    ),
    (
        "a special kind is disclosed whatever the legal basis",
        r#"context.discloses && context.agreement.legal_basis == "consent""#,
        "context.discloses",
        "a-special-kind-is-matched",
    ),
    (
        "identifiers are disclosed",
        r#"["match_key", "category", "measure", "filter"]"#,
        r#"["match_key", "category", "measure", "filter", "identifier"]"#,
        "an-identifier-is-read",
    ),
    (
        "one covered column opens the others",
        "context.agreement.columns.containsAll(context.columns)",
        "context.agreement.columns.containsAny(context.columns)",
        "another-column",
    ),
    (
        "a join may name a third dataset",
        "context.agreement.join.containsAll(context.datasets)",
        "context.agreement.join.containsAny(context.datasets)",
        "a-join-without-terms",
    ),
    (
        "a join may read any match key",
        r#""filter", "join_key"].containsAll(context.roles)"#,
        r#""filter", "join_key", "match_key"].containsAll(context.roles)"#,
        "an-identifier-is-read",
    ),
    (
        "one of several recipients named will do",
        "context.agreement.recipients.containsAll(context.recipients)",
        "context.agreement.recipients.containsAny(context.recipients)",
        "another-recipient",
    ),
    (
        "purposes bind only those who sign",
        "unless { context.agreement.purposes.contains(context.purpose) }",
        "unless { !context.signed || context.agreement.purposes.contains(context.purpose) }",
        "another-purpose",
    ),
    (
        "a policy that can err, and is then skipped",
        "when { context.suspended }",
        "when { context.agreement.retention_days + 1 != 0 && context.suspended }",
        "suspended",
    ),
];

/// Every weakened constitution. The prover must find the hole in each.
///
/// # Errors
/// [`ConstitutionError`] where an edit no longer compiles.
///
/// A removal or an edit that no longer finds its place in the constitution's text gives the constitution unchanged,
/// which the prover then fails to break: the test notices.
pub fn weakened() -> Result<Vec<Weakened>, Arc<ConstitutionError>> {
    let texts = SOURCES.map(|(_, text)| text.to_owned());
    let removed = REMOVED.map(|(id, property)| {
        (format!("{PREFIX}{id} is removed"), texts.clone().map(|text| without(&text, id)), property)
    });
    let edited = EDITED.map(|(change, from, to, property)| {
        (change.to_owned(), texts.clone().map(|text| text.replace(from, to)), property)
    });
    let all = removed.into_iter().chain(edited);
    all.map(|(change, texts, property)| {
        let constitution = Constitution::parse(texts.iter().map(String::as_str))?;
        Ok(Weakened { change, constitution, property })
    })
    .collect::<Result<_, ConstitutionError>>()
    .map_err(Arc::new)
}

/// The text without the policy of that id, from its annotation to the semicolon that ends it.
fn without(text: &str, id: &str) -> String {
    let annotation = format!("@id(\"{id}\")");
    let Some((before, rest)) = text.split_once(&annotation) else { return text.to_owned() };
    let after = rest.split_once("};").map_or("", |(_, after)| after);
    format!("{before}{after}")
}
