//! How a release is cited, as text and as BibTeX.

use firebreak_wire::query::v1::Citation;

/// The citation in one paragraph: agency, year, title, cut, release, mechanism, population, controller and, where it is
/// published, the address.
#[must_use]
pub fn text(citation: &Citation) -> String {
    let Citation { agency, title, cut, year, address, .. } = citation;
    let mut text = format!("{agency} ({year}). {title}, cut {cut}. {}", note(citation));
    if !address.is_empty() {
        text += &format!(" {address}");
    }
    one_line(&text)
}

/// The citation as an entry of BibTeX, of type `misc`, under the key `firebreak-<release id>`.
#[must_use]
pub fn bibtex(citation: &Citation) -> String {
    let Citation { agency, title, cut, year, release_id, address, .. } = citation;
    let mut text = format!("@misc{{firebreak-{},\n", escaped(release_id));
    // In two braces, so that no name is taken apart and no capital lowered.
    for (field, value) in [("author", agency.clone()), ("title", format!("{title}, cut {cut}"))] {
        text += &format!("  {field} = {{{{{}}}}},\n", escaped(&value));
    }
    text += &format!("  year = {{{year}}},\n  note = {{{}}},\n", escaped(&note(citation)));
    if !address.is_empty() {
        text += &format!("  howpublished = {{\\url{{{}}}}},\n", one_line(address).replace(['{', '}', '\\'], ""));
    }
    text + "}\n"
}

fn note(Citation { controller, dataset, population, release_id, mechanism, .. }: &Citation) -> String {
    let mechanism = mechanism.replace('_', " ");
    let (population, controller) = (population.trim_end_matches('.'), controller.trim_end_matches('.'));
    format!(
        "Differentially private release {release_id} ({mechanism}) of the dataset {dataset}. Population: {population}. \
         Controller: {controller}."
    )
}

/// The text with every run of blanks and line ends as one blank.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text on one line, for LaTeX to show as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '{' | '}' | '%' | '&' | '#' | '$' | '_' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn citation(address: &str) -> Citation {
        Citation {
            agency: "Directorate of Health & Care".into(),
            controller: "Ministry of Health; data_protection@health.example".into(),
            dataset: "health.visits".into(),
            title: "Visits to\nclinics {all}".into(),
            population: "Everybody who visited.".into(),
            cut: "2024-Q4".into(),
            year: 2025,
            release_id: "0f".repeat(16),
            mechanism: "discrete_gaussian".into(),
            address: address.into(),
        }
    }

    #[test]
    fn a_citation_says_what_it_is_of_in_one_paragraph() {
        let expected = "Directorate of Health & Care (2025). Visits to clinics {all}, cut 2024-Q4. Differentially \
                        private release 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f (discrete gaussian) of the dataset \
                        health.visits. Population: Everybody who visited. Controller: Ministry of Health; \
                        data_protection@health.example.";
        assert_eq!(text(&citation("")), expected);
        assert_eq!(text(&citation("https://x/p")), format!("{expected} https://x/p"));
    }

    #[test]
    fn in_bibtex_nothing_is_taken_for_a_command() {
        let expected = "@misc{firebreak-0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f,\n\
                        \u{20} author = {{Directorate of Health \\& Care}},\n\
                        \u{20} title = {{Visits to clinics \\{all\\}, cut 2024-Q4}},\n\
                        \u{20} year = {2025},\n\
                        \u{20} note = {Differentially private release 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f (discrete \
                        gaussian) of the dataset health.visits. Population: Everybody who visited. Controller: \
                        Ministry of Health; data\\_protection@health.example.},\n\
                        \u{20} howpublished = {\\url{https://x/p_q}},\n}\n";
        assert_eq!(bibtex(&citation("https://x/p_q")), expected);
        assert_eq!(escaped("a\\b~c^d%"), "a\\textbackslash{}b\\textasciitilde{}c\\textasciicircum{}d\\%");
        assert!(!bibtex(&citation("")).contains("howpublished"));
    }
}
