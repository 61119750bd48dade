//! A reference-counted pointer that compares by identity, so that comparing two states of the tree skips shared parts.

use std::{ops::Deref, sync::Arc};

/// A copy-on-write pointer: [`IdentityArc::make_mut`] copies only if another reference exists.
#[derive(Debug, Default)]
pub(crate) struct IdentityArc<T>(Arc<T>);

impl<T> IdentityArc<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: Clone> IdentityArc<T> {
    /// Returns the value for writing. Copies the value if it is shared.
    pub(crate) fn make_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> Clone for IdentityArc<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for IdentityArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> PartialEq for IdentityArc<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
