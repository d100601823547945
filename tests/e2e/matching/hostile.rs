//! What either side of a match may do wrong, each by the one name that both sides give it: in a leaf of each, as the end
//! of the session where it ends one, and with nothing lost where it does not.
//!
//! Both sides run in this process; what would pass the tunnel between them is changed on its way.

mod by_receiver;
mod by_sender;
pub mod pair;
mod passing;
