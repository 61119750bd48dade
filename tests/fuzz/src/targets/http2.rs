//! The HTTP/2 code: header blocks compared with h2's decoder, and whole conversations with a clock, a budget and a shutdown.
//! The checks are in `tests/http2/src/{blocks,conversation}.rs`.

pub(super) fn hpack(bytes: &[u8]) {
    witan_http2_tests::blocks::compare(bytes);
}

pub(super) fn connection(bytes: &[u8]) {
    witan_http2_tests::conversation::hold(bytes);
}
