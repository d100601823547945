use crate::{AssessmentId, Timestamp, UnknownFormat, check_format};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// An assessment of the impact on data protection and fundamental rights, without which no agreement is in force.
///
/// Every text must be there and not blank; [`Assessment::missing`] names the ones that are not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// Format number of the file.
    pub format: u32,
    /// Its name, which agreements refer to.
    pub id: AssessmentId,
    /// Purpose and context of the processing.
    #[serde(default)]
    pub purpose_and_context: String,
    /// Why less would not do.
    #[serde(default)]
    pub necessity_and_proportionality: String,
    /// Categories of persons concerned.
    #[serde(default)]
    pub categories_of_persons: String,
    /// Kinds of data.
    #[serde(default)]
    pub kinds_of_data: String,
    /// Foreseeable risks.
    #[serde(default)]
    pub foreseeable_risks: String,
    /// Safeguards.
    #[serde(default)]
    pub safeguards: String,
    /// Human oversight.
    #[serde(default)]
    pub human_oversight: String,
    /// Remedies open to a person.
    #[serde(default)]
    pub remedies: String,
    /// Communities consulted.
    #[serde(default)]
    pub communities_consulted: String,
    /// Measures, each with its owner and date.
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// Who approved it; blank means nobody did.
    #[serde(default)]
    pub approved_by: String,
    /// The day of approval.
    pub approved_on: NaiveDate,
    /// The day after which it no longer counts.
    pub review_by: NaiveDate,
}

/// A measure that the assessment demands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// What is to be done.
    pub what: String,
    /// Who answers for it.
    pub owner: String,
    /// By when.
    pub due: NaiveDate,
}

impl Assessment {
    /// The fields that are blank, by their names in the file.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let texts = [
            ("purpose_and_context", &self.purpose_and_context),
            ("necessity_and_proportionality", &self.necessity_and_proportionality),
            ("categories_of_persons", &self.categories_of_persons),
            ("kinds_of_data", &self.kinds_of_data),
            ("foreseeable_risks", &self.foreseeable_risks),
            ("safeguards", &self.safeguards),
            ("human_oversight", &self.human_oversight),
            ("remedies", &self.remedies),
            ("communities_consulted", &self.communities_consulted),
            ("approved_by", &self.approved_by),
        ];
        let mut missing: Vec<_> =
            texts.iter().filter(|(_, text)| text.trim().is_empty()).map(|(name, _)| *name).collect();
        let owned = |m: &Measure| !m.what.trim().is_empty() && !m.owner.trim().is_empty();
        if self.measures.is_empty() || !self.measures.iter().all(owned) {
            missing.push("measures");
        }
        missing
    }

    /// Whether it is complete, approved and not past its review date.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        let today = now.date();
        self.missing().is_empty() && self.approved_on <= today && today <= self.review_by
    }

    /// Whether this program can read the file's format.
    ///
    /// # Errors
    /// [`UnknownFormat`].
    pub fn check_format(&self) -> Result<(), UnknownFormat> {
        check_format("an assessment", self.format)
    }
}
