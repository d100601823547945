use crate::{ColumnName, CutId, DatasetId, OpenCode, OrgId, Rho, UnitSpaceId, UnknownFormat, check_format};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What may be asked of a dataset, from documentation and never from the data. Signed, in the bundle.
///
/// Where the data lies is the agency's own affair and stands in its adapter's *binding*.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Format number of the file.
    pub format: u32,
    /// The dataset's name.
    pub id: DatasetId,
    /// A short title.
    pub title: String,
    /// What the dataset is.
    pub description: String,
    /// Who answers for it in law, with a contact.
    pub controller: String,
    /// The agency whose adapter serves it.
    pub agency: OrgId,
    /// Whom it is about.
    pub population: String,
    /// The register of persons over which loss adds up.
    pub unit_space: UnitSpace,
    /// How many rows a person may contribute.
    pub contribution: Contribution,
    /// The dataset's versions, oldest first; the last is the one asked when none is named.
    pub cuts: Vec<CutId>,
    /// The logical dataset that several agencies hold together, if this is one agency's part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// The columns, in the order in which they are shown.
    #[serde(rename = "column")]
    pub columns: Vec<Column>,
}

/// The register of persons that one agency keeps. Contracts over the same register repeat it word for word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitSpace {
    /// Its name.
    pub id: UnitSpaceId,
    /// How many persons the register is declared to hold: a public, rounded figure, never counted from the data.
    pub register_size: u64,
    /// The loss that any person of the register may suffer in a calendar year, over all questions.
    pub rho_per_year: Rho,
    /// The loss for life.
    pub rho_for_life: Rho,
}

/// Which logical dataset a dataset is one agency's part of. The contracts of all its parts say the same here, and agree
/// in all that a question reads ([`Contract::reads_like`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOf {
    /// The name of the logical dataset in questions. No contract has it as its own.
    pub dataset: DatasetId,
    /// Whether nobody stands in the registers of two parts. Only then is what is counted once in each register a count
    /// of persons. It changes no charge.
    #[serde(default)]
    pub disjoint_registers: bool,
}

/// The bound on a person's contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// At most so many rows of one person enter any cut.
    pub rows_per_person: u32,
}

/// One column of a contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name in questions.
    pub name: ColumnName,
    /// A short label.
    pub label: String,
    /// What it means.
    pub definition: String,
    /// What it may be used for.
    pub role: ColumnRole,
    /// Its type and the values that it may take.
    pub domain: Domain,
    /// Texts in the file that stand for a missing value.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The special category of data, if it is one.
    #[serde(default)]
    pub special: Option<SpecialKind>,
    /// Days after which a value may no longer be used; none means as long as the dataset.
    #[serde(default)]
    pub retention_days: Option<u32>,
}

/// What a column may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// The agency's own key of the person; only `COUNT(DISTINCT person)` may name it.
    PrivacyUnit,
    /// An identifier shared between agencies; only a match may name it.
    MatchKey,
    /// Any other identifier (name, address, case number); nothing may name it.
    Identifier,
    /// May be grouped by, filtered and counted.
    Category,
    /// May be summed, averaged, filtered and counted.
    Measure,
    /// May be filtered.
    Filter,
    /// Biometric or genetic material, or anything withheld: never read.
    Withheld,
}

/// A column's type and the values that it may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Domain {
    /// A code list. A value outside it becomes `other`, or missing if there is no `other`.
    Category {
        /// The codes, in order.
        codes: Vec<Code>,
        /// The code that takes every value outside the list.
        #[serde(default)]
        other: Option<String>,
    },
    /// A calendar month `YYYY-MM`, from `first` to `last`.
    Month {
        /// First month.
        first: String,
        /// Last month.
        last: String,
    },
    /// A whole number that is a category, for instance a year.
    Year {
        /// First year.
        first: i32,
        /// Last year.
        last: i32,
    },
    /// A whole number; a value outside the bounds becomes the bound.
    Integer {
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: i64,
    },
    /// A number with a fixed count of decimals; a value outside the bounds becomes the bound.
    Decimal {
        /// Lower bound, a whole number.
        min: i64,
        /// Upper bound, a whole number.
        max: i64,
        /// Decimals kept, at most 6.
        decimals: u8,
    },
    /// A day; a value outside the bounds becomes missing.
    Date {
        /// First day.
        first: NaiveDate,
        /// Last day.
        last: NaiveDate,
    },
    /// A code of which no list is declared ([`OpenCode`]). Groups of it are selected by how many persons they hold.
    Open {
        /// The most signs of a code, 1 to [`OpenCode::MAX_LENGTH`]; what is longer, or no code, becomes missing.
        length: u8,
    },
    /// Whether a row stands for one of the same person that the bound on a person's rows leaves out, as many at most as
    /// are kept. It is in no file: bounding makes it. Its codes are [`Domain::LEFT_OUT`].
    LeftOut,
    /// Free text. Only identifiers, match keys and withheld columns may be text.
    Text,
}

/// A code and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// As it stands in questions and answers.
    pub code: String,
    /// In words.
    pub label: String,
}

/// Special categories of personal data. Biometric and genetic data are never read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecialKind {
    /// Biometric data.
    Biometric,
    /// Genetic data.
    Genetic,
    /// Health.
    Health,
    /// Racial or ethnic origin.
    Origin,
    /// Religious, philosophical or political belief, trade-union membership.
    Belief,
    /// Criminal convictions and offences.
    Offences,
    /// Sex life or orientation.
    SexualLife,
}

impl SpecialKind {
    /// Whether the kind may never be queried, matched, carried or exported.
    #[must_use]
    pub const fn is_forbidden(self) -> bool {
        matches!(self, Self::Biometric | Self::Genetic)
    }

    /// The kind's name in files and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Biometric => "biometric",
            Self::Genetic => "genetic",
            Self::Health => "health",
            Self::Origin => "origin",
            Self::Belief => "belief",
            Self::Offences => "offences",
            Self::SexualLife => "sexual_life",
        }
    }
}

/// A contract that cannot be served. Names columns, which the contract's author wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// Written for a later program.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// No column is the privacy unit, or several are.
    #[error("exactly one column must have the role privacy_unit, found {0}")]
    PrivacyUnit(usize),
    /// The calendar is empty or repeats itself.
    #[error("cuts must name at least one version of the dataset, each once")]
    Cuts,
    /// Two columns have one name.
    #[error("column {0} is declared twice")]
    DuplicateColumn(ColumnName),
    /// The domain does not fit the role, or is empty or upside down.
    #[error("column {column}: {problem}")]
    Column {
        /// The column.
        column: ColumnName,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A bound or a budget is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

impl Contract {
    /// Checks everything that the types do not: one privacy unit, domains that fit roles, bounds the right way up.
    ///
    /// # Errors
    /// The first [`ContractError`] found.
    pub fn check(&self) -> Result<(), ContractError> {
        check_format("a contract", self.format)?;
        let units = self.columns.iter().filter(|c| c.role == ColumnRole::PrivacyUnit).count();
        if units != 1 {
            return Err(ContractError::PrivacyUnit(units));
        }
        if self.cuts.is_empty() || self.cuts.iter().collect::<BTreeSet<_>>().len() != self.cuts.len() {
            return Err(ContractError::Cuts);
        }
        if self.contribution.rows_per_person == 0 {
            return Err(ContractError::Zero("contribution.rows_per_person"));
        }
        if self.unit_space.register_size == 0 {
            return Err(ContractError::Zero("unit_space.register_size"));
        }
        // INVARIANT: no sum over a cut leaves 63 bits. An adapter serves no file with more than
        // `Contract::most_rows` rows, so the largest value times that count bounds every sum.
        for column in &self.columns {
            let Some((min, max, _)) = column.domain.fixed_point_bounds() else { continue };
            let largest = u128::from(min.unsigned_abs().max(max.unsigned_abs()));
            if 2 * largest * u128::from(self.most_rows()) >= 1 << 63 {
                return Err(ContractError::Column {
                    column: column.name.clone(),
                    problem: "bounds times the register's size do not fit 64 bits: use fewer decimals or narrower bounds",
                });
            }
        }
        if let Some(second) = self.columns.iter().filter(|column| column.domain == Domain::LeftOut).nth(1) {
            let problem = "one column at most says what is left out";
            return Err(ContractError::Column { column: second.name.clone(), problem });
        }
        let mut seen = BTreeSet::new();
        for column in &self.columns {
            if !seen.insert(&column.name) {
                return Err(ContractError::DuplicateColumn(column.name.clone()));
            }
            column.check()?;
        }
        Ok(())
    }

    /// The most rows of a bounded view: four times the declared register, at the most rows a person may have.
    #[must_use]
    pub const fn most_rows(&self) -> u64 {
        self.unit_space.register_size.saturating_mul(4).saturating_mul(self.contribution.rows_per_person as u64)
    }

    /// The column that says which rows stand for others that are left out, if the contract has one.
    #[must_use]
    pub fn left_out(&self) -> Option<&Column> {
        self.columns.iter().find(|column| column.domain == Domain::LeftOut)
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name.as_str() == name)
    }

    /// Whether a question means the same over another contract, and is bounded in the same way: both have the same
    /// columns, by name, of the same roles and domains, as many rows of a person, and the same calendar of cuts.
    #[must_use]
    pub fn reads_like(&self, other: &Self) -> bool {
        let alike = |column: &Column| {
            let found = other.column(column.name.as_str());
            found.is_some_and(|found| found.role == column.role && found.domain == column.domain)
        };
        self.columns.len() == other.columns.len()
            && self.columns.iter().all(alike)
            && self.contribution == other.contribution
            && self.cuts == other.cuts
    }

    /// The column that names the person.
    #[must_use]
    pub fn privacy_unit(&self) -> Option<&Column> {
        self.columns.iter().find(|c| c.role == ColumnRole::PrivacyUnit)
    }

    /// The cut asked when none is named.
    #[must_use]
    pub fn latest_cut(&self) -> Option<&CutId> {
        self.cuts.last()
    }
}

impl Column {
    fn check(&self) -> Result<(), ContractError> {
        let problem = |problem| Err(ContractError::Column { column: self.name.clone(), problem });
        if self.special.is_some_and(SpecialKind::is_forbidden) && self.role != ColumnRole::Withheld {
            return problem("biometric and genetic columns must have the role withheld");
        }
        if self.special.is_some() && self.role == ColumnRole::MatchKey {
            return problem("a special category is never a match key: give the column another role");
        }
        let fits = match self.role {
            ColumnRole::PrivacyUnit | ColumnRole::MatchKey | ColumnRole::Identifier | ColumnRole::Withheld => true,
            ColumnRole::Category => self.domain.is_groupable() || self.domain.is_open(),
            ColumnRole::Measure => matches!(self.domain, Domain::Integer { .. } | Domain::Decimal { .. }),
            ColumnRole::Filter => !matches!(self.domain, Domain::Text),
        };
        if !fits {
            return problem(
                "the domain does not fit the role: category, month, year and open may be grouped by; integer and decimal may be measured; text only identifies",
            );
        }
        match &self.domain {
            Domain::Category { codes, other } => {
                let distinct: BTreeSet<_> = codes.iter().map(|c| &c.code).collect();
                if codes.is_empty() || distinct.len() != codes.len() || codes.len() > 10_000 {
                    return problem("the code list must hold 1 to 10,000 codes, each once");
                }
                if codes.iter().any(|code| code.code.is_empty()) {
                    return problem(
                        "a code has at least one character: an empty one stands for all of them in an answer",
                    );
                }
                if other.as_ref().is_some_and(|other| !distinct.contains(other)) {
                    return problem("other must be one of the codes");
                }
            }
            Domain::Month { .. } if self.domain.codes().is_empty() => {
                return problem("months are written YYYY-MM, the first not after the last, at most 1200 of them");
            }
            Domain::Year { first, last } if first > last || last.abs_diff(*first) > 1000 => {
                return problem("the first year must not be after the last, at most 1000 years");
            }
            Domain::Integer { min, max } if min > max || min.unsigned_abs().max(max.unsigned_abs()) > 1 << 40 => {
                return problem("the lower bound must not be above the upper, and both within ±2^40");
            }
            Domain::Decimal { min, max, decimals }
                if min > max || min.unsigned_abs().max(max.unsigned_abs()) > 1 << 30 || *decimals > 6 =>
            {
                return problem(
                    "the lower bound must not be above the upper, both within ±2^30, with at most 6 decimals",
                );
            }
            Domain::Open { length } if !(1..=OpenCode::MAX_LENGTH).contains(length) => {
                return problem("an open code has a length of 1 to 10");
            }
            Domain::LeftOut if !matches!(self.role, ColumnRole::Category | ColumnRole::Filter) => {
                return problem("what says whether rows are left out has the role category or filter");
            }
            Domain::LeftOut if !self.missing.is_empty() => {
                return problem("what says whether rows are left out is in no file: nothing in it is missing");
            }
            Domain::Date { first, last } if first > last => {
                return problem("the first day must not be after the last");
            }
            _ => {}
        }
        Ok(())
    }
}

impl Domain {
    /// The codes of [`Domain::LeftOut`]: of a row that stands for itself alone, and of one that stands for another as
    /// well.
    pub const LEFT_OUT: [&str; 2] = ["no", "yes"];

    /// Whether one may group by it: its values are declared one by one.
    #[must_use]
    pub const fn is_groupable(&self) -> bool {
        matches!(self, Self::Category { .. } | Self::Month { .. } | Self::Year { .. } | Self::LeftOut)
    }

    /// Whether its values are codes of which no list is declared.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// The declared values of a groupable domain, in order; empty for any other.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        match self {
            Self::Category { codes, .. } => codes.iter().map(|c| c.code.clone()).collect(),
            Self::Year { first, last } => (*first..=*last).map(|y| y.to_string()).collect(),
            Self::Month { first, last } => months(first, last).unwrap_or_default(),
            Self::LeftOut => Self::LEFT_OUT.map(str::to_owned).to_vec(),
            Self::Integer { .. } | Self::Decimal { .. } | Self::Date { .. } | Self::Open { .. } | Self::Text => {
                Vec::new()
            }
        }
    }

    /// Bounds in fixed point, and the decimals of that fixed point, of a domain that can be measured. What does not fit
    /// 64 bits, which no contract that was checked has, is the most that fits.
    #[must_use]
    pub const fn fixed_point_bounds(&self) -> Option<(i64, i64, u8)> {
        match *self {
            Self::Integer { min, max } => Some((min, max, 0)),
            Self::Decimal { min, max, decimals } => {
                let scale = 10_i64.saturating_pow(decimals as u32);
                Some((min.saturating_mul(scale), max.saturating_mul(scale), decimals))
            }
            _ => None,
        }
    }
}

fn months(first: &str, last: &str) -> Option<Vec<String>> {
    let index = |text: &str| {
        let day = NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").ok()?;
        (text.len() == 7).then(|| day.year() * 12 + day.month0() as i32)
    };
    let (first, last) = (index(first)?, index(last)?);
    if first > last || last - first >= 1200 {
        return None;
    }
    Some((first..=last).map(|m| format!("{:04}-{:02}", m.div_euclid(12), m.rem_euclid(12) + 1)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_listed_in_order() {
        let domain = Domain::Month { first: "2020-11".into(), last: "2021-02".into() };
        assert_eq!(domain.codes(), ["2020-11", "2020-12", "2021-01", "2021-02"]);
        assert!(Domain::Month { first: "2021-02".into(), last: "2020-11".into() }.codes().is_empty());
    }

    #[test]
    fn decimal_bounds_are_in_fixed_point() {
        assert_eq!(Domain::Decimal { min: 0, max: 5000, decimals: 2 }.fixed_point_bounds(), Some((0, 500_000, 2)));
        let beyond = Domain::Decimal { min: i64::MIN, max: 1, decimals: 255 };
        assert_eq!(beyond.fixed_point_bounds(), Some((i64::MIN, i64::MAX, 255)));
    }

    #[test]
    fn bounds_and_decimals_however_large_are_refused_and_end_no_program() {
        let text = include_str!("../../../deploy/sample/bundle/contracts/health.visits.toml");
        let contract: Contract = toml::from_str(text).unwrap();
        assert!(contract.check().is_ok());
        let measured = contract.columns.iter().position(|column| column.role == ColumnRole::Measure).unwrap();
        for domain in [
            Domain::Integer { min: i64::MIN, max: i64::MAX },
            Domain::Integer { min: i64::MIN, max: 0 },
            Domain::Decimal { min: i64::MIN, max: 0, decimals: 2 },
            Domain::Decimal { min: 0, max: 1, decimals: 255 },
            Domain::Decimal { min: 0, max: i64::MAX, decimals: 6 },
        ] {
            let mut contract = contract.clone();
            contract.columns[measured].domain = domain.clone();
            assert!(contract.check().is_err(), "{domain:?}");
        }
    }
}
