//! End-to-end tests over the built programs: real processes, sockets, TLS and files. Run with `cargo xtask test`.

mod accounts;
mod answers;
mod bundles;
mod canary;
mod catalogue;
mod closed;
mod cookbook;
mod crash;
mod denial;
mod evidence;
mod flight;
mod half_width;
mod hardship;
mod health;
mod identity;
mod left_out;
mod loss;
mod matching;
mod neighbours;
mod open_codes;
mod publications;
mod python;
mod refusals;
mod releases;
mod shutdown;
mod unions;
