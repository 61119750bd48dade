//! Tests which CA signs certificates and which CAs are trusted, including during a rotation.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use k8s_openapi::api::core::v1::Secret;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::*;

#[test]
fn issued_certificates_are_trusted_by_both_sides_and_no_others() {
    let cluster = cluster(full());
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let issue = |role| tls::issue(&cluster, role, &authority, now).expect("a certificate");
    let (server, operator) = (
        issue(CertificateRole::Server),
        issue(CertificateRole::Operator),
    );
    for host in [
        "orders-client.shop.svc",
        "orders-4.orders-peer.shop.svc",
        "etcd.example",
    ] {
        shake(&server, &operator, host).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    assert!(shake(&server, &operator, "orders-client.other.svc").is_err());
    let foreign = tls::authority(&cluster, now).expect("an authority");
    let foreign = tls::issue(&cluster, CertificateRole::Operator, &foreign, now).expect("one");
    assert!(shake(&server, &foreign, "orders-client.shop.svc").is_err());
}

/// Clients verify the name that they connect to: a service, or a member below the headless service.
#[test]
fn certificates_are_valid_for_the_names_of_the_services() {
    let named = json!({"client": {"name": "shop-etcd"}, "peer": {"name": "shop-etcd-headless"}});
    let tls = json!({"peer": {"managed": {}}, "client": {"managed": {}}});
    let cluster = cluster(resource(json!({"services": named, "tls": tls})));
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let issue = |role| tls::issue(&cluster, role, &authority, now).expect("a certificate");
    let operator = issue(CertificateRole::Operator);
    let server = issue(CertificateRole::Server);
    for host in [
        "shop-etcd",
        "shop-etcd.shop.svc.cluster.local",
        "shop-etcd-headless.shop",
        "orders-0.shop-etcd-headless.shop.svc.cluster.local",
    ] {
        shake(&server, &operator, host).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    assert!(shake(&server, &operator, "orders-client.shop.svc").is_err());
    let peer = issue(CertificateRole::Peer);
    let member = "orders-0.shop-etcd-headless.shop.svc";
    shake(&peer, &operator, member).unwrap_or_else(|error| panic!("{member}: {error}"));
}

/// A secret without an owner would outlive the cluster, and so would the signing key.
#[test]
fn secrets_of_certificates_have_labels_and_owner_of_the_cluster() {
    let cluster = cluster(full());
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let leaf = tls::issue(&cluster, CertificateRole::Peer, &authority, now).expect("a certificate");
    for secret in [authority, leaf] {
        let (made, budget) = (secret.metadata, budget(&cluster, 2).metadata);
        assert_eq!(made.owner_references, budget.owner_references);
        assert_eq!(made.labels, budget.labels);
    }
}

/// The secret of the CA was deleted. Its key is lost, but members and clients still use certificates that the CA signed.
#[test]
fn a_lost_authority_is_succeeded_without_a_gap() {
    let cluster = cluster(full());
    let now = SystemTime::now();
    let lost = tls::authority(&cluster, now).expect("an authority");
    let (server, operator) = (CertificateRole::Server, CertificateRole::Operator);
    let before = [server, operator]
        .map(|role| tls::issue(&cluster, role, &lost, now).expect("a certificate"));
    let mut without_authority = before[0].clone();
    let files = without_authority.data.as_mut().expect("files");
    files.remove("ca.crt").expect("an authority");
    let signed = [&without_authority, &before[1]];
    let next = tls::next_authority(&cluster, signed, now).expect("an authority");
    let rotation = tls::authority_seen(&cluster, &next).rotation;
    assert_eq!(rotation, Rotation::Introduced);
    let renew = |role, present: Option<&Secret>| {
        let made = tls::renewed(&cluster, role, &next, present, now).expect("a certificate");
        assert!(
            tls::observe_certificate(&cluster, role, &made, Some(&next)).fits,
            "{role:?} fits after its renewal"
        );
        made
    };
    let kept = [
        renew(server, Some(&before[0])),
        renew(operator, Some(&before[1])),
    ];
    let switched = tls::rotated(&cluster, &next, Rotation::Switched, now).expect("switched");
    let after = [server, operator]
        .map(|role| tls::issue(&cluster, role, &switched, now).expect("a certificate"));
    let host = "orders-client.shop.svc";
    for (left, right) in [
        (&before, &kept),
        (&kept, &before),
        (&kept, &after),
        (&after, &kept),
    ] {
        shake(&left[0], &right[1], host).expect("both trust each other");
    }
    shake(&renew(server, None), &kept[1], host)
        .expect("the next authority signs a new certificate");
    let late = now + Duration::from_secs(11 * 365 * 24 * 3600);
    let fresh = tls::next_authority(&cluster, &before, late).expect("an authority");
    let rotation = tls::authority_seen(&cluster, &fresh).rotation;
    assert_eq!(
        rotation,
        Rotation::Rest,
        "an expired authority has no successor"
    );
}

#[test]
fn a_certificate_fits_until_its_names_or_its_authority_change() {
    let cluster = cluster(full());
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let role = CertificateRole::Server;
    let leaf = tls::issue(&cluster, role, &authority, now).expect("a certificate");
    let seen = tls::observe_certificate(&cluster, role, &leaf, Some(&authority));
    assert!(seen.fits);
    let ends = now + Duration::from_secs(2160 * 3600);
    let ends = ends
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    assert_eq!(u64::try_from(seen.not_after).expect("after 1970"), ends);
    let other = tls::authority(&cluster, now).expect("an authority");
    assert!(!tls::observe_certificate(&cluster, role, &leaf, Some(&other)).fits);
    let mut renamed = cluster.resource.clone();
    if let Some(client) = renamed
        .spec
        .tls
        .as_mut()
        .and_then(|tls| tls.client.as_mut())
    {
        client
            .source
            .additional_dns_names
            .push("more.example".to_owned());
    }
    let renamed = super::cluster(renamed);
    assert!(!tls::observe_certificate(&renamed, role, &leaf, Some(&authority)).fits);
    assert!(!tls::observe_certificate(&cluster, role, &Secret::default(), Some(&authority)).fits);
}

/// Certificates of adjacent stages must trust each other. Certificates of the first and the last stage must not trust each
/// other.
#[test]
fn certificates_of_adjacent_rotation_stages_trust_each_other() {
    let mut resource = full();
    let now = SystemTime::now();
    let mut authorities = {
        let cluster = Cluster::new(&resource, environment(IMAGE)).expect("a cluster");
        vec![tls::authority(&cluster, now).expect("an authority")]
    };
    let status = json!({"requests": {"rotateCertificates": "o1"}});
    resource.status = serde_json::from_value(status).expect("a status");
    let cluster = Cluster::new(&resource, environment(IMAGE)).expect("a cluster");
    let rotation = |authority: &Secret| tls::authority_seen(&cluster, authority);
    assert!(rotation(&authorities[0]).requested && tls::trust(&authorities[0]).is_none());
    let order = [Rotation::Introduced, Rotation::Switched, Rotation::Rest];
    for to in order {
        let present = authorities.last().expect("one");
        let next = tls::rotated(&cluster, present, to, now).expect("the next");
        let seen = rotation(&next);
        assert_eq!((seen.rotation, seen.requested), (to, false));
        assert!(tls::trust(&next) != tls::trust(present));
        authorities.push(next);
    }
    let leaves: Vec<[Secret; 2]> = authorities
        .iter()
        .map(|authority| {
            [CertificateRole::Server, CertificateRole::Operator].map(|role| {
                let leaf = tls::issue(&cluster, role, authority, now).expect("a certificate");
                assert!(tls::observe_certificate(&cluster, role, &leaf, Some(authority)).fits);
                leaf
            })
        })
        .collect();
    for (one, [server, _]) in leaves.iter().enumerate() {
        for (other, [old, client]) in leaves.iter().enumerate() {
            let met = shake(server, client, "orders-client.shop.svc");
            let neighbors = one.abs_diff(other) <= 1;
            let both_ends = one.abs_diff(other) == 3;
            assert!(met.is_ok() || !neighbors, "{one} and {other}: {met:?}");
            assert!(
                met.is_err() || !both_ends,
                "{one} and {other} trust each other"
            );
            let role = CertificateRole::Server;
            let fits = tls::observe_certificate(&cluster, role, old, Some(&authorities[one])).fits;
            assert_eq!(fits, one == other, "each step reissues it");
        }
    }
}

fn file(secret: &Secret, name: &str) -> Vec<u8> {
    let data = secret.data.as_ref().expect("data");
    data[name].0.clone()
}

/// Performs a TLS handshake in memory with certificates on both sides. Returns the error of either side.
fn shake(server: &Secret, client: &Secret, host: &str) -> Result<(), Box<dyn std::error::Error>> {
    let certificate = |secret| CertificateDer::from_pem_slice(&file(secret, "tls.crt"));
    let key = |secret| PrivateKeyDer::from_pem_slice(&file(secret, "tls.key"));
    let roots = |secret| -> Result<Arc<RootCertStore>, Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&file(secret, "ca.crt")) {
            roots.add(root?)?;
        }
        Ok(Arc::new(roots))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(server)?, provider.clone());
    let config = ServerConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions()?;
    let config = config.with_client_cert_verifier(verifier.build()?);
    let config = config.with_single_cert(vec![certificate(server)?], key(server)?)?;
    let mut server = ServerConnection::new(Arc::new(config))?;
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots(client)?);
    let config = config.with_client_auth_cert(vec![certificate(client)?], key(client)?)?;
    let name = ServerName::try_from(host.to_owned())?;
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    client.writer().write_all(b"x")?;
    let mut wire = Vec::new();
    for _ in 0..6 {
        wire.clear();
        client.write_tls(&mut wire)?;
        server.read_tls(&mut wire.as_slice())?;
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire)?;
        client.read_tls(&mut wire.as_slice())?;
        client.process_new_packets()?;
    }
    let mut got = [0];
    server.reader().read_exact(&mut got)?;
    Ok(())
}
