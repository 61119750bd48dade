//! Flags of TLS, browsers and auth.

use super::{Flag, FlagKind, accepted, supported};
use FlagKind::{Bool, Integer, Text};

const NO_INNER_CLIENT: &str = "the member never connects to its own client port";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("cert-file", Text, "", "Certificate of the client port.", supported("both_listeners_at_once")).yaml("client-transport-security.cert-file"),
    Flag::new("key-file", Text, "", "Key of the client port.", supported("both_listeners_at_once")).yaml("client-transport-security.key-file"),
    Flag::new("client-cert-file", Text, "", "Certificate with which this member calls its own client port.", accepted(NO_INNER_CLIENT)).yaml("client-transport-security.client-cert-file"),
    Flag::new("client-key-file", Text, "", "Key with which this member calls its own client port.", accepted(NO_INNER_CLIENT)).yaml("client-transport-security.client-key-file"),
    Flag::new("client-cert-auth", Bool, "false", "Whether clients must present a certificate.", supported("only_clients_of_the_authority_are_served")).yaml("client-transport-security.client-cert-auth"),
    Flag::new("trusted-ca-file", Text, "", "Certificate authority of clients.", supported("only_clients_of_the_authority_are_served")).yaml("client-transport-security.trusted-ca-file"),
    Flag::new("client-crl-file", Text, "", "Certificate revocation list for clients.", supported("revoked_certificates_are_refused_on_every_listener")).yaml("client-transport-security.crl-file"),
    Flag::new("client-cert-allowed-hostname", Text, "", "Host names that a client's certificate must have.", supported("names_of_clients")).yaml("client-transport-security.allowed-hostname"),
    Flag::new("auto-tls", Bool, "false", "Whether to create a self-signed certificate for the client port.", supported("auto_tls_makes_a_certificate_and_keeps_it")).yaml("client-transport-security.auto-tls"),
    Flag::new("peer-cert-file", Text, "", "Certificate of the peer port.", supported("members_speak_tls_and_nobody_else_is_heard")).yaml("peer-transport-security.cert-file"),
    Flag::new("peer-key-file", Text, "", "Key of the peer port.", supported("members_speak_tls_and_nobody_else_is_heard")).yaml("peer-transport-security.key-file"),
    Flag::new("peer-client-cert-file", Text, "", "Client certificate of this member for connections to others.", supported("names_and_revocations_of_members")).yaml("peer-transport-security.client-cert-file"),
    Flag::new("peer-client-key-file", Text, "", "Key of that certificate.", supported("names_and_revocations_of_members")).yaml("peer-transport-security.client-key-file"),
    Flag::new("peer-client-cert-auth", Bool, "false", "Whether other members must present a certificate.", supported("members_speak_tls_and_nobody_else_is_heard")).yaml("peer-transport-security.client-cert-auth"),
    Flag::new("peer-trusted-ca-file", Text, "", "Certificate authority of members.", supported("members_speak_tls_and_nobody_else_is_heard")).yaml("peer-transport-security.trusted-ca-file"),
    Flag::new("peer-crl-file", Text, "", "Certificate revocation list for members.", supported("names_and_revocations_of_members")).yaml("peer-transport-security.crl-file"),
    Flag::new("peer-cert-allowed-cn", Text, "", "Common names that a member's certificate must have.", supported("names_and_revocations_of_members")).yaml("peer-transport-security.allowed-cn"),
    Flag::new("peer-cert-allowed-hostname", Text, "", "Host names that a member's certificate must have.", supported("names_and_revocations_of_members")).yaml("peer-transport-security.allowed-hostname"),
    Flag::new("peer-auto-tls", Bool, "false", "Whether to create a self-signed certificate for the peer port.", supported("members_make_their_own_certificates")).yaml("peer-transport-security.auto-tls"),
    Flag::new("peer-skip-client-san-verification", Bool, "false", "Whether a connecting member's certificate can lack the member's address.", supported("names_and_revocations_of_members")).yaml("peer-transport-security.skip-client-san-verification"),
    Flag::new("self-signed-cert-validity", Integer, "1", "Years for which self-signed certificates are valid.", supported("auto_tls_makes_a_certificate_and_keeps_it")),
    Flag::new("cipher-suites", Text, "", "Cipher suites of TLS.", supported("cipher_suites")),
    Flag::new("tls-min-version", Text, "TLS1.2", "Lowest version of TLS.", supported("versions_of_tls")),
    Flag::new("tls-max-version", Text, "", "Highest version of TLS.", supported("versions_of_tls")),
    Flag::new("cors", Text, "*", "Origins whose pages can call this server, comma-separated; * for all.", supported("browsers_and_hosts")),
    Flag::new("host-whitelist", Text, "*", "Host names by which clients can call this server, comma-separated; * for all.", supported("browsers_and_hosts")),
    Flag::new("auth-token", Text, "simple", "Kind of tokens for v3 auth: simple, or jwt,sign-method=M,pub-key=FILE,priv-key=FILE,ttl=10m.", supported("signed_tokens")),
    Flag::new("auth-token-ttl", Integer, "300", "Seconds for which a simple token is valid.", supported("auth_settings")),
    Flag::new("bcrypt-cost", Integer, "10", "Cost of hashing a password.", supported("auth_settings")),
];
