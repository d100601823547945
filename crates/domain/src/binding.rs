use crate::{ColumnName, ColumnRole, Contract, CutId, DatasetId, Domain, UnknownFormat, check_format};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where an agency's adapter finds a dataset: its own affair, unsigned, and never shown outside the agency.
///
/// A binding says nothing about what may be asked; that is the [`Contract`]'s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Format number of the file.
    pub format: u32,
    /// The dataset that it binds.
    pub dataset: DatasetId,
    /// A file for each cut that is served.
    #[serde(rename = "cut")]
    pub cuts: Vec<CutFile>,
    /// Contract column → column of the file, where the names differ.
    #[serde(default, rename = "column")]
    pub columns: BTreeMap<ColumnName, String>,
    /// Contract column → value in the file → code of the contract.
    #[serde(default, rename = "recode")]
    pub recodes: BTreeMap<ColumnName, BTreeMap<String, String>>,
    /// Whether every row of the file is a person of its own, so that the file has no column for the privacy unit.
    #[serde(default)]
    pub row_is_person: bool,
}

/// The file that holds one cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutFile {
    /// The cut.
    pub id: CutId,
    /// The file, `.parquet` or `.csv`, relative to the adapter's data folder.
    pub file: PathBuf,
}

/// What kind of values a column of a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// Text; every domain can be read from it. All columns of a CSV file are text.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers with decimals, exact or floating.
    Decimal,
    /// Days.
    Date,
    /// Bytes.
    Binary,
    /// Anything else.
    Other,
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "whole numbers",
            Self::Decimal => "numbers with decimals",
            Self::Date => "days",
            Self::Binary => "bytes",
            Self::Other => "values of a kind that is not read",
        })
    }
}

/// One thing in which file, binding and contract do not fit, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}; {remedy}")]
pub struct Misfit {
    /// The column or key concerned.
    pub place: String,
    /// What does not fit.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

fn misfit(place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Misfit {
    Misfit { place: place.into(), problem: problem.into(), remedy: remedy.into() }
}

impl Binding {
    /// Whether this program can read the file's format.
    ///
    /// # Errors
    /// [`UnknownFormat`].
    pub fn check_format(&self) -> Result<(), UnknownFormat> {
        check_format("a binding", self.format)
    }

    /// The column of the file that holds the contract's `column`.
    #[must_use]
    pub fn file_column<'a>(&'a self, column: &'a ColumnName) -> &'a str {
        self.columns.get(column).map_or(column.as_str(), String::as_str)
    }

    /// The file of a cut.
    #[must_use]
    pub fn file_of(&self, cut: &CutId) -> Option<&CutFile> {
        self.cuts.iter().find(|c| c.id == *cut)
    }

    /// What of the binding does not fit the contract, file aside.
    #[must_use]
    pub fn misfits(&self, contract: &Contract) -> Vec<Misfit> {
        let mut found = Vec::new();
        if let Err(error) = self.check_format() {
            found.push(misfit("format", error.to_string(), "use a program that knows it"));
        }
        if self.dataset != contract.id {
            found.push(misfit(
                "dataset",
                format!("the binding is for {}, the contract for {}", self.dataset, contract.id),
                "name the contract's dataset in the binding",
            ));
        }
        for cut in &self.cuts {
            let place = format!("cut {}", cut.id);
            if !contract.cuts.contains(&cut.id) {
                found.push(misfit(
                    &place,
                    "it is not on the contract's calendar",
                    "remove it, or have the contract declare it",
                ));
            }
            let known = cut.file.extension().is_some_and(|e| e == "parquet" || e == "csv");
            if !known {
                found.push(misfit(&place, "the file is neither .parquet nor .csv", "bind a Parquet or CSV file"));
            }
        }
        for cut in &contract.cuts {
            if self.file_of(cut).is_none() {
                found.push(misfit(
                    format!("cut {cut}"),
                    "the contract declares it and no file holds it",
                    "add a [[cut]] with its file",
                ));
            }
        }
        for column in self.columns.keys() {
            if contract.column(column.as_str()).is_none() {
                found.push(misfit(
                    format!("column {column}"),
                    "the contract has no such column",
                    "name a column of the contract, or remove the line",
                ));
            }
        }
        for (column, codes) in &self.recodes {
            let place = format!("recode.{column}");
            match contract.column(column.as_str()).map(|c| c.domain.codes()) {
                None => found.push(misfit(place, "the contract has no such column", "remove the table")),
                Some(declared) if declared.is_empty() => {
                    found.push(misfit(place, "the column has no code list", "recode categories, months or years only"));
                }
                Some(declared) => {
                    for target in codes.values().filter(|t| !declared.contains(t)) {
                        found.push(misfit(
                            &place,
                            format!("'{target}' is not a code of the contract"),
                            format!("use one of: {}", declared.join(", ")),
                        ));
                    }
                }
            }
        }
        found
    }

    /// What of a file's schema (its columns, in any order) does not fit contract and binding.
    ///
    /// A file is judged by its schema alone: values out of their domain are no misfit. Columns that the contract
    /// withholds or that only identify need not be there.
    #[must_use]
    pub fn misfits_of_file(&self, contract: &Contract, file: &[(String, FileType)]) -> Vec<Misfit> {
        let mut found = Vec::new();
        for column in &contract.columns {
            let optional = matches!(column.role, ColumnRole::Withheld | ColumnRole::Identifier);
            if optional
                || column.domain == Domain::LeftOut
                || (self.row_is_person && column.role == ColumnRole::PrivacyUnit)
            {
                continue;
            }
            let name = self.file_column(&column.name);
            let place = format!("column {}", column.name);
            let Some((_, kind)) = file.iter().find(|(n, _)| n == name) else {
                found.push(misfit(
                    place,
                    format!("the file has no column '{name}'"),
                    format!("add `{} = \"<column of the file>\"` under [column]", column.name),
                ));
                continue;
            };
            let readable = matches!(
                (&column.domain, kind),
                (_, FileType::Text)
                    | (
                        Domain::Category { .. }
                            | Domain::Year { .. }
                            | Domain::Integer { .. }
                            | Domain::Open { .. }
                            | Domain::Text,
                        FileType::Integer
                    )
                    | (Domain::Integer { .. }, FileType::Decimal)
                    | (Domain::Decimal { .. }, FileType::Integer | FileType::Decimal)
                    | (Domain::Date { .. } | Domain::Month { .. } | Domain::Year { .. }, FileType::Date)
            );
            if !readable {
                found.push(misfit(
                    place,
                    format!("the file's column '{name}' holds {kind}, which the contract's type cannot be read from"),
                    "store it as text or in the contract's type, or bind another column",
                ));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        toml::from_str(
            r#"
            format = 1
            id = "pay.slips"
            title = "t"
            description = "d"
            agency = "pay"
            controller = "c"
            population = "p"
            cuts = ["2024"]
            unit_space = { id = "pay.persons", register_size = 100, rho_per_year = 1, rho_for_life = 1 }
            contribution = { rows_per_person = 1 }
            [[column]]
            name = "person"
            label = "l"
            definition = "d"
            role = "privacy_unit"
            domain = { type = "text" }
            [[column]]
            name = "sex"
            label = "l"
            definition = "d"
            role = "category"
            domain = { type = "category", codes = [{ code = "f", label = "f" }, { code = "m", label = "m" }] }
            [[column]]
            name = "wage"
            label = "l"
            definition = "d"
            role = "measure"
            domain = { type = "decimal", min = 0, max = 100, decimals = 2 }
            "#,
        )
        .unwrap()
    }

    fn binding(text: &str) -> Binding {
        toml::from_str(&format!("format = 1\ndataset = \"pay.slips\"\n{text}")).unwrap()
    }

    #[test]
    fn a_binding_and_file_that_fit_have_no_misfit() {
        let binding = binding(
            "[[cut]]\nid = \"2024\"\nfile = \"a.csv\"\n[column]\nsex = \"gender\"\n[recode.sex]\n\"1\" = \"f\"",
        );
        contract().check().unwrap();
        assert_eq!(binding.misfits(&contract()), []);
        let file = [("person", FileType::Text), ("gender", FileType::Integer), ("wage", FileType::Decimal)];
        assert_eq!(binding.misfits_of_file(&contract(), &file.map(|(n, t)| (n.to_owned(), t))), []);
    }

    #[test]
    fn each_misfit_says_what_to_do() {
        let binding = binding(
            "[[cut]]\nid = \"2023\"\nfile = \"a.xls\"\n[column]\nage = \"years\"\n[recode.sex]\n\"1\" = \"x\"\n[recode.wage]\n\"1\" = \"2\"",
        );
        let found: Vec<_> = binding.misfits(&contract()).iter().map(ToString::to_string).collect();
        let wants = [
            "not on the contract's calendar",
            "neither .parquet nor .csv",
            "no file holds it",
            "no such column",
            "not a code",
            "no code list",
        ];
        assert_eq!(found.len(), wants.len(), "{found:?}");
        for want in wants {
            assert!(found.iter().any(|f| f.contains(want)), "{want}: {found:?}");
        }
        let file = [("person", FileType::Binary), ("wage", FileType::Date)];
        let found = binding.misfits_of_file(&contract(), &file.map(|(n, t)| (n.to_owned(), t)));
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
