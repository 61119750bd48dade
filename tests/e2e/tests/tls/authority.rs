//! A CA for tests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use x509_cert::der::pem::{self, LineEnding};

const MADE: &str = "a certificate and its file can be made";

static SERIALS: AtomicU64 = AtomicU64::new(0x0100_0001);

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) serial: u64,
}

impl Pair {
    /// Writes a certificate and its key in DER to files in `dir`.
    fn write(dir: &Path, name: &str, serial: u64, cert: &[u8], key: &[u8]) -> Self {
        let file = |suffix: &str| dir.join(format!("{name}-{serial:x}.{suffix}"));
        let pair = Self { cert: file("crt"), key: file("key"), serial };
        fs::write(&pair.cert, text("CERTIFICATE", cert)).expect(MADE);
        fs::write(&pair.key, text("PRIVATE KEY", key)).expect(MADE);
        pair
    }

    /// Copies this certificate and its key over the files of `other`.
    pub(crate) fn replace(&self, other: &Self) {
        fs::copy(&self.cert, &other.cert).expect(MADE);
        fs::copy(&self.key, &other.key).expect(MADE);
    }

    pub(crate) fn paths(&self) -> [String; 2] {
        [&self.cert, &self.key].map(|path| path.display().to_string())
    }
}

pub(crate) fn text(label: &str, der: &[u8]) -> String {
    pem::encode_string(label, LineEnding::LF, der).expect(MADE)
}

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect(MADE);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::for_hosts(name, &[])
    }

    /// Creates a CA whose own certificate is valid for these hosts.
    pub(crate) fn for_hosts(name: &str, hosts: &[&str]) -> Self {
        let mut params = params(name, hosts);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect(MADE)).expect(MADE))
    }

    pub(crate) fn write(&self, path: &Path) -> String {
        fs::write(path, text("CERTIFICATE", self.0.der())).expect(MADE);
        path.display().to_string()
    }

    pub(crate) fn own(&self, dir: &Path) -> Pair {
        let key = self.0.key().serialized_der();
        Pair::write(dir, "own", 0, self.0.der(), key)
    }

    /// Issues a certificate with the common name `name` for these hosts, and writes it and its key to `dir`.
    pub(crate) fn issue(&self, dir: &Path, name: &str, hosts: &[&str]) -> Pair {
        let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
        let mut params = params(name, hosts);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect(MADE);
        let cert = params.signed_by(&key, &self.0).expect(MADE);
        Pair::write(dir, name, serial, cert.der(), key.serialized_der())
    }

    /// Returns a revocation list of certificates with these serial numbers, in DER.
    pub(crate) fn revoke(&self, serials: &[u64]) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect(MADE).der().to_vec()
    }
}
