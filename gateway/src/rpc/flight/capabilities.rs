//! What a driver asks about the server itself: its name, what it has and has not, its types.

use arrow::array::RecordBatch;
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetSqlInfo, CommandGetXdbcTypeInfo, Nullable, Searchable, SqlInfo, SqlSupportedTransaction, XdbcDataType,
};

/// The types of columns, by name.
pub(super) const VARCHAR: &str = "VARCHAR";
pub(super) const DATE: &str = "DATE";
pub(super) const BIGINT: &str = "BIGINT";
pub(super) const DOUBLE: &str = "DOUBLE";

/// The values asked for, or all.
pub(super) fn sql_info(asked: CommandGetSqlInfo) -> Result<RecordBatch> {
    let mut infos = SqlInfoDataBuilder::new();
    infos.append(SqlInfo::FlightSqlServerName, "Firebreak");
    infos.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    infos.append(SqlInfo::FlightSqlServerReadOnly, true);
    infos.append(SqlInfo::FlightSqlServerSql, true);
    for missing in [
        SqlInfo::FlightSqlServerSubstrait,
        SqlInfo::FlightSqlServerCancel,
        SqlInfo::FlightSqlServerBulkIngestion,
        SqlInfo::SqlDdlCatalog,
        SqlInfo::SqlDdlSchema,
        SqlInfo::SqlDdlTable,
        SqlInfo::SqlSavepointsSupported,
        SqlInfo::SqlBatchUpdatesSupported,
        SqlInfo::SqlNamedParametersSupported,
        SqlInfo::SqlStoredProceduresSupported,
        SqlInfo::SqlSelectForUpdateSupported,
        SqlInfo::SqlCorrelatedSubqueriesSupported,
    ] {
        infos.append(missing, false);
    }
    infos.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    infos.append(SqlInfo::SqlCatalogTerm, "agency");
    infos.append(SqlInfo::SqlSchemaTerm, "domain");
    // No statement names an agency: `health.visits` is the whole name of a dataset.
    infos.append(SqlInfo::SqlCatalogsSupportedActions, 0);
    let infos = infos.build()?;
    asked.into_builder(&infos).build()
}

/// The types of the columns of datasets and of answers.
pub(super) fn types(asked: CommandGetXdbcTypeInfo) -> Result<RecordBatch> {
    let number = |name: &str, data_type, size| XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type,
        sql_data_type: data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        unsigned_attribute: Some(false),
        ..XdbcTypeInfo::default()
    };
    let text = |name: &str, data_type| XdbcTypeInfo {
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        case_sensitive: true,
        unsigned_attribute: None,
        column_size: None,
        ..number(name, data_type, 0)
    };
    let mut types = XdbcTypeInfoDataBuilder::new();
    types.append(text(VARCHAR, XdbcDataType::XdbcVarchar));
    types.append(text(DATE, XdbcDataType::XdbcDate));
    types.append(number(BIGINT, XdbcDataType::XdbcBigint, 19));
    types.append(number(DOUBLE, XdbcDataType::XdbcDouble, 15));
    let types = types.build()?;
    asked.into_builder(&types).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_reads_what_it_asked_for_and_nothing_of_what_does_not_exist() {
        let asked = |info: &[u32]| sql_info(CommandGetSqlInfo { info: info.to_vec() }).unwrap().num_rows();
        assert_eq!(asked(&[SqlInfo::FlightSqlServerTransaction as u32]), 1);
        assert_eq!(asked(&[u32::MAX]), 0);
        assert!(asked(&[]) > 20);
        let of_type = |data_type| types(CommandGetXdbcTypeInfo { data_type }).unwrap().num_rows();
        assert_eq!((of_type(None), of_type(Some(-5)), of_type(Some(i32::MAX))), (4, 1, 0));
    }
}
