//! Rows that the sender of a match sends beside its tags, sealed and opened.

use crate::samples::contracts;
use firebreak_domain::{ColumnName, Contract, Domain, OpenCode, PayloadLayout, PayloadRow};
use firebreak_psi::{
    Evaluator, FORMAT, KeyContext, MatchParams, Mode, Normaliser, PayloadKey, SEAL_BYTES, SecretSeed,
    derive_session_key,
};
use std::sync::LazyLock;

/// Signs of an open code in the sample with open codes.
const OPEN: u8 = 4;

fn contract(id: &str) -> Contract {
    contracts().iter().find(|contract| contract.id.as_str() == id).unwrap().clone()
}

fn layout(contract: &Contract, columns: &[&str]) -> PayloadLayout {
    let columns: Vec<_> = columns.iter().map(|name| ColumnName::new(*name).unwrap()).collect();
    PayloadLayout::of(contract, &columns).unwrap()
}

/// Values of every kind: codes, days, years, numbers with decimals and below zero, open codes.
static LAYOUTS: LazyLock<[PayloadLayout; 3]> = LazyLock::new(|| {
    let mut odd = contract("health.visits");
    for column in &mut odd.columns {
        match column.name.as_str() {
            "region" => column.domain = Domain::Open { length: OPEN },
            "cost" => column.domain = Domain::Decimal { min: -10, max: 10, decimals: 2 },
            _ => {}
        }
    }
    [
        layout(&contract("health.visits"), &["region", "visit_date", "visit_year", "cost"]),
        layout(&contract("education.enrolments"), &["level", "weekly_hours", "school_year"]),
        layout(&odd, &["region", "cost"]),
    ]
});

pub(super) fn layout_of(choice: u8) -> &'static PayloadLayout {
    &LAYOUTS[usize::from(choice) % LAYOUTS.len()]
}

/// A row as it was sealed; the first byte chooses its layout. What is read is written as it was, and is shown.
pub fn row(bytes: &[u8]) -> bool {
    let Some((choice, row)) = bytes.split_first() else { return false };
    let layout = layout_of(*choice);
    let Some(read) = layout.decode(row) else { return false };
    assert_eq!(row.len(), layout.row_bytes());
    let PayloadRow::Values(values) = read else {
        assert_eq!(row, layout.empty(), "a row that holds nothing has two texts");
        return true;
    };
    assert_eq!(layout.encode(values.iter().copied()), row, "a row has two texts");
    let texts = layout.texts(&values);
    assert!(texts.len() == layout.columns().count() && values.len() == texts.len());
    for (value, text) in values.iter().zip(&texts) {
        assert_eq!(value.is_none(), text.is_empty(), "a value is shown as a missing one");
    }
    if std::ptr::eq(layout, &LAYOUTS[2]) {
        assert!(values[0].is_none_or(|_| OpenCode::parse(&texts[0], OPEN).is_some()), "a code outside of its domain");
    }
    true
}

pub fn rows() -> Vec<Vec<u8>> {
    let code = |code| Some(OpenCode::parse(code, OPEN).unwrap().number());
    let rows: [(u8, Vec<Option<i64>>); 7] = [
        (0, vec![Some(0), Some(19_782), Some(1), Some(12_345)]),
        (0, vec![Some(16), None, None, Some(0)]),
        (1, vec![Some(0), Some(10), Some(1)]),
        (1, vec![None, None, None]),
        (2, vec![code("J45"), Some(-1000)]),
        (2, vec![code("zzzz"), Some(999)]),
        (2, vec![code("-"), None]),
    ];
    let full = rows.into_iter().map(|(choice, values)| [vec![choice], layout_of(choice).encode(values)].concat());
    let empty = (0..3).map(|choice| [vec![choice], layout_of(choice).empty()].concat());
    full.chain(empty).collect()
}

/// What the sender has of each of its records: the tag, the row's key, the row.
type Entry = (Vec<u8>, PayloadKey, Vec<u8>);

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let context = KeyContext {
        agreement: "vaccination-letters",
        receiver: "health",
        field: "number",
        normaliser: Normaliser::V1,
        session: &[3; 16],
        mode: Mode::Voprf,
    };
    let key = derive_session_key(&SecretSeed::from_bytes([1; 32]), &context).unwrap();
    let layout = layout_of(0);
    let params = MatchParams::new(FORMAT, 16, 16, 16).unwrap().with_rows(layout.row_bytes() as u32).unwrap();
    let evaluator = Evaluator::new(key, params);
    let inputs: Vec<_> = (0..3).map(|n| Normaliser::V1.normalise(&format!("id-{n:08}")).unwrap()).collect();
    let (tags, keys) = evaluator.tags_and_keys(&inputs).unwrap();
    let rows = (0..3).map(|n| layout.encode([Some(n), Some(19_782 + n), Some(1), Some(100 * n)]));
    tags.iter().map(<[u8]>::to_vec).zip(keys).zip(rows).map(|((tag, key), row)| (tag, key, row)).collect()
});

/// An entry of the sender's list, as whoever has the keys of some records reads it: a row opens as it was sealed,
/// behind its own tag and under its own key.
pub fn entry(bytes: &[u8]) -> bool {
    let Some((tag, sealed)) = bytes.split_at_checked(ENTRIES[0].0.len()) else { return false };
    let mut taken = false;
    for (own, key, row) in &*ENTRIES {
        let Some(opened) = key.open(tag, sealed) else { continue };
        assert!(own == tag && *opened == *row, "a row opens that nobody sealed for that tag");
        assert_eq!(sealed, key.seal(tag, row).unwrap(), "a row is sealed in two ways");
        assert_eq!(sealed.len(), row.len() + SEAL_BYTES);
        assert!(matches!(layout_of(0).decode(&opened), Some(PayloadRow::Values(_))));
        taken = true;
    }
    taken
}

pub fn entries() -> Vec<Vec<u8>> {
    ENTRIES.iter().map(|(tag, key, row)| [tag.clone(), key.seal(tag, row).unwrap()].concat()).collect()
}
