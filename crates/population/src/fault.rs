//! What is wrong or different in a register, and how often.
//!
//! The kinds are those that Just and others found where records of one patient did not agree (*Why Patient Matching Is a
//! Challenge*, Perspectives in Health Information Management 13, 2016: misspelt names first, then other names, names in
//! each other's column, second names, missing and default numbers, mistyped numbers and days), and those of two scripts.
//! That study counts disagreements among each other. How frequent each is in a register, nobody can say of all: the
//! rates here are assumptions, about half a per cent for each thing that can be mistyped or missing.

use crate::draw::Draws;

/// A fault of what one register holds of one person. Each is drawn by itself, so a person may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The register has no number of the person.
    NumberMissing,
    /// It has that of another person, who stands in the register too.
    NumberOfAnother,
    /// Two digits of the number changed places, or one was mistyped.
    NumberMistyped,
    /// One of the two names is missing.
    NameMissing,
    /// A letter of the family name was mistyped, left out or doubled, or two changed places.
    FamilyMistyped,
    /// The same in the given name.
    GivenMistyped,
    /// The given name stands there in another form, as Елена for Олена and Mohamed for Mohammed.
    OtherForm,
    /// Of two given names there is only the first.
    SecondGivenLeftOut,
    /// The patronymic stands behind the given name.
    PatronymicAdded,
    /// Family name and given name stand in each other's column.
    NamesSwapped,
    /// The family name is the one before marriage.
    FormerFamily,
    /// A Cyrillic name is written as German writes it.
    OtherStandard,
    /// There is no day of birth.
    BirthDateMissing,
    /// The month and year of birth are there, or the year, or the first of January for it.
    BirthDayUnknown,
    /// Another day stands there: a digit was mistyped, or day and month changed places.
    BirthDateMistyped,
    /// The year of birth has two digits.
    YearOfTwoDigits,
    /// All registers have the first of January, because nobody knows more than the year; or it is the day of birth.
    BirthYearAlone,
}

/// Of so many, a [`Fault`] strikes [`Fault::rate`].
pub const RATED: u32 = 10_000;

impl Fault {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::NumberMissing,
        Self::NumberOfAnother,
        Self::NumberMistyped,
        Self::NameMissing,
        Self::FamilyMistyped,
        Self::GivenMistyped,
        Self::OtherForm,
        Self::SecondGivenLeftOut,
        Self::PatronymicAdded,
        Self::NamesSwapped,
        Self::FormerFamily,
        Self::OtherStandard,
        Self::BirthDateMissing,
        Self::BirthDayUnknown,
        Self::BirthDateMistyped,
        Self::YearOfTwoDigits,
        Self::BirthYearAlone,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NumberMissing => "number_missing",
            Self::NumberOfAnother => "number_of_another",
            Self::NumberMistyped => "number_mistyped",
            Self::NameMissing => "name_missing",
            Self::FamilyMistyped => "family_mistyped",
            Self::GivenMistyped => "given_mistyped",
            Self::OtherForm => "other_form",
            Self::SecondGivenLeftOut => "second_given_left_out",
            Self::PatronymicAdded => "patronymic_added",
            Self::NamesSwapped => "names_swapped",
            Self::FormerFamily => "former_family",
            Self::OtherStandard => "other_standard",
            Self::BirthDateMissing => "birth_date_missing",
            Self::BirthDayUnknown => "birth_day_unknown",
            Self::BirthDateMistyped => "birth_date_mistyped",
            Self::YearOfTwoDigits => "year_of_two_digits",
            Self::BirthYearAlone => "birth_year_alone",
        }
    }

    /// How many of 10,000 entries of a register have it, among those that can: whose given name has another form, who
    /// has two, or a patronymic, who is a woman born before 2000, whose Cyrillic name is written in Latin. Of
    /// [`Fault::BirthYearAlone`], how many of 10,000 newcomers beside who is born on that day.
    #[must_use]
    pub const fn rate(self) -> u32 {
        match self {
            Self::NumberMissing | Self::BirthYearAlone => 200,
            Self::NumberOfAnother | Self::NamesSwapped => 30,
            Self::NumberMistyped | Self::NameMissing | Self::FormerFamily | Self::BirthDateMissing => 50,
            Self::FamilyMistyped | Self::GivenMistyped | Self::BirthDayUnknown | Self::BirthDateMistyped => 60,
            Self::OtherForm | Self::OtherStandard => 150,
            Self::SecondGivenLeftOut => 800,
            Self::PatronymicAdded => 200,
            Self::YearOfTwoDigits => 20,
        }
    }

    /// Draws whether it is there.
    pub(crate) fn strikes(self, draws: &mut Draws) -> bool {
        draws.below(RATED) < self.rate()
    }
}
