//! JSON of `/v2/members`. The fields have the order on the wire.

use serde::{Deserialize, Serialize};

/// Response to a list, ordered by numeric id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// All members.
    pub members: Vec<Member>,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Id in lower-case hexadecimal without leading zeros.
    pub id: String,
    /// Empty until the member has started.
    pub name: String,
    /// URLs at which other members reach it.
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// URLs at which clients reach it; empty until the member has started.
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

/// Error body of everything except `/v2/keys`, without a final newline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// Text of the error.
    pub message: String,
}

/// Required media type of a body.
pub const MEDIA_TYPE: &str = "application/json";
/// No leader is known (503).
pub const NO_LEADER_TEXT: &str = "During election";
/// No such resource (404).
pub const NOT_FOUND: &str = "Not found";
/// A URL belongs to another member (409).
pub const PEER_URL_EXISTS: &str = "membership: peerURL exists";
/// Another member has the id (409).
pub const ID_EXISTS: &str = "membership: ID exists";
/// The request failed; only the log has the reason (500).
pub const INTERNAL: &str = "Internal Server Error";
/// Prefix of the text of status 404; the id follows.
pub const NO_SUCH_MEMBER: &str = "No such member: ";
/// Prefix of the text of status 410; the id follows.
pub const REMOVED: &str = "Member permanently removed: ";
/// The body has no valid URL (400).
pub const NO_URLS: &str = "no valid URLs given";
