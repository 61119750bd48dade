//! Creates the self-signed certificate for `--auto-tls` or `--peer-auto-tls` once and stores it in the data directory.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use witan_config::{Address, Url};
use x509_cert::der::pem::{self, LineEnding};

use super::error::TlsError;

/// Name of the directory for certificates in the data directory, as in etcd.
const FOLDER: &str = "fixtures";

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Returns the paths of a port's certificate and key, which are in a directory named `port` (`client` or `peer`). If either is
/// missing, creates both. The certificate names the hosts of `urls` and is valid for `years` years.
pub(super) fn files(
    data_dir: &Path,
    port: &str,
    urls: &[Url],
    years: u32,
) -> Result<(PathBuf, PathBuf), TlsError> {
    let folder: PathBuf = data_dir.join(FOLDER).join(port);
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if cert.exists() && key.exists() {
        return Ok((cert, key));
    }
    let failed = |reason: String| TlsError::SelfSigned { path: folder.clone(), reason };
    let (cert_text, key_text) = make(urls, years).map_err(|error| failed(error.to_string()))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .and_then(|()| write(&key, &key_text, 0o600))
        .and_then(|()| write(&cert, &cert_text, 0o644))
        .map_err(|error| failed(error.to_string()))?;
    tracing::warn!(
        path = %cert.display(),
        years,
        "created a self-signed certificate, which clients cannot verify"
    );
    Ok((cert, key))
}

/// Writes and syncs a file with the permissions `mode`. The file exists only once it is complete: a later startup uses it.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let incomplete = path.with_extension("pem.new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&incomplete)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(incomplete, path)
}

/// Creates a key and a self-signed certificate, which names the hosts of all TCP URLs and is valid for `years` years of 365
/// days. Returns the certificate and the key in PEM.
fn make(urls: &[Url], years: u32) -> Result<(String, String), Box<dyn std::error::Error>> {
    let mut hosts: Vec<String> = urls
        .iter()
        .filter_map(|url| match url.address() {
            Address::Tcp(host, _) => Some(host.clone()),
            Address::Unix(_) => None,
        })
        .collect();
    hosts.sort();
    hosts.dedup();
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(hosts)?;
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = now
        .checked_add(YEAR * years)
        .ok_or("the certificate would be valid for too long")?
        .into();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "etcd");
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::KeyCertSign,
    ];
    // Members use the port's certificate to connect to each other.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let cert = params.self_signed(&key)?;
    let text = |label: &str, der: &[u8]| {
        pem::encode_string(label, LineEnding::LF, der).map_err(|error| error.to_string())
    };
    Ok((
        text("CERTIFICATE", cert.der())?,
        text("PRIVATE KEY", key.serialized_der())?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_exists_only_once_it_is_complete() {
        let dir = std::env::temp_dir().join(format!("witan-self-signed-{}", std::process::id()));
        let folder = dir.join(FOLDER).join("peer");
        let obstacle = folder.join("cert.pem.new");
        fs::create_dir_all(&obstacle).unwrap();
        let urls: [Url; 1] = ["https://localhost:2380".parse().unwrap()];
        assert!(files(&dir, "peer", &urls, 1).is_err());
        assert!(!folder.join("cert.pem").exists());
        fs::remove_dir(&obstacle).unwrap();
        let (cert, key) = files(&dir, "peer", &urls, 1).unwrap();
        for path in [cert, key] {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.contains("-----END "), "{text}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
