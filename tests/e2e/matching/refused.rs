//! Matches that an agency's own staff may not make.

use anyhow::Result;
use firebreak::client::{MatchAsk, run_match};
use firebreak_tests::{Caller, refusal_of, run, shared};

#[test]
fn a_match_under_another_agreement_or_for_another_purpose_is_refused() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let own = "vaccination-round";
        for (agency, agreement, purpose, selection, reason) in [
            ("health-agency", own, "health-planning", "", "PURPOSE_NOT_COVERED"),
            ("health-agency", "health-statistics", "health-planning", "", "OPERATION_NOT_COVERED"),
            ("health-agency", "vaccination-rounds", own, "", "NO_AGREEMENT"),
            // The sender learns nothing, so it has nothing to ask for either.
            ("education-agency", own, own, "", "RECIPIENT_NOT_COVERED"),
            ("immigration-agency", own, own, "", "ENFORCEMENT_RECIPIENT"),
            ("health-agency", own, own, "national_number = 'AB123456789'", "IDENTIFIER_COLUMN"),
            ("health-agency", own, own, "fingerprint = 'x'", "FORBIDDEN_KIND"),
        ] {
            let local = shared.live.adapter(agency)?.local;
            let desk = Caller::connect_local(&shared.federation, agency, local).await?;
            let mut ask = MatchAsk::new(agreement, purpose)?;
            ask.selection = selection.to_owned();
            let refused = refusal_of(run_match(&desk, &ask, &mut |_| {}).await)?;
            assert_eq!(refused.refusal.reason, reason, "{agency} under {agreement} for {purpose}, {selection:?}");
        }
        Ok(())
    })
}
