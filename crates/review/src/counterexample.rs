use cedar_policy_symcc::Env;
use std::fmt;

/// A request that is allowed and must not be: what the solver found, fact by fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// The operation asked for, and each fact of the context as `name` and value, the agreement's with `agreement.`
    /// before its name. Values are the solver's inventions.
    pub facts: Vec<(String, String)>,
}

impl Counterexample {
    pub(crate) fn of(found: &Env) -> Self {
        let request = &found.request;
        let action = request.action().map(|a| a.id().unescaped().to_owned()).unwrap_or_default();
        let mut facts = vec![("action".to_owned(), action)];
        let context = request.context().and_then(|context| context.to_json_value().ok());
        for (name, value) in context.iter().filter_map(|c| c.as_object()).flatten() {
            match value.as_object() {
                Some(inner) => facts.extend(inner.iter().map(|(n, v)| (format!("{name}.{n}"), v.to_string()))),
                None => facts.push((name.clone(), value.to_string())),
            }
        }
        Self { facts }
    }

    /// The value of one fact.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.iter().try_for_each(|(name, value)| writeln!(f, "  {name}: {value}"))
    }
}
