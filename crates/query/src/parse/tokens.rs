//! The words of a statement, within bounds.

use super::dialect::QuestionDialect;
use super::{refuse, too_large};
use crate::{MAX_NESTING, MAX_SQL_BYTES};
use firebreak_domain::{ReasonCode, Refusal};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// The most words and signs. It bounds the length of a chain such as `1 + 1 + ..`, which the parser nests.
pub(crate) const MAX_TOKENS: usize = 4096;

/// Splits the text.
///
/// # Errors
/// `QUERY_TOO_LARGE` beyond the bounds on length and nesting; `SQL_SYNTAX` where no word can be read.
pub(crate) fn read(sql: &str) -> Result<Vec<TokenWithSpan>, Refusal> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(too_large());
    }
    let tokens = Tokenizer::new(&QuestionDialect, sql).tokenize_with_location().map_err(|error| {
        // PRIVACY: the tokenizer's own words can quote the text; only the place is passed on.
        refuse(
            ReasonCode::SqlSyntax,
            Some(error.location),
            "a text, name or comment does not end, or a sign is unknown",
        )
    })?;
    let mut depth = 0_usize;
    let mut count = 0_usize;
    for token in &tokens {
        count += usize::from(!matches!(token.token, Token::Whitespace(_)));
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING || count > MAX_TOKENS {
            return Err(too_large());
        }
    }
    Ok(tokens)
}

/// The words and signs that can be read, up to the first that cannot; none of a text that is too long.
pub(crate) fn readable(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    if sql.len() <= MAX_SQL_BYTES {
        // Where it stops early, what it has read so far is what is wanted.
        let _ = Tokenizer::new(&QuestionDialect, sql).tokenize_with_location_into_buf(&mut tokens);
    }
    let meaningful = tokens.into_iter().map(|t| t.token).filter(|t| !matches!(t, Token::Whitespace(_)));
    meaningful.take(MAX_TOKENS).collect()
}
