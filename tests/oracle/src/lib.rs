//! The oblivious PRF of RFC 9497 in another implementation, the crate [`voprf`], behind functions over bytes that are
//! those of [`firebreak_psi::oprf`]: what one of the two makes, the other can be given.
//!
//! It is an oracle for tests and is in no program. It knows neither duplicates nor batches of the session: what the two
//! share is the RFC.

use firebreak_psi::oprf::{Mode, OUTPUT};
use rand_chacha::ChaCha20Rng;
use voprf::{
    BlindedElement, EvaluationElement, Group, OprfClient, OprfServer, Proof, Ristretto255, VoprfClient, VoprfServer,
};

/// Bytes of an encoded element.
const ELEMENT: usize = 32;

/// What the oracle refuses with.
pub type Refused = voprf::Error;

/// A key of the oracle's.
pub enum Key {
    /// In mode OPRF.
    Oprf(OprfServer<Ristretto255>),
    /// In mode VOPRF.
    Voprf(VoprfServer<Ristretto255>),
}

impl Key {
    /// `DeriveKeyPair` (RFC 9497 §3.2.1).
    ///
    /// # Errors
    /// The oracle's own.
    pub fn derive(mode: Mode, seed: &[u8; 32], info: &[u8]) -> Result<Self, Refused> {
        Ok(match mode {
            Mode::Oprf => Self::Oprf(OprfServer::new_from_seed(seed, info)?),
            Mode::Voprf => Self::Voprf(VoprfServer::new_from_seed(seed, info)?),
        })
    }

    /// The encoded public half. Mode OPRF has no name for it in the oracle: there it is made from the secret one.
    ///
    /// # Errors
    /// The oracle's own.
    pub fn public(&self) -> Result<[u8; ELEMENT], Refused> {
        let element = match self {
            Self::Oprf(server) => Ristretto255::base_elem() * &Ristretto255::deserialize_scalar(&server.serialize())?,
            Self::Voprf(server) => server.get_public_key(),
        };
        Ok(Ristretto255::serialize_elem(element).into())
    }

    /// `BlindEvaluate`: the evaluated elements, then, in mode VOPRF, the proof.
    ///
    /// # Errors
    /// The oracle's own.
    pub fn evaluate(&self, blinded: &[u8], rng: &mut ChaCha20Rng) -> Result<Vec<u8>, Refused> {
        let blinded = blinded.chunks(ELEMENT).map(BlindedElement::deserialize).collect::<Result<Vec<_>, _>>()?;
        Ok(match self {
            Self::Oprf(server) => blinded.iter().flat_map(|one| server.blind_evaluate(one).serialize()).collect(),
            Self::Voprf(server) => {
                let evaluated = server.batch_blind_evaluate(rng, &blinded)?;
                let elements = evaluated.messages.iter().flat_map(EvaluationElement::serialize);
                elements.chain(evaluated.proof.serialize()).collect()
            }
        })
    }

    /// `Evaluate`: the output of an input, by the key's owner.
    ///
    /// # Errors
    /// The oracle's own.
    pub fn output(&self, input: &[u8]) -> Result<[u8; OUTPUT], Refused> {
        Ok(match self {
            Self::Oprf(server) => server.evaluate(input)?,
            Self::Voprf(server) => server.evaluate(input)?,
        }
        .into())
    }
}

/// A batch that the oracle blinded.
pub struct Batch {
    mode: Mode,
    /// Of each input the blind, then the blinded element.
    blinded: Vec<([u8; 32], [u8; ELEMENT])>,
}

impl Batch {
    /// `Blind` on each input.
    ///
    /// # Errors
    /// The oracle's own.
    pub fn blind(mode: Mode, inputs: &[Vec<u8>], rng: &mut ChaCha20Rng) -> Result<Self, Refused> {
        let blind = |input: &Vec<u8>| {
            Ok(match mode {
                Mode::Oprf => {
                    let made = OprfClient::<Ristretto255>::blind(input, rng)?;
                    (made.state.serialize().into(), made.message.serialize().into())
                }
                Mode::Voprf => {
                    let made = VoprfClient::<Ristretto255>::blind(input, rng)?;
                    let state: [u8; 64] = made.state.serialize().into();
                    // The state begins with the blind.
                    let [blind, _] = state.as_chunks::<32>().0 else { return Err(Refused::Protocol) };
                    (*blind, made.message.serialize().into())
                }
            })
        };
        Ok(Self { mode, blinded: inputs.iter().map(blind).collect::<Result<_, _>>()? })
    }

    /// One that the other implementation blinded with these blinds.
    #[must_use]
    pub fn of(mode: Mode, blinds: &[[u8; 32]], blinded: &[u8]) -> Self {
        let (elements, _) = blinded.as_chunks::<ELEMENT>();
        Self { mode, blinded: blinds.iter().copied().zip(elements.iter().copied()).collect() }
    }

    /// The blinds.
    #[must_use]
    pub fn blinds(&self) -> Vec<[u8; 32]> {
        self.blinded.iter().map(|(blind, _)| *blind).collect()
    }

    /// The blinded elements.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.blinded.iter().flat_map(|(_, element)| *element).collect()
    }

    /// `Finalize`: verifies the proof, which mode VOPRF has, then unblinds.
    ///
    /// # Errors
    /// The oracle's own; for a batch of another size than was blinded, that of its reader.
    pub fn finalize(
        &self,
        inputs: &[Vec<u8>],
        public: &[u8; ELEMENT],
        evaluated: &[u8],
    ) -> Result<Vec<[u8; OUTPUT]>, Refused> {
        let due = self.blinded.len().saturating_mul(ELEMENT);
        let (elements, proof) = evaluated.split_at_checked(due).ok_or(Refused::Deserialization)?;
        let elements = elements.chunks(ELEMENT).map(EvaluationElement::deserialize).collect::<Result<Vec<_>, _>>()?;
        let outputs: Vec<_> = match self.mode {
            Mode::Oprf => {
                let states = self.blinded.iter().map(|(blind, _)| OprfClient::<Ristretto255>::deserialize(blind));
                let states = states.collect::<Result<Vec<_>, _>>()?;
                let pairs = states.iter().zip(inputs).zip(&elements);
                pairs.map(|((state, input), element)| state.finalize(input, element)).collect::<Result<_, _>>()?
            }
            Mode::Voprf => {
                let states = self
                    .blinded
                    .iter()
                    .map(|(blind, element)| VoprfClient::<Ristretto255>::deserialize(&[*blind, *element].concat()));
                let states = states.collect::<Result<Vec<_>, _>>()?;
                let public = Ristretto255::deserialize_elem(public)?;
                let proof = Proof::deserialize(proof)?;
                let inputs: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
                VoprfClient::batch_finalize(&inputs, &states, &elements, &proof, public)?.collect::<Result<_, _>>()?
            }
        };
        Ok(outputs.into_iter().map(Into::into).collect())
    }
}
