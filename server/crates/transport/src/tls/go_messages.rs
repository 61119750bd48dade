//! Messages of TLS errors as Go's libraries word them, because operators of etcd search for them.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Go's messages for alerts about certificates and versions.
const ALERTS: [(AlertDescription, &str); 9] = [
    (AlertDescription::BadCertificate, "bad certificate"),
    (
        AlertDescription::UnsupportedCertificate,
        "unsupported certificate",
    ),
    (AlertDescription::CertificateRevoked, "revoked certificate"),
    (AlertDescription::CertificateExpired, "expired certificate"),
    (AlertDescription::CertificateUnknown, "unknown certificate"),
    (AlertDescription::UnknownCA, "unknown certificate authority"),
    (
        AlertDescription::CertificateRequired,
        "certificate required",
    ),
    (AlertDescription::HandshakeFailure, "handshake failure"),
    (
        AlertDescription::ProtocolVersion,
        "protocol version not supported",
    ),
];

/// Returns the message of a TLS error: Go's message if it is known, otherwise rustls's.
pub(super) fn of(error: &Error) -> String {
    if let Error::AlertReceived(alert) = error
        && let Some((_, text)) = ALERTS.iter().find(|(known, _)| known == alert)
    {
        return format!("remote error: tls: {text}");
    }
    if let Error::InvalidCertificate(reason) = error {
        if let CertificateError::NotValidForNameContext { expected, presented } = reason {
            return mismatch(presented, &expected.to_str());
        }
        if *reason == CertificateError::UnknownIssuer {
            return "x509: certificate signed by unknown authority".to_owned();
        }
    }
    error.to_string()
}

/// Returns the message of an I/O error on a stream with or without TLS. For a TLS error inside it, Go's message is used if it
/// is known.
pub fn of_io(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.map_or_else(|| error.to_string(), of)
}

/// Returns the message for a certificate with these names that is not valid for `wanted`.
pub(super) fn mismatch(names: &[String], wanted: &str) -> String {
    match names {
        [] => {
            format!("x509: certificate is not valid for any names, but wanted to match {wanted}")
        }
        names => format!(
            "x509: certificate is valid for {}, not {wanted}",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_error_says_that_a_certificate_has_no_names() {
        assert_eq!(
            super::mismatch(&[], "member"),
            "x509: certificate is not valid for any names, but wanted to match member"
        );
    }
}
