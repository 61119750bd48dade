//! Errors of `/v2/members` and other v2 paths.

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
/// Error 500: the request failed, and the log contains the reason.
pub const INTERNAL: &str = "Internal Server Error";
/// Error 404: the beginning of the message, which the ID follows.
pub const NO_SUCH_MEMBER: &str = "No such member: ";
/// Error 410: the beginning of the message, which the ID follows.
pub const REMOVED: &str = "Member permanently removed: ";
/// Error 400: the body contains no valid URL.
pub const NO_URLS: &str = "no valid URLs given";
