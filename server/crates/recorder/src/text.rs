//! Describes effects in words.

use std::fmt::Write as _;

use witan_machine::member::MemberId;
use witan_replica::replica::{Replica, Role};

use crate::{
    effects::REPLIES,
    format::{AppliedEntry, Effect, EffectKind, Now, Outcome, Persisted, Sent},
};

impl Effect {
    /// Returns a description of the effect with its kind, terms, indexes and lengths.
    pub fn text(&self) -> String {
        let Some(kind) = &self.kind else {
            return "an effect from a later release".into();
        };
        match kind {
            EffectKind::Install(place) => {
                format!("install snapshot {}/{}", place.index, place.term)
            }
            EffectKind::Persist(persisted) => persisted_text(persisted),
            EffectKind::Send(sent) => sent_text(sent),
            EffectKind::ExecuteHere(index) => format!("execute {index} here"),
            EffectKind::ExecuteElsewhere(index) => format!("execute {index} elsewhere"),
            EffectKind::Apply(AppliedEntry { index, ticket: None, .. }) => format!("apply {index}"),
            EffectKind::Apply(AppliedEntry { index, ticket: Some(ticket), .. }) => {
                format!("apply {index} for request {ticket}")
            }
            EffectKind::Readable(read) => {
                format!("read for request {} at {}", read.ticket, read.index)
            }
            EffectKind::Answer(answer) => {
                format!("answer request {}: {}", answer.ticket, answer.text)
            }
            EffectKind::Now(now) => status_text(now),
            EffectKind::CutLog(below) => format!("cut the log below {below}"),
            EffectKind::Dropped(what) => format!("drop a message {what}"),
            EffectKind::End(why) => format!("end: {why}"),
        }
    }

    /// Returns a description of a command's outcome, or an empty string for any other effect.
    pub fn outcome(&self) -> String {
        let Some(EffectKind::Apply(AppliedEntry { outcome: Some(outcome), .. })) = &self.kind
        else {
            return String::new();
        };
        let Outcome { reply, revision, hashed } = outcome;
        let reply = REPLIES.get(*reply as usize).or(REPLIES.last());
        let hashed = if *hashed { ", to be hashed" } else { "" };
        format!(
            "{}, revision {revision}{hashed}",
            reply.copied().unwrap_or_default()
        )
    }

    /// Returns the effect without the part that depends on keys and nodes.
    pub(crate) fn without_outcome(&self) -> Self {
        let mut bare = self.clone();
        if let Some(EffectKind::Apply(applied)) = &mut bare.kind {
            applied.outcome = None;
        }
        bare
    }
}

/// Formats what a turn persisted.
fn persisted_text(persisted: &Persisted) -> String {
    let mut text = String::from("persist");
    if persisted.entries > 0 {
        let Persisted { first, entries, term, bytes, .. } = persisted;
        let last = first.saturating_add(entries - 1);
        let _ = write!(
            text,
            " entries {first}..={last} of term {term}, {bytes} bytes,"
        );
    }
    if let Some(state) = &persisted.hard_state {
        let _ = write!(text, " hard state {},", Replica::describe_hard_state(state));
    }
    text + if persisted.synced {
        " synced"
    } else {
        " not synced"
    }
}

/// Formats a message that a turn sent.
fn sent_text(sent: &Sent) -> String {
    let Sent { to, bytes, head, other, state } = sent;
    let mut text = format!("send to {}: ", MemberId(*to));
    let _ = match head {
        Some(head) => write!(text, "{head}"),
        None => write!(text, "{other}"),
    };
    let _ = write!(text, ", {bytes} bytes");
    if let Some(state) = state {
        let _ = write!(text, " with state {}/{}", state.index, state.term);
    }
    text
}

/// Formats a status that differs from the previous one.
fn status_text(now: &Now) -> String {
    let Now { role, term, leader, committed, applied } = now;
    let leader = match MemberId(*leader) {
        MemberId::NONE => "none".into(),
        leader => leader.to_string(),
    };
    let role = Role::try_from(*role);
    let role = role.map_or("role from a later release".into(), |role| {
        format!("{role:?}")
    });
    format!("now {role} of term {term}, leader {leader}, committed {committed}, applied {applied}")
}
