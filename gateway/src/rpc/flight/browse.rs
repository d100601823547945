//! The catalogue as SQL tools browse it: what `CatalogueService` shows the caller, and nothing else.
//!
//! A catalogue is an agency, a schema the part of a dataset's id before its last dot, a table the part behind it:
//! `schema.table` is the dataset as a question names it. Lists need no agreement: they show what the caller's
//! agreements reach.

use super::capabilities::{self, BIGINT, DATE, DOUBLE, VARCHAR};
use super::{Flight, malformed, unserved};
use crate::app::Described;
use crate::rpc::catalogue::{askable, description};
use crate::rpc::refused;
use arrow::array::{RecordBatch, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::error::{FlightError, Result as FlightResult};
use arrow_flight::sql::{Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use firebreak_domain::{Domain, Identity};
use firebreak_wire::catalogue::v1 as wire;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tonic::Status;

/// The longest pattern for names; a longer one fits none.
const PATTERN: usize = 256;
/// Of types of tables: a view, because no row of it is ever shown.
const TABLE_TYPE: &str = "VIEW";

impl Flight {
    /// The list that a command asks for.
    pub(super) fn browse(&self, caller: &Identity, command: Command) -> Result<RecordBatch, Status> {
        let listed = match command {
            Command::CommandGetCatalogs(asked) => catalogs(asked, &self.described(caller)?),
            Command::CommandGetDbSchemas(asked) => {
                check([&asked.db_schema_filter_pattern])?;
                schemas(asked, &self.described(caller)?)
            }
            Command::CommandGetTables(asked) => {
                check([&asked.db_schema_filter_pattern, &asked.table_name_filter_pattern])?;
                tables(asked, &self.described(caller)?)
            }
            Command::CommandGetTableTypes(asked) => table_types(asked),
            Command::CommandGetSqlInfo(asked) => capabilities::sql_info(asked),
            Command::CommandGetXdbcTypeInfo(asked) => capabilities::types(asked),
            Command::CommandGetPrimaryKeys(_) => empty(&PRIMARY_KEYS),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => empty(&FOREIGN_KEYS),
            other => return Err(unserved::command(&other)),
        };
        listed.map_err(|_| malformed("the list cannot be made for this filter"))
    }

    fn described(&self, caller: &Identity) -> Result<Vec<Described>, Status> {
        self.app.describe_datasets(caller).map_err(refused)
    }
}

fn check<const N: usize>(patterns: [&Option<String>; N]) -> Result<(), Status> {
    let short = patterns.iter().all(|pattern| pattern.as_ref().is_none_or(|text| text.len() <= PATTERN));
    if short { Ok(()) } else { Err(malformed("a pattern for names has at most 256 bytes")) }
}

/// Agency, schema and table of a dataset.
fn place(described: &Described) -> (&str, &str, &str) {
    let contract = &described.visible.contract;
    let (schema, table) = contract.id.as_str().rsplit_once('.').unwrap_or(("", contract.id.as_str()));
    (contract.agency.as_str(), schema, table)
}

fn catalogs(asked: CommandGetCatalogs, datasets: &[Described]) -> FlightResult<RecordBatch> {
    let mut builder = asked.into_builder();
    let agencies: BTreeSet<_> = datasets.iter().map(|described| place(described).0).collect();
    agencies.into_iter().for_each(|agency| builder.append(agency));
    builder.build()
}

fn schemas(asked: CommandGetDbSchemas, datasets: &[Described]) -> FlightResult<RecordBatch> {
    let mut builder = asked.into_builder();
    let places: BTreeSet<_> = datasets.iter().map(place).map(|(agency, schema, _)| (agency, schema)).collect();
    places.into_iter().for_each(|(agency, schema)| builder.append(agency, schema));
    builder.build()
}

fn tables(asked: CommandGetTables, datasets: &[Described]) -> FlightResult<RecordBatch> {
    let mut builder = asked.into_builder();
    for described in datasets {
        let (agency, schema, table) = place(described);
        builder.append(agency, schema, table, TABLE_TYPE, &columns(described))?;
    }
    builder.build()
}

fn table_types(asked: CommandGetTableTypes) -> FlightResult<RecordBatch> {
    let mut builder = asked.into_builder();
    builder.append(TABLE_TYPE);
    builder.build()
}

/// The columns that the caller may ask, with what the catalogue says of them and of the dataset as metadata.
fn columns(described: &Described) -> Schema {
    let told = description(described);
    let fields: Vec<_> =
        askable(described).zip(&told.columns).map(|(column, told)| field(&column.domain, told)).collect();
    let cuts = told.cuts.join(", ");
    let access = told.summary.iter().flat_map(|summary| &summary.access);
    let access: Vec<_> = access.map(|a| format!("{} for {}", a.agreement, a.purposes.join(", "))).collect();
    let title = told.summary.as_ref().map(|summary| summary.title.clone()).unwrap_or_default();
    let metadata = [
        ("title", title),
        ("description", told.description),
        ("controller", told.controller),
        ("population", told.population),
        ("privacy_unit", told.privacy_unit),
        ("rows_per_person", told.rows_per_person.to_string()),
        ("cuts", cuts),
        ("agreements", access.join("; ")),
        ("example", told.example),
    ];
    Schema::new(fields).with_metadata(texts(metadata))
}

fn field(domain: &Domain, told: &wire::Column) -> Field {
    let (kind, name) = match domain {
        Domain::Category { .. } | Domain::Month { .. } | Domain::Open { .. } | Domain::LeftOut | Domain::Text => {
            (DataType::Utf8, VARCHAR)
        }
        Domain::Year { .. } | Domain::Integer { .. } => (DataType::Int64, BIGINT),
        Domain::Decimal { .. } => (DataType::Float64, DOUBLE),
        Domain::Date { .. } => (DataType::Date32, DATE),
    };
    let metadata = [
        ("ARROW:FLIGHT:SQL:TYPE_NAME", name.to_owned()),
        ("ARROW:FLIGHT:SQL:REMARKS", format!("{}: {}", told.label, told.definition)),
        ("ARROW:FLIGHT:SQL:IS_READ_ONLY", "1".to_owned()),
        ("ARROW:FLIGHT:SQL:IS_SEARCHABLE", "1".to_owned()),
        ("role", told.role.clone()),
        ("domain", told.domain.clone()),
    ];
    Field::new(told.name.clone(), kind, true).with_metadata(texts(metadata))
}

fn texts<const N: usize>(told: [(&str, String); N]) -> HashMap<String, String> {
    let told = told.into_iter().filter(|(_, value)| !value.is_empty());
    told.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A column of a list by its name, type, and whether it may be null.
type ListColumn = (&'static str, DataType, bool);

/// Keys are nobody's to see: the lists of them are empty. Columns as FlightSql.proto has them.
const PRIMARY_KEYS: [ListColumn; 6] = [
    ("catalog_name", DataType::Utf8, true),
    ("db_schema_name", DataType::Utf8, true),
    ("table_name", DataType::Utf8, false),
    ("column_name", DataType::Utf8, false),
    ("key_name", DataType::Utf8, true),
    ("key_sequence", DataType::Int32, false),
];
const FOREIGN_KEYS: [ListColumn; 13] = [
    ("pk_catalog_name", DataType::Utf8, true),
    ("pk_db_schema_name", DataType::Utf8, true),
    ("pk_table_name", DataType::Utf8, false),
    ("pk_column_name", DataType::Utf8, false),
    ("fk_catalog_name", DataType::Utf8, true),
    ("fk_db_schema_name", DataType::Utf8, true),
    ("fk_table_name", DataType::Utf8, false),
    ("fk_column_name", DataType::Utf8, false),
    ("key_sequence", DataType::Int32, false),
    ("fk_key_name", DataType::Utf8, true),
    ("pk_key_name", DataType::Utf8, true),
    ("update_rule", DataType::UInt8, false),
    ("delete_rule", DataType::UInt8, false),
];

fn empty(columns: &[ListColumn]) -> FlightResult<RecordBatch> {
    let fields: Vec<_> = columns.iter().map(|(name, kind, null)| Field::new(*name, kind.clone(), *null)).collect();
    let arrays = columns.iter().map(|(_, kind, _)| new_empty_array(kind)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(FlightError::Arrow)
}
