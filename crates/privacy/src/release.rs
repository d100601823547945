use firebreak_domain::{Charge, Delta, Epsilon, FORMAT, Mechanism, OpenCode, Rho, UnknownFormat, check_format};
use firebreak_query::{Basis, MAX_CELLS, MAX_GROUPING_SETS, MAX_MEASURES};

/// The most vectors of one query.
const MAX_VECTORS: usize = 4 * MAX_MEASURES * MAX_GROUPING_SETS;
/// The most numbers of one release.
const MAX_NUMBERS: usize = 2 * MAX_MEASURES * MAX_CELLS;
const MAGIC: &[u8; 4] = b"FBRL";
/// Of a release whose groups were selected.
const SELECTED_MAGIC: &[u8; 4] = b"FBRG";

/// A differentially private release: what a measurement gave, and what is stored and repeated.
///
/// It holds noisy whole numbers for each vector and cell of one query, in the primitives' fixed point, and the scale of
/// their noise. Three things make one: [`Armed::measure`](crate::Armed::measure); of a join
/// [`JoinPrice::release`](crate::join::JoinPrice::release), from counts in which the noise is already; and
/// [`Released::decode`], from bytes that one encoded. It is not personal data: whatever is computed from it is post-processing and costs nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Released {
    mechanism: Mechanism,
    query: [u8; 32],
    basis: Basis,
    charge: Charge,
    selected: Option<SelectedGroups>,
    vectors: Vec<NoisyVector>,
}

/// The groups of a release that were selected by how many persons they hold: which were not is not known from it.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectedGroups {
    threshold: i64,
    groups: i64,
    sigma: f64,
    codes: Vec<i64>,
}

impl SelectedGroups {
    // INVARIANT: called by the measurement alone.
    pub(crate) const fn measured(threshold: i64, groups: i64, sigma: f64, codes: Vec<i64>) -> Self {
        Self { threshold, groups, sigma, codes }
    }

    /// The least noisy number of persons at which a group is shown.
    #[must_use]
    pub const fn threshold(&self) -> i64 {
        self.threshold
    }

    /// The noisy number of all groups, and the standard error that the noise causes.
    #[must_use]
    pub const fn groups(&self) -> (i64, f64) {
        (self.groups, self.sigma)
    }

    /// The codes of the groups that are shown, in order.
    pub fn codes(&self) -> impl ExactSizeIterator<Item = String> {
        self.codes.iter().map(|code| OpenCode::of(*code).map(|code| code.to_string()).unwrap_or_default())
    }
}

/// One vector of a release.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NoisyVector {
    pub(crate) sigma: f64,
    pub(crate) values: Vec<i64>,
}

/// Bytes that are no release of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseFormatError {
    /// Written by a later program.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// Cut short, lengthened, or never a release.
    #[error("these bytes are not a release: fetch it again from the adapter that measured it")]
    Malformed,
}

impl Released {
    // INVARIANT: called by the measurement alone, and for what was counted of a join.
    pub(crate) const fn measured(
        mechanism: Mechanism,
        query: [u8; 32],
        basis: Basis,
        charge: Charge,
        vectors: Vec<NoisyVector>,
    ) -> Self {
        Self { mechanism, query, basis, charge, selected: None, vectors }
    }

    // INVARIANT: called by the measurement alone.
    pub(crate) const fn selected(
        query: [u8; 32],
        basis: Basis,
        charge: Charge,
        selected: SelectedGroups,
        vectors: Vec<NoisyVector>,
    ) -> Self {
        Self { mechanism: Mechanism::DiscreteGaussian, query, basis, charge, selected: Some(selected), vectors }
    }

    /// The groups, where they were selected.
    #[must_use]
    pub const fn selected_groups(&self) -> Option<&SelectedGroups> {
        self.selected.as_ref()
    }

    /// How the noise was drawn.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// SHA-256 of the canonical form of the query that it answers.
    #[must_use]
    pub const fn query_digest(&self) -> &[u8; 32] {
        &self.query
    }

    /// What of the contract gave the numbers their meaning when they were measured.
    #[must_use]
    pub const fn basis(&self) -> &Basis {
        &self.basis
    }

    /// What it cost every person of the unit space.
    #[must_use]
    pub const fn charge(&self) -> Charge {
        self.charge
    }

    /// How many cells each vector has, in the order of the query's vectors.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = usize> {
        self.vectors().map(<[i64]>::len)
    }

    /// The noisy values of each vector, cell by cell, in the primitive's fixed point.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[i64]> {
        self.vectors.iter().map(|vector| vector.values.as_slice())
    }

    /// The noisy value of a vector in a cell, in the primitive's fixed point; `None` beyond the last of either.
    #[must_use]
    pub fn value(&self, vector: usize, cell: usize) -> Option<i64> {
        self.vectors.get(vector)?.values.get(cell).copied()
    }

    /// The scale of the noise on each vector ([`Scale::sigma`](crate::Scale::sigma)), in the primitive's fixed point.
    pub fn sigmas(&self) -> impl ExactSizeIterator<Item = f64> {
        self.vectors.iter().map(|vector| vector.sigma)
    }

    /// The one form in which it is stored, committed to and sent. Integers are big-endian:
    ///
    /// `"FBRL"`, format `u32`, mechanism `u8` (1: discrete Gaussian, 2: discrete Laplace,
    /// 3: matching dummies), query digest 32 bytes,
    /// basis 32 bytes, nano-ρ `u64`, atto-δ `u64`, nano-ε `u64`, number of vectors `u32`; then for each vector σ as an
    /// IEEE 754 double, its number of cells `u32`, and their values as `i64`.
    ///
    /// Where groups were selected it begins with `"FBRG"`, and between nano-ε and the number of vectors stand the
    /// threshold
    /// `i64`, the noisy number of groups `i64`, its σ as a double, how many groups there are `u32`, and their codes as
    /// `i64`, ascending ([`OpenCode`]).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(101 + self.vectors().map(|values| 12 + 8 * values.len()).sum::<usize>());
        bytes.extend_from_slice(if self.selected.is_some() { SELECTED_MAGIC } else { MAGIC });
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.push(mechanism_code(self.mechanism));
        bytes.extend_from_slice(&self.query);
        bytes.extend_from_slice(self.basis.as_bytes());
        for loss in [self.charge.rho.nano(), self.charge.delta.atto(), self.charge.epsilon.nano()] {
            bytes.extend_from_slice(&loss.to_be_bytes());
        }
        if let Some(SelectedGroups { threshold, groups, sigma, codes }) = &self.selected {
            bytes.extend_from_slice(&threshold.to_be_bytes());
            bytes.extend_from_slice(&groups.to_be_bytes());
            bytes.extend_from_slice(&sigma.to_bits().to_be_bytes());
            bytes.extend_from_slice(&(codes.len() as u32).to_be_bytes());
            codes.iter().for_each(|code| bytes.extend_from_slice(&code.to_be_bytes()));
        }
        // INVARIANT: both counts fit a u32: `NoisePlan::split` and `decode` allow no shape beyond `shape_is_allowed`.
        bytes.extend_from_slice(&(self.vectors.len() as u32).to_be_bytes());
        for vector in &self.vectors {
            bytes.extend_from_slice(&vector.sigma.to_bits().to_be_bytes());
            bytes.extend_from_slice(&(vector.values.len() as u32).to_be_bytes());
            for value in &vector.values {
                bytes.extend_from_slice(&value.to_be_bytes());
            }
        }
        bytes
    }

    /// Reads what [`Released::encode`] wrote, and nothing else: every release has exactly one encoding.
    ///
    /// # Errors
    /// [`ReleaseFormatError`], which says nothing of the content.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReleaseFormatError> {
        let mut rest = bytes;
        let selects = match &take::<4>(&mut rest)? {
            MAGIC => false,
            SELECTED_MAGIC => true,
            _ => return Err(ReleaseFormatError::Malformed),
        };
        check_format("a release", u32::from_be_bytes(take(&mut rest)?))?;
        let [code] = take(&mut rest)?;
        let mechanism = mechanism_of(code).ok_or(ReleaseFormatError::Malformed)?;
        let query = take(&mut rest)?;
        let basis = Basis::from_bytes(take(&mut rest)?);
        let charge = Charge {
            rho: Rho::from_nano(u64::from_be_bytes(take(&mut rest)?)),
            delta: Delta::from_atto(u64::from_be_bytes(take(&mut rest)?)),
            epsilon: Epsilon::from_nano(u64::from_be_bytes(take(&mut rest)?)),
        };
        let selected = if selects { Some(take_selected(&mut rest)?) } else { None };
        let count = u32::from_be_bytes(take(&mut rest)?) as usize;
        // Checked before anything is allocated: a forged count is no larger than the bytes that came with it.
        if count > rest.len() / 12 {
            return Err(ReleaseFormatError::Malformed);
        }
        let mut vectors = Vec::with_capacity(count);
        for _ in 0..count {
            let sigma = f64::from_bits(u64::from_be_bytes(take(&mut rest)?));
            let cells = u32::from_be_bytes(take(&mut rest)?) as usize;
            if !(sigma.is_finite() && sigma > 0.0) || cells > rest.len() / 8 {
                return Err(ReleaseFormatError::Malformed);
            }
            let values = (0..cells).map(|_| take(&mut rest).map(i64::from_be_bytes)).collect::<Result<_, _>>()?;
            vectors.push(NoisyVector { sigma, values });
        }
        let read = Self { mechanism, query, basis, charge, selected, vectors };
        let cells: Vec<usize> = read.cells().collect();
        let formed = match &read.selected {
            None => shape_is_allowed(&cells),
            Some(selected) => {
                let groups = selected.codes.len();
                let whole = (1..=MAX_VECTORS).contains(&cells.len()) && cells.iter().all(|cells| *cells == groups);
                whole && groups <= MAX_CELLS && mechanism == Mechanism::DiscreteGaussian
            }
        };
        if rest.is_empty() && formed { Ok(read) } else { Err(ReleaseFormatError::Malformed) }
    }
}

fn take_selected(rest: &mut &[u8]) -> Result<SelectedGroups, ReleaseFormatError> {
    let threshold = i64::from_be_bytes(take(rest)?);
    let groups = i64::from_be_bytes(take(rest)?);
    let sigma = f64::from_bits(u64::from_be_bytes(take(rest)?));
    let count = u32::from_be_bytes(take(rest)?) as usize;
    if !(sigma.is_finite() && sigma > 0.0) || count > rest.len() / 8 {
        return Err(ReleaseFormatError::Malformed);
    }
    let codes: Vec<i64> = (0..count).map(|_| take(rest).map(i64::from_be_bytes)).collect::<Result<_, _>>()?;
    let known = codes.iter().all(|code| OpenCode::of(*code).is_some());
    if known && codes.is_sorted_by(|one, other| one < other) {
        Ok(SelectedGroups { threshold, groups, sigma, codes })
    } else {
        Err(ReleaseFormatError::Malformed)
    }
}

/// Whether a release may have vectors of that many cells.
pub(crate) fn shape_is_allowed(cells: &[usize]) -> bool {
    (1..=MAX_VECTORS).contains(&cells.len())
        && cells.iter().all(|cells| (1..=MAX_CELLS).contains(cells))
        && cells.iter().sum::<usize>() <= MAX_NUMBERS
}

const fn mechanism_code(mechanism: Mechanism) -> u8 {
    match mechanism {
        Mechanism::DiscreteGaussian => 1,
        Mechanism::DiscreteLaplace => 2,
        Mechanism::MatchingDummies => 3,
    }
}

const fn mechanism_of(code: u8) -> Option<Mechanism> {
    match code {
        1 => Some(Mechanism::DiscreteGaussian),
        2 => Some(Mechanism::DiscreteLaplace),
        3 => Some(Mechanism::MatchingDummies),
        _ => None,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ReleaseFormatError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(ReleaseFormatError::Malformed)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn release(sigmas: &[f64], cells: usize, value: i64) -> Released {
        let charge = Charge { rho: Rho::from_nano(5), delta: Delta::from_atto(6), epsilon: Epsilon::from_nano(7) };
        let vectors = sigmas.iter().map(|&sigma| NoisyVector { sigma, values: vec![value; cells] }).collect();
        let basis = Basis::from_bytes([8; 32]);
        Released::measured(Mechanism::DiscreteGaussian, [9; 32], basis, charge, vectors)
    }

    #[test]
    fn the_first_format_is_what_it_was() {
        let mut expected = b"FBRL\0\0\0\x01\x01".to_vec();
        expected.extend([9; 32]);
        expected.extend([8; 32]);
        expected.extend(b"\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x07\0\0\0\x01");
        expected
            .extend(b"\x3f\xf8\0\0\0\0\0\0\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff\xff\xff\xff\xff\xfe");
        assert_eq!(release(&[1.5], 2, -2).encode(), expected);
    }

    #[test]
    fn a_release_of_a_later_program_is_refused_by_name() {
        let mut bytes = release(&[1.5], 2, -2).encode();
        bytes[7] = 2;
        let error = Released::decode(&bytes).unwrap_err();
        assert_eq!(error, ReleaseFormatError::Format(UnknownFormat { what: "a release", found: 2 }));
        bytes[7] = 0;
        assert!(Released::decode(&bytes).is_err());
    }

    #[test]
    fn bytes_cut_short_or_lengthened_anywhere_are_no_release() {
        let bytes = release(&[1.5, 2.5], 3, 4).encode();
        for end in 0..bytes.len() {
            assert_eq!(Released::decode(&bytes[..end]), Err(ReleaseFormatError::Malformed));
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Released::decode(&longer), Err(ReleaseFormatError::Malformed));
    }

    #[test]
    fn a_release_without_noise_or_without_cells_is_none() {
        for sigma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Released::decode(&release(&[sigma], 1, 0).encode()), Err(ReleaseFormatError::Malformed));
        }
        assert_eq!(Released::decode(&release(&[], 1, 0).encode()), Err(ReleaseFormatError::Malformed));
        assert_eq!(Released::decode(&release(&[1.0], 0, 0).encode()), Err(ReleaseFormatError::Malformed));
        let mut bytes = release(&[1.5], 1, 0).encode();
        bytes[8] = 4;
        assert_eq!(Released::decode(&bytes), Err(ReleaseFormatError::Malformed));
    }

    #[test]
    fn a_forged_count_allocates_nothing() {
        let bytes = release(&[1.5], 1, 0).encode();
        for counts in [97..101, 109..113] {
            let mut bytes = bytes.clone();
            bytes[counts].copy_from_slice(&[0xff; 4]);
            assert_eq!(Released::decode(&bytes), Err(ReleaseFormatError::Malformed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_release_is_read_as_it_was_written(
            (query, basis) in any::<([u8; 32], [u8; 32])>(),
            losses in any::<[u64; 3]>(),
            table in prop::collection::vec((1e-3..1e15_f64, prop::collection::vec(any::<i64>(), 1..5)), 1..5),
        ) {
            let charge = Charge { rho: Rho::from_nano(losses[0]), delta: Delta::from_atto(losses[1]), epsilon: Epsilon::from_nano(losses[2]) };
            let vectors = table.into_iter().map(|(sigma, values)| NoisyVector { sigma, values }).collect();
            let release = Released::measured(Mechanism::DiscreteGaussian, query, Basis::from_bytes(basis), charge, vectors);
            let bytes = release.encode();
            let read = Released::decode(&bytes).unwrap();
            prop_assert_eq!(&read, &release);
            prop_assert_eq!(read.encode(), bytes);
        }

        #[test]
        fn whatever_is_read_has_one_encoding(at in 0_usize..137, byte in any::<u8>()) {
            let mut bytes = release(&[1.5], 4, -3).encode();
            bytes[at] = byte;
            if let Ok(read) = Released::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}
