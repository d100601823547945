//! Asking a gateway, or an adapter's local listener: what the commands do, for programs.
//!
//! ```no_run
//! # async fn ask() -> Result<(), firebreak::client::ClientError> {
//! use firebreak::client::{Ask, Profile, run_query};
//! let connection = Profile::load("firebreak.toml".as_ref())?.connect().await?;
//! let ask = Ask::new("health-stats", "planning", "SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region")?;
//! let answer = run_query(&connection, &ask, &mut |_| {}).await?;
//! println!("{} rows", answer.rows.len());
//! # Ok(())
//! # }
//! ```

mod ask;
mod catalogue;
mod change;
mod connection;
mod error;
mod export;
mod hand_out;
mod joining;
mod matching;
mod openings;
mod profile;
mod publication;
mod query;
mod release;
mod sample;

pub use ask::Ask;
pub use catalogue::{describe_dataset, get_budget, get_budget_and_caps, get_loss, list_datasets};
pub use change::changes;
pub use connection::Connection;
pub use error::{ClientError, Refused};
pub use export::{Export, ExportAnswer, request_export};
pub use firebreak_format::QueryAnswer;
pub use hand_out::{HandOut, HandOutPart, hand_out, list_handed_out};
pub use joining::replay_join;
pub use matching::{MatchAsk, MatchedPersons, list_choices, list_matched, list_matched_by, record_choice, run_match};
pub use openings::list_openings;
pub use profile::Profile;
pub use publication::{Published, get_publication, list_publications, take_step};
pub use query::{Step, run_query, validate_query};
pub use release::{cite_release, get_release};
pub use sample::{Sample, open_sample};
