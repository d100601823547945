use crate::oprf::KeyPair;
use crate::secret::Prf;
use crate::{Mode, Normaliser, PsiError, PublicKey, SecretSeed};

/// What a session's key is bound to: another value of any field gives an unrelated key.
#[derive(Clone, Copy)]
pub struct KeyContext<'a> {
    /// The agreement.
    pub agreement: &'a str,
    /// The receiving organisation.
    pub receiver: &'a str,
    /// The field on which both sides match.
    pub field: &'a str,
    /// The rule by which both sides write it.
    pub normaliser: Normaliser,
    /// The session or epoch.
    pub session: &'a [u8],
    /// Whether evaluations are proved.
    pub mode: Mode,
}

impl KeyContext<'_> {
    /// Format, then each field with its length before it, so that no two contexts share an encoding.
    fn encode(&self) -> Result<Vec<u8>, PsiError> {
        let mut out = b"firebreak match key".to_vec();
        out.extend(crate::FORMAT.to_be_bytes());
        let version = self.normaliser.number().to_be_bytes();
        for field in
            [self.agreement.as_bytes(), self.receiver.as_bytes(), self.field.as_bytes(), &version, self.session]
        {
            let length = u16::try_from(field.len()).map_err(|_| PsiError::KeyContextLength)?;
            out.extend(length.to_be_bytes());
            out.extend(field);
        }
        if out.len() > usize::from(u16::MAX) { Err(PsiError::KeyContextLength) } else { Ok(out) }
    }
}

/// The sender's key for one session. Wiped when dropped; has no `Debug`.
pub struct SessionKey {
    pub(crate) pair: KeyPair,
    pub(crate) padding: Prf,
}

impl SessionKey {
    /// The public half, which the session's manifest names.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        self.pair.public_key()
    }
}

/// The key of one session: `DeriveKeyPair` (RFC 9497 §3.2.1) over the sender's long-lived seed and the context.
///
/// The same seed and context give the same key, the same evaluations and the same tag list.
///
/// # Errors
/// [`PsiError::KeyContextLength`]; [`PsiError::DegenerateHash`], which does not happen.
pub fn derive_session_key(seed: &SecretSeed, context: &KeyContext<'_>) -> Result<SessionKey, PsiError> {
    let info = context.encode()?;
    let padding = Prf::new(seed.expose(), "firebreak match padding of tags").block_seed(&info);
    Ok(SessionKey { pair: KeyPair::derive(context.mode, seed, &info)?, padding: Prf::new(padding.expose(), "tags") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn base() -> KeyContext<'static> {
        KeyContext {
            agreement: "school-round",
            receiver: "health",
            field: "number",
            normaliser: Normaliser::V1,
            session: &[1; 16],
            mode: Mode::Voprf,
        }
    }

    fn public(context: &KeyContext<'_>) -> [u8; 32] {
        *derive_session_key(&SecretSeed::from_bytes([7; 32]), context).unwrap().public_key().as_bytes()
    }

    #[test]
    fn each_field_of_the_context_and_the_seed_change_the_key() {
        let base = base();
        let mut keys = vec![
            public(&base),
            public(&KeyContext { agreement: "school", ..base }),
            public(&KeyContext { receiver: "education", ..base }),
            public(&KeyContext { field: "passport", ..base }),
            public(&KeyContext { session: &[2; 16], ..base }),
            public(&KeyContext { mode: Mode::Oprf, ..base }),
            // The same bytes cut elsewhere.
            public(&KeyContext { agreement: "school-roundh", receiver: "ealth", ..base }),
            *derive_session_key(&SecretSeed::from_bytes([8; 32]), &base).unwrap().public_key().as_bytes(),
        ];
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
        assert_eq!(public(&base), public(&base));
    }

    #[test]
    fn a_context_that_does_not_fit_is_refused() {
        let long = "a".repeat(40_000);
        let context = KeyContext { agreement: &long, receiver: &long, session: &[], ..base() };
        let refused = derive_session_key(&SecretSeed::from_bytes([7; 32]), &context).err();
        assert_eq!(refused, Some(PsiError::KeyContextLength));
    }
}
