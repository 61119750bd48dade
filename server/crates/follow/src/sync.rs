//! Copies leases, users and roles, which the watch does not deliver.

use std::time::Instant;

use witan_machine::{
    follow::{FollowLeases, FollowOperation, FollowUsers},
    lease::{LeaseGrant, LeaseId},
};

use super::{copier::Copier, error::CopyError, fence::FenceCalls as _, seed};

const LEASES_PER_ENTRY: usize = 1000;

/// A member of the source spends at most 1/20 of its time on snapshots for users and roles.
const SNAPSHOT_SHARE: u32 = 20;

/// TTL in seconds for a lease that ended at the source while its keys were being copied.
const ENDED_LEASE_S: i64 = 60;

impl Copier<'_> {
    /// Abandons attempts that have fences at the source, then copies leases, users and roles. Records a fence of another
    /// cluster in `fenced_by`, because it makes a cut-over impossible. Fails if a cut-over has succeeded; the source then stays
    /// fenced.
    pub(super) async fn sync(&mut self) -> Result<(), CopyError> {
        let revision = self.calls.revision().await?;
        let recorded = self.calls.recorded().await?;
        let fences = self.calls.fences(&recorded).await?;
        let fenced = fences.any();
        self.calls.handle.update(|status| status.fenced = fenced);
        if !fences.own.is_empty() {
            self.abandon().await?;
        }
        let fenced_by = fences.check().err();
        if let Some(error) = &fenced_by
            && self.fenced_by != fenced_by
        {
            tracing::warn!(%error, "cannot cut over");
        }
        self.calls.handle.update(|status| {
            status.fenced = fenced_by.is_some();
            status.source_revision = revision;
        });
        self.fenced_by = fenced_by;
        self.sync_leases().await?;
        self.sync_users(false).await
    }

    /// Adds the source's new leases and removes leases that ended there and have no keys here.
    pub(super) async fn sync_leases(&self) -> Result<(), CopyError> {
        let there = self.calls.session.leases().await?;
        let (ended, new) = {
            let view = self.calls.node.read().await?;
            let kv = &view.machine.kv;
            let is_new = |lease: &&LeaseId| kv.leases().get(**lease).is_none();
            let new: Vec<LeaseId> = there.iter().filter(is_new).copied().collect();
            (kv.ended_leases(&there), new)
        };
        let mut granted = Vec::new();
        for lease in new {
            if let Some(ttl_s) = self.calls.session.granted_s(lease).await? {
                granted.push(LeaseGrant { id: lease.0, ttl_s });
            }
        }
        for granted in granted.chunks(LEASES_PER_ENTRY) {
            self.propose_leases(granted.to_vec(), &[]).await?;
        }
        for ended in ended.chunks(LEASES_PER_ENTRY) {
            self.propose_leases(Vec::new(), ended).await?;
        }
        Ok(())
    }

    /// Adds a lease of a copied key. The TTL is the one that the source granted, or [`ENDED_LEASE_S`] if the lease has ended on
    /// the source.
    pub(super) async fn add_lease(&self, lease: LeaseId) -> Result<(), CopyError> {
        let granted_s = self.calls.session.granted_s(lease).await?;
        let ttl_s = granted_s.unwrap_or(ENDED_LEASE_S);
        self.propose_leases(vec![LeaseGrant { id: lease.0, ttl_s }], &[])
            .await
    }

    /// Proposes one entry that adds the leases `granted` and removes the leases `ended`.
    async fn propose_leases(
        &self,
        granted: Vec<LeaseGrant>,
        ended: &[LeaseId],
    ) -> Result<(), CopyError> {
        let ended = ended.iter().map(|lease| lease.0).collect();
        let leases = FollowLeases { granted, ended };
        self.calls.propose(FollowOperation::Leases(leases)).await
    }

    /// Copies users and roles from a snapshot if their revision has changed. During a cut-over (`in_cut_over`), ignores the
    /// limit on snapshots, and also copies users and roles if the source does not report their revision.
    pub(super) async fn sync_users(&mut self, in_cut_over: bool) -> Result<(), CopyError> {
        let told = self.users_changed().await?;
        let is_due = in_cut_over || Instant::now() >= self.users_at;
        if !is_due || !told.map_or(in_cut_over, |(_, changed)| changed) {
            return Ok(());
        }
        let begun = Instant::now();
        let auth = seed::download_auth(&self.calls.session, self.calls.handle.folder()).await?;
        tracing::info!(revision = auth.revision(), "copying users and roles");
        let users = FollowUsers::of(&auth);
        self.calls.propose(FollowOperation::Users(users)).await?;
        self.auth_revision = told.map(|(revision, _)| revision);
        self.users_at = Instant::now() + begun.elapsed() * SNAPSHOT_SHARE;
        Ok(())
    }

    /// Returns the revision of the source's users and roles and whether it differs from the copied revision. Returns `None` if
    /// the source does not report the revision.
    pub(super) async fn users_changed(&self) -> Result<Option<(u64, bool)>, CopyError> {
        let told = self.calls.session.auth_revision().await?;
        let view = self.calls.node.read().await?;
        let copied = self.auth_revision.unwrap_or(view.machine.auth.revision());
        Ok(told.map(|revision| (revision, revision != copied)))
    }
}
