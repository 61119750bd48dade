//! The store of a location. It accesses only files directly in its directory.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, local::LocalFileSystem,
    path::Path,
};
use witan_api::backup::BackupRecord;
use witan_members::page::PAGE_BYTES_MAX;

use crate::{
    command::S3Flags,
    location::Location,
    name::{DATA, RECORD},
    reason::BackupError,
    s3, staged, store_error,
    upload::PartUpload,
};

pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    pub(crate) folder_url: String,
    /// The directory, if the store is a file system.
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub(crate) struct StoredFile {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) written_at: Timestamp,
}

impl Store {
    /// Opens a location for saving backups. Creates a missing directory.
    pub(crate) fn create(at: &Location, s3: &S3Flags) -> Result<Self, BackupError> {
        if let Location::Folder(folder) = at {
            let doing = format!("create {}", at.url());
            staged::create_folder(folder).map_err(|error| store_error::of_disk(&doing, &error))?;
        }
        Self::open(at, s3)
    }

    /// Opens a location. Fails if a directory does not exist; does not check a bucket.
    pub(crate) fn open(at: &Location, s3: &S3Flags) -> Result<Self, BackupError> {
        let folder_url = at.url();
        match at {
            Location::Bucket { bucket, prefix } => {
                let objects = Arc::new(s3::open(bucket, s3)?);
                let prefix = prefix.clone();
                Ok(Self { objects, prefix, folder_url, folder: None })
            }
            Location::Folder(folder) => {
                let files = LocalFileSystem::new_with_prefix(folder)
                    .map_err(|error| store_error::explain(&format!("open {folder_url}"), &error))?;
                // With fsync, a file gets its name only once its bytes are on the disk.
                let objects = Arc::new(files.with_fsync(true));
                let (prefix, folder) = (Path::default(), Some(folder.clone()));
                Ok(Self { objects, prefix, folder_url, folder })
            }
        }
    }

    /// Returns the store of the directory `of/test` in `objects`.
    #[cfg(test)]
    pub(crate) fn of_test(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            prefix: Path::from("of/test"),
            folder_url: "s3://test/of/test".to_owned(),
            folder: None,
        }
    }

    /// Returns the store of the directory `name` below this one. The directory need not exist.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self {
            objects: self.objects.clone(),
            prefix: self.path(name),
            folder_url: self.url(name),
            folder: self.folder.as_ref().map(|folder| folder.join(name)),
        }
    }

    /// Deletes partial files of `file` that killed processes left, and abandoned partial files of other files. Does nothing for
    /// an object store.
    pub(crate) fn sweep(&self, file: &str) {
        if let Some(folder) = &self.folder {
            staged::sweep(folder, file);
        }
    }

    /// Returns the URL of a file in this directory, for messages.
    pub(crate) fn url(&self, file: &str) -> String {
        format!("{}/{file}", self.folder_url)
    }

    /// Returns the path of a file in the object store.
    fn path(&self, file: &str) -> Path {
        self.prefix.clone().join(file)
    }

    /// Explains a store error. `verb` is the action on `file` that failed, such as `read`.
    pub(crate) fn failed(
        &self,
        verb: &str,
        file: &str,
        error: &object_store::Error,
    ) -> BackupError {
        store_error::explain(&format!("{verb} {}", self.url(file)), error)
    }

    /// Lists the files directly in the directory.
    pub(crate) async fn files(&self) -> Result<Vec<StoredFile>, BackupError> {
        let listed = self.objects.list_with_delimiter(Some(&self.prefix)).await;
        let doing = format!("list {}", self.folder_url);
        let listed = listed.map_err(|error| store_error::explain(&doing, &error))?;
        let file = |object: ObjectMeta| {
            let name = object.location.filename()?.to_owned();
            let written_at = Timestamp::from_second(object.last_modified.timestamp()).ok()?;
            Some(StoredFile { name, bytes: object.size, written_at })
        };
        Ok(listed.objects.into_iter().filter_map(file).collect())
    }

    /// Reads the record of a backup; `None` if the record does not exist or cannot be parsed.
    pub(crate) async fn record(&self, name: &str) -> Result<Option<BackupRecord>, BackupError> {
        let file = format!("{name}{RECORD}");
        let Some(json) = self.small_file(&file).await? else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&json);
        if let Err(error) = &record {
            tracing::warn!(url = self.url(&file), %error, "ignoring a file that is not a record of a backup");
        }
        Ok(record.ok())
    }

    /// Reads a file. Returns `None` if it does not exist, and no bytes if it is larger than [`PAGE_BYTES_MAX`].
    pub(crate) async fn small_file(&self, file: &str) -> Result<Option<Vec<u8>>, BackupError> {
        let failed = |error| self.failed("read", file, &error);
        let found = match self.objects.get(&self.path(file)).await {
            Ok(found) => found,
            Err(error) if store_error::is_missing_object(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if found.meta.size > PAGE_BYTES_MAX as u64 {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(found.bytes().await.map_err(failed)?.to_vec()))
    }

    /// Writes the record of a backup and replaces an existing record.
    pub(crate) async fn put_record(&self, record: &BackupRecord) -> Result<(), BackupError> {
        let (file, json) = record_file(record)?;
        self.put(&file, json).await
    }

    /// Writes the record of a backup only if the backup has none. Returns `false` if it has one. If the object store does not
    /// support conditional writes, checks for a record and then writes unconditionally. Does the same if a file system returns
    /// an error, because it may lack hard links.
    pub(crate) async fn put_new_record(&self, record: &BackupRecord) -> Result<bool, BackupError> {
        let (file, json) = record_file(record)?;
        match self.create_file(&file, json.clone()).await {
            Err(error) if self.folder.is_some() || store_error::is_unsupported(&error) => {
                tracing::warn!(%error, "failed to write the record conditionally; writing it after a check");
                if self.small_file(&file).await?.is_some() {
                    return Ok(false);
                }
                self.put(&file, json).await.map(|()| true)
            }
            created => created.map_err(|error| self.failed("write", &file, &error)),
        }
    }

    /// Writes a file and replaces an existing file.
    pub(crate) async fn put(&self, file: &str, bytes: Bytes) -> Result<(), BackupError> {
        let put = self.objects.put(&self.path(file), bytes.into()).await;
        put.map(drop)
            .map_err(|error| self.failed("write", file, &error))
    }

    /// Writes a file only if it does not exist. Returns `false` if it exists. Fails if the store refuses conditional writes.
    pub(crate) async fn put_new(&self, file: &str, bytes: Bytes) -> Result<bool, BackupError> {
        let created = self.create_file(file, bytes).await;
        created.map_err(|error| self.failed("write", file, &error))
    }

    /// Like [`Self::put_new`], but returns the error of the store unchanged.
    async fn create_file(&self, file: &str, bytes: Bytes) -> object_store::Result<bool> {
        let (path, options) = (self.path(file), PutOptions::from(PutMode::Create));
        match self.objects.put_opts(&path, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes partial files of earlier attempts and starts to upload a snapshot.
    pub(crate) async fn upload(&self, name: &str) -> Result<PartUpload, BackupError> {
        let file = format!("{name}{DATA}");
        self.sweep(&file);
        let begun = PartUpload::begin(self.objects.as_ref(), &self.path(&file)).await;
        begun.map_err(|error| self.failed("write", &file, &error))
    }

    /// Reads the metadata of a file; `None` if the file does not exist.
    pub(crate) async fn head(&self, file: &str) -> Result<Option<ObjectMeta>, BackupError> {
        match self.objects.head(&self.path(file)).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if store_error::is_missing_object(&error) => Ok(None),
            Err(error) => Err(self.failed("get the metadata of", file, &error)),
        }
    }

    /// Reads a whole file of any size. Fails if the file does not exist.
    pub(crate) async fn bytes(&self, file: &str) -> Result<Bytes, BackupError> {
        let read = async { self.objects.get(&self.path(file)).await?.bytes().await };
        read.await
            .map_err(|error| self.failed("read", file, &error))
    }

    /// Starts to read a file. Returns its size in bytes and its stream.
    pub(crate) async fn read(&self, file: &str) -> Result<(u64, FileBytes), BackupError> {
        match self.objects.get(&self.path(file)).await {
            Ok(found) => Ok((found.meta.size, found.into_stream())),
            Err(error) => Err(self.failed("read", file, &error)),
        }
    }

    /// Deletes a file. A missing file is not an error.
    pub(crate) async fn delete(&self, file: &str) -> Result<(), BackupError> {
        match self.objects.delete(&self.path(file)).await {
            Ok(()) => Ok(()),
            Err(error) if store_error::is_missing_object(&error) => Ok(()),
            Err(error) => Err(self.failed("delete", file, &error)),
        }
    }
}

/// Returns the file name and the JSON of a record.
fn record_file(record: &BackupRecord) -> Result<(String, Bytes), BackupError> {
    let mut json = serde_json::to_vec_pretty(record).map_err(BackupError::internal)?;
    json.push(b'\n');
    Ok((format!("{}{RECORD}", record.name), json.into()))
}

pub(crate) type FileBytes = BoxStream<'static, object_store::Result<Bytes>>;
