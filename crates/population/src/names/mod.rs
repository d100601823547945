//! Who a person is: names and the day of birth, as the person writes them. Given and family names are drawn apart.

mod cyrillic;
mod latin;
mod script;

use crate::draw::{Draws, Topic};
use crate::person::{Person, Register};
use crate::{Fault, Population};
use chrono::NaiveDate;
use std::sync::LazyLock;

pub(crate) use script::{Marks, Standard, in_latin, with_marks};

/// How many in a thousand have two given names, of those whose names have no patronymic.
const TWO_GIVEN_NAMES: u32 = 150;

/// A people's lists. An entry of a list of given names has, behind `|`, the other forms under which the same person may
/// be written somewhere; in families and patronymics a woman's form stands behind `/`, and `_` is a space.
struct People {
    /// How many of the population are of it, in proportion.
    weight: u32,
    /// The language, of those who write Cyrillic.
    language: Option<Language>,
    women: &'static str,
    men: &'static str,
    /// Patronymics, where the language has them.
    fathers: &'static str,
    families: Families,
}

/// How family names are made.
enum Families {
    /// A stem and an ending.
    Made { stems: &'static str, endings: &'static str },
    /// One of a list.
    Listed(&'static str),
    /// Two of a list.
    Double(&'static str),
}

/// A language that is written in Cyrillic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Ukrainian,
    Russian,
    Serbian,
    Bulgarian,
}

/// A [`People`] whose lists are taken apart, in the order in which names are common.
struct Lists {
    language: Option<Language>,
    /// Women's, men's.
    given: [Vec<&'static str>; 2],
    fathers: Vec<&'static str>,
    stems: Vec<&'static str>,
    endings: Vec<&'static str>,
    double: bool,
}

static LISTS: LazyLock<Vec<(Lists, u32)>> = LazyLock::new(|| {
    let peoples = cyrillic::PEOPLES.iter().chain(latin::PEOPLES);
    peoples.map(|people| (Lists::of(people), people.weight)).collect()
});

/// A person's names and day of birth.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The language of the names, if they are written in Cyrillic.
    pub(crate) language: Option<Language>,
    pub(crate) is_woman: bool,
    pub(crate) given: String,
    /// Another form of the given name.
    pub(crate) other_form: Option<String>,
    pub(crate) second_given: Option<String>,
    pub(crate) patronymic: Option<String>,
    pub(crate) family: String,
    /// The family name that the person has had before, of those who have changed theirs.
    pub(crate) former_family: String,
    pub(crate) born: NaiveDate,
}

impl Lists {
    fn of(people: &People) -> Self {
        let list = |text: &'static str| text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let (stems, endings, double) = match people.families {
            Families::Made { stems, endings } => (list(stems), list(endings), false),
            Families::Listed(names) => (list(names), Vec::new(), false),
            Families::Double(names) => (list(names), list(names), true),
        };
        Self {
            language: people.language,
            given: [list(people.women), list(people.men)],
            fathers: list(people.fathers),
            stems,
            endings,
            double,
        }
    }

    fn family(&self, is_woman: bool, draws: &mut Draws) -> String {
        let (stem, ending) = (common(&self.stems, draws), common(&self.endings, draws));
        self.joined(stem, ending, is_woman)
    }

    fn joined(&self, stem: &str, ending: &str, is_woman: bool) -> String {
        let gap = if self.double { " " } else { "" };
        format!("{stem}{gap}{}", of_sex(ending, is_woman)).replace('_', " ").trim().to_owned()
    }
}

/// The form of a man or of a woman.
fn of_sex(forms: &str, is_woman: bool) -> &str {
    match forms.split_once('/') {
        Some((_, woman)) if is_woman => woman,
        Some((man, _)) => man,
        None => forms,
    }
}

/// One of a list whose first names are the common ones: of a hundred names, the first is a tenth of the people's, the
/// last fifty are three tenths of the people's. The square of an even draw is so distributed.
fn common(list: &[&'static str], draws: &mut Draws) -> &'static str {
    let draw = u64::from(draws.below(1 << 16));
    let place = (draw * draw * list.len() as u64) >> 32;
    list.get(place as usize).copied().unwrap_or_default()
}

impl Population {
    /// Who the person is.
    pub(crate) fn identity(&self, person: &Person) -> Identity {
        let mut draws = self.draws(Topic::Identity, person.index);
        let weights: Vec<u32> = LISTS.iter().map(|(_, weight)| *weight).collect();
        let place = draws.weighted(&weights);
        let is_woman = draws.permille(500);
        let day = draws.below(365);
        let known_by_year = person.is_in(Register::Immigration) && Fault::BirthYearAlone.strikes(&mut draws);
        let born = NaiveDate::from_yo_opt(person.birth_year, if known_by_year { 1 } else { day + 1 });
        let mut identity = Identity {
            language: None,
            is_woman,
            given: String::new(),
            other_form: None,
            second_given: None,
            patronymic: None,
            family: String::new(),
            former_family: String::new(),
            born: born.unwrap_or_default(),
        };
        let Some((lists, _)) = LISTS.get(place) else { return identity };
        let [women, men] = &lists.given;
        let given = if is_woman { women } else { men };
        identity.language = lists.language;
        let mut forms = common(given, &mut draws).split('|');
        identity.given = forms.next().unwrap_or_default().to_owned();
        let others: Vec<&str> = forms.collect();
        identity.other_form = (!others.is_empty()).then(|| common_of(&others, &mut draws));
        let second = common(given, &mut draws).split('|').next().unwrap_or_default();
        if lists.language.is_none() && draws.permille(TWO_GIVEN_NAMES) && second != identity.given {
            identity.second_given = Some(second.to_owned());
        }
        identity.patronymic = (!lists.fathers.is_empty()).then(|| {
            let father = lists.fathers.get(draws.below(lists.fathers.len() as u32) as usize);
            of_sex(father.copied().unwrap_or_default(), is_woman).to_owned()
        });
        identity.family = lists.family(is_woman, &mut draws);
        identity.former_family = lists.family(is_woman, &mut draws);
        identity
    }
}

fn common_of(forms: &[&str], draws: &mut Draws) -> String {
    forms.get(draws.below(forms.len() as u32) as usize).copied().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Every pair of a family name and a given name of one people and sex.
    fn pairs() -> usize {
        let count = |(lists, _): &(Lists, u32)| {
            let families = |is_woman| {
                let made = lists.stems.iter().flat_map(|stem| {
                    let endings = if lists.endings.is_empty() { vec![""] } else { lists.endings.clone() };
                    endings.into_iter().map(|ending| lists.joined(stem, ending, is_woman)).collect::<Vec<_>>()
                });
                made.collect::<BTreeSet<_>>().len()
            };
            let given = |list: &Vec<&str>| list.iter().collect::<BTreeSet<_>>().len();
            let [women, men] = &lists.given;
            families(true) * given(women) + families(false) * given(men)
        };
        LISTS.iter().map(count).sum()
    }

    #[test]
    fn there_are_more_than_three_hundred_thousand_names_and_some_are_common() {
        assert!(pairs() > 300_000, "{}", pairs());
        let population = Population::new(20_000, 1).unwrap();
        let mut families: BTreeMap<String, usize> = BTreeMap::new();
        let mut whole = BTreeSet::new();
        for index in 0..population.persons() {
            let identity = population.identity(&population.person(index));
            whole.insert((identity.family.clone(), identity.given.clone()));
            *families.entry(identity.family).or_default() += 1;
        }
        let most = families.values().max().copied().unwrap_or_default();
        assert!((100..400).contains(&most), "{most} have the most common family name");
        assert!(families.len() > 3_000, "{} family names", families.len());
        assert!((12_000..19_500).contains(&whole.len()), "{} names", whole.len());
    }

    #[test]
    fn names_are_whole_and_the_day_of_birth_lies_in_the_year_of_birth() {
        use chrono::Datelike;
        let population = Population::new(5_000, 3).unwrap();
        for index in 0..population.persons() {
            let person = population.person(index);
            let identity = population.identity(&person);
            for name in [&identity.family, &identity.given, &identity.former_family] {
                assert!(name.chars().count() >= 2, "{identity:?}");
                assert!(!name.contains(['|', '/', '_', ',']) && name.trim() == name, "{identity:?}");
            }
            assert_eq!(identity.born.year(), person.birth_year);
        }
    }
}
