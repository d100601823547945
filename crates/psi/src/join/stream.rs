use super::list::{ENTRY, label_of, point};
use super::{JoinParams, JoinSide};
use crate::PsiError;
use crate::wire::{self, ELEMENT};

/// The other side's list as it arrives, checked piece by piece in memory that does not grow with it.
///
/// What [`PointList::read`](super::PointList::read) checks of a whole list is checked of all pieces together.
pub struct PointStream {
    /// Points stated of each label.
    due: Vec<u64>,
    /// Points that have arrived of each label.
    found: Vec<u64>,
    last: Option<[u8; ELEMENT]>,
    points: u64,
}

impl PointStream {
    /// Of the list of the records of `side`, which is to have `sizes` points of each label.
    ///
    /// # Errors
    /// [`PsiError::LabelSize`] for another number of labels than was declared.
    pub fn new(side: JoinSide, params: &JoinParams, sizes: &[u64]) -> Result<Self, PsiError> {
        if sizes.len() != usize::from(params.labels(side)) {
            return Err(PsiError::LabelSize);
        }
        Ok(Self { due: sizes.to_vec(), found: vec![0; sizes.len()], last: None, points: 0 })
    }

    /// Takes the next piece: one point at least, and whole ones.
    ///
    /// # Errors
    /// As [`PointList::read`](super::PointList::read); nothing of the piece counts then.
    pub fn check(&mut self, piece: &[u8]) -> Result<(), PsiError> {
        let (entries, rest) = piece.as_chunks::<ENTRY>();
        let left = self.total().saturating_sub(self.points);
        if entries.is_empty() || !rest.is_empty() || entries.len() as u64 > left {
            let most = usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(ENTRY);
            // What is left of a list, or the next whole number of points below what came.
            let expected = most.min(entries.len().max(1).saturating_mul(ENTRY));
            return Err(PsiError::WrongLength { what: "a piece of a list", expected, found: piece.len() });
        }
        let (mut found, mut last) = (self.found.clone(), self.last);
        for entry in entries {
            if last.is_some_and(|last| last >= *point(entry)) {
                return Err(PsiError::PointOrder);
            }
            last = Some(*point(entry));
            let label = usize::from(label_of(entry));
            let (found, due) = found.get_mut(label).zip(self.due.get(label)).ok_or(PsiError::Label)?;
            *found += 1;
            if *found > *due {
                return Err(PsiError::LabelSize);
            }
        }
        (self.found, self.last) = (found, last);
        self.points += entries.len() as u64;
        Ok(())
    }

    /// Bytes that have arrived.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.points * ENTRY as u64
    }

    /// Whether all of it has.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.points == self.total()
    }

    fn total(&self) -> u64 {
        self.due.iter().fold(0, |all, size| all.saturating_add(*size))
    }
}

/// Whether every point of a piece is one, and not the identity: so it is known when it arrives, and told to whoever
/// sent it.
///
/// # Errors
/// [`PsiError::InvalidElement`], [`PsiError::IdentityElement`].
pub fn check_points(piece: &[u8]) -> Result<(), PsiError> {
    piece.as_chunks::<ENTRY>().0.iter().try_for_each(|entry| wire::element(point(entry)).map(drop))
}

#[cfg(test)]
mod tests {
    use super::super::list::entry;
    use super::*;

    fn stream(sizes: &[u64]) -> PointStream {
        let params = JoinParams::new(2, 3, vec![1, 2, 1]).unwrap();
        PointStream::new(JoinSide::Left, &params, sizes).unwrap()
    }

    fn piece(points: &[(u8, u16)]) -> Vec<u8> {
        points.iter().flat_map(|(byte, label)| entry(&[*byte; ELEMENT], *label)).collect()
    }

    #[test]
    fn a_list_in_pieces_is_complete_with_its_last_and_takes_no_more() {
        let mut list = stream(&[2, 1]);
        list.check(&piece(&[(1, 0), (2, 1)])).unwrap();
        assert!(!list.is_complete());
        list.check(&piece(&[(3, 0)])).unwrap();
        assert!(list.is_complete());
        assert_eq!(list.bytes(), 3 * ENTRY as u64);
        assert!(matches!(list.check(&piece(&[(4, 0)])), Err(PsiError::WrongLength { expected: 0, .. })));
        assert!(stream(&[0, 0]).is_complete());
    }

    #[test]
    fn hostile_pieces_are_refused_by_name_and_count_for_nothing() {
        let mut list = stream(&[2, 1]);
        list.check(&piece(&[(5, 0)])).unwrap();
        for (points, error) in [
            (&[(5, 0)][..], PsiError::PointOrder),
            (&[(7, 0), (6, 1)], PsiError::PointOrder),
            (&[(6, 2)], PsiError::Label),
            (&[(6, 1), (7, 1)], PsiError::LabelSize),
        ] {
            assert_eq!(list.check(&piece(points)), Err(error));
        }
        for bytes in [0, 1, ENTRY - 1, ENTRY + 1, 3 * ENTRY] {
            assert!(matches!(list.check(&vec![9; bytes]), Err(PsiError::WrongLength { .. })), "{bytes}");
        }
        // Ten times the stated size is told from a piece that was cut short.
        let long = list.check(&piece(&[(6, 0), (7, 0), (8, 0)])).unwrap_err();
        assert!(matches!(long, PsiError::WrongLength { expected, found, .. } if found > expected), "{long}");
        list.check(&piece(&[(6, 0), (7, 1)])).unwrap();
        assert!(list.is_complete());
        let params = JoinParams::new(2, 3, vec![1]).unwrap();
        assert_eq!(PointStream::new(JoinSide::Right, &params, &[1, 1]).err(), Some(PsiError::LabelSize));
    }
}
