//! R26, R28: evidence that outsiders verify, and ledgers that cannot be set back.

mod ledgers;
mod log_at_rest;
mod outstanding;
