//! The files of records in which a session sorts and counts.

use super::MatchError;
use firebreak_store::RecordFile;
use zeroize::Zeroizing;

/// Bytes of records that are held while they are sorted. What is beyond goes to the disk.
pub(in crate::app) const SORTED_IN_MEMORY: usize = 64 * 1024 * 1024;

/// How many different beginnings of `prefix` bytes there are among sorted records.
pub(super) fn distinct(records: &RecordFile, prefix: usize) -> Result<u64, MatchError> {
    let mut reader = records.read()?;
    let (mut count, mut last) = (0_u64, Zeroizing::new(Vec::new()));
    while let Some(record) = reader.next()? {
        let beginning = record.get(..prefix).ok_or(MatchError::Failed)?;
        if last.as_slice() != beginning {
            count = count.saturating_add(1);
            last.clear();
            last.extend_from_slice(beginning);
        }
    }
    Ok(count)
}
