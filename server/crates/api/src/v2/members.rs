//! JSON of `/v2/members`. Fields have the order on the wire.

use serde::{Deserialize, Serialize};

/// The list of members, ordered by numeric ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// All members.
    pub members: Vec<Member>,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// ID in lower-case hexadecimal without leading zeros.
    pub id: String,
    /// Name; empty until the member has started.
    pub name: String,
    /// URLs for other members.
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// URLs for clients; empty until the member has started.
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

/// Error body of all v2 paths except `/v2/keys`, without a final newline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// Error message.
    pub message: String,
}

/// Media type that request bodies require.
pub const MEDIA_TYPE: &str = "application/json";
/// Error 503: no leader is known.
pub const NO_LEADER_TEXT: &str = "During election";
/// Error 404: no such resource.
pub const NOT_FOUND: &str = "Not found";
/// Error 409: another member has one of the URLs.
pub const PEER_URL_EXISTS: &str = "membership: peerURL exists";
/// Error 409: another member has the ID.
pub const ID_EXISTS: &str = "membership: ID exists";
/// Error 500: the request failed for a reason in the log.
pub const INTERNAL: &str = "Internal Server Error";
/// Error 404: the beginning of the message, which the ID follows.
pub const NO_SUCH_MEMBER: &str = "No such member: ";
/// Error 410: the beginning of the message, which the ID follows.
pub const REMOVED: &str = "Member permanently removed: ";
/// Error 400: the body contains no valid URL.
pub const NO_URLS: &str = "no valid URLs given";
