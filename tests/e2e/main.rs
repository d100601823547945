//! End-to-end tests over the built programs: real processes, sockets, TLS and files. Run with `cargo xtask test`.

mod answers;
