//! Birth dates, as registers write them.

use super::separators::{is_dash, is_dot, is_slash, is_unseen};
use chrono::{Datelike, NaiveDate};
use std::ops::RangeInclusive;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The most bytes of a text that is read at all.
const MOST_BYTES: usize = 64;
/// Nobody of whom a register is kept was born before. Years of other calendars that are written alike lie outside, and
/// so do days and months that are read for the beginning of a year.
const YEARS: RangeInclusive<i32> = 1850..=2199;

/// The date as `yyyymmdd`; `None` for what is no date, has a part missing, or is the first of January.
///
/// The order is told by where the year stands, which has four digits: year, month, day or day, month, year. A register
/// that writes the month first must not use this rule. In eight digits on their own the year comes first. Whether those
/// are meant the other way round need not be guessed: no eight digits are a date of these years both ways.
pub(super) fn normal_form(text: &str) -> Option<Zeroizing<String>> {
    if text.len() > MOST_BYTES {
        return None;
    }
    let plain = text.nfkc().filter(|character| !is_unseen(*character)).map(with_plain_separator);
    let plain = Zeroizing::new(plain.collect::<String>());
    let (year, month, day) = split(&plain)?;
    let (year, month, day) = (digits(year, 4..=4)?, digits(month, 1..=2)?, digits(day, 1..=2)?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    if !YEARS.contains(&date.year()) || date.ordinal() == 1 {
        return None;
    }
    Some(Zeroizing::new(date.format("%Y%m%d").to_string()))
}

/// Year, month and day, not looked at yet.
fn split(plain: &str) -> Option<(&str, &str, &str)> {
    let Some(separator) = ['-', '.', '/'].into_iter().find(|separator| plain.contains(*separator)) else {
        // Cut in the middle of a character it is no date.
        let (year, rest) = plain.split_at_checked(4)?;
        let (month, day) = rest.split_at_checked(2)?;
        return (day.len() == 2).then_some((year, month, day));
    };
    // Some languages write a dot behind the last part as well.
    let plain = if separator == '.' { plain.strip_suffix('.').unwrap_or(plain) } else { plain };
    let mut parts = plain.split(separator);
    let (first, month, last) = (parts.next()?, parts.next()?, parts.next()?);
    match parts.next() {
        None if first.len() == 4 => Some((first, month, last)),
        None => Some((last, month, first)),
        Some(_) => None,
    }
}

fn digits(text: &str, length: RangeInclusive<usize>) -> Option<u32> {
    let formed = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    formed.then(|| text.parse().ok()).flatten()
}

fn with_plain_separator(character: char) -> char {
    match character {
        _ if is_dash(character) => '-',
        _ if is_dot(character) => '.',
        _ if is_slash(character) => '/',
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(text: &str) -> Option<String> {
        normal_form(text).map(|date| date.to_string())
    }

    #[test]
    fn every_spelling_of_one_date_is_one_date() {
        for spelling in [
            "1987-03-09",
            "1987-3-9",
            "1987.03.09",
            "1987/03/09",
            "1987. 03. 09.",
            "19870309",
            "09.03.1987",
            "9.3.1987",
            "9. 3. 1987",
            "09.03.1987.",
            "09/03/1987",
            "9/3/1987",
            "09-03-1987",
            "  09.03.1987\r\n",
            "09\u{2011}03\u{2011}1987",
            "09\u{2212}03\u{2013}1987",
            "１９８７－０３－０９",
            "09\u{2044}03\u{2044}1987",
            "\u{200e}09.03.1987\u{200f}",
            "1987\u{200b}-03-09",
        ] {
            assert_eq!(date(spelling).as_deref(), Some("19870309"), "{spelling:?}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for text in [
            "",
            " ",
            "-",
            "--",
            "..",
            "unknown",
            "n/a",
            // A year of two digits, of three, of five.
            "09.03.87",
            "87-03-09",
            "870309",
            "090387",
            "09.03.987",
            "09.03.01987",
            // A part missing.
            "1987",
            "1987-03",
            "03.1987",
            "1987-03-",
            ".03.1987",
            "09..1987",
            "1987-00-00",
            "1987-03-00",
            "1987-00-09",
            "00.00.1987",
            "xx.03.1987",
            "??.??.1987",
            // Not in the calendar.
            "31.04.1987",
            "29.02.1987",
            "29.02.1900",
            "1987-13-09",
            "03/31/1987",
            "32.01.1987",
            // Eight digits with the day first.
            "09031987",
            "31121999",
            // Before and after all registers; other calendars.
            "0001-01-02",
            "1849-12-31",
            "2200-01-02",
            "9999-12-31",
            "1366-12-18",
            "2530-03-09",
            // Two kinds of separator, too many parts, signs, words, times, other digits.
            "09.03-1987",
            "09-03/1987",
            "09.03.1987..",
            "09.03.1987.1",
            "1987-03-09-",
            "-1987-03-09",
            "+987-03-09",
            "1987-+3-09",
            "9 March 1987",
            "1987-03-09T00:00:00",
            "1987,03,09",
            "٠٩.٠٣.١٩٨٧",
            "九.三.一九八七",
            "éééé",
            "1987éé09",
            "1987\u{0}03\u{0}09",
        ] {
            assert_eq!(date(text), None, "{text:?}");
        }
        assert_eq!(date(&"1".repeat(1_000_000)), None);
        assert_eq!(date(&format!("09.03.1987{}", "\u{200b}".repeat(100))), None);
    }

    #[test]
    fn the_first_of_january_is_no_birth_date_and_its_neighbours_are() {
        for year in [1850, 1900, 1970, 1987, 2000, 2199] {
            for text in [format!("{year}-01-01"), format!("1.1.{year}"), format!("{year}0101")] {
                assert_eq!(date(&text), None, "{text}");
            }
            assert_eq!(date(&format!("{year}-01-02")), Some(format!("{year}0102")));
            assert_eq!(date(&format!("31.12.{year}")), Some(format!("{year}1231")));
        }
        assert_eq!(date("29.02.2000").as_deref(), Some("20000229"));
    }

    proptest! {
        #[test]
        fn all_orders_and_separators_give_the_date(
            year in 1850i32..2200, month in 1u32..13, day in 1u32..32, separator in "[-./]",
        ) {
            let expected = NaiveDate::from_ymd_opt(year, month, day)
                .filter(|date| date.ordinal() != 1)
                .map(|_| format!("{year}{month:02}{day:02}"));
            for text in [
                format!("{year}{separator}{month:02}{separator}{day:02}"),
                format!("{year}{separator}{month}{separator}{day}"),
                format!("{day:02}{separator}{month:02}{separator}{year}"),
                format!("{day}{separator}{month}{separator}{year}"),
                format!("{year}{month:02}{day:02}"),
            ] {
                prop_assert_eq!(date(&text), expected.clone(), "{}", text);
            }
            // The date written the other way round in eight digits is none, rather than another.
            prop_assert_eq!(date(&format!("{day:02}{month:02}{year}")), None);
        }

        #[test]
        fn a_date_in_normal_form_stays_as_it_is(
            text in prop_oneof!["\\PC{0,20}", "[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}"],
        ) {
            if let Some(once) = date(&text) {
                prop_assert_eq!(date(&once), Some(once));
            }
        }
    }
}
