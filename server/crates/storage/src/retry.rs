//! The log's files on a disk that may be full: a write that finds no space deletes the ballast and
//! is repeated once. If it fails again, the engine reports the error.

use std::{
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use raft_engine::env::{FileSystem, Permission, WriteExt};

use super::{files::make_private, ledger::Ledger};

/// The engine's file system, with writes that are repeated after the ballast is deleted.
pub(super) struct Retrying<F> {
    pub(super) files: F,
    pub(super) ledger: Arc<Ledger>,
}

/// Writer of one file, whose writes are repeated.
pub(super) struct Writer<W> {
    inner: W,
    ledger: Arc<Ledger>,
}

/// Runs `step`; if it finds no space, deletes the ballast and runs it once more.
fn retried<T>(ledger: &Ledger, mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match step() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            let _turn = ledger.make_room();
            step()
        }
        done => done,
    }
}

impl<F: FileSystem> FileSystem for Retrying<F> {
    type Handle = F::Handle;
    type Reader = F::Reader;
    type Writer = Writer<F::Writer>;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<F::Handle> {
        let made = retried(&self.ledger, || self.files.create(&path))?;
        // a file system without modes was warned of at the start
        let _ = make_private(path.as_ref());
        Ok(made)
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<F::Handle> {
        self.files.open(path, permission)
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.files.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        retried(&self.ledger, || self.files.rename(&from, &to))
    }

    fn new_reader(&self, handle: Arc<F::Handle>) -> io::Result<F::Reader> {
        self.files.new_reader(handle)
    }

    fn new_writer(&self, handle: Arc<F::Handle>) -> io::Result<Self::Writer> {
        Ok(Writer {
            inner: self.files.new_writer(handle)?,
            ledger: self.ledger.clone(),
        })
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retried(&self.ledger, || self.inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Seek> Seek for Writer<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl<W: WriteExt> WriteExt for Writer<W> {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        self.inner.truncate(offset)
    }

    /// Reserves space in the file, without a second try: the engine continues if that fails.
    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        self.inner.allocate(offset, size)
    }
}
