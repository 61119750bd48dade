//! Flags of TLS, browsers and auth.

use super::{Flag, FlagKind, FlagStatus};
use FlagKind::{Bool, Integer, Text};
use FlagStatus::{Accepted, Supported};

const NO_INNER_CLIENT: &str = "a member never connects to its own client port";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("cert-file", Text, "", "TLS certificate file for client traffic.", Supported("both_listeners_at_once")).yaml("client-transport-security.cert-file"),
    Flag::new("key-file", Text, "", "TLS private key file for client traffic.", Supported("both_listeners_at_once")).yaml("client-transport-security.key-file"),
    Flag::new("client-cert-file", Text, "", "Certificate file for this member's connections to its own client port.", Accepted(NO_INNER_CLIENT)).yaml("client-transport-security.client-cert-file"),
    Flag::new("client-key-file", Text, "", "Key file for this member's connections to its own client port.", Accepted(NO_INNER_CLIENT)).yaml("client-transport-security.client-key-file"),
    Flag::new("client-cert-auth", Bool, "false", "Requires clients to present a certificate.", Supported("only_clients_of_the_authority_are_served")).yaml("client-transport-security.client-cert-auth"),
    Flag::new("trusted-ca-file", Text, "", "CA certificate file for verifying clients.", Supported("only_clients_of_the_authority_are_served")).yaml("client-transport-security.trusted-ca-file"),
    Flag::new("client-crl-file", Text, "", "Certificate revocation list file for client certificates.", Supported("revoked_certificates_are_refused_on_every_listener")).yaml("client-transport-security.crl-file"),
    Flag::new("client-cert-allowed-hostname", Text, "", "Allowed host names in client certificates.", Supported("names_of_clients")).yaml("client-transport-security.allowed-hostname"),
    Flag::new("auto-tls", Bool, "false", "Creates a self-signed certificate for the client port.", Supported("auto_tls_creates_a_certificate_and_keeps_it")).yaml("client-transport-security.auto-tls"),
    Flag::new("peer-cert-file", Text, "", "TLS certificate file for peer traffic.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.cert-file"),
    Flag::new("peer-key-file", Text, "", "TLS private key file for peer traffic.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.key-file"),
    Flag::new("peer-client-cert-file", Text, "", "Client certificate file for connections to other members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.client-cert-file"),
    Flag::new("peer-client-key-file", Text, "", "Key file of --peer-client-cert-file.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.client-key-file"),
    Flag::new("peer-client-cert-auth", Bool, "false", "Requires other members to present a certificate.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.client-cert-auth"),
    Flag::new("peer-trusted-ca-file", Text, "", "CA certificate file for verifying other members.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.trusted-ca-file"),
    Flag::new("peer-crl-file", Text, "", "Certificate revocation list file for certificates of members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.crl-file"),
    Flag::new("peer-cert-allowed-cn", Text, "", "Allowed common names in certificates of members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.allowed-cn"),
    Flag::new("peer-cert-allowed-hostname", Text, "", "Allowed host names in certificates of members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.allowed-hostname"),
    Flag::new("peer-auto-tls", Bool, "false", "Creates a self-signed certificate for the peer port.", Supported("members_create_their_own_certificates")).yaml("peer-transport-security.auto-tls"),
    Flag::new("peer-skip-client-san-verification", Bool, "false", "Does not verify that the certificate of a connecting member contains the member's address.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.skip-client-san-verification"),
    Flag::new("self-signed-cert-validity", Integer, "1", "Validity of self-signed certificates in years.", Supported("auto_tls_creates_a_certificate_and_keeps_it")),
    Flag::new("cipher-suites", Text, "", "TLS cipher suites, comma-separated.", Supported("cipher_suites")),
    Flag::new("tls-min-version", Text, "TLS1.2", "Minimum TLS version.", Supported("versions_of_tls")),
    Flag::new("tls-max-version", Text, "", "Maximum TLS version.", Supported("versions_of_tls")),
    Flag::new("cors", Text, "*", "Allowed origins for cross-origin requests, comma-separated; * allows all origins.", Supported("browsers_and_hosts")),
    Flag::new("host-whitelist", Text, "*", "Allowed host names in client requests, comma-separated; * allows all host names.", Supported("browsers_and_hosts")),
    Flag::new("auth-token", Text, "simple", "Type of v3 auth tokens: simple, or jwt,sign-method=M,pub-key=FILE,priv-key=FILE,ttl=10m.", Supported("signed_tokens")),
    Flag::new("auth-token-ttl", Integer, "300", "Lifetime of a simple token in seconds.", Supported("auth_settings")),
    Flag::new("bcrypt-cost", Integer, "10", "Cost of the bcrypt algorithm for password hashes.", Supported("auth_settings")),
];
