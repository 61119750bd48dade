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

/// Returns the message of a TLS error.
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

/// Returns the message of an error of a stream with or without TLS.
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
    use super::*;

    #[test]
    fn names_are_named_on_both_sides() {
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let expected = "10.0.0.1".try_into().unwrap();
        let error = CertificateError::NotValidForNameContext { expected, presented: names.into() };
        assert_eq!(
            of(&error.into()),
            "x509: certificate is valid for 127.0.0.1, localhost, not 10.0.0.1"
        );
        assert_eq!(
            mismatch(&[], "member"),
            "x509: certificate is not valid for any names, but wanted to match member"
        );
    }

    #[test]
    fn alerts_are_found_in_errors_of_streams() {
        let alert = Error::AlertReceived(AlertDescription::BadCertificate);
        let error = io::Error::new(io::ErrorKind::InvalidData, alert);
        assert_eq!(of_io(&error), "remote error: tls: bad certificate");
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(of_io(&reset), reset.to_string());
    }
}
