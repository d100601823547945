//! The policies that no bundle can lift, compiled into every program.
//!
//! They are `forbid`s that read the context alone. A `forbid` that reads an entity errs where the entity is missing, is
//! skipped, and the answer is Allow: so every policy here, and every one of a bundle, passes level-0 validation against
//! the [schema](schema_text), which lets none reach an entity's attributes. That they suffice is proved for every
//! policy that anyone may ever add, by `firebreak-review`.

use cedar_policy::{Effect, EntityTypeName, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use firebreak_domain::ReasonCode;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The sources of the constitution: a file name and its text.
pub const SOURCES: [(&str, &str); 4] = [
    ("recipients.cedar", include_str!("../constitution/recipients.cedar")),
    ("data.cedar", include_str!("../constitution/data.cedar")),
    ("agreement.cedar", include_str!("../constitution/agreement.cedar")),
    ("standing.cedar", include_str!("../constitution/standing.cedar")),
];

/// What the ids of constitutional policies begin with, so that no bundle's policy shares one.
pub const PREFIX: &str = "constitution/";

const SCHEMA: &str = include_str!("../constitution/schema.cedarschema");

/// The text of the schema, for reviewers.
#[must_use]
pub const fn schema_text() -> &'static str {
    SCHEMA
}

/// A constitution that does not compile: the program was built wrong, and nothing can be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the constitution compiled into this program is not valid: {0}")]
pub struct ConstitutionError(String);

/// What one constitutional policy stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Article {
    /// Its id, [`PREFIX`] included.
    pub id: String,
    /// The reason that it gives.
    pub reason: ReasonCode,
    /// The rule in words.
    pub rule: String,
}

/// The constitution, parsed and validated.
#[derive(Debug, Clone)]
pub struct Constitution {
    schema: Schema,
    policies: PolicySet,
    articles: BTreeMap<String, Article>,
    kinds: Kinds,
}

/// The names of the schema's entity types.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    pub(crate) organisation: EntityTypeName,
    pub(crate) agreement: EntityTypeName,
    pub(crate) action: EntityTypeName,
}

impl Constitution {
    /// The one that is compiled in.
    ///
    /// # Errors
    /// [`ConstitutionError`], which a test of this crate shows never to occur.
    pub fn compiled() -> Result<&'static Self, Arc<ConstitutionError>> {
        static COMPILED: LazyLock<Result<Constitution, Arc<ConstitutionError>>> =
            LazyLock::new(|| Constitution::parse(SOURCES.map(|(_, text)| text)).map_err(Arc::new));
        COMPILED.as_ref().map_err(Arc::clone)
    }

    /// Parses and validates policies under the compiled-in schema. Reviewers use it to weaken the constitution and see
    /// the proof fail; programs decide by [`Constitution::compiled`] alone.
    ///
    /// # Errors
    /// [`ConstitutionError`] with the first thing wrong.
    pub fn parse<'a>(sources: impl IntoIterator<Item = &'a str>) -> Result<Self, ConstitutionError> {
        let wrong = |problem: String| ConstitutionError(problem);
        let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA).map_err(|e| wrong(e.to_string()))?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(wrong(warning.to_string()));
        }
        let (mut policies, mut articles) = (PolicySet::new(), BTreeMap::new());
        for source in sources {
            for policy in parse_policies(source).map_err(wrong)? {
                let article = article_of(&policy).map_err(wrong)?;
                let renamed = policy.new_id(PolicyId::new(&article.id));
                policies.add(renamed).map_err(|e| wrong(e.to_string()))?;
                articles.insert(article.id.clone(), article);
            }
        }
        validate(&schema, &policies).map_err(wrong)?;
        let kind = |name: &str| name.parse().map_err(|e: cedar_policy::ParseErrors| wrong(e.to_string()));
        let kinds =
            Kinds { organisation: kind("Organisation")?, agreement: kind("Agreement")?, action: kind("Action")? };
        Ok(Self { schema, policies, articles, kinds })
    }

    pub(crate) const fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The schema under which every request is built.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The policies, their ids prefixed by [`PREFIX`].
    #[must_use]
    pub const fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// What each policy stands for, by id.
    #[must_use]
    pub const fn articles(&self) -> &BTreeMap<String, Article> {
        &self.articles
    }
}

fn article_of(policy: &Policy) -> Result<Article, String> {
    let note = |key| policy.annotation(key).filter(|text| !text.trim().is_empty());
    let id = note("id").ok_or("a policy has no @id")?;
    let named = |what| format!("policy {id} has no {what}");
    let rule = note("rule").ok_or_else(|| named("@rule"))?;
    let reason = note("reason").and_then(|code| ReasonCode::ALL.iter().find(|r| r.as_str() == code));
    if policy.effect() != Effect::Forbid {
        return Err(format!("policy {id} is not a forbid"));
    }
    Ok(Article {
        id: format!("{PREFIX}{id}"),
        reason: *reason.ok_or_else(|| named("@reason that is a refusal's"))?,
        rule: rule.to_owned(),
    })
}

/// The static policies of a text, in its order; templates are refused, because the prover cannot read them.
pub(crate) fn parse_policies(source: &str) -> Result<Vec<Policy>, String> {
    let set: PolicySet = source.parse().map_err(|e: cedar_policy::ParseErrors| e.to_string())?;
    if set.templates().next().is_some() {
        return Err("a template stands among the policies: write each policy out".to_owned());
    }
    Ok(set.policies().cloned().collect())
}

/// Strict validation, and level 0: no policy reads an entity.
pub(crate) fn validate(schema: &Schema, policies: &PolicySet) -> Result<(), String> {
    let result = Validator::new(schema.clone()).validate_with_level(policies, ValidationMode::Strict, 0);
    match result.validation_errors().next() {
        None => Ok(()),
        Some(error) => Err(error.to_string()),
    }
}
