//! Names in Latin letters.
//!
//! Source of both tables: ICAO Doc 9303, *Machine Readable Travel Documents*, part 3, eighth edition (2021), section 6,
//! "Transliterations recommended for use by States", A (Latin) and B (Cyrillic).
//!
//! Which language a name is of is not known, so that each letter is written as the table does without an exception
//! for a language; [`fold`](super::fold) takes up the exceptions. Where the table gives a choice (Ä: AE or A) marks
//! are dropped, which is one of the two. Letters that decompose into a letter that is here and a mark have no line
//! of their own, since both tables write them like the letter without it: é and ş, and й, ї, ў, ё, ѓ, ќ.

use super::separators::{is_apostrophe, is_dash, is_dot, is_unseen};
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;

/// The most bytes of a text that is read at all: far more than a register has room for.
const MOST_BYTES: usize = 1024;
/// The most letters of a name in Latin.
const MOST_LETTERS: usize = 128;

/// The letters `a`–`z` of a name, without anything between them; `None` for what has fewer than two letters, too many,
/// or anything that is neither a letter of the tables nor a separator.
pub(super) fn letters(text: &str) -> Option<Zeroizing<String>> {
    if text.len() > MOST_BYTES {
        return None;
    }
    let composed = Zeroizing::new(text.nfkc().collect::<String>());
    let folded = Zeroizing::new(UniCase::unicode(composed.as_str()).to_folded_case());
    let mut latin = Zeroizing::new(String::with_capacity(MOST_LETTERS + 4));
    let mut letters = 0u32;
    for character in folded.nfd().filter(|character| !is_dropped(*character)) {
        let before = latin.len();
        match character {
            'a'..='z' => latin.push(character),
            _ => latin.push_str(transliterated(character)?),
        }
        letters += u32::from(latin.len() > before);
        if latin.len() > MOST_LETTERS {
            return None;
        }
    }
    (letters >= 2).then_some(latin)
}

/// What people write into a name besides its letters, and what software puts there unseen.
///
/// Soft and hard sign are not among them: what the table does not write has a line there.
fn is_dropped(character: char) -> bool {
    is_combining_mark(character)
        || is_unseen(character)
        || is_dash(character)
        || is_dot(character)
        || is_apostrophe(character)
        // The mark of Arabic direction.
        || character == '\u{61c}'
}

/// A letter that decomposes no further, by the tables.
const fn transliterated(letter: char) -> Option<&'static str> {
    Some(match letter {
        // A: Latin. ß has become ss, and ĳ ij, before.
        'æ' => "ae",
        'ð' | 'đ' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ŋ' => "n",
        'ø' | 'œ' => "oe",
        'þ' => "th",
        'ŧ' => "t",
        // B: Cyrillic. In print the table shows a wrong letter for ђ, ћ, ѓ and ѵ; those are meant.
        'а' => "a",
        'б' => "b",
        'в' => "v",
        'г' | 'ґ' => "g",
        'д' | 'ђ' => "d",
        'е' | 'э' => "e",
        'є' | 'ъ' => "ie",
        'ж' => "zh",
        'з' => "z",
        'ѕ' | 'џ' => "dz",
        'и' | 'і' => "i",
        'ј' => "j",
        'к' => "k",
        'л' => "l",
        'љ' => "lj",
        'м' => "m",
        'н' => "n",
        'њ' => "nj",
        'о' => "o",
        'п' => "p",
        'р' => "r",
        'с' => "s",
        'т' => "t",
        'ћ' => "c",
        'у' | 'ѫ' => "u",
        'ф' => "f",
        'х' => "kh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ы' | 'ѵ' => "y",
        'ю' => "iu",
        'я' => "ia",
        // The table leaves the soft sign out.
        'ь' => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latin(text: &str) -> Option<String> {
        letters(text).map(|letters| letters.to_string())
    }

    /// Doc 9303, part 3, section 6 B: what stands in the table for a letter whose language is not known.
    #[test]
    fn each_cyrillic_letter_is_written_as_the_table_does() {
        for (letter, written) in [
            ('Ё', "e"),
            ('Ђ', "d"),
            ('Є', "ie"),
            ('Ѕ', "dz"),
            ('І', "i"),
            ('Ї', "i"),
            ('Ј', "j"),
            ('Љ', "lj"),
            ('Њ', "nj"),
            ('Ќ', "k"),
            ('Ў', "u"),
            ('Џ', "dz"),
            ('А', "a"),
            ('Б', "b"),
            ('В', "v"),
            ('Г', "g"),
            ('Д', "d"),
            ('Е', "e"),
            ('Ж', "zh"),
            ('З', "z"),
            ('И', "i"),
            ('Й', "i"),
            ('К', "k"),
            ('Л', "l"),
            ('М', "m"),
            ('Н', "n"),
            ('О', "o"),
            ('П', "p"),
            ('Р', "r"),
            ('С', "s"),
            ('Т', "t"),
            ('У', "u"),
            ('Ф', "f"),
            ('Х', "kh"),
            ('Ц', "ts"),
            ('Ч', "ch"),
            ('Ш', "sh"),
            ('Щ', "shch"),
            ('Ъ', "ie"),
            ('Ы', "y"),
            ('Ь', ""),
            ('Э', "e"),
            ('Ю', "iu"),
            ('Я', "ia"),
            ('Ѫ', "u"),
            ('Ѵ', "y"),
            ('Ґ', "g"),
            ('Ѓ', "g"),
            ('Ћ', "c"),
        ] {
            let expected = Some(format!("b{written}b"));
            assert_eq!(latin(&format!("B{letter}B")), expected, "{letter}");
            assert_eq!(latin(&format!("Б{letter}Б").to_lowercase()), expected, "{letter}");
        }
    }

    /// Doc 9303, part 3, section 6 A: the letters for which it gives one way, and one of the two where it gives two.
    #[test]
    fn each_latin_letter_is_written_as_the_table_does() {
        for (letters, written) in [
            ("ÀÁÂÃÄÅĀĂĄ", "a"),
            ("ÆǼ", "ae"),
            ("ÇĆĈĊČ", "c"),
            ("ĎĐÐ", "d"),
            ("ÈÉÊËĒĔĖĘĚ", "e"),
            ("ĜĞĠĢ", "g"),
            ("ĤĦ", "h"),
            ("ÌÍÎÏĨĪĬĮİIı", "i"),
            ("Ĳ", "ij"),
            ("Ĵ", "j"),
            ("Ķ", "k"),
            ("ĹĻĽĿŁ", "l"),
            ("ÑŃŅŇŊ", "n"),
            ("ÒÓÔÕÖŌŎŐƠ", "o"),
            ("ØŒǾ", "oe"),
            ("ŔŖŘ", "r"),
            ("ŚŜŞŠȘ", "s"),
            ("ßẞ", "ss"),
            ("ŢŤŦȚ", "t"),
            ("Þ", "th"),
            ("ÙÚÛÜŨŪŬŮŰŲƯ", "u"),
            ("Ŵ", "w"),
            ("ÝŶŸ", "y"),
            ("ŹŻŽ", "z"),
        ] {
            for letter in letters.chars() {
                assert_eq!(latin(&format!("B{letter}B")), Some(format!("b{written}b")), "{letter}");
                let small = format!("b{letter}b").to_lowercase();
                assert_eq!(latin(&small), Some(format!("b{written}b")), "{letter}");
            }
        }
    }

    #[test]
    fn case_marks_separators_and_what_is_unseen_say_nothing() {
        for spelling in [
            "O’Brien-Şahin",
            "o'brien şahin",
            "OBRIENSAHIN",
            "Ｏ＇Ｂｒｉｅｎ　Şahin",
            "O`Brien\u{2011}S\u{327}ahin",
            "O\u{2bc}Brien – Sahin",
            "O´Brien.Sahin.",
            "O\u{2018}Brien\u{a0}Sahin",
            "O\u{200b}Br\u{ad}ien\u{feff}Sahin",
            "\u{202e}O'Brien Sahin\u{202c}",
            "\u{61c}O'Brien Sahin",
            "O'Bri\u{301}\u{308}\u{327}en Sahin",
            "𝐎'𝐁𝐫𝐢𝐞𝐧 𝐒𝐚𝐡𝐢𝐧",
        ] {
            assert_eq!(latin(spelling).as_deref(), Some("obriensahin"), "{spelling:?}");
        }
        assert_eq!(latin("ﬁ").as_deref(), Some("fi"));
        assert_eq!(latin("Ĳsbrand").as_deref(), Some("ijsbrand"));
        // Cyrillic letters in a Latin name, which look alike, are read for what they are.
        assert_eq!(latin("Pеtrоv"), latin("Petrov"));
    }

    #[test]
    fn what_is_no_name_is_none() {
        for text in [
            "",
            " ",
            "-",
            "'",
            "\u{301}\u{302}",
            "\u{200b}",
            "A",
            "A.",
            "Щ.",
            "Ьь",
            "Аь",
            "Ana2",
            "Ana (Maria)",
            "Costa, Ana",
            "Costa/Mendes",
            "Ana_Maria",
            "A&B",
            "<Ana>",
            "Ana\u{0}",
            "Ana?",
            "Ana😀",
            // Letters of other scripts, and those of these scripts that the tables do not have.
            "Γιώργος",
            "محمد",
            "דוד",
            "გიორგი",
            "Արամ",
            "王芳",
            "김민준",
            "कुमार",
            "Əliyev",
            "Ɓala",
            "Қайрат",
            "Өмүр",
        ] {
            assert_eq!(latin(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_text_without_end_is_no_name() {
        assert_eq!(latin(&"a".repeat(128)), Some("a".repeat(128)));
        assert_eq!(latin(&"a".repeat(129)), None);
        assert_eq!(latin(&"щ".repeat(33)), None);
        assert_eq!(latin(&format!("ana{}", "\u{301}".repeat(500))).as_deref(), Some("ana"));
        assert_eq!(latin(&format!("ana{}", "\u{301}\u{327}".repeat(1_000_000))), None);
        assert_eq!(latin(&"\u{200b}".repeat(1_000_000)), None);
        // The one character that NFKC makes eighteen of.
        assert_eq!(latin(&"\u{fdfa}".repeat(341)), None);
    }

    proptest! {
        #[test]
        fn letters_stay_as_they_are(text in prop_oneof!["\\PC{0,24}", "[\\p{Cyrillic}\\p{Latin} '-]{0,24}"]) {
            if let Some(once) = latin(&text) {
                prop_assert!(once.bytes().all(|byte| byte.is_ascii_lowercase()));
                prop_assert_eq!(latin(&once), Some(once));
            }
        }
    }
}
