//! Uploads an object in parts, so that memory does not depend on its size.

use std::{mem, time::Duration};

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, path::Path};
use tokio::task::JoinSet;

/// Size of a part in bytes. S3 requires at least 5 MiB and accepts at most 10000 parts, so an object has at most 78 GiB. Tests
/// use small parts, because hashing is slow without optimization.
pub(crate) const PART_BYTES: usize = if cfg!(test) { 64 << 10 } else { 8 << 20 };

/// Maximum number of parts in flight. These parts and the part being filled bound the memory of an upload.
const PARTS_IN_FLIGHT: usize = 2;

/// Maximum duration of an abort. It is less than the 30 s that Kubernetes grants after SIGTERM.
const ABORT_TIMEOUT: Duration = Duration::from_secs(20);

/// An object that is being uploaded. The object exists only after `complete`; otherwise, the caller must `abort` the upload.
#[derive(Debug)]
pub(crate) struct PartUpload {
    upload: Box<dyn MultipartUpload>,
    in_flight: JoinSet<object_store::Result<()>>,
    part: Vec<u8>,
}

impl PartUpload {
    /// Starts a multipart upload of the object `to`.
    pub(crate) async fn begin(store: &dyn ObjectStore, to: &Path) -> object_store::Result<Self> {
        let upload = store.put_multipart(to).await?;
        Ok(Self {
            upload,
            in_flight: JoinSet::new(),
            part: Vec::with_capacity(PART_BYTES),
        })
    }

    /// Adds bytes. Waits while too many parts are in flight. Fails if sending an earlier part failed.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> object_store::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = later;
            if self.part.len() == PART_BYTES {
                self.wait_below(PARTS_IN_FLIGHT).await?;
                let part = mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
                self.send(part);
            }
        }
        Ok(())
    }

    /// Sends the last part, waits for all parts, and creates the object. Returns the ETag of the object; `None` if the store
    /// has no ETags.
    pub(crate) async fn complete(&mut self) -> object_store::Result<Option<String>> {
        if !self.part.is_empty() {
            self.wait_below(PARTS_IN_FLIGHT).await?;
            let part = mem::take(&mut self.part);
            self.send(part);
        }
        self.wait_below(1).await?;
        Ok(self.upload.complete().await?.e_tag)
    }

    /// Deletes the sent parts. Waits for parts in flight first, because a store keeps a part that arrives after the abort. Only
    /// logs a failure.
    pub(crate) async fn abort(mut self) {
        let aborted = async {
            while self.in_flight.join_next().await.is_some() {}
            self.upload.abort().await
        };
        match tokio::time::timeout(ABORT_TIMEOUT, aborted).await {
            Ok(Ok(())) => tracing::info!("aborted the upload and deleted its parts"),
            Ok(Err(error)) => tracing::warn!(%error, "failed to abort the upload"),
            Err(_) => tracing::warn!("failed to abort the upload: the store does not answer"),
        }
    }

    /// Starts to upload a part and does not wait for it.
    fn send(&mut self, part: Vec<u8>) {
        let sent = self.upload.put_part(Bytes::from(part).into());
        self.in_flight.spawn(sent);
    }

    /// Waits until fewer than `parts` parts are in flight. Fails if sending one of them failed.
    async fn wait_below(&mut self, parts: usize) -> object_store::Result<()> {
        while self.in_flight.len() >= parts
            && let Some(sent) = self.in_flight.join_next().await
        {
            sent??;
        }
        Ok(())
    }
}
