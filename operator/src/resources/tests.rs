//! The objects as they are applied: a snapshot of all of them, and what must hold for every spec.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use k8s_openapi::{
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};

use super::{
    CLUSTER, Cluster, MEMBER, PodPlan, ResourceError, budget, claim, client_service, grown,
    is_current, peer_service, pod, template, tls,
};
use crate::{
    crd::EtcdCluster,
    model::{Bootstrap, CertificateRole, JoinMember, PeerTls, Role, Rotation},
};

const IMAGE: &str = "registry.example:5000/witan:1.0.0";

fn resource(spec: Value) -> EtcdCluster {
    let spec = serde_json::from_value(spec).expect("a spec");
    let mut resource = EtcdCluster::new("orders", spec);
    resource.metadata.namespace = Some("shop".to_owned());
    resource.metadata.uid = Some("u-1".to_owned());
    resource
}

fn full() -> EtcdCluster {
    resource(json!({
        "version": "1.1.0",
        "storage": {"size": "10Gi", "storageClassName": "fast"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        "tls": {"peer": {"managed": {}}, "client": {"managed": {}, "additionalDNSNames": ["etcd.example"]}},
        "options": {"quotaBackendBytes": "4Gi", "enableV1": false, "extraArgs": {"max-concurrent-streams": "100"}},
        "resources": {"limits": {"memory": "1Gi"}},
        "tolerations": [{"key": "db", "operator": "Exists"}],
        "podTemplate": {"spec": {"containers": [{"name": "etcd", "env": [{"name": "A", "value": "b"}]}]}},
        "additionalMetadata": {"labels": {"team": "a", "witan.dev/cluster": "stolen"}, "annotations": {"note": "x"}},
    }))
}

fn first(ordinal: u32, peer_tls: PeerTls) -> PodPlan {
    PodPlan {
        ordinal,
        bootstrap: Bootstrap::New { members: 3 },
        peer_tls,
        role: Role::Voter,
    }
}

/// `UPDATE=1` writes it anew.
#[test]
fn all_objects_are_as_the_snapshot_says() {
    let mut text = String::new();
    for (resource, peer_tls) in [(resource(json!({})), PeerTls::Off), (full(), PeerTls::On)] {
        let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
        let objects = [
            serde_yaml::to_string(&client_service(&cluster)),
            serde_yaml::to_string(&peer_service(&cluster)),
            serde_yaml::to_string(&budget(&cluster, 2)),
            serde_yaml::to_string(&claim(&cluster, 0, peer_tls).expect("a claim")),
            serde_yaml::to_string(&pod(&cluster, &first(0, peer_tls)).expect("a pod")),
        ];
        for object in objects {
            text.push_str("---\n");
            text.push_str(&object.expect("YAML"));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects.yaml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).expect("write");
    }
    let kept = std::fs::read_to_string(path).expect("the snapshot");
    assert!(
        kept == text,
        "UPDATE=1 cargo test -p witan-operator snapshot, and look at the difference"
    );
}

#[test]
fn every_object_has_its_labels_and_its_owner() {
    let resource = full();
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let authority = tls::authority(&cluster, SystemTime::now()).expect("an authority");
    let metas: Vec<ObjectMeta> = vec![
        client_service(&cluster).metadata,
        peer_service(&cluster).metadata,
        budget(&cluster, 2).metadata,
        claim(&cluster, 1, PeerTls::On).expect("a claim").metadata,
        pod(&cluster, &first(1, PeerTls::On))
            .expect("a pod")
            .metadata,
        authority.metadata,
    ];
    for meta in metas {
        let labels = meta.labels.unwrap_or_default();
        for (key, value) in [
            (CLUSTER, "orders"),
            ("app.kubernetes.io/name", "etcd"),
            ("app.kubernetes.io/component", "etcd"),
            ("app.kubernetes.io/instance", "orders"),
            ("app.kubernetes.io/managed-by", "witan-operator"),
            ("app.kubernetes.io/part-of", "witan"),
            ("app.kubernetes.io/version", "1.1.0"),
            ("team", "a"),
        ] {
            assert_eq!(
                labels.get(key).map(String::as_str),
                Some(value),
                "{:?}",
                meta.name
            );
        }
        let owners = meta.owner_references.unwrap_or_default();
        assert_eq!(owners.len(), 1, "{:?}", meta.name);
        assert_eq!(
            (owners[0].uid.as_str(), owners[0].controller),
            ("u-1", Some(true))
        );
    }
}

/// A claim outlives the cluster unless the policy says otherwise.
#[test]
fn claims_are_owned_only_when_they_go_with_the_cluster() {
    let resource = resource(json!({}));
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let kept = claim(&cluster, 0, PeerTls::Off).expect("a claim");
    assert!(kept.metadata.owner_references.is_none());
    assert!(
        is_current(&kept, &grown(kept.clone(), 1 << 40)),
        "its size is no difference"
    );
}

/// A text that is not the address's own would never be found in the certificate, and each pass would issue another one.
#[test]
fn an_address_fits_however_it_is_written() {
    let more = json!({"managed": {}, "additionalIPAddresses": ["2001:0DB8::01", "2001:db8::1", "127.0.0.1"], "additionalDNSNames": ["localhost"]});
    let resource = resource(json!({"tls": {"client": more}}));
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let role = CertificateRole::Server;
    let leaf = tls::leaf(&cluster, role, &authority, now).expect("a certificate");
    assert!(tls::seen(&cluster, role, &leaf, Some(&authority)).fits);
}

/// In a cluster whose pods have IPv6 addresses alone nothing would answer at 0.0.0.0.
#[test]
fn members_listen_on_both_families() {
    let resource = resource(json!({}));
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let pod = pod(&cluster, &first(0, PeerTls::Off)).expect("a pod");
    let container = &pod.spec.expect("a spec").containers[0];
    let flags = container.args.clone().unwrap_or_default();
    let listen: Vec<_> = flags
        .iter()
        .filter(|flag| flag.starts_with("--listen-"))
        .collect();
    assert_eq!(listen.len(), 3);
    assert!(
        listen.iter().all(|flag| flag.contains("http://[::]:")),
        "{listen:?}"
    );
}

/// Else the operator would apply it for ever, at full speed.
#[test]
fn an_owner_that_others_add_is_no_difference() {
    let resource = resource(json!({}));
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let wanted = client_service(&cluster);
    let mut live = wanted.clone();
    let other = json!({"apiVersion": "example.com/v1", "kind": "App", "name": "shop", "uid": "x"});
    let other = serde_json::from_value(other).expect("an owner");
    live.metadata
        .owner_references
        .get_or_insert_default()
        .push(other);
    assert!(is_current(&wanted, &live));
    live.metadata.owner_references = None;
    assert!(!is_current(&wanted, &live), "its own is missing");
}

#[test]
fn names_are_compared_by_number() {
    let resource = resource(json!({}));
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    assert_eq!(cluster.ordinal("orders-10"), Some(10));
    for other in [
        "orders-01",
        "orders-",
        "orders-x",
        "orders",
        "other-1",
        "orders-client-0",
    ] {
        assert_eq!(cluster.ordinal(other), None, "{other}");
    }
    let url = cluster.peer_url(10, PeerTls::On);
    assert_eq!(url, "https://orders-10.orders-peer.shop.svc:2380");
    assert_eq!(cluster.ordinal_of_urls(&[url]), Some(10));
    let elsewhere = "http://orders-1.orders-peer.other.svc:2380".to_owned();
    assert_eq!(
        cluster.ordinal_of_urls(&[elsewhere]),
        None,
        "another namespace"
    );
    assert_eq!(cluster.ordinal_of_claim("data-orders-2"), Some(2));
}

#[test]
fn images_come_from_the_operator_the_version_or_the_spec() {
    let image = |spec, operator| {
        let resource = resource(spec);
        Cluster::new(&resource, operator).map(|cluster| cluster.image)
    };
    assert_eq!(image(json!({}), IMAGE).expect("one"), IMAGE);
    let versioned = image(json!({"version": "2.0.0"}), IMAGE).expect("one");
    assert_eq!(versioned, "registry.example:5000/witan:2.0.0");
    let own = image(json!({"version": "2.0.0", "image": "x/y@sha256:z"}), IMAGE);
    assert_eq!(own.expect("one"), "x/y@sha256:z");
    assert!(matches!(
        image(json!({}), ""),
        Ok(_) | Err(ResourceError::Image(_))
    ));
    assert!(matches!(
        image(json!({"version": "2.0.0"}), ":1"),
        Err(ResourceError::Image(_))
    ));
}

#[test]
fn pull_secrets_come_from_the_spec_or_the_operator() {
    let names = |spec, defaults: &[&str]| {
        let resource = resource(spec);
        let mut cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
        cluster.pull_secrets = defaults.iter().map(|name| (*name).to_owned()).collect();
        let pod = json!(pod(&cluster, &first(0, PeerTls::Off)).expect("a pod"));
        let secrets = pod["spec"]["imagePullSecrets"].as_array().cloned();
        let names = secrets.unwrap_or_default();
        let name = |secret: &Value| secret["name"].as_str().unwrap_or_default().to_owned();
        names.iter().map(name).collect::<Vec<_>>().join(",")
    };
    let own = json!({"imagePullSecrets": [{"name": "own"}]});
    assert_eq!(names(json!({}), &[]), "");
    assert_eq!(names(json!({}), &["a", "b"]), "a,b");
    assert_eq!(names(own, &["a"]), "own");
}

#[test]
fn every_pod_fits_the_restricted_standard() {
    for resource in [
        resource(json!({})),
        full(),
        resource(json!({"storage": {"emptyDir": {}}})),
    ] {
        let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
        let pod = json!(pod(&cluster, &first(0, PeerTls::Off)).expect("a pod"));
        let spec = &pod["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], json!(true));
        assert_eq!(
            spec["securityContext"]["seccompProfile"]["type"],
            json!("RuntimeDefault")
        );
        assert_eq!(spec["automountServiceAccountToken"], json!(false));
        let container = &spec["containers"][0];
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], json!(false));
        assert_eq!(security["readOnlyRootFilesystem"], json!(true));
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(
            container["readinessProbe"]["httpGet"]["path"],
            json!("/readyz")
        );
        assert_eq!(
            container["livenessProbe"]["httpGet"]["path"],
            json!("/livez")
        );
        assert!(
            container["resources"] != json!({}),
            "no pod is of the first to be ended"
        );
    }
}

/// The flags of every way to start are flags of the server.
#[test]
fn flags_are_those_of_the_server() {
    let table = include_str!("../../../docs/reference/flags.md");
    let resource = full();
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let join = JoinMember {
        id: 7,
        ordinal: None,
        name: String::new(),
        peer_urls: vec!["http://elsewhere:2380".to_owned()],
    };
    let starts = [
        Bootstrap::New { members: 3 },
        Bootstrap::Discovery { url: "https://d/t".to_owned() },
        Bootstrap::Join { members: vec![join] },
        Bootstrap::Restart,
    ];
    for bootstrap in starts {
        let plan = PodPlan { bootstrap, ..first(0, PeerTls::On) };
        for flag in arguments(&pod(&cluster, &plan).expect("a pod")) {
            let (name, _) = flag.split_once('=').expect("a value");
            let row = table
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}`")));
            let row = row.unwrap_or_else(|| panic!("{name} is no flag"));
            assert!(row.contains("supported"), "{row}");
        }
    }
}

fn arguments(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.clone().unwrap_or_default();
    spec.containers[0].args.clone().unwrap_or_default()
}

#[test]
fn a_restart_names_itself_alone_and_a_join_names_all() {
    let resource = resource(json!({}));
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let flags = |bootstrap| {
        let plan = PodPlan { bootstrap, ..first(1, PeerTls::Off) };
        arguments(&pod(&cluster, &plan).expect("a pod"))
    };
    let own = "--initial-cluster=orders-1=http://orders-1.orders-peer.shop.svc:2380";
    assert!(flags(Bootstrap::Restart).contains(&own.to_owned()));
    let member = |id, ordinal| JoinMember {
        id,
        ordinal,
        name: String::new(),
        peer_urls: vec![format!("http://m{id}:2380")],
    };
    let members = vec![member(10, Some(0)), member(11, None)];
    let joined = flags(Bootstrap::Join { members });
    let all = "--initial-cluster=orders-0=http://m10:2380,b=http://m11:2380";
    assert!(joined.contains(&all.to_owned()), "{joined:?}");
    assert!(joined.contains(&"--initial-cluster-state=existing".to_owned()));
}

/// What differs between members, and how they were started, is no reason to restart one.
#[test]
fn a_template_changes_with_the_spec_alone() {
    let plain = resource(json!({}));
    let cluster = Cluster::new(&plain, IMAGE).expect("a cluster");
    let print = template(&cluster, PeerTls::Off).expect("a template");
    for plan in [
        first(0, PeerTls::Off),
        PodPlan { bootstrap: Bootstrap::Restart, ..first(5, PeerTls::Off) },
    ] {
        let pod = pod(&cluster, &plan).expect("a pod");
        let noted = pod.metadata.annotations.unwrap_or_default();
        assert_eq!(noted.get(super::TEMPLATE), Some(&print));
        let labels = pod.metadata.labels.unwrap_or_default();
        assert_eq!(labels.get(MEMBER), Some(&cluster.member(plan.ordinal)));
    }
    for spec in [
        json!({"version": "1.2.0"}),
        json!({"resources": {"limits": {"memory": "1Gi"}}}),
        json!({"options": {"logLevel": "debug"}}),
        json!({"tls": {"client": {"managed": {}}}}),
    ] {
        let changed = resource(spec.clone());
        let changed = Cluster::new(&changed, IMAGE).expect("a cluster");
        assert_ne!(
            template(&changed, PeerTls::Off).expect("a template"),
            print,
            "{spec}"
        );
    }
    let scaled = resource(json!({"replicas": 5, "paused": true}));
    let scaled = Cluster::new(&scaled, IMAGE).expect("a cluster");
    assert_eq!(template(&scaled, PeerTls::Off).expect("a template"), print);
}

/// A part of the spec that fits nowhere is a sentence about it, and ends nothing else.
#[test]
fn open_parts_that_do_not_fit_are_refused_with_their_name() {
    for (field, spec) in [
        ("affinity", json!({"affinity": {"nodeAffinity": 3}})),
        ("resources", json!({"resources": {"limits": 3}})),
        (
            "podTemplate",
            json!({"podTemplate": {"spec": {"containers": 3}}}),
        ),
    ] {
        let resource = resource(spec);
        let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
        let error = pod(&cluster, &first(0, PeerTls::Off))
            .expect_err("refused")
            .to_string();
        assert!(error.starts_with(&format!("spec.{field} ")), "{error}");
    }
}

#[test]
fn issued_certificates_are_trusted_by_both_sides_and_no_others() {
    let resource = full();
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let issue = |role| tls::leaf(&cluster, role, &authority, now).expect("a certificate");
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
    let foreign = tls::leaf(&cluster, CertificateRole::Operator, &foreign, now).expect("one");
    assert!(shake(&server, &foreign, "orders-client.shop.svc").is_err());
}

/// Its secret was deleted: the key is gone, and what it signed is in use by members and clients.
#[test]
fn an_authority_that_is_lost_is_followed_without_a_gap() {
    let resource = full();
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let now = SystemTime::now();
    let lost = tls::authority(&cluster, now).expect("an authority");
    let (server, operator) = (CertificateRole::Server, CertificateRole::Operator);
    let before = [server, operator]
        .map(|role| tls::leaf(&cluster, role, &lost, now).expect("a certificate"));
    let next = tls::succeeding(&cluster, &before[0], now)
        .expect("an authority")
        .expect("one");
    let rotation = tls::authority_seen(&cluster, &next).rotation;
    assert_eq!(rotation, Rotation::Introduced);
    let renew = |role, present: Option<&Secret>| {
        let made = tls::renewed(&cluster, role, &next, present, now).expect("a certificate");
        assert!(
            tls::seen(&cluster, role, &made, Some(&next)).fits,
            "not issued again: {role:?}"
        );
        made
    };
    let kept = [
        renew(server, Some(&before[0])),
        renew(operator, Some(&before[1])),
    ];
    let switched = tls::rotated(&cluster, &next, Rotation::Switched, now).expect("switched");
    let after = [server, operator]
        .map(|role| tls::leaf(&cluster, role, &switched, now).expect("a certificate"));
    let host = "orders-client.shop.svc";
    for (left, right) in [
        (&before, &kept),
        (&kept, &before),
        (&kept, &after),
        (&after, &kept),
    ] {
        shake(&left[0], &right[1], host).expect("each trusts the other");
    }
    shake(&renew(server, None), &kept[1], host).expect("one that is new is of the next authority");
    let late = now + Duration::from_secs(11 * 365 * 24 * 3600);
    let ended = tls::succeeding(&cluster, &before[0], late).expect("no error");
    assert!(ended.is_none(), "what has ended is not followed");
}

#[test]
fn a_certificate_fits_until_its_names_or_its_authority_change() {
    let resource = full();
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let role = CertificateRole::Server;
    let leaf = tls::leaf(&cluster, role, &authority, now).expect("a certificate");
    let seen = tls::seen(&cluster, role, &leaf, Some(&authority));
    assert!(seen.fits);
    let ends = now + Duration::from_secs(2160 * 3600);
    let ends = ends
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    assert_eq!(u64::try_from(seen.not_after).expect("after 1970"), ends);
    let other = tls::authority(&cluster, now).expect("an authority");
    assert!(!tls::seen(&cluster, role, &leaf, Some(&other)).fits);
    let mut renamed = resource.clone();
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
    let renamed = Cluster::new(&renamed, IMAGE).expect("a cluster");
    assert!(!tls::seen(&renamed, role, &leaf, Some(&authority)).fits);
    assert!(!tls::seen(&cluster, role, &Secret::default(), Some(&authority)).fits);
}

/// Members and clients meet with certificates of neighboring steps of a rotation, and never of its begin and its end.
#[test]
fn certificates_of_a_rotation_are_trusted_a_step_before_and_a_step_after() {
    let mut resource = full();
    let now = SystemTime::now();
    let mut authorities = {
        let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
        vec![tls::authority(&cluster, now).expect("an authority")]
    };
    let asked = BTreeMap::from([(super::ROTATE_AUTHORITY.to_owned(), "1".to_owned())]);
    resource.metadata.annotations = Some(asked);
    let cluster = Cluster::new(&resource, IMAGE).expect("a cluster");
    let rotation = |authority: &Secret| tls::authority_seen(&cluster, authority);
    assert!(rotation(&authorities[0]).asked && tls::trust(&authorities[0]).is_none());
    let order = [Rotation::Introduced, Rotation::Switched, Rotation::Rest];
    for to in order {
        let present = authorities.last().expect("one");
        let next = tls::rotated(&cluster, present, to, now).expect("the next");
        let seen = rotation(&next);
        assert_eq!((seen.rotation, seen.asked), (to, false));
        assert!(tls::trust(&next) != tls::trust(present));
        authorities.push(next);
    }
    let leaves: Vec<[Secret; 2]> = authorities
        .iter()
        .map(|authority| {
            [CertificateRole::Server, CertificateRole::Operator].map(|role| {
                let leaf = tls::leaf(&cluster, role, authority, now).expect("a certificate");
                assert!(tls::seen(&cluster, role, &leaf, Some(authority)).fits);
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
                "{one} and {other} are strangers"
            );
            let role = CertificateRole::Server;
            let fits = tls::seen(&cluster, role, old, Some(&authorities[one])).fits;
            assert_eq!(fits, one == other, "it is issued anew at each step");
        }
    }
}

fn file(secret: &Secret, name: &str) -> Vec<u8> {
    let data = secret.data.as_ref().expect("data");
    data[name].0.clone()
}

/// Shakes hands in memory, where both sides show their certificate and check the other's; the error is that
/// of either side.
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
