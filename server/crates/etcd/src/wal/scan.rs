//! Reads segments record by record, verifies checksums, and distinguishes a torn write at the end of the log from damage.

use std::{fs, path::Path};

use bytes::Bytes;

use super::{
    super::{EtcdError, raft_messages::RecordKind},
    Segment,
    frame::{self, LENGTH_BYTES},
};

/// The position of a record, for errors.
pub(super) struct Place<'a> {
    path: &'a Path,
    offset: usize,
}

impl Place<'_> {
    /// Returns the error for damage at this position. `reason` completes the error message.
    pub(super) fn damaged(&self, reason: &str) -> EtcdError {
        EtcdError::Damaged {
            path: self.path.into(),
            offset: self.offset as u64,
            what: reason.into(),
        }
    }
}

/// A callback for each record: its position, kind and data.
pub(super) type VisitRecord<'a> =
    dyn FnMut(&Place<'_>, RecordKind, Bytes) -> Result<(), EtcdError> + 'a;

/// Calls `visit` with each record of the segments. Returns the size in bytes of a torn write at the end. Fails if a segment
/// cannot be read or a record is damaged.
pub(super) fn scan(segments: &[Segment], visit: &mut VisitRecord<'_>) -> Result<u64, EtcdError> {
    // The first record contains the checksum of the data before the first segment. This checksum cannot be verified.
    let mut crc = None;
    let mut torn = 0;
    for (position, Segment { path, .. }) in segments.iter().enumerate() {
        let bytes = Bytes::from(fs::read(path).map_err(|error| EtcdError::io(path, error))?);
        let offset = scan_segment(path, &bytes, &mut crc, visit)?;
        let place = Place { path, offset };
        torn = bytes[offset..]
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last as u64 + 1);
        if torn == 0 {
            continue;
        }
        if position + 1 < segments.len() {
            return Err(place.damaged("a record is incomplete, and another segment follows"));
        }
        if let Some(next) = frame::find(&bytes, offset + LENGTH_BYTES) {
            let what = format!("a record is incomplete, and another record follows at byte {next}");
            return Err(place.damaged(&what));
        }
    }
    Ok(torn)
}

/// Visits the records of a segment. Returns the offset after the last record, where a torn write can follow. Fails if a record
/// is damaged and a torn write cannot be the cause. Updates `crc`, the checksum of all data read so far, which is `None` before
/// the first record.
fn scan_segment(
    path: &Path,
    bytes: &Bytes,
    crc: &mut Option<u32>,
    visit: &mut VisitRecord<'_>,
) -> Result<usize, EtcdError> {
    let mut offset = 0;
    while let Some(frame) = frame::read_frame(bytes, offset) {
        let place = Place { path, offset };
        let invalid = |what| match frame.is_torn(offset) {
            true => Ok(offset),
            false => Err(place.damaged(what)),
        };
        let Some((kind, record)) = frame.decode() else {
            return invalid("it is not a log record");
        };
        let sum = match (kind, *crc) {
            (RecordKind::Crc, None) => record.crc,
            (_, None) => return invalid("the segment does not start with a checksum"),
            (_, Some(before)) => crc32c::crc32c_append(before, &record.data),
        };
        if sum != record.crc {
            return invalid("the record fails its checksum");
        }
        *crc = Some(sum);
        visit(&place, kind, record.data)?;
        offset = frame.end;
    }
    Ok(offset)
}
