//! Everything between a socket and a service: who is at the other end, on what connection, for how long.
//!
//! - Every connection is mutual TLS 1.3; a peer is known by the one SPIFFE URI in its certificate
//!   ([`Identity`](firebreak_domain::Identity)). [`Server`] accepts, [`connect`] dials.
//! - An adapter dials out and then *serves* on that connection ([`dial_reverse`]); the gateway keeps such
//!   connections by organisation ([`ReverseConnections`]).
//! - Inside a tunnel ([`ByteStream`], [`relay`]) two adapters speak TLS to each other's pinned keys
//!   ([`serve_pinned`], [`connect_pinned`]); there the certificate authority counts for nothing.
//! - A program's certificate is renewed while it runs ([`Renewal`]): what begins afterwards shows the new one, what is
//!   open goes on.
//! - A request can carry its maker's signature ([`sign`], [`verify_signed_by`]).
//! - What a program says about itself passes an allow-list ([`init`]), and its figures leave on loopback
//!   ([`Metrics`]).
//!
//! This crate decides who somebody *is*. Whether they may do anything is decided elsewhere.

mod ca;
mod connect;
mod credential;
mod listen;
mod loopback;
mod metrics;
mod peer;
mod pinned;
mod renewal;
mod reverse;
mod shutdown;
mod sign;
mod telemetry;
mod tls;
mod tunnel;
mod verifier;
mod x509;

pub use ca::{Ca, CertificateRequest, Issued, Validity};
pub use connect::{ConnectError, connect};
pub use credential::{Credential, CredentialError, TrustAnchor};
pub use listen::{Accepted, Incoming, Limits, ServeError, Server};
pub use loopback::{LoopbackError, Page, Validators, serve_on_loopback};
pub use metrics::{Metrics, MetricsError};
pub use peer::{Peer, PeerStream, SESSION_LABEL, peer};
pub use pinned::{connect_pinned, serve_pinned};
pub use renewal::{CertificateUse, Renewal, RenewalError};
pub use reverse::{ReverseConnection, ReverseConnections, ReverseDialer, ReverseState, dial_reverse};
pub use shutdown::Shutdown;
pub use sign::{SignatureError, sign, verify, verify_signed_by};
pub use telemetry::{ALLOWED_FIELDS, TelemetryError, init};
pub use tls::{ServerTls, Side};
pub use tunnel::{ByteStream, Direction, MAX_CHUNK, RelayEnd, receive_chunks, relay};
pub use x509::{CertificateError, identity_of_cert, pin_of_cert, serial_of_cert};

/// The ALPN name of a connection on which the side that dialled serves, and the side that accepted asks.
/// The number is its format.
pub const REVERSE_ALPN: &[u8] = b"firebreak-reverse/1";
