//! Family name, given name and birth date: the rule of version 2.

use super::fold::fold;
use super::latin::letters;
use super::{NormalisedInput, Normaliser, date};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// What registers and travel documents write where no name is known, or none is given yet, in Latin letters.
///
/// They would make one person of all who share the rest: of twins who have no name yet, for instance.
const WORDS_FOR_NO_NAME: &[&str] = &[
    "baby",
    "babyboy",
    "babygirl",
    "boy",
    "desconocida",
    "desconocido",
    "fnu",
    "girl",
    "inconnu",
    "inconnue",
    "lnu",
    "missing",
    "neizvesten",
    "neizvestna",
    "neizvestno",
    "neizvestnyi",
    "neugeborenes",
    "nevidoma",
    "nevidomo",
    "nevidomyi",
    "newborn",
    "nn",
    "noname",
    "none",
    "notapplicable",
    "notavailable",
    "notknown",
    "null",
    "unbekannt",
    "unknown",
    "unnamed",
    "xx",
    "xxx",
];

/// The same, folded as names are, so that a word and its misspelling are treated alike.
static NO_NAME: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| WORDS_FOR_NO_NAME.iter().map(|word| fold(word).to_string()).collect());

pub(super) fn normal_form(family: &str, given: &str, birth_date: &str) -> Option<NormalisedInput> {
    let (family, given, birth_date) = (name(family)?, name(given)?, date::normal_form(birth_date)?);
    NormalisedInput::of_parts(Normaliser::V2, &[family.as_bytes(), given.as_bytes(), birth_date.as_bytes()])
}

fn name(text: &str) -> Option<Zeroizing<String>> {
    let name = fold(&letters(text)?);
    if NO_NAME.contains(name.as_str()) { None } else { Some(name) }
}

#[cfg(test)]
mod tests;
