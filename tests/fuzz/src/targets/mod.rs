//! The table, and what targets of several kinds share.

mod audit;
mod bundle;
mod certificates;
mod files;
mod join;
mod matching;
mod messages;
mod names;
mod payload;
mod query;
mod records;
mod releases;
mod requests;
mod stored;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "agreement", run: files::agreement, samples: files::agreements, rounds: 500 },
    Target { name: "assessment", run: files::assessment, samples: files::assessments, rounds: 500 },
    Target { name: "binding", run: files::binding, samples: files::bindings, rounds: 500 },
    Target { name: "blinded", run: matching::blinded, samples: matching::blinded_samples, rounds: 500 },
    Target { name: "bundle_manifest", run: bundle::manifest, samples: bundle::manifests, rounds: 3000 },
    Target { name: "bundle_note", run: bundle::note, samples: bundle::notes, rounds: 300 },
    Target { name: "bundle_policy", run: bundle::policy, samples: bundle::policies, rounds: 20 },
    Target { name: "certificate", run: certificates::certificate, samples: certificates::certificates, rounds: 1000 },
    Target { name: "checkpoint", run: audit::checkpoint, samples: audit::checkpoints, rounds: 1000 },
    Target { name: "choice", run: requests::choice, samples: requests::choices, rounds: 2000 },
    Target { name: "contract", run: files::contract, samples: files::contracts, rounds: 300 },
    Target { name: "credential", run: certificates::credential, samples: certificates::credentials, rounds: 300 },
    Target { name: "decimal", run: query::decimal, samples: query::decimals, rounds: 5000 },
    Target { name: "disclosed_columns", run: stored::columns, samples: stored::column_samples, rounds: 2000 },
    Target { name: "disclosed_row", run: stored::disclosed, samples: stored::disclosed_samples, rounds: 2000 },
    Target { name: "evaluated", run: matching::evaluated, samples: matching::evaluated_samples, rounds: 500 },
    Target {
        name: "evaluated_without_proof",
        run: matching::unproved_answer,
        samples: matching::unproved_answers,
        rounds: 500,
    },
    Target { name: "evidence", run: stored::evidence, samples: stored::evidence_samples, rounds: 1000 },
    Target { name: "follower", run: audit::follower, samples: audit::followers, rounds: 1000 },
    Target { name: "formed_set", run: records::formed, samples: records::formed_samples, rounds: 1000 },
    Target { name: "forming_records", run: records::forming, samples: records::forming_samples, rounds: 1000 },
    Target { name: "handed_out_row", run: stored::handed_out, samples: stored::handed_out_samples, rounds: 2000 },
    Target { name: "held_list", run: stored::look_up, samples: stored::look_up_samples, rounds: 200 },
    Target { name: "join_counts", run: join::counts, samples: join::count_samples, rounds: 200 },
    Target { name: "join_evidence", run: stored::join_evidence, samples: stored::join_evidence_samples, rounds: 500 },
    Target { name: "join_key", run: join::key, samples: join::keys, rounds: 500 },
    Target { name: "join_list", run: join::list, samples: join::lists, rounds: 500 },
    Target { name: "join_pieces", run: join::pieces, samples: join::piece_samples, rounds: 3000 },
    Target { name: "join_records", run: records::joined, samples: records::joined_samples, rounds: 1000 },
    Target { name: "join_replayed", run: records::replayed, samples: records::replayed_samples, rounds: 3000 },
    Target { name: "leaf", run: audit::leaf, samples: audit::leaves, rounds: 3000 },
    Target { name: "ledger_account", run: stored::account, samples: stored::account_samples, rounds: 2000 },
    Target { name: "ledger_entry", run: stored::ledger_entry, samples: stored::ledger_samples, rounds: 2000 },
    Target { name: "log_file_name", run: audit::file_name, samples: audit::file_names, rounds: 5000 },
    Target { name: "log_folder", run: audit::folder, samples: audit::folders, rounds: 200 },
    Target { name: "messages", run: messages::run, samples: messages::samples, rounds: 5000 },
    Target { name: "names", run: names::run, samples: names::samples, rounds: 5000 },
    Target { name: "normalised_number", run: matching::number, samples: matching::numbers, rounds: 5000 },
    Target { name: "normalised_person", run: matching::person, samples: matching::persons, rounds: 3000 },
    Target { name: "note_key", run: audit::note_key, samples: audit::note_keys, rounds: 500 },
    Target { name: "offered_records", run: records::offered, samples: records::offered_samples, rounds: 1000 },
    Target { name: "opening", run: matching::opening, samples: matching::openings, rounds: 2000 },
    Target { name: "overseers", run: bundle::overseers, samples: bundle::overseers_samples, rounds: 500 },
    Target { name: "payload_entry", run: payload::entry, samples: payload::entries, rounds: 2000 },
    Target { name: "payload_row", run: payload::row, samples: payload::rows, rounds: 5000 },
    Target { name: "publication", run: stored::publication, samples: stored::publications, rounds: 2000 },
    Target { name: "published_figures", run: stored::figures, samples: stored::figure_samples, rounds: 2000 },
    Target { name: "reading", run: records::reading, samples: records::readings, rounds: 3000 },
    Target { name: "receipt", run: audit::receipt, samples: audit::receipts, rounds: 500 },
    Target { name: "received_records", run: records::received, samples: records::received_samples, rounds: 1000 },
    Target { name: "record_parts", run: records::parts, samples: records::part_samples, rounds: 2000 },
    Target { name: "registry", run: files::registry, samples: files::registries, rounds: 500 },
    Target { name: "release", run: releases::release, samples: releases::releases, rounds: 3000 },
    Target { name: "request_for_export", run: requests::export, samples: requests::exports, rounds: 500 },
    Target { name: "request_for_match", run: requests::matching, samples: requests::matches, rounds: 2000 },
    Target { name: "request_for_query", run: requests::query, samples: requests::queries, rounds: 500 },
    Target { name: "request_for_release", run: requests::release, samples: requests::releases, rounds: 500 },
    Target { name: "row_status", run: records::row_status, samples: records::row_statuses, rounds: 2000 },
    Target { name: "scalars_and_points", run: matching::encodings, samples: matching::encoding_samples, rounds: 2000 },
    Target { name: "sealed_opening", run: audit::sealed, samples: audit::sealed_samples, rounds: 300 },
    Target { name: "selection", run: query::condition, samples: query::conditions, rounds: 1000 },
    Target { name: "session_pieces", run: stored::pieces, samples: stored::piece_samples, rounds: 100 },
    Target { name: "session_records", run: stored::records, samples: stored::record_samples, rounds: 200 },
    Target { name: "set_opening", run: records::set_opening, samples: records::set_openings, rounds: 2000 },
    Target { name: "signed_leaf", run: audit::signed_leaf, samples: audit::signed_leaves, rounds: 1000 },
    Target { name: "signing_key", run: bundle::signing_key, samples: bundle::signing_keys, rounds: 500 },
    Target { name: "sql", run: query::sql, samples: query::statements, rounds: 1000 },
    Target { name: "state_key", run: stored::state_key, samples: stored::state_keys, rounds: 300 },
    Target { name: "stored_question", run: stored::question, samples: stored::questions, rounds: 1000 },
    Target { name: "tags", run: matching::tags, samples: matching::tag_samples, rounds: 2000 },
    Target { name: "told_opening", run: messages::opening, samples: messages::openings, rounds: 500 },
    Target { name: "told_refusal", run: messages::refusal, samples: messages::refusals, rounds: 1000 },
    Target { name: "withheld_places", run: records::withheld, samples: records::withheld_samples, rounds: 2000 },
];

/// The bytes as text, for a decoder of text.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Texts as samples.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
