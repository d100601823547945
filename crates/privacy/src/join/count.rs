use super::DummyLaw;
use std::cmp::Ordering;

/// Bytes of a point of a join and of its label, which follows big-endian.
const POINT: usize = 34;

/// The two lists of a join, by whose records they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListSide {
    /// Records of the side that a question names first.
    Left,
    /// Records of the other.
    Right,
}

impl std::fmt::Display for ListSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}

/// One point of a list, of which nothing but equality means anything here, and its label.
///
/// It has no `Debug`: beside a list that an agency made, a point may lead to a person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Point {
    bytes: [u8; 32],
    label: u16,
}

/// What is wrong with a list that came for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinListError {
    /// The list ends within a point.
    #[error("the {0} list ends within a point: send it again from its beginning")]
    Truncated(ListSide),
    /// The order is not that of the points' bytes, or a point comes twice.
    #[error("the {0} list is not in strictly ascending order of its points")]
    Order(ListSide),
    /// A label that the question does not have.
    #[error("the {0} list has a label that the question does not declare")]
    Label(ListSide),
    /// A label has not as many points as both sides' own lists and the dummies make.
    #[error("the {side} list has {found} points of label {label}, {due} are due")]
    Count {
        /// The list.
        side: ListSide,
        /// The label.
        label: u16,
        /// The points due.
        due: u64,
        /// The points found.
        found: u64,
    },
}

/// Cuts a list's bytes into its points.
///
/// # Errors
/// [`JoinListError::Truncated`].
pub fn points(side: ListSide, bytes: &[u8]) -> Result<impl Iterator<Item = Point> + '_, JoinListError> {
    let (points, rest) = bytes.as_chunks::<POINT>();
    if !rest.is_empty() {
        return Err(JoinListError::Truncated(side));
    }
    Ok(points.iter().map(|point| {
        let [bytes @ .., high, low] = *point;
        Point { bytes, label: u16::from_be_bytes([high, low]) }
    }))
}

/// Noisy counts of the persons that both sides have, one for each pair of labels, row by row of the left side's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinCells {
    cells: Vec<i64>,
}

impl JoinCells {
    /// The counts: what was met, less the 2n dummies that both sides' draws come to on average. A count may be
    /// negative.
    #[must_use]
    pub fn counts(&self) -> &[i64] {
        &self.cells
    }
}

/// A list on its way to being counted, and what its owner said of it.
pub struct JoinList<'a, I> {
    /// Its points, in strictly ascending order.
    pub points: I,
    /// How many points of each label its owner's own list had, before the other side added its dummies.
    pub own_sizes: &'a [u64],
}

/// Counts the points that both lists have, for each pair of labels, and takes the dummies' average off.
///
/// The left side's labels are as many as `left.own_sizes`, the right side's as `right.own_sizes`. Each list is read once,
/// in memory that does not grow with it.
///
/// # Errors
/// [`JoinListError`]: then nothing is released. It says nothing of what was met.
pub fn count(
    law: &DummyLaw,
    left: JoinList<'_, impl Iterator<Item = Point>>,
    right: JoinList<'_, impl Iterator<Item = Point>>,
) -> Result<JoinCells, JoinListError> {
    let columns = right.own_sizes.len();
    let mut cells = vec![0_i64; left.own_sizes.len() * columns];
    let mut one = Reading::new(ListSide::Left, left.points, left.own_sizes.len())?;
    let mut other = Reading::new(ListSide::Right, right.points, columns)?;
    while let (Some(mine), Some(theirs)) = (one.at, other.at) {
        match mine.bytes.cmp(&theirs.bytes) {
            Ordering::Less => one.step()?,
            Ordering::Greater => other.step()?,
            Ordering::Equal => {
                if let Some(cell) = cells.get_mut(usize::from(mine.label) * columns + usize::from(theirs.label)) {
                    *cell += 1;
                }
                one.step()?;
                other.step()?;
            }
        }
    }
    // PRIVACY: each side fills the other's list up to the same number of points, whatever its draws. A list that is
    // longer or shorter was made in another way than the theorem is about.
    let added = |labels: usize| u64::from(law.most()) * labels as u64;
    one.end(left.own_sizes, added(columns))?;
    other.end(right.own_sizes, added(left.own_sizes.len()))?;
    for cell in &mut cells {
        *cell -= i64::from(law.most());
    }
    Ok(JoinCells { cells })
}

/// A list as it is read, one point at a time.
struct Reading<I> {
    side: ListSide,
    rest: I,
    /// The point read last.
    at: Option<Point>,
    /// Points read so far of each label.
    found: Vec<u64>,
}

impl<I: Iterator<Item = Point>> Reading<I> {
    fn new(side: ListSide, rest: I, labels: usize) -> Result<Self, JoinListError> {
        let mut reading = Self { side, rest, at: None, found: vec![0; labels] };
        reading.step()?;
        Ok(reading)
    }

    fn step(&mut self) -> Result<(), JoinListError> {
        let before = self.at.take();
        let Some(next) = self.rest.next() else { return Ok(()) };
        if before.is_some_and(|before| before.bytes >= next.bytes) {
            return Err(JoinListError::Order(self.side));
        }
        *self.found.get_mut(usize::from(next.label)).ok_or(JoinListError::Label(self.side))? += 1;
        self.at = Some(next);
        Ok(())
    }

    /// Reads what is left and compares the numbers of points with those due.
    fn end(mut self, own: &[u64], added: u64) -> Result<(), JoinListError> {
        while self.at.is_some() {
            self.step()?;
        }
        for (label, (own, found)) in (0..=u16::MAX).zip(own.iter().zip(&self.found)) {
            let due = own.saturating_add(added);
            if *found != due {
                return Err(JoinListError::Count { side: self.side, label, due, found: *found });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::Epsilon;

    fn law() -> DummyLaw {
        DummyLaw::new(Epsilon::at_least(1.0).unwrap()).unwrap()
    }

    fn encoded(list: &[(u64, u16)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (point, label) in list {
            bytes.extend([0; 24]);
            bytes.extend(point.to_be_bytes());
            bytes.extend(label.to_be_bytes());
        }
        bytes
    }

    fn counted(
        left: &[(u64, u16)],
        own: &[u64],
        right: &[(u64, u16)],
        theirs: &[u64],
    ) -> Result<Vec<i64>, JoinListError> {
        let (left, right) = (encoded(left), encoded(right));
        let left = JoinList { points: points(ListSide::Left, &left)?, own_sizes: own };
        let right = JoinList { points: points(ListSide::Right, &right)?, own_sizes: theirs };
        Ok(count(&law(), left, right)?.counts().to_vec())
    }

    /// `points` of one label, and as many more as the dummies make of it, from 1,000 times `offset` on.
    fn filled(own: &[(u64, u16)], labels: u16, others: u16, offset: u64) -> Vec<(u64, u16)> {
        let each = u64::from(law().most()) * u64::from(others);
        let fill = (0..labels).flat_map(|label| {
            (0..each).map(move |number| (offset * 1_000_000 + u64::from(label) * 10_000 + number, label))
        });
        let mut list: Vec<_> = own.iter().copied().chain(fill).collect();
        list.sort_unstable();
        list
    }

    #[test]
    fn points_of_both_lists_are_counted_by_both_labels() {
        let left = filled(&[(1, 0), (2, 1), (3, 1), (4, 0)], 2, 3, 1);
        let right = filled(&[(2, 2), (3, 2), (4, 0), (5, 1)], 3, 2, 2);
        let found = counted(&left, &[2, 2], &right, &[1, 1, 2]).unwrap();
        assert_eq!(found, [1, 0, 0, 0, 0, 2].map(|met| met - i64::from(law().most())));
    }

    #[test]
    fn lists_of_which_one_ends_first_are_read_to_their_ends() {
        let left = filled(&[(900, 0)], 1, 1, 1);
        let right = filled(&[], 1, 1, 2);
        assert!(counted(&left, &[1], &right, &[0]).is_ok());
        let mut longer = right;
        longer.push((u64::MAX, 0));
        let due = JoinListError::Count { side: ListSide::Right, label: 0, due: 42, found: 43 };
        assert_eq!(counted(&left, &[1], &longer, &[0]), Err(due));
        longer.push((u64::MAX, 0));
        assert_eq!(counted(&left, &[1], &longer, &[0]), Err(JoinListError::Order(ListSide::Right)));
    }

    #[test]
    fn hostile_lists_are_refused_by_name() {
        let good = filled(&[(1, 0)], 1, 1, 1);
        let other = filled(&[], 1, 1, 2);
        let left = |list: &[(u64, u16)]| counted(list, &[1], &other, &[0]);
        assert!(left(&good).is_ok());
        let mut twice = good.clone();
        twice.insert(0, (1, 0));
        assert_eq!(left(&twice), Err(JoinListError::Order(ListSide::Left)));
        let mut swapped = good.clone();
        swapped.swap(0, 1);
        assert_eq!(left(&swapped), Err(JoinListError::Order(ListSide::Left)));
        let mut unknown = good.clone();
        unknown[0].1 = 1;
        assert_eq!(left(&unknown), Err(JoinListError::Label(ListSide::Left)));
        let short = Err(JoinListError::Count { side: ListSide::Left, label: 0, due: 43, found: 42 });
        assert_eq!(left(&good[1..]), short);
        let short = Err(JoinListError::Count { side: ListSide::Left, label: 0, due: 43, found: 0 });
        assert_eq!(left(&[]), short);
        let bytes = encoded(&good);
        assert!(
            points(ListSide::Left, &bytes[..bytes.len() - 1]).err() == Some(JoinListError::Truncated(ListSide::Left))
        );
    }

    #[test]
    fn a_label_moved_to_another_shows_in_the_sizes() {
        let mut left = filled(&[(1, 0), (2, 1)], 2, 1, 1);
        let right = filled(&[], 1, 2, 2);
        assert!(counted(&left, &[1, 1], &right, &[0]).is_ok());
        left[0].1 = 1;
        let short = JoinListError::Count { side: ListSide::Left, label: 0, due: 43, found: 42 };
        assert_eq!(counted(&left, &[1, 1], &right, &[0]), Err(short));
    }
}
