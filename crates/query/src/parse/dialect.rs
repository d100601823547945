//! The SQL that is read: enough to recognise what people write by habit, so that each refusal can say what was wrong.

use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use std::any::{Any, TypeId};

/// Standard SQL with FILTER, table versions and settings. It passes for the generic dialect where the parser asks.
#[derive(Debug)]
pub(super) struct QuestionDialect;

impl Dialect for QuestionDialect {
    fn dialect(&self) -> TypeId {
        GenericDialect.type_id()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch.is_ascii_digit() || ch == '_'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_settings(&self) -> bool {
        true
    }

    /// // SECURITY: for a word that is not reserved the parser tries its special form first and, where that fails, a
    /// // plain name or call, at every level of nesting: exponential time. None of these is a name unless quoted.
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        kw != Keyword::NoKeyword
    }

    // What follows is recognised only to be refused by its name.

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_connect_by(&self) -> bool {
        true
    }

    fn supports_dollar_placeholder(&self) -> bool {
        true
    }
}
