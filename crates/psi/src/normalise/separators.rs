//! What stands among letters and digits and says nothing.
//!
//! INVARIANT: the rules read these lists and a rule never changes, so neither do they.

/// White space, and what software puts into text unseen.
pub(super) fn is_unseen(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            // Soft hyphen, Mongolian vowel separator, zero-width characters, marks of direction, byte order mark.
            '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// Hyphens, dashes, minus.
pub(super) const fn is_dash(character: char) -> bool {
    matches!(character, '-' | '\u{58a}' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{2e3a}' | '\u{2e3b}')
}

/// Dots, at whatever height.
pub(super) const fn is_dot(character: char) -> bool {
    matches!(character, '.' | '\u{b7}' | '\u{2022}' | '\u{2027}' | '\u{3002}' | '\u{30fb}')
}

/// Slashes, either way.
pub(super) const fn is_slash(character: char) -> bool {
    matches!(character, '/' | '\\' | '\u{2044}' | '\u{2215}' | '\u{2216}')
}

/// Apostrophes, and all that is typed for one: quotation marks, accents on their own, primes, the half rings of
/// scholars, the letter that stands for a glottal stop.
pub(super) const fn is_apostrophe(character: char) -> bool {
    matches!(
        character,
        '\'' | '"' | '`' | '\u{b4}' | '\u{2b9}'..='\u{2bf}' | '\u{2ee}' | '\u{2018}'..='\u{201f}'
            | '\u{2032}'..='\u{2037}' | '\u{a78b}' | '\u{a78c}'
    )
}
