//! What of a contract gives the numbers of one question their meaning.

use crate::{BoundCategory, CheckedGroup, Primitive, PrimitiveKind, Reads};
use firebreak_domain::{Column, ColumnName, Contract, Contribution, Domain};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What keeps this hash apart from every other use of SHA-256, and the number of its encoding.
const DOMAIN: &[u8] = b"firebreak query basis format 3\n";

/// SHA-256 over all that a contract says about what the numbers of one question count and how they are read: who is a
/// person and how many rows each may have; the bounds, codes and missing values of every column that the question
/// touches; the groups in order; and what is measured, in order, with its filter, centre, half-width and decimals.
///
/// The canonical form names columns and codes, and not what they stand for. Numbers measured under one basis are wrong
/// under another, though both answer one canonical form: another centre shifts a sum, another order of codes changes
/// the labels. What is said in words (titles, labels, definitions), the columns that the question does not touch, the
/// calendar of cuts and the budgets do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Basis([u8; 32]);

impl Basis {
    /// Wraps a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Of a question that touches `touched`, under `contract`, which of a join is that of its `parts` together;
    /// `units` are the persons' keys of each.
    pub(crate) fn of(
        contract: &Contract,
        parts: &[Reads],
        units: &[Column],
        touched: &BTreeSet<ColumnName>,
        groups: &[CheckedGroup],
        primitives: &[Primitive],
        keys: &[String],
    ) -> Self {
        let mut hash = Encoder::new();
        // Each field is named, so that whoever adds one to a contract decides whether it counts here.
        let Contract {
            format: _,
            id,
            title: _,
            description: _,
            controller: _,
            agency,
            population: _,
            unit_space,
            contribution: Contribution { rows_per_person },
            cuts: _,
            part_of: _,
            columns,
        } = contract;
        hash.text(id.as_str());
        hash.text(agency.as_str());
        hash.text(unit_space.id.as_str());
        hash.number(*rows_per_person);
        // Bounds that differ part by part may have one product.
        hash.list(parts, |hash, part| {
            hash.text(part.dataset.as_str());
            hash.number(part.rows_per_person);
        });
        hash.list(units, Encoder::column);
        // By name: the order in which a contract lists its columns says nothing.
        let mut read: Vec<&Column> = columns.iter().filter(|column| touched.contains(&column.name)).collect();
        read.sort_by(|one, other| one.name.cmp(&other.name));
        hash.list(&read, |hash, column| hash.column(column));
        hash.list(groups, Encoder::group);
        hash.list(primitives, |hash, primitive| hash.kind(primitive.kind()));
        // With their filters: which number is which.
        hash.list(keys, |hash, key| hash.text(key));
        hash.finish()
    }
}

/// Hashes fields one behind the other: texts and lists behind their length, numbers as 64 bits, big-endian, and a word
/// before each choice, so that no two sequences of fields share their bytes.
struct Encoder(Sha256);

impl Encoder {
    fn new() -> Self {
        Self(Sha256::new().chain_update(DOMAIN))
    }

    fn number(&mut self, number: impl Into<i64>) {
        self.0.update(number.into().to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        self.0.update((length as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text);
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.length(items.len());
        for item in items {
            each(self, item);
        }
    }

    fn column(&mut self, column: &Column) {
        let Column { name, label: _, definition: _, role: _, domain, missing, special: _, retention_days: _ } = column;
        self.text(name.as_str());
        self.domain(domain);
        let missing: BTreeSet<&String> = missing.iter().collect();
        self.list(&missing.into_iter().collect::<Vec<_>>(), |hash, text| hash.text(text));
    }

    /// Its heading is the caller's own, and so are the labels of a CASE: only their number counts.
    fn group(&mut self, group: &CheckedGroup) {
        let CheckedGroup { name: _, category, codes, is_period: _ } = group;
        match category {
            BoundCategory::Code(column) => {
                self.text("code");
                self.text(column.as_str());
                self.list(codes, |hash, code| hash.text(code));
            }
            BoundCategory::Open(column) => {
                self.text("open");
                self.text(column.as_str());
            }
            // Its entries follow from the column's domain, which counts, and from the part, which the canonical form
            // names.
            BoundCategory::Table { column, first: _, codes: _ } => {
                self.text("table");
                self.text(column.as_str());
                self.list(codes, |hash, code| hash.text(code));
            }
            BoundCategory::Bucket { value, low, high, buckets } => {
                self.text("bucket");
                self.text(&value.to_string());
                self.number(*low);
                self.number(*high);
                self.number(*buckets);
            }
            BoundCategory::Case { branches, otherwise } => {
                self.text("case");
                self.list(branches, |hash, (_, code)| hash.number(*code));
                self.list(otherwise.as_slice(), |hash, code| hash.number(*code));
                self.length(codes.len());
            }
        }
    }

    fn domain(&mut self, domain: &Domain) {
        match domain {
            Domain::Category { codes, other } => {
                self.text("category");
                self.list(codes, |hash, code| hash.text(&code.code));
                self.list(other.as_slice(), |hash, code| hash.text(code));
            }
            Domain::Month { first, last } => {
                self.text("month");
                self.text(first);
                self.text(last);
            }
            Domain::Year { first, last } => {
                self.text("year");
                self.number(*first);
                self.number(*last);
            }
            Domain::Integer { min, max } => {
                self.text("integer");
                self.number(*min);
                self.number(*max);
            }
            Domain::Decimal { min, max, decimals } => {
                self.text("decimal");
                self.number(*min);
                self.number(*max);
                self.number(*decimals);
            }
            Domain::Date { first, last } => {
                self.text("date");
                self.number(first.to_epoch_days());
                self.number(last.to_epoch_days());
            }
            Domain::Open { length } => {
                self.text("open");
                self.number(*length);
            }
            Domain::LeftOut => self.text("left out"),
            Domain::Text => self.text("text"),
        }
    }

    fn kind(&mut self, kind: &PrimitiveKind) {
        match kind {
            PrimitiveKind::CountRows => self.text("count rows"),
            PrimitiveKind::CountPersons => self.text("count persons"),
            PrimitiveKind::CountValues { columns } => {
                self.text("count values");
                self.list(&columns.iter().collect::<Vec<_>>(), |hash, column| hash.text(column.as_str()));
            }
            PrimitiveKind::SumCentred { value, centre, half_width, decimals } => {
                self.text("sum centred");
                self.text(&value.to_string());
                self.number(*centre);
                self.0.update(half_width.to_be_bytes());
                self.number(*decimals);
            }
            PrimitiveKind::Quantile { value, candidates, decimals } => {
                self.text("quantile");
                self.text(&value.to_string());
                self.text(&candidates.to_string());
                self.number(*decimals);
            }
        }
    }

    fn finish(self) -> Basis {
        Basis(self.0.finalize().into())
    }
}
