//! Steps and waits as text for events, `status.operation`, `status.phase` and logs.

use super::{MemberId, Observed, Ordinal};

/// The text of a step or a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The reason of an event and the type of the operation, in CamelCase.
    pub reason: &'static str,
    /// Name of the member concerned.
    pub member: Option<String>,
    /// The message, one sentence.
    pub message: String,
    /// Whether a person should act on the notice.
    pub warning: bool,
}

/// Builds notices about a cluster. `{member}` in a text is replaced by the name of the member concerned.
pub(super) struct Notices<'a> {
    pub(super) cluster: &'a str,
    pub(super) seen: &'a Observed,
    pub(super) warning: bool,
}

impl Notices<'_> {
    /// Creates a notice about the whole cluster.
    pub(super) fn all(&self, reason: &'static str, text: impl Into<String>) -> Notice {
        let (member, message, warning) = (None, text.into(), self.warning);
        Notice { reason, member, message, warning }
    }

    /// Creates a notice about the member of an ordinal.
    pub(super) fn pod(&self, at: Ordinal, reason: &'static str, text: impl Into<String>) -> Notice {
        self.about(format!("{}-{at}", self.cluster), reason, text.into())
    }

    pub(super) fn member(
        &self,
        id: MemberId,
        reason: &'static str,
        text: impl Into<String>,
    ) -> Notice {
        self.about(self.name_of(id), reason, text.into())
    }

    fn about(&self, member: String, reason: &'static str, text: String) -> Notice {
        let (message, warning) = (text.replace("{member}", &member), self.warning);
        Notice { reason, member: Some(member), message, warning }
    }

    pub(super) fn name_of(&self, id: MemberId) -> String {
        self.seen.name_of(self.cluster, id)
    }
}
