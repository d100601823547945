//! SQL into the typed question.

mod categories;
mod conditions;
mod dialect;
mod finish;
mod outputs;
mod select;
pub(crate) mod tokens;
mod values;
mod view;

use crate::{AggregateQuery, MAX_NESTING, MAX_SQL_BYTES};
pub(crate) use conditions::day;
use dialect::QuestionDialect;
use firebreak_domain::{ReasonCode, Refusal};
use sqlparser::ast::{Expr, Ident, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// How deep the parser may recurse. With the bound on brackets it keeps its backtracking short.
const RECURSION_LIMIT: usize = 48;

/// Reads a question. It says nothing about columns: that takes a contract, see [`check`](crate::check).
///
/// Words without quotes are read in lower case, quoted ones as they stand.
///
/// # Errors
/// A [`Refusal`] with the reason and the place (line and column); it repeats nothing of the text. A suggestion needs a
/// contract: [`plan`](crate::plan) adds it.
pub fn parse_sql(sql: &str) -> Result<AggregateQuery, Refusal> {
    let tokens = tokens::read(sql)?;
    check_kind(&tokens)?;
    let mut parser =
        Parser::new(&QuestionDialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|error| match error {
        ParserError::RecursionLimitExceeded => too_large(),
        // PRIVACY: the parser's own words quote the text; only the place where it stopped is passed on.
        ParserError::ParserError(_) | ParserError::TokenizerError(_) => {
            refuse(ReasonCode::SqlSyntax, Some(parser.peek_token_ref().span.start), "this cannot be read as SQL")
        }
    })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => select::question(*query),
        (Some(_), true) => Err(Refusal::new(ReasonCode::NotASelect)),
        (Some(_), false) => Err(Refusal::new(ReasonCode::SeveralStatements)),
        (None, _) => Err(refuse(ReasonCode::SqlSyntax, None, "there is no statement")),
    }
}

/// Refuses what does not begin as a query does, or goes on after its end, before it reaches the parser.
fn check_kind(tokens: &[TokenWithSpan]) -> Result<(), Refusal> {
    const OTHER_STATEMENTS: &[&str] = &[
        "ALTER",
        "ANALYZE",
        "ATTACH",
        "BEGIN",
        "CALL",
        "CLOSE",
        "COMMENT",
        "COMMIT",
        "COPY",
        "CREATE",
        "DEALLOCATE",
        "DECLARE",
        "DELETE",
        "DESC",
        "DESCRIBE",
        "DETACH",
        "DO",
        "DROP",
        "EXEC",
        "EXECUTE",
        "EXPLAIN",
        "FETCH",
        "GRANT",
        "INSERT",
        "INSTALL",
        "KILL",
        "LISTEN",
        "LOAD",
        "LOCK",
        "MERGE",
        "NOTIFY",
        "OPEN",
        "OPTIMIZE",
        "PRAGMA",
        "PREPARE",
        "REFRESH",
        "REINDEX",
        "RELEASE",
        "RENAME",
        "REPLACE",
        "RESET",
        "REVOKE",
        "ROLLBACK",
        "SAVEPOINT",
        "SET",
        "SHOW",
        "START",
        "TRUNCATE",
        "UNLISTEN",
        "UNLOAD",
        "UPDATE",
        "UPSERT",
        "USE",
        "VACUUM",
    ];
    let mut meaningful = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    let first = meaningful.clone().find(|t| t.token != Token::SemiColon);
    if let Some(Token::Word(word)) = first.map(|t| &t.token)
        && word.quote_style.is_none()
        && OTHER_STATEMENTS.contains(&word.value.to_ascii_uppercase().as_str())
    {
        return Err(Refusal::new(ReasonCode::NotASelect));
    }
    // SECURITY: see there.
    refuse_costly(tokens)?;
    let mut started = false;
    let ends = meaningful.any(|t| {
        started |= t.token != Token::SemiColon;
        started && t.token == Token::SemiColon
    });
    match meaningful.find(|t| ends && t.token != Token::SemiColon) {
        Some(next) => Err(refuse(ReasonCode::SeveralStatements, Some(next.span.start), "a second statement begins")),
        None => Ok(()),
    }
}

/// Refuses, by their name, words after which the parser goes down the stack without counting (a row of INTERVALs, types
/// within types) or reads what follows twice at each level (POSITION). None is part of a question; as a name it takes
/// quotes.
fn refuse_costly(tokens: &[TokenWithSpan]) -> Result<(), Refusal> {
    for token in tokens {
        let Token::Word(word) = &token.token else { continue };
        let what = match word.keyword {
            Keyword::INTERVAL => "days are not reckoned with: write the day itself",
            Keyword::POSITION => "no function is applied to aggregates or columns",
            Keyword::ARRAY | Keyword::MAP | Keyword::STRUCT => "values have no parts",
            _ => continue,
        };
        return Err(refuse(ReasonCode::UnsupportedExpression, Some(token.span.start), what));
    }
    Ok(())
}

/// The refusal of a question that is longer or deeper than any may be.
#[must_use]
pub fn too_large() -> Refusal {
    Refusal::new(ReasonCode::QueryTooLarge).because(format!(
        "at most {MAX_SQL_BYTES} bytes, {} words and signs, and {MAX_NESTING} nested brackets",
        tokens::MAX_TOKENS
    ))
}

/// A refusal with words of ours and a place.
fn refuse(reason: ReasonCode, place: Option<Location>, what: &str) -> Refusal {
    match place.filter(|place| place.line > 0) {
        Some(place) => Refusal::new(reason).because(format!("{what} (line {}, column {})", place.line, place.column)),
        None => Refusal::new(reason).because(what),
    }
}

/// A name as SQL reads it.
fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// Where an expression begins, as far as that is told without a descent into all of it.
fn place(expr: &Expr) -> Option<Location> {
    let mut at = expr;
    loop {
        at = match at {
            Expr::BinaryOp { left, .. } => left,
            Expr::Nested(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::InList { expr: inner, .. }
            | Expr::Between { expr: inner, .. }
            | Expr::Like { expr: inner, .. }
            | Expr::Cast { expr: inner, .. }
            | Expr::UnaryOp { expr: inner, .. } => inner,
            Expr::Identifier(ident) => return Some(ident.span.start),
            Expr::CompoundIdentifier(parts) => return parts.first().map(|ident| ident.span.start),
            Expr::Value(value) => return Some(value.span.start),
            Expr::TypedString(typed) => return Some(typed.value.span.start),
            Expr::Function(function) => {
                return function.name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
            }
            _ => return None,
        }
    }
}

/// Takes brackets off.
fn bare(expr: &Expr) -> &Expr {
    let mut at = expr;
    while let Expr::Nested(inner) = at {
        at = inner;
    }
    at
}
