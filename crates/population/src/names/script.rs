//! One name in another script, or without its marks: what clerks and machines make of it.

use super::Language;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// By what rule a Cyrillic name was written in Latin letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standard {
    /// That of the holder's passport: for Ukrainian the table of 2010, for Bulgarian the law of 2009, for Serbian its own
    /// Latin alphabet, for Russian ICAO Doc 9303.
    #[default]
    Passport,
    /// As people write by ear of English: the system of BGN/PCGN, near enough, with x for кс.
    Everyday,
    /// As German writes: sch, tsch, w, j.
    German,
}

/// What became of the marks of Latin letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Marks {
    /// They are there.
    #[default]
    Kept,
    /// Letters stand without them.
    Dropped,
    /// As in the machine-readable zone of a passport (ICAO Doc 9303, part 3, section 6, A): Ä is AE, Ø is OE.
    Machine,
}

/// A Latin name with its marks treated so.
pub(crate) fn with_marks(name: &str, marks: Marks) -> String {
    if marks == Marks::Kept {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        let machine = (marks == Marks::Machine).then(|| in_machine_zone(letter)).flatten();
        match machine.or_else(|| without_mark(letter)) {
            Some(plain) => out.push_str(plain),
            None => out.extend(std::iter::once(letter).nfd().filter(|part| !is_combining_mark(*part))),
        }
    }
    out
}

/// What the machine-readable zone has for a letter, where that is more than the letter without its mark.
const fn in_machine_zone(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ä' => "ae",
        'Ä' => "Ae",
        'å' => "aa",
        'Å' => "Aa",
        'ö' | 'ø' => "oe",
        'Ö' | 'Ø' => "Oe",
        'ü' => "ue",
        'Ü' => "Ue",
        _ => return None,
    })
}

/// Letters that are more than a letter and a mark.
const fn without_mark(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' => "ss",
        'ł' => "l",
        'Ł' => "L",
        'ø' => "o",
        'Ø' => "O",
        'đ' => "d",
        'Đ' => "D",
        'ð' => "d",
        'þ' => "th",
        'Þ' => "Th",
        'æ' => "ae",
        'Æ' => "Ae",
        'ı' => "i",
        'ə' => "a",
        'Ə' => "A",
        '’' => "'",
        _ => return None,
    })
}

/// A Cyrillic name in Latin letters, each word with a capital.
pub(crate) fn in_latin(name: &str, language: Language, standard: Standard) -> String {
    let small: Vec<char> = name.to_lowercase().chars().collect();
    let mut out = String::with_capacity(name.len());
    let mut before = None;
    for (place, letter) in small.iter().enumerate() {
        let after = small.get(place + 1).copied();
        let written = match standard {
            Standard::Passport => in_passport(*letter, language, before),
            Standard::Everyday => every_day(*letter, language, before, after),
            Standard::German => in_german(*letter, before),
        };
        let starts = before.is_none_or(|before: char| before == ' ' || before == '-');
        match written {
            // A letter that all write in one way, or none at all.
            None => out.push_str(&capital(plain(*letter), starts)),
            Some(written) => out.push_str(&capital(written, starts)),
        }
        before = Some(*letter);
    }
    if standard == Standard::Everyday { out.replace("ks", "x").replace("Ks", "X") } else { out }
}

fn capital(letters: &str, starts: bool) -> String {
    let mut letters = letters.chars();
    match letters.next() {
        Some(first) if starts => first.to_uppercase().chain(letters).collect(),
        first => first.into_iter().chain(letters).collect(),
    }
}

/// What every standard here writes alike.
const fn plain(letter: char) -> &'static str {
    match letter {
        'а' => "a",
        'б' => "b",
        'в' => "v",
        'г' | 'ґ' => "g",
        'д' => "d",
        'е' | 'э' | 'ё' => "e",
        'є' => "ie",
        'ж' => "zh",
        'з' => "z",
        'и' | 'і' | 'ї' => "i",
        'й' | 'ы' => "y",
        'к' => "k",
        'л' => "l",
        'м' => "m",
        'н' => "n",
        'о' => "o",
        'п' => "p",
        'р' => "r",
        'с' => "s",
        'т' => "t",
        'у' => "u",
        'ф' => "f",
        'х' => "kh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ю' => "yu",
        'я' => "ya",
        ' ' => " ",
        '-' => "-",
        // Soft and hard sign, and the apostrophe of Ukrainian.
        _ => "",
    }
}

const fn in_passport(letter: char, language: Language, before: Option<char>) -> Option<&'static str> {
    Some(match (language, letter, before) {
        (Language::Serbian, ..) => return in_serbian(letter),
        (Language::Ukrainian, 'г', Some('з')) => "gh",
        (Language::Ukrainian, 'г', _) => "h",
        (Language::Ukrainian, 'и', _) => "y",
        (Language::Ukrainian, 'є', None) => "ye",
        (Language::Ukrainian, 'ї', None) => "yi",
        (Language::Ukrainian, 'й', Some(_)) => "i",
        (Language::Ukrainian, 'ю', Some(_)) => "iu",
        (Language::Ukrainian, 'я', Some(_)) => "ia",
        (Language::Russian, 'й', _) => "i",
        (Language::Russian, 'ю', _) => "iu",
        (Language::Russian, 'я', _) => "ia",
        (Language::Russian, 'ъ', _) => "ie",
        (Language::Bulgarian, 'х', _) => "h",
        (Language::Bulgarian, 'щ', _) => "sht",
        (Language::Bulgarian, 'ъ', _) => "a",
        (Language::Bulgarian, 'ь', _) => "y",
        _ => return None,
    })
}

/// The Latin alphabet of Serbian, letter by letter.
const fn in_serbian(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ђ' => "đ",
        'ж' => "ž",
        'ј' => "j",
        'љ' => "lj",
        'њ' => "nj",
        'ћ' => "ć",
        'х' => "h",
        'ц' => "c",
        'ч' => "č",
        'џ' => "dž",
        'ш' => "š",
        _ => return None,
    })
}

const fn every_day(
    letter: char,
    language: Language,
    before: Option<char>,
    after: Option<char>,
) -> Option<&'static str> {
    Some(match (language, letter, before) {
        (Language::Serbian, ..) => return in_serbian(letter),
        (Language::Ukrainian, 'г', Some('з')) => "gh",
        (Language::Ukrainian, 'г', _) => "h",
        // The ending -ий is written with one letter.
        (Language::Ukrainian | Language::Russian, 'и' | 'ы', _) if matches!(after, Some('й')) => "",
        (Language::Ukrainian, 'и', _) => "y",
        (Language::Ukrainian, 'ї', _) => "yi",
        (Language::Ukrainian, 'є', _) => "ye",
        (Language::Russian, 'е', None | Some('а' | 'е' | 'и' | 'о' | 'у' | 'ь' | 'ъ' | 'й')) => "ye",
        (Language::Russian, 'ё', _) => "yo",
        (Language::Bulgarian, 'х', _) => "h",
        (Language::Bulgarian, 'щ', _) => "sht",
        (Language::Bulgarian, 'ъ', _) => "a",
        _ => return None,
    })
}

const fn in_german(letter: char, before: Option<char>) -> Option<&'static str> {
    Some(match (letter, before) {
        ('в', _) => "w",
        ('ж' | 'ш', _) => "sch",
        ('з', _) => "s",
        ('х', _) => "ch",
        ('ц', _) => "z",
        ('ч', _) => "tsch",
        ('щ', _) => "schtsch",
        ('ю', _) => "ju",
        ('я', _) => "ja",
        ('є', _) => "je",
        ('й', _) => "i",
        ('ё', _) => "jo",
        ('е', None) => "je",
        ('ђ', _) => "dj",
        ('ј', _) => "j",
        ('љ', _) => "lj",
        ('њ', _) => "nj",
        ('ћ', _) => "tj",
        ('џ', _) => "dsch",
        ('ъ', _) => "a",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_standard_writes_as_it_does() {
        let all = |name, language| {
            [Standard::Passport, Standard::Everyday, Standard::German]
                .map(|standard| in_latin(name, language, standard))
        };
        for (name, language, expected) in [
            ("Згурський", Language::Ukrainian, ["Zghurskyi", "Zghursky", "Sgurskii"]),
            ("Юрій", Language::Ukrainian, ["Yurii", "Yuriy", "Jurii"]),
            ("Євген", Language::Ukrainian, ["Yevhen", "Yevhen", "Jewgen"]),
            ("Мар’яна", Language::Ukrainian, ["Mariana", "Maryana", "Marjana"]),
            ("Щербенко", Language::Ukrainian, ["Shcherbenko", "Shcherbenko", "Schtscherbenko"]),
            ("Дмитрий", Language::Russian, ["Dmitrii", "Dmitry", "Dmitrii"]),
            ("Максим", Language::Russian, ["Maksim", "Maxim", "Maksim"]),
            ("Елена", Language::Russian, ["Elena", "Yelena", "Jelena"]),
            ("Николаевна", Language::Russian, ["Nikolaevna", "Nikolayevna", "Nikolaewna"]),
            ("Артём", Language::Russian, ["Artem", "Artyom", "Artjom"]),
            ("Жељко", Language::Serbian, ["Željko", "Željko", "Scheljko"]),
            ("Ђорђевић", Language::Serbian, ["Đorđević", "Đorđević", "Djordjewitj"]),
            ("Първанов", Language::Bulgarian, ["Parvanov", "Parvanov", "Parwanow"]),
            ("Щерев", Language::Bulgarian, ["Shterev", "Shterev", "Schtscherew"]),
        ] {
            assert_eq!(all(name, language), expected.map(String::from), "{name}");
        }
    }

    #[test]
    fn marks_stay_go_or_become_letters() {
        for (name, dropped, machine) in [
            ("Jürgen Groß", "Jurgen Gross", "Juergen Gross"),
            ("Bjørn Åker", "Bjorn Aker", "Bjoern Aaker"),
            ("Muñoz Conceição", "Munoz Conceicao", "Munoz Conceicao"),
            ("Łukasz Świętosława", "Lukasz Swietoslawa", "Lukasz Swietoslawa"),
            ("Nguyễn Đỗ Ẹniọlá", "Nguyen Do Eniola", "Nguyen Do Eniola"),
            ("Kılıç İbrahim", "Kilic Ibrahim", "Kilic Ibrahim"),
            ("Đorđević", "Dordevic", "Dordevic"),
        ] {
            assert_eq!(with_marks(name, Marks::Kept), name);
            assert_eq!(with_marks(name, Marks::Dropped), dropped);
            assert_eq!(with_marks(name, Marks::Machine), machine);
        }
    }

    #[test]
    fn nothing_cyrillic_is_left_in_latin() {
        for (lists, _) in super::super::LISTS.iter() {
            let Some(language) = lists.language else { continue };
            let names = lists.given.iter().flatten().chain(&lists.stems).chain(&lists.endings).chain(&lists.fathers);
            for standard in [Standard::Passport, Standard::Everyday, Standard::German] {
                for name in names.clone().flat_map(|forms| forms.split(['|', '/'])) {
                    let latin = in_latin(name, language, standard);
                    assert!(latin.chars().all(|c| !('\u{400}'..='\u{4ff}').contains(&c)), "{name}: {latin}");
                    // A letter that no table has would be left out: no name may lose more than its signs.
                    let signs = name.chars().filter(|c| "ьъ’ЬЪий".contains(*c)).count();
                    let letters = latin.to_lowercase().replace('x', "ks").chars().count();
                    assert!(letters + signs >= name.chars().count(), "{name}: {latin}");
                }
            }
        }
    }
}
