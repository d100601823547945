use super::agencies::{AgencyAnswer, AgencyError, AgencyRefusal, AgencyRelease, Asked};
use super::{App, Failure, Unanswered};
use firebreak_audit::{LeafKind, Opening, SignedLeaf};
use firebreak_domain::{AgreementId, Charge, Identity, OrgId, ReasonCode, Refusal};
use firebreak_node::{
    DecidedQuery, SubmittedQuery, account_name, decide_query, exhausted, foresee_query, release_name, release_payload,
};
use firebreak_policy::{DecisionFacts, Denial};
use firebreak_privacy::{Answer, Price, Released};
use firebreak_query::CheckedQuery;
use firebreak_store::{Abandoned, AccountLimit, LeafHash, RequestKey, Reservation, ReserveError, Reserved};

/// A request that is permitted and paid for, here.
pub struct AcceptedQuery {
    /// The question.
    pub query: CheckedQuery,
    /// Its price.
    pub price: Price,
    agency: OrgId,
    facts: DecisionFacts,
    contest: String,
    accounts: Vec<AccountLimit>,
    caller: Identity,
    payload: Vec<u8>,
    held: Held,
}

enum Held {
    /// To be measured.
    Reservation(Reservation),
    /// The caller's own answer, given again.
    Own(Vec<u8>),
    /// What another caller was answered.
    Repeat(Vec<u8>),
}

/// An answer, ready to leave.
pub struct Finished {
    /// The figures.
    pub answer: Answer,
    /// The name of the release.
    pub release_id: String,
    /// Evidence of it, as text.
    pub receipt: String,
    /// The accounts after it.
    pub left: Vec<Budget>,
}

/// An account as its owner sees it.
pub struct Budget {
    /// Of what.
    pub of: String,
    /// All that may be spent.
    pub limit: Charge,
    /// What is spent.
    pub spent: Charge,
}

/// What a question would cost.
pub struct Validated {
    /// The question.
    pub query: CheckedQuery,
    /// Its price.
    pub price: Price,
    /// Whether the accounts could pay it now.
    pub affordable: bool,
}

impl App {
    /// Decides, prices and pays.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn accept(&self, asked: &Asked, caller: &Identity) -> Result<AcceptedQuery, Unanswered> {
        let now = self.state.now();
        let decided = match decide_query(&asked.submitted, caller, &self.policy, &self.trust, now) {
            Ok(decided) => decided,
            Err(denial) => return Err(self.refuse(denial).await),
        };
        let facts = decided.permit.facts().clone();
        let contest = decided.permit.agreement().contest.clone();
        let denial = |refusal: Refusal| {
            let contest = Some(contest.clone());
            Denial { refusal: Refusal { contest, ..refusal }, facts: facts.clone() }
        };
        if let Err(refusal) = self.check_ledger() {
            return Err(self.refuse(denial(refusal)).await);
        }
        let request = RequestKey {
            principal: caller.to_string(),
            request_id: decided.intent.request_id,
            digest: decided.intent.digest(),
        };
        let DecidedQuery { query, price, intent, accounts, .. } = decided;
        let held = match self.state.reserve(&request, &price.release_key(), price.charge(), &accounts).await {
            Ok(Reserved::Fresh(reservation) | Reserved::Resumed(reservation)) => Held::Reservation(reservation),
            Ok(Reserved::Stored(stored)) => Held::Own(stored.bytes.to_vec()),
            Ok(Reserved::Repeat(stored)) => Held::Repeat(stored.bytes.to_vec()),
            Err(ReserveError::Exhausted { account, left }) => {
                return Err(self.refuse(denial(exhausted(account, left))).await);
            }
            Err(error @ (ReserveError::RequestIdReused | ReserveError::RequestChanged)) => {
                let refusal = Refusal::new(ReasonCode::RequestIdReused).because(error.to_string());
                return Err(self.refuse(denial(refusal)).await);
            }
            Err(ReserveError::NoAccount) => return Err(Failure::Answer("no account bears the loss").into()),
            Err(ReserveError::Store(error)) => return Err(error.into()),
        };
        let agency = query.agency().clone();
        let payload = intent.signing_bytes();
        let caller = caller.clone();
        Ok(AcceptedQuery { query, price, agency, facts, contest, accounts, caller, payload, held })
    }

    /// Has the agency answer, or takes the stored release; then puts the evidence into the log.
    ///
    /// # Errors
    /// [`Unanswered`]. What was charged stays charged unless the agency was never asked or refused.
    pub async fn finish(&self, accepted: AcceptedQuery, asked: &Asked) -> Result<Finished, Unanswered> {
        let AcceptedQuery { query, agency, facts, contest, accounts, caller, payload, price, held } = accepted;
        let (stored, own) = match held {
            Held::Own(stored) => {
                self.log_stored(&stored, &facts, &payload).await?;
                (stored, None)
            }
            Held::Repeat(stored) => {
                // PRIVACY: the first caller's opening tells of that caller's request; this one gets an opening of its own.
                let receipt = self.log_stored(&stored, &facts, &payload).await?;
                (stored, Some(receipt))
            }
            Held::Reservation(reservation) => match self.agencies.execute(&agency, &caller, asked).await {
                Ok(AgencyAnswer::Released(release)) => {
                    (self.store(reservation, release, &query, &price, &facts, &payload).await?, None)
                }
                Ok(AgencyAnswer::Refused(refused)) => {
                    // Nothing was measured: the agency says so under its own signature.
                    self.state.abandon(reservation).await?;
                    return Err(self.refused_by_agency(refused, contest).await);
                }
                Err(AgencyError::NotConnected) => {
                    let kept = self.state.abandon(reservation).await?;
                    let detail = match kept {
                        Abandoned::Refunded => format!("{agency} is not connected; nothing was charged"),
                        Abandoned::Kept => {
                            format!("{agency} is not connected; a retry under the same request id costs nothing more")
                        }
                    };
                    let refusal = Refusal::new(ReasonCode::AgencyUnavailable).because(detail);
                    let contest = Some(contest);
                    return Err(self.refuse(Denial { refusal: Refusal { contest, ..refusal }, facts }).await);
                }
                Err(AgencyError::Lost | AgencyError::Unreadable) => {
                    reservation.mark_executing();
                    return Err(Failure::Agency.into());
                }
            },
        };
        let (release, leaf, opening) = decode_stored(&stored)?;
        let released = Released::decode(release).map_err(|_| Failure::Answer("a stored answer"))?;
        let answer = released.answer(&query).map_err(|_| Failure::Answer("the release is of another question"))?;
        let receipt = match own {
            Some(receipt) => receipt,
            None => {
                let index = self.log.append(leaf).await?;
                self.log.receipt(index, Some(opening))?
            }
        };
        let left = self.budgets(&accounts);
        Ok(Finished { answer, release_id: release_name(release), receipt, left })
    }

    /// Logs that a stored release was given again, and gives the receipt of that.
    async fn log_stored(&self, stored: &[u8], facts: &DecisionFacts, intent: &[u8]) -> Result<String, Failure> {
        let (release, _, _) = decode_stored(stored)?;
        let payload = release_payload(intent, release);
        let none = Charge::default();
        let evidence = self.recorder.record(LeafKind::StoredRelease, facts, None, none, &payload, &self.state)?;
        self.log_own(evidence).await
    }

    async fn store(
        &self,
        reservation: Reservation,
        release: AgencyRelease,
        query: &CheckedQuery,
        price: &Price,
        facts: &DecisionFacts,
        payload: &[u8],
    ) -> Result<Vec<u8>, Unanswered> {
        let released = Released::decode(&release.release).map_err(|_| Failure::Answer("the agency's release"))?;
        let fits = released.answer(query).is_ok() && released.charge() == price.charge();
        let signed_by_agency = release.leaf.leaf().signer_org == *query.agency();
        if !fits || !signed_by_agency {
            return Err(Failure::Answer("the agency answered another question").into());
        }
        let charge = price.charge();
        let payload = release_payload(payload, &release.release);
        let evidence = self.recorder.record(LeafKind::Release, facts, None, charge, &payload, &self.state)?;
        let bytes = encode_stored(&release);
        let leaf_bytes = evidence.leaf.as_bytes().to_vec();
        // The agency's leaf goes through the gateway's own outbox: a crash before the log has it loses nothing.
        self.state.record_leaf(release.leaf.as_bytes()).await?;
        let stored = self.state.settle(reservation, &bytes, &leaf_bytes).await?;
        let (own, theirs) = tokio::join!(self.log.append(evidence.leaf), self.log.append(release.leaf.clone()));
        let confirmed = [(LeafHash::of(&leaf_bytes), own?), (LeafHash::of(release.leaf.as_bytes()), theirs?)];
        self.state.confirm(&confirmed).await?;
        Ok(stored.bytes.to_vec())
    }

    pub(crate) async fn refused_by_agency(&self, refused: AgencyRefusal, contest: String) -> Unanswered {
        let logged = async {
            let index = self.log.append(refused.leaf).await?;
            self.log.receipt(index, Some(refused.opening))
        };
        match logged.await {
            Ok(receipt) => {
                let mut refusal = refused.refusal;
                refusal.contest.get_or_insert(contest);
                Unanswered::Refused { refusal: Box::new(refusal), receipt: Some(receipt) }
            }
            Err(error) => Unanswered::Failed(error.into()),
        }
    }

    /// What a question would cost. Reads contracts, policy and accounts; charges and records nothing.
    ///
    /// # Errors
    /// A refusal.
    pub fn validate(&self, submitted: &SubmittedQuery, caller: &Identity) -> Result<Validated, Refusal> {
        let now = self.state.now();
        let decided = foresee_query(submitted, caller, &self.policy, now).map_err(|d| d.refusal)?;
        let budgets = self.budgets(&decided.accounts);
        let affordable =
            budgets.iter().all(|b| b.spent.plus(decided.price.charge()).is_ok_and(|sum| sum.within(&b.limit)));
        Ok(Validated { query: decided.query, price: decided.price, affordable })
    }

    /// The caller's accounts under an agreement that it takes part in.
    ///
    /// # Errors
    /// `NO_AGREEMENT`.
    pub fn budget(&self, caller: &Identity, agreement: &str) -> Result<Vec<Budget>, Refusal> {
        let unknown = || Refusal::new(ReasonCode::NoAgreement);
        let id = AgreementId::new(agreement).map_err(|_| unknown())?;
        let bundle = self.policy.bundle()?;
        let visible = bundle.visible_datasets(&caller.org, self.state.now());
        let mut accounts: Vec<AccountLimit> = Vec::new();
        for dataset in &visible {
            let Some(agreement) = dataset.agreements.iter().find(|a| a.id == id) else { continue };
            let of_dataset = firebreak_node::accounts_of(agreement, &dataset.contract, caller, self.state.now());
            let new: Vec<_> = of_dataset.into_iter().filter(|account| !accounts.contains(account)).collect();
            accounts.extend(new);
        }
        if accounts.is_empty() { Err(unknown()) } else { Ok(self.budgets(&accounts)) }
    }

    fn budgets(&self, accounts: &[AccountLimit]) -> Vec<Budget> {
        let kinds: Vec<_> = accounts.iter().map(|a| a.account.clone()).collect();
        let spent = self.state.balance(&kinds);
        let budget = |(account, spent): (&AccountLimit, Charge)| Budget {
            of: account_name(&account.account),
            limit: account.limit,
            spent,
        };
        accounts.iter().zip(spent).map(budget).collect()
    }
}

const STORED_FORMAT: u8 = 1;

/// Release, leaf and opening as the gateway stores them: a format number, then each with its length.
fn encode_stored(release: &AgencyRelease) -> Vec<u8> {
    let opening = [release.opening.nonce.as_slice(), &release.opening.payload].concat();
    let mut bytes = vec![STORED_FORMAT];
    for part in [release.release.as_slice(), release.leaf.as_bytes(), &opening] {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

fn decode_stored(bytes: &[u8]) -> Result<(&[u8], SignedLeaf, Opening), Failure> {
    let broken = || Failure::Answer("a stored answer");
    let (format, mut rest) = bytes.split_first().ok_or_else(broken)?;
    if *format != STORED_FORMAT {
        return Err(broken());
    }
    let mut part = || {
        let (length, after) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| broken())?;
        let part = after.get(..length).ok_or_else(broken)?;
        rest = after.get(length..).unwrap_or_default();
        Ok::<_, Failure>(part)
    };
    let release = part()?;
    let leaf = SignedLeaf::decode(part()?).map_err(|_| broken())?;
    let (nonce, payload) = part()?.split_first_chunk::<32>().ok_or_else(broken)?;
    Ok((release, leaf, Opening { nonce: *nonce, payload: payload.to_vec() }))
}
