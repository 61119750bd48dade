//! The directory of a ring: foreign files, a full disk, and a client that reads more slowly than the ring advances.

use std::{fs, io::ErrorKind, os::unix::fs::symlink};

use super::*;
use crate::Download;

#[test]
fn files_that_the_ring_did_not_create_are_kept() {
    let folder = Folder::new("alone");
    fs::create_dir_all(folder.0.join("00000002.rec")).unwrap();
    for name in ["5.rec", "+5.rec", "data.txt"] {
        fs::write(folder.0.join(name), "text").unwrap();
    }
    symlink("/nowhere", folder.0.join("00000003.rec")).unwrap();
    // Start more often than the ring has files.
    (0..40).for_each(|_| run(folder.ring(1 << 20, false), 1));
    assert!(folder.0.join("00000042.rec").is_file());
    for name in ["00000002.rec", "5.rec", "+5.rec", "data.txt"] {
        assert!(folder.0.join(name).exists(), "{name}");
    }
    assert!(folder.0.join("00000003.rec").is_symlink());
}

#[test]
fn nothing_is_written_to_a_full_disk() {
    let folder = Folder::new("low");
    let is_low = Box::new(|| true);
    let refused = Ring::open(folder.0.clone(), 1 << 20, head(false), is_low);
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::StorageFull);
    assert!(!folder.0.exists());
}

#[test]
fn a_client_that_is_slower_than_the_ring_gets_an_error() {
    let folder = Folder::new("overtaken");
    (0..3).for_each(|_| run(folder.ring(1 << 20, false), 1));
    let gone = |removed: usize, after: usize| {
        let mut download = Download::open(&folder.0).unwrap();
        (0..after).for_each(|_| assert!(download.next_chunk().unwrap().is_some()));
        let path = folder.files().remove(removed);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let next = download.next_chunk().map(|chunk| chunk.is_some());
        fs::write(path, bytes).unwrap();
        next.map_err(|error| error.kind())
    };
    assert_eq!(gone(1, 1), Err(ErrorKind::NotFound));
    assert_eq!(
        gone(0, 0),
        Ok(true),
        "before the first byte nothing is lost"
    );
}
