//! Names by what they are in life: spellings of one, and names that must not become one.

use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn form(text: &str) -> Option<String> {
    name(text).map(|name| name.to_string())
}

fn person(family: &str, given: &str, birth_date: &str) -> Option<NormalisedInput> {
    Normaliser::V2.normalise_parts(&[Some(family), Some(given), Some(birth_date)])
}

/// Each line is one name: in Cyrillic, by Doc 9303, by the systems of the states concerned, with and without marks.
const ONE_NAME: &[&[&str]] = &[
    // Ukrainian: Doc 9303, and the table that Ukraine has used since 2010.
    &["Олена", "Olena", "OLENA", "olena"],
    &["Андрій", "Andrii", "Andriy", "Andrij"],
    &["Сергій", "Serhii", "Serhiy", "Sergii", "Serhij"],
    &["Олег", "Oleh", "Oleg"],
    &["Григоренко", "Hryhorenko", "Grigorenko", "Hrihorenko"],
    &["Юлія", "Yuliia", "Yuliya", "Julija", "Iuliia", "Yulia", "Julia"],
    &["Євген", "Yevhen", "Ievgen", "Jevhen", "Yevgen", "Evgen"],
    &["Їжакевич", "Yizhakevych", "Izhakevich", "ЇЖАКЕВИЧ"],
    &["Михайло", "Mykhailo", "Mykhaylo", "Mikhailo", "Mihajlo"],
    &["Щербак", "Shcherbak", "ЩЕРБАК"],
    &["Олійник", "Oliinyk", "Oliynyk", "Olijnik"],
    &["Згурський", "Zghurskyi", "Zgurskii", "Zghurskyy"],
    &["Дем’янчук", "Дем'янчук", "Demianchuk", "Demyanchuk", "Dem'yanchuk"],
    &["Ґалаґан", "Galagan"],
    &["Зайцев", "Zaitsev", "Zaytsev", "Zajcev"],
    &["Сергієнко", "Serhiienko", "Serhiyenko", "Sergienko"],
    // Russian: Doc 9303, BGN/PCGN, ISO 9 with its marks and without.
    &["Юрий", "Iurii", "Yuriy", "Yury", "Yuri", "Jurij"],
    &["Дмитрий", "Dmitrii", "Dmitriy", "Dmitry", "Dmitri"],
    &["Наталья", "Natalia", "Natalya", "Natal'ya", "Natalja", "Natalʹja"],
    &["Елена", "Elena", "Yelena", "Jelena"],
    &["Екатерина", "Ekaterina", "Yekaterina"],
    &["Хрущев", "Хрущёв", "Khrushchev"],
    &["Жуков", "Zhukov", "Žukov", "Zukov"],
    &["Чайковский", "Chaikovskii", "Chaykovskiy", "Chaikovsky", "Čajkovskij", "Cajkovskij"],
    &["Максим", "Maksim", "Maxim", "Maksym", "Максім"],
    &["Ксения", "Kseniia", "Kseniya", "Ksenia", "Xenia"],
    &["Алексей", "Aleksei", "Aleksey", "Alexey", "Alexei"],
    &["Королёв", "Королев", "Korolev"],
    &["Илья", "Ilia", "Ilya", "Il'ya", "Ilja"],
    // Belarusian.
    &["Аляксандр", "Aliaksandr", "Alyaksandr", "Aljaksandr"],
    &["Ігар", "Ihar", "Igar"],
    &["Кавалёў", "Kavaleu", "Кавалеў"],
    // Serbian and Macedonian, which both have a Latin alphabet, with the marks and without.
    &["Шабан", "Šaban", "Saban", "Shaban"],
    &["Живковић", "Živković", "Zivkovic", "ŽIVKOVIĆ"],
    &["Ђоковић", "Đoković", "Dokovic", "ÐOKOVIĆ"],
    &["Љубица", "Ljubica", "Ǉubica"],
    &["Његош", "Njegoš", "Njegos"],
    &["Христина", "Hristina", "Khristina"],
    &["Џемал", "Džemal", "Dzemal"],
    &["Ѓорѓи", "Gjorgji", "Ǵorǵi", "Gorgi"],
    &["Ќосев", "Kjosev", "Ḱosev"],
    // Bulgarian: Doc 9303, and the law on transliteration.
    &["Щерев", "Shterev", "Shcherev"],
    &["Цветанка", "Tsvetanka", "Cvetanka"],
    &["Йорданов", "Iordanov", "Yordanov", "Jordanov"],
    // Latin with marks, without, and as travel documents write it.
    &["Müller", "Mueller", "Muller", "MÜLLER", "MUXXLLER", "Mu\u{308}ller"],
    &["Schröder", "Schroeder", "Schroder"],
    &["Jürgen", "Juergen", "Jurgen"],
    &["Strauß", "Strauss", "STRAUẞ", "STRAUSS"],
    &["Sørensen", "Soerensen", "Sorensen", "Sörensen"],
    &["Lærke", "Laerke", "Larke"],
    &["Łukasz", "Lukasz", "ŁUKASZ"],
    &["Yılmaz", "Yilmaz", "YILMAZ", "YİLMAZ"],
    &["Şahin", "Sahin", "ŞAHİN"],
    &["Çelik", "Celik"],
    &["Muñoz", "Munoz", "MUNXXOZ"],
    &["Þórður", "Thordur"],
    &["Nguyễn", "Nguyen", "NGUYÊN"],
    &["João", "Joao", "JOÃO"],
    // Separators.
    &["Anna-Maria", "Anna Maria", "Annamaria", "Анна-Мария", "ANNA  MARIA"],
    &["O’Connell", "O'Connell", "OConnell", "O Connell", "O`Connell"],
    &["al-Hassan", "Al Hassan", "ʾal-Hassan"],
];

/// Names between which nothing but their spelling differs, and yet they are two.
const TWO_NAMES: &[(&str, &str)] = &[
    ("Petrov", "Petrova"),
    ("Ivanenko", "Ivanchenko"),
    ("Шевченко", "Шевчук"),
    ("Anna", "Hanna"),
    ("Анна", "Ганна"),
    ("Анна", "Жанна"),
    ("Ana", "Anna"),
    ("Maria", "Mara"),
    ("Maria", "Marie"),
    ("Maria Anna", "Anna Maria"),
    ("Lisa", "Liza"),
    ("Лиза", "Лиса"),
    ("Олена", "Елена"),
    ("Микола", "Николай"),
    ("Сергій", "Сергей"),
    ("Дмитро", "Дмитрий"),
    ("Saad", "Saeed"),
    ("Sayed", "Saeed"),
    ("Saad", "Sayed"),
    ("Hassan", "Hasan"),
    ("Hassan", "Ghassan"),
    ("Mohamed", "Mohammed"),
    ("Nada", "Nadia"),
    ("Нада", "Надя"),
    ("Nadja", "Nada"),
    ("Zoe", "Zoya"),
    ("Mia", "Maia"),
    ("Maya", "Mara"),
    ("Thomas", "Tomas"),
    ("Müller", "Möller"),
    ("Müller", "Miller"),
    ("Maier", "Meier"),
    ("Meyer", "Meer"),
    ("Wu", "Vu"),
    ("Karl", "Carl"),
    ("Kowalski", "Kovalski"),
    ("Иван", "Йован"),
    ("Ивана", "Иванна"),
    ("Sofia", "Sofa"),
    ("Iva", "Ivo"),
    ("Sarah", "Sara"),
    ("Li", "Ly-An"),
    ("Costa", "Kosta"),
    ("Bah", "Ba"),
];

/// What folding cannot keep apart: `docs/MATCHING.md` says so.
const MERGED: &[(&str, &str)] = &[
    ("Hana", "Gana"),
    ("Khan", "Han"),
    ("Shadi", "Sadi"),
    ("Chen", "Cen"),
    ("Jan", "Ian"),
    ("Jean", "Ean"),
    ("Baek", "Bak"),
    ("Paez", "Paz"),
    ("Michael", "Michal"),
    ("Kjell", "Kell"),
];

#[test]
fn every_spelling_of_a_name_in_both_scripts_is_one_name() {
    for spellings in ONE_NAME {
        let first = form(spellings[0]);
        assert!(first.is_some(), "{}", spellings[0]);
        for spelling in *spellings {
            assert_eq!(form(spelling), first, "{spelling} and {}", spellings[0]);
            assert_eq!(form(&spelling.to_uppercase()), first, "{spelling} in capitals");
            assert_eq!(form(&spelling.to_lowercase()), first, "{spelling} in small letters");
        }
    }
}

#[test]
fn names_that_are_near_each_other_stay_two() {
    for (one, other) in TWO_NAMES {
        let (one, other) = (form(one).unwrap(), form(other).unwrap());
        assert_ne!(one, other);
    }
    let mut all: Vec<_> = ONE_NAME.iter().map(|spellings| form(spellings[0]).unwrap()).collect();
    let names = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), names, "each line is a name of its own");
}

#[test]
fn what_folding_merges_is_what_is_documented() {
    for (one, other) in MERGED {
        assert_eq!(form(one), form(other), "{one} and {other}");
    }
}

#[test]
fn words_for_no_name_are_none_in_any_writing() {
    for text in ["unknown", "UNKNOWN", "Un-known", "N.N.", "NN", "xxx", "X X", "FNU", "Неизвестно", "невідомо", "null"]
    {
        assert_eq!(form(text), None, "{text}");
    }
    for word in WORDS_FOR_NO_NAME {
        assert_eq!(letters(word).as_deref().map(String::as_str), Some(*word), "as the tables write it");
        assert_eq!(form(word), None);
    }
}

#[test]
fn a_person_in_both_scripts_and_any_format_of_date_is_one_item() {
    let written = person("Шевченко", "Тарас", "1987-03-09").unwrap();
    for (family, given, date) in [
        ("SHEVCHENKO", "TARAS", "19870309"),
        ("Ševčenko", "Taras", "9.3.1987"),
        (" shevchenko ", "taras", "09/03/1987"),
        ("Sevcenko", "Тарас", "09-03-1987"),
    ] {
        assert!(person(family, given, date) == Some(written.clone()), "{family} {given} {date}");
    }
    for (family, given, date) in [
        ("Шевченка", "Тарас", "1987-03-09"),
        ("Шевченко", "Тарасо", "1987-03-09"),
        ("Шевченко", "Тарас", "1987-03-10"),
        // The same letters, cut elsewhere; the parts changed about.
        ("Шевченкот", "арас", "1987-03-09"),
        ("Тарас", "Шевченко", "1987-03-09"),
    ] {
        assert!(person(family, given, date).unwrap() != written, "{family} {given} {date}");
    }
}

#[test]
fn a_person_with_a_part_missing_has_no_item() {
    let parts = [Some("Шевченко"), Some("Тарас"), Some("1987-03-09")];
    assert!(Normaliser::V2.normalise_parts(&parts).is_some());
    for missing in 0..3 {
        for nothing in [None, Some(""), Some(" "), Some("-"), Some("?"), Some("unknown"), Some("\u{200b}")] {
            let mut parts = parts;
            parts[missing] = nothing;
            assert!(Normaliser::V2.normalise_parts(&parts).is_none(), "{parts:?}");
        }
        assert!(Normaliser::V2.normalise_parts(&parts[..missing]).is_none());
    }
    assert!(Normaliser::V2.normalise_parts(&[parts.as_slice(), &[None]].concat()).is_none());
    for date in ["01.01.1987", "1987", "03.1987", "1987-00-00", "09.03.87"] {
        assert!(person("Шевченко", "Тарас", date).is_none(), "{date}");
    }
}

#[test]
fn an_item_is_the_digest_that_is_documented() {
    let mut hashed = b"firebreak normal form".to_vec();
    hashed.extend([0, 0, 0, 2]);
    for part in ["sevcenko", "taras", "19870309"] {
        hashed.extend([0, 0, 0, part.len() as u8]);
        hashed.extend(part.as_bytes());
    }
    let expected = [[0x01].as_slice(), &Sha256::digest(hashed)].concat();
    assert_eq!(person("Шевченко", "Тарас", "1987-03-09").unwrap().as_bytes(), expected);
}

/// Spellings of each of some consonants. Г and К are not among them: with J they are Ѓ and Ќ, and not гю and кю.
const CONSONANTS: &[&[&str]] = &[
    &["б", "b", "B"],
    &["в", "v", "V"],
    &["д", "d", "đ", "Ď"],
    &["ж", "zh", "ž", "Zh"],
    &["ш", "sh", "š", "ş"],
    &["ч", "ch", "č", "Ć"],
    &["ц", "ts", "c"],
    &["л", "l", "ł", "Ľ"],
    &["м", "m"],
    &["р", "r", "ř"],
    &["ф", "f"],
];

/// And of some vowels.
const VOWELS: &[&[&str]] = &[
    &["а", "А", "a", "A", "á", "Ā"],
    &["и", "i", "y", "j", "і", "ı", "й"],
    &["о", "o", "ó", "ŏ"],
    &["у", "u", "ů", "ў"],
    &["ю", "iu", "yu", "ju"],
    &["я", "ia", "ya", "ja"],
];

/// A name as a sequence of letters, and two ways to write it, one with something between the letters.
fn two_spellings() -> impl Strategy<Value = (String, String)> {
    let between = prop_oneof![Just(""), Just(" "), Just("-"), Just("'"), Just("\u{200b}"), Just("\u{301}"), Just(".")];
    let index = any::<prop::sample::Index>;
    let letter = (index(), index(), index(), between);
    prop::collection::vec(letter, 2..20).prop_map(|letters| {
        let (mut one, mut other) = (String::new(), String::new());
        for (place, (letter, first, second, between)) in letters.into_iter().enumerate() {
            // Turn about: in a row of consonants shch could be щ, or ш and ч.
            let letters = if place % 2 == 0 { CONSONANTS } else { VOWELS };
            let spellings = letters[letter.index(letters.len())];
            one.push_str(spellings[first.index(spellings.len())]);
            other.push_str(spellings[second.index(spellings.len())]);
            other.push_str(between);
        }
        (one, other)
    })
}

proptest! {
    #[test]
    fn spellings_letter_by_letter_are_one_name((one, other) in two_spellings()) {
        prop_assert_eq!(form(&one), form(&other), "{} and {}", one, other);
    }

    #[test]
    fn a_name_in_normal_form_stays_as_it_is(
        text in prop_oneof!["\\PC{0,24}", "[\\p{Cyrillic}\\p{Latin} '-]{2,24}", "[а-яієїґ]{2,16}", "[a-z]{2,16}"],
    ) {
        if let Some(once) = form(&text) {
            // Folded to one letter, as Yi is, it is a normal form and would be too short for a name.
            prop_assert!(once.len() == 1 || form(&once) == Some(once.clone()), "{}", once);
        }
    }

    #[test]
    fn hostile_text_never_panics(parts in prop::collection::vec(prop::option::of(any::<String>()), 0..5)) {
        let parts: Vec<_> = parts.iter().map(Option::as_deref).collect();
        for rule in [Normaliser::V1, Normaliser::V2] {
            if let Some(item) = rule.normalise_parts(&parts) {
                prop_assert_eq!(parts.len(), rule.parts().len());
                prop_assert!(NormalisedInput::from_normal_form(item.as_bytes()) == Some(item));
            }
        }
    }
}
