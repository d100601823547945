//! One spelling for what the tables of [`latin`](super::latin) write in more than one way.
//!
//! Doc 9303 has exceptions for languages (Г is G, in Ukrainian H) and choices (Ö is OE or O); registers drop marks or
//! keep them, and some states write names by other systems. Folding makes one of each such group, in names of either
//! script. Each fold makes some distinct names one as well, so there is none that is not needed for the first column's
//! reason. What a fold merges matters only among people who share the birth date and the other name, too.
//!
//! | folded | why | also one then |
//! | --- | --- | --- |
//! | y, j, i → i; runs of i → i | И: I, Ukrainian Y; Й, Ї, Ю, Я: I or Y; Ј: J; -ий: II, IY, YI, Y | Jan, Ian |
//! | ie → e at the beginning | Є: IE or YE; Е: E, by BGN/PCGN Ye | Jean, Ean |
//! | g, h, kh → g | Г: G, Ukrainian, Belarusian, Serbian H; Х: KH, Serbian, Macedonian H | Hana, Gana; Khan, Han |
//! | zgh → zg | зг in Ukraine's own table, where zh is ж | |
//! | zh → z; sh → s | Ж, Ш: ZH, SH, Serbian Z, S; Ž, Š, Ş without marks | Shadi, Sadi |
//! | ch, ts → c | Ц, Ч: TS, CH, Serbian C, Macedonian C, CH; Č, Ć without marks | Chen, Cen |
//! | tsh → c | т before ш, where the marks of tš are lost | |
//! | shch, sht → st | Щ: SHCH, Bulgarian SHT | Shcherev, Sterev |
//! | gj → g; kj → k | Ѓ, Ќ: G, K, Macedonian GJ, KJ; so гю, кю meet gyu, kyu and not gju, kju | Kjell, Kell |
//! | x → ks | кс in practice: Maxim, Oxana | |
//! | ae, oe, ue → a, o, u | Ä: AE or A; Ö: OE or O; Ü: UE or U; Æ: AE; Ø, Œ: OE | Baek, Bak; Paez, Paz |
//! | nxx → n; uxx → u | Ñ: N or NXX; Ü: U or UXX | |
//!
//! The e behind a, o and u goes between consonants alone, where it is a vowel of its own in few names: so Saeed,
//! Saad and Sayed, and Zoe and Zo, stay what they are.
//!
//! Not folded, because more people would be merged than met: IO and E (Belarusian Ё), DJ and DZ (Macedonian Џ), AA
//! and A (Å), A and IE (Bulgarian ъ, by its own law), YE and E behind a vowel, doubled letters, W and V, C and K,
//! PH and F, TH and T, and what German, French and Polish make of Cyrillic names (sch, tch, ou, cz, sz).
//!
//! What comes out is folded no further, however often it is put in: the folds are made again until they change nothing.

use zeroize::Zeroizing;

/// What is written for what, wherever it stands. Of those that begin alike the longest comes first.
const RESPELLED: &[(&str, &str)] = &[
    ("shch", "st"),
    ("sht", "st"),
    ("tsh", "c"),
    ("zgh", "zg"),
    ("nxx", "n"),
    ("uxx", "u"),
    ("sh", "s"),
    ("zh", "z"),
    ("ch", "c"),
    ("ts", "c"),
    ("kh", "g"),
    ("gj", "g"),
    ("kj", "k"),
    ("h", "g"),
    ("x", "ks"),
    ("y", "i"),
    ("j", "i"),
];

/// The one spelling of a name in letters `a`–`z`.
pub(super) fn fold(latin: &str) -> Zeroizing<String> {
    let mut name = Zeroizing::new(latin.to_owned());
    // It ends: an x is gone for good, and every other change shortens the name or takes one of h, y and j from it.
    loop {
        let folded = contracted(&respelled(&name));
        if folded == name {
            return name;
        }
        name = folded;
    }
}

fn respelled(name: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(2 * name.len()));
    let mut rest = name;
    while !rest.is_empty() {
        let rule = RESPELLED.iter().find_map(|(from, to)| Some((*to, rest.strip_prefix(*from)?)));
        if let Some((to, after)) = rule {
            out.push_str(to);
            rest = after;
        } else {
            let mut letters = rest.chars();
            out.extend(letters.next());
            rest = letters.as_str();
        }
    }
    out
}

/// Without the i of an ie at the beginning, repeated i, and the e that stands for two dots.
fn contracted(name: &str) -> Zeroizing<String> {
    let name = name.strip_prefix('i').filter(|rest| rest.starts_with('e')).unwrap_or(name);
    let letters = name.as_bytes();
    let at = |place: usize| letters.get(place).copied();
    let mut out = Zeroizing::new(String::with_capacity(name.len()));
    for (place, letter) in letters.iter().enumerate() {
        let last = place.checked_sub(1).and_then(at);
        // Before the vowel there is a consonant or nothing. A leading i, as in Jörg, is one.
        let opens = match place.checked_sub(2) {
            None => true,
            Some(0) => at(0).is_some_and(|first| is_consonant(first) || first == b'i'),
            Some(before) => at(before).is_some_and(is_consonant),
        };
        let closes = at(place + 1).is_some_and(is_consonant);
        let is_two_dots = *letter == b'e' && matches!(last, Some(b'a' | b'o' | b'u')) && opens && closes;
        let is_repeated = *letter == b'i' && last == Some(b'i');
        if !is_two_dots && !is_repeated {
            out.push(char::from(*letter));
        }
    }
    out
}

const fn is_consonant(letter: u8) -> bool {
    !matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_fold_does_what_its_line_says() {
        for (names, folded) in [
            (&["jan", "ian", "yan"][..], "ian"),
            (&["dmitrii", "dmitriy", "dmitry", "dmitrij", "dmitri"], "dmitri"),
            (&["yelena", "jelena", "ielena", "elena"], "elena"),
            (&["yizhak", "izhak"], "izak"),
            (&["oleg", "oleh", "olekh"], "oleg"),
            (&["zghurskyi", "zgurskii"], "zgurski"),
            (&["zhanna", "zanna"], "zanna"),
            (&["shaban", "saban"], "saban"),
            (&["tsvetko", "cvetko"], "cvetko"),
            (&["chavdar", "cavdar"], "cavdar"),
            (&["shcherev", "shterev"], "sterev"),
            (&["dytshov", "dychov", "dycov"], "dicov"),
            (&["gjorgji", "gorgi"], "gorgi"),
            (&["kjosev", "kosev"], "kosev"),
            (&["maxim", "maksim", "maksym"], "maksim"),
            (&["mueller", "muller", "muxxller"], "muller"),
            (&["joerg", "jorg"], "iorg"),
            (&["oezil", "ozil"], "ozil"),
            (&["sorensen", "soerensen"], "sorensen"),
            (&["munxxoz", "munoz"], "munoz"),
        ] {
            for name in names {
                assert_eq!(fold(name).as_str(), folded, "{name}");
            }
        }
    }

    #[test]
    fn an_e_behind_a_vowel_stays_where_it_is_no_pair_of_dots() {
        for name in ["saeed", "saied", "zoe", "noe", "beliaev", "daniel", "marie"] {
            assert_eq!(fold(name).as_str(), name);
        }
        assert_eq!(fold("samuel").as_str(), "samul");
    }

    #[test]
    fn the_longest_rule_of_those_that_begin_alike_stands_first() {
        for (place, (from, _)) in RESPELLED.iter().enumerate() {
            for (shorter, _) in &RESPELLED[..place] {
                assert!(!from.starts_with(shorter), "{from} is never reached behind {shorter}");
            }
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(
            name in prop_oneof!["[a-z]{0,40}", "[aeiouhjkstxyzcg]{0,40}", "[stch]{0,40}"],
        ) {
            let once = fold(&name);
            prop_assert_eq!(fold(&once), once.clone());
            prop_assert!(once.len() <= 2 * name.len());
            prop_assert!(!once.contains(['h', 'j', 'x', 'y']));
        }
    }
}
