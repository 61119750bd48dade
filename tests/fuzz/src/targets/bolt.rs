//! bbolt files: reading terminates for any page contents, and data survives being written and read again.

use std::{fs, path::PathBuf, thread};

use witan_bolt::{
    BoltFile, Layout, Writer,
    page::{METAS, MetaPage, PAGE_BYTES},
};

use crate::input::Input;

const PAGES_MAX: usize = 16;

type Buckets = Vec<(Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>)>;

/// The chunks are the beginnings of the pages after the meta pages; the first one is the root. The target generates the meta
/// pages, because their checksums would reject any other input.
pub(super) fn file(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let chunks: Vec<&[u8]> = std::iter::from_fn(|| input.chunk())
        .take(PAGES_MAX)
        .collect();
    let meta = MetaPage {
        root: METAS,
        free: u64::MAX,
        end: METAS + chunks.len() as u64,
        transaction: 1,
        page_bytes: PAGE_BYTES as u64,
    };
    let mut whole = [meta.page(), meta.page()].concat();
    for chunk in chunks {
        let begin = whole.len();
        whole.extend_from_slice(&chunk[..chunk.len().min(PAGE_BYTES)]);
        whole.resize(begin + PAGE_BYTES, 0);
    }
    let Some(buckets) = read(&whole) else {
        return;
    };
    let fill = |writer: &mut Writer<'_>| {
        buckets.iter().try_for_each(|(name, records)| {
            writer.bucket(name)?;
            let mut records = records.iter();
            records.try_for_each(|(key, value)| writer.record(key, value))
        })
    };
    let layout = Layout::of(fill).expect("counting bytes does not fail");
    let mut again = Vec::new();
    let mut out = |bytes: &[u8]| {
        again.extend_from_slice(bytes);
        Ok(())
    };
    layout.write(&mut out, fill).expect("memory is writable");
    assert_eq!(again.len() as u64, layout.bytes());
    assert_eq!(read(&again), Some(buckets), "read(write(x))");
}

/// Returns all buckets with their records, or `None` if the file is invalid.
fn read(bytes: &[u8]) -> Option<Buckets> {
    let path = path();
    fs::write(&path, bytes).expect("the temporary folder is writable");
    let file = BoltFile::open(&path, bytes.len() as u64).ok()?;
    let mut found = Buckets::new();
    for (name, bucket) in file.buckets().ok()? {
        let mut records = Vec::new();
        let mut size = 0;
        let walked = file.records(&bucket, &mut |key, value| {
            size += key.len() + value.len();
            records.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        assert!(size <= bytes.len(), "records are not larger than the file");
        walked.ok()?;
        found.push((name, records));
    }
    Some(found)
}

fn path() -> PathBuf {
    let name = format!(
        "witan-fuzz-bolt-{}-{:?}",
        std::process::id(),
        thread::current().id()
    );
    std::env::temp_dir().join(name)
}
