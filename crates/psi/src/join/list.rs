use super::{JoinParams, JoinSide};
use crate::PsiError;
use crate::wire::ELEMENT;

/// Bytes of a point and of its label, which follows big-endian.
pub const ENTRY: usize = ELEMENT + 2;

/// A point of a list and its label, as they go over the line.
pub type Entry = [u8; ENTRY];

/// Points in ascending order of their bytes, none twice.
///
/// PRIVACY: the points look random to whoever does not have the keys behind them, so an order that follows from them
/// says nothing, whatever order they were made in.
pub struct PointList(Vec<Entry>);

impl PointList {
    /// Brings points into their order.
    ///
    /// # Errors
    /// [`PsiError::DuplicateElement`]: two records are one, or a draw came out twice, which does not happen.
    pub fn of(mut entries: Vec<Entry>) -> Result<Self, PsiError> {
        entries.sort_unstable();
        let twice = entries.array_windows().any(|[one, next]| point(one) == point(next));
        if twice { Err(PsiError::DuplicateElement) } else { Ok(Self(entries)) }
    }

    /// Reads the list of the records of `side`, which is to have `sizes` points of each label.
    ///
    /// # Errors
    /// [`PsiError::WrongLength`], [`PsiError::PointOrder`] also for a point that comes twice, [`PsiError::Label`],
    /// [`PsiError::LabelSize`].
    pub fn read(bytes: &[u8], side: JoinSide, params: &JoinParams, sizes: &[u64]) -> Result<Self, PsiError> {
        if sizes.len() != usize::from(params.labels(side)) {
            return Err(PsiError::LabelSize);
        }
        let all = sizes.iter().fold(0_u64, |all, size| all.saturating_add(*size));
        let expected = usize::try_from(all).unwrap_or(usize::MAX).saturating_mul(ENTRY);
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        if bytes.len() != expected || !rest.is_empty() {
            return Err(PsiError::WrongLength { what: "a list of points", expected, found: bytes.len() });
        }
        if !entries.array_windows().all(|[one, next]| point(one) < point(next)) {
            return Err(PsiError::PointOrder);
        }
        let list = Self(entries.to_vec());
        if list.sizes(side, params)? == sizes { Ok(list) } else { Err(PsiError::LabelSize) }
    }

    /// How many points of each label it has.
    ///
    /// # Errors
    /// [`PsiError::Label`].
    pub fn sizes(&self, side: JoinSide, params: &JoinParams) -> Result<Vec<u64>, PsiError> {
        let mut sizes = vec![0; usize::from(params.labels(side))];
        for entry in &self.0 {
            *sizes.get_mut(usize::from(label_of(entry))).ok_or(PsiError::Label)? += 1;
        }
        Ok(sizes)
    }

    /// The points.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// All of it as it goes over the line.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_flattened()
    }
}

pub(super) fn entry(point: &[u8; ELEMENT], label: u16) -> Entry {
    let mut entry = [0; ENTRY];
    for (to, from) in entry.iter_mut().zip(point.iter().chain(&label.to_be_bytes())) {
        *to = *from;
    }
    entry
}

pub(super) fn point(entry: &Entry) -> &[u8; ELEMENT] {
    let [point @ .., _, _] = entry;
    point
}

/// The label of a point.
#[must_use]
pub const fn label_of(entry: &Entry) -> u16 {
    let [.., high, low] = *entry;
    u16::from_be_bytes([high, low])
}
