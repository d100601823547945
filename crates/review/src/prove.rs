use crate::counterexample::Counterexample;
use crate::solver::{LIMIT_MS, Solver};
use cedar_policy::{Policy, PolicyId, PolicySet, RequestEnv};
use cedar_policy_symcc::err::Error as SymbolicError;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet};
use firebreak_policy::constitution::{Constitution, ConstitutionError};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const NEVER: &str = include_str!("../never.cedar");

/// What must never be allowed, as Cedar policies for reviewers to read.
#[must_use]
pub const fn never_text() -> &'static str {
    NEVER
}

/// One thing that must never be allowed.
#[derive(Debug, Clone)]
pub struct Property {
    /// Its id in [`never_text`].
    pub id: String,
    /// In words.
    pub title: String,
    policies: PolicySet,
}

/// What was proved, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The policies of the constitution shown never to err, by id.
    pub policies: Vec<String>,
    /// What is never allowed, in words.
    pub properties: Vec<String>,
    /// The kinds of request over which each holds.
    pub request_kinds: Vec<String>,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "whatever policies are added ({}), it is never allowed that", self.request_kinds.join(", "))?;
        self.properties.iter().try_for_each(|title| writeln!(f, "  - {title}"))?;
        write!(f, "and none of the {} policies of the constitution can err", self.policies.len())
    }
}

/// No proof. Each kind is a failure, the solver's silence too.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProofError {
    /// Something is allowed that must never be.
    #[error("it is allowed that {title}, for instance:\n{counterexample}")]
    Allowed {
        /// The property's id.
        property: String,
        /// The property in words.
        title: String,
        /// A request that is allowed.
        counterexample: Counterexample,
    },
    /// A policy can err; it would be skipped, and what it forbids allowed.
    #[error("{policy} can err and is then skipped, for instance on:\n{counterexample}")]
    Errs {
        /// The policy's id.
        policy: String,
        /// A request on which it errs.
        counterexample: Counterexample,
    },
    /// The constitution allows no request of that kind at all: a proof about it says nothing.
    #[error("nothing at all is allowed for {0}: the proof would be empty")]
    Vacuous(String),
    /// The solver gave no answer.
    #[error("the solver answers `unknown` or not in time: {0}")]
    Unknown(String),
    /// The solver could not be started or failed.
    #[error("the solver failed: {0}")]
    Solver(String),
    /// The policies could not be brought into the solver's form.
    #[error("the policies cannot be checked: {0}")]
    Unreadable(String),
    /// The constitution compiled in is not valid.
    #[error(transparent)]
    Constitution(#[from] Arc<ConstitutionError>),
}

/// The properties of [`never_text`].
///
/// # Errors
/// [`ProofError::Unreadable`] if the text does not parse or a property has no id or title.
pub fn properties() -> Result<Vec<Property>, ProofError> {
    let set: PolicySet = NEVER.parse().map_err(|e: cedar_policy::ParseErrors| ProofError::Unreadable(e.to_string()))?;
    set.policies()
        .map(|policy| {
            let note = |key| policy.annotation(key).map(str::to_owned);
            let (Some(id), Some(title)) = (note("id"), note("title")) else {
                return Err(ProofError::Unreadable("a property has no @id or no @title".to_owned()));
            };
            let policies = PolicySet::from_policies([policy.new_id(PolicyId::new(&id))])
                .map_err(|e| ProofError::Unreadable(e.to_string()))?;
            Ok(Property { id, title, policies })
        })
        .collect()
}

/// Proves the compiled-in constitution.
///
/// # Errors
/// [`ProofError`].
pub async fn prove(solver: &Solver) -> Result<Proof, ProofError> {
    prove_that(Constitution::compiled()?, solver).await
}

/// Proves a constitution: no policy errs, something is allowed, nothing of what must never be is.
///
/// # Errors
/// [`ProofError`].
pub async fn prove_that(constitution: &Constitution, solver: &Solver) -> Result<Proof, ProofError> {
    let properties = properties()?;
    let mut prover = Prover::new(constitution, solver)?;
    for kind in constitution.schema().request_envs() {
        for policy in constitution.policies().policies() {
            prover.never_errs(policy, &kind).await?;
        }
        let most = prover.most_that_any_bundle_allows(&kind)?;
        prover.allows_something(&most, &kind).await?;
        for property in &properties {
            prover.never_allows(&most, property, &kind).await?;
        }
    }
    let policies = constitution.articles().keys().cloned().collect();
    let request_kinds = constitution.schema().request_envs().map(|kind| kind.action().to_string()).collect();
    Ok(Proof { policies, properties: properties.into_iter().map(|p| p.title).collect(), request_kinds })
}

/// Proves one property of a constitution.
///
/// # Errors
/// [`ProofError`].
pub async fn prove_property(
    constitution: &Constitution,
    property: &Property,
    solver: &Solver,
) -> Result<(), ProofError> {
    let mut prover = Prover::new(constitution, solver)?;
    for kind in constitution.schema().request_envs() {
        let most = prover.most_that_any_bundle_allows(&kind)?;
        prover.never_allows(&most, property, &kind).await?;
    }
    Ok(())
}

struct Prover<'a> {
    constitution: &'a Constitution,
    compiler: CedarSymCompiler<LocalSolver>,
}

impl<'a> Prover<'a> {
    fn new(constitution: &'a Constitution, solver: &Solver) -> Result<Self, ProofError> {
        let started = solver.start().map_err(ProofError::Solver)?;
        let compiler = CedarSymCompiler::new(started).map_err(from_symbolic)?;
        Ok(Self { constitution, compiler })
    }

    /// The constitution together with a permit of everything: a bundle's policies, whatever they are, allow no more.
    fn most_that_any_bundle_allows(&self, kind: &RequestEnv) -> Result<CompiledPolicySet, ProofError> {
        let unreadable = |e: &dyn fmt::Display| ProofError::Unreadable(e.to_string());
        let all = Policy::parse(Some(PolicyId::new("permit-all")), "permit (principal, action, resource);");
        let mut policies = self.constitution.policies().clone();
        policies.add(all.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
        self.compile(&policies, kind)
    }

    fn compile(&self, policies: &PolicySet, kind: &RequestEnv) -> Result<CompiledPolicySet, ProofError> {
        CompiledPolicySet::compile(policies, kind, self.constitution.schema()).map_err(from_symbolic)
    }

    async fn never_errs(&mut self, policy: &Policy, kind: &RequestEnv) -> Result<(), ProofError> {
        let compiled = CompiledPolicy::compile(policy, kind, self.constitution.schema()).map_err(from_symbolic)?;
        match in_time(self.compiler.check_never_errors_with_counterexample_opt(&compiled)).await? {
            None => Ok(()),
            Some(found) => {
                Err(ProofError::Errs { policy: policy.id().to_string(), counterexample: Counterexample::of(&found) })
            }
        }
    }

    async fn allows_something(&mut self, most: &CompiledPolicySet, kind: &RequestEnv) -> Result<(), ProofError> {
        match in_time(self.compiler.check_always_denies_with_counterexample_opt(most)).await? {
            Some(_) => Ok(()),
            None => Err(ProofError::Vacuous(kind.action().to_string())),
        }
    }

    async fn never_allows(
        &mut self,
        most: &CompiledPolicySet,
        property: &Property,
        kind: &RequestEnv,
    ) -> Result<(), ProofError> {
        let never = self.compile(&property.policies, kind)?;
        match in_time(self.compiler.check_disjoint_with_counterexample_opt(most, &never)).await? {
            None => Ok(()),
            Some(found) => Err(ProofError::Allowed {
                property: property.id.clone(),
                title: property.title.clone(),
                counterexample: Counterexample::of(&found),
            }),
        }
    }
}

async fn in_time<T>(check: impl Future<Output = Result<T, SymbolicError>>) -> Result<T, ProofError> {
    // The solver has the same limit itself; this one holds if it hangs.
    let limit = Duration::from_millis(LIMIT_MS + 10_000);
    match tokio::time::timeout(limit, check).await {
        Ok(answer) => answer.map_err(from_symbolic),
        Err(_) => Err(ProofError::Unknown("no answer within the limit".to_owned())),
    }
}

fn from_symbolic(error: SymbolicError) -> ProofError {
    match error {
        SymbolicError::SolverUnknown => ProofError::Unknown(error.to_string()),
        SymbolicError::SolverError(e) => ProofError::Solver(e.to_string()),
        other => ProofError::Unreadable(other.to_string()),
    }
}
