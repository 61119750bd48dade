//! Pages of small files of bbolt.

use witan_bolt::{
    Layout, Writer,
    page::{METAS, PAGE_BYTES},
};
use witan_fuzz::input::push_chunk;

use super::Corpus;

/// The bytes of a page that the corpus keeps.
const PAGE_BYTES_MAX: usize = 400;

pub(crate) fn add(corpus: &mut Corpus) {
    let files: [(&str, &[(&str, usize)]); 3] = [
        ("empty", &[]),
        ("small", &[("key", 3), ("meta", 1)]),
        ("none", &[("key", 0)]),
    ];
    for (name, buckets) in files {
        let fill = |writer: &mut Writer<'_>| {
            buckets.iter().try_for_each(|(bucket, records)| {
                writer.bucket(bucket.as_bytes())?;
                (0..*records).try_for_each(|at| writer.record(&[b'k', at as u8], b"value"))
            })
        };
        let layout = Layout::of(fill).expect("nothing takes no bytes");
        let mut file = Vec::new();
        let mut out = |bytes: &[u8]| {
            file.extend_from_slice(bytes);
            Ok(())
        };
        layout.write(&mut out, fill).expect("memory takes it");
        corpus.insert(("bolt", name.into()), input(&file));
    }
}

/// The pages behind the meta pages. The root, which is the last one, changes places with the empty
/// list of free pages, the first.
fn input(file: &[u8]) -> Vec<u8> {
    let mut pages: Vec<Vec<u8>> = file.chunks(PAGE_BYTES).map(<[u8]>::to_vec).collect();
    let (first, last) = (METAS as usize, pages.len() - 1);
    pages.swap(first, last);
    pages[first][..8].copy_from_slice(&METAS.to_le_bytes());
    let mut out = Vec::new();
    for page in &pages[first..] {
        push_chunk(&mut out, &page[..PAGE_BYTES_MAX]);
    }
    out
}
