//! The applied objects: a snapshot of all of them, and properties that hold for every spec.

mod certificates;
mod claims;

use std::time::SystemTime;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use witan_crd::{CertificateRole, EtcdCluster, RestorePoint};
use witan_plan::model::{Bootstrap, JoinMember, PeerTls, PodPlan, Role, Rotation};

use super::{
    Cluster, VERSION, budget, claim, client_service, is_current, names::MEMBER, peer_service, pod,
    template, tls,
};

use crate::testing::environment;

const IMAGE: &str = "registry.example:5000/witan:1.0.0";

fn resource(spec: Value) -> EtcdCluster {
    let spec = serde_json::from_value(spec).expect("a spec");
    let mut resource = EtcdCluster::new("orders", spec);
    resource.metadata.namespace = Some("shop".to_owned());
    resource.metadata.uid = Some("u-1".to_owned());
    resource
}

fn cluster(resource: EtcdCluster) -> Cluster<'static> {
    Cluster::new(Box::leak(Box::new(resource)), environment(IMAGE)).expect("a cluster")
}

fn full() -> EtcdCluster {
    resource(json!({
        "version": "1.1.0",
        "storage": {"size": "10Gi", "storageClassName": "fast"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        "tls": {"peer": {"managed": {}}, "client": {"managed": {}, "additionalDNSNames": ["etcd.example"]}},
        "options": {"quotaBackendBytes": "4Gi", "extraArgs": {"enable-v1": "false", "max-concurrent-streams": "100"}},
        "resources": {"limits": {"memory": "1Gi"}},
        "tolerations": [{"key": "db", "operator": "Exists"}],
        "podTemplate": {"spec": {"containers": [{"name": "etcd", "env": [{"name": "A", "value": "b"}]}]}},
        "additionalMetadata": {"labels": {"team": "a", "witan.dev/cluster": "stolen"}, "annotations": {"note": "x"}},
    }))
}

fn first(ordinal: u32, peer_tls: PeerTls) -> PodPlan {
    PodPlan {
        ordinal,
        bootstrap: Bootstrap::New { first: 0, members: 3 },
        peer_tls,
        role: Role::Voter,
    }
}

/// `UPDATE=1` rewrites the snapshot.
#[test]
fn all_objects_match_the_snapshot() {
    let mut text = String::new();
    for (resource, peer_tls) in [(resource(json!({})), PeerTls::Off), (full(), PeerTls::On)] {
        let cluster = cluster(resource);
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
        "run UPDATE=1 cargo test -p witan-controller snapshot, and review the difference"
    );
}

/// An address in another notation would never match the certificate, and each pass would issue a new certificate.
#[test]
fn an_address_matches_in_any_notation() {
    let more = json!({"managed": {}, "additionalIPAddresses": ["2001:0DB8::01", "2001:db8::1", "127.0.0.1"], "additionalDNSNames": ["localhost"]});
    let cluster = cluster(resource(json!({"tls": {"client": more}})));
    let now = SystemTime::now();
    let authority = tls::authority(&cluster, now).expect("an authority");
    let role = CertificateRole::Server;
    let leaf = tls::issue(&cluster, role, &authority, now).expect("a certificate");
    assert!(tls::observe_certificate(&cluster, role, &leaf, Some(&authority)).fits);
}

/// If such owners were treated as a difference, the operator would apply the object forever.
#[test]
fn owners_added_by_others_are_ignored() {
    let cluster = cluster(resource(json!({})));
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
    assert!(
        !is_current(&wanted, &live),
        "the cluster must own the object"
    );
}

#[test]
fn names_are_compared_by_number() {
    let cluster = cluster(resource(json!({})));
    assert_eq!(cluster.resource.ordinal("orders-10"), Some(10));
    for other in [
        "orders-01",
        "orders-",
        "orders-x",
        "orders",
        "other-1",
        "orders-client-0",
    ] {
        assert_eq!(cluster.resource.ordinal(other), None, "{other}");
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

/// The names appear in the pods, the members' URLs, the flags and the endpoint in the status.
#[test]
fn all_objects_use_the_names_of_the_services() {
    let named = json!({"client": {"name": "shop-etcd"}, "peer": {"name": "shop-etcd-headless"}});
    let cluster = cluster(resource(json!({"services": named})));
    assert_eq!(
        client_service(&cluster).metadata.name.as_deref(),
        Some("shop-etcd")
    );
    assert_eq!(
        peer_service(&cluster).metadata.name.as_deref(),
        Some("shop-etcd-headless")
    );
    assert_eq!(cluster.client_endpoint(), "http://shop-etcd.shop.svc:2379");
    let url = cluster.peer_url(1, PeerTls::Off);
    assert_eq!(url, "http://orders-1.shop-etcd-headless.shop.svc:2380");
    assert_eq!(cluster.ordinal_of_urls(&[url]), Some(1));
    let pod = pod(&cluster, &first(1, PeerTls::Off)).expect("a pod");
    let arguments = arguments(&pod).join(" ");
    let spec = pod.spec.expect("a spec");
    assert_eq!(spec.subdomain.as_deref(), Some("shop-etcd-headless"));
    assert!(!arguments.contains("orders-peer"), "{arguments}");
    assert!(
        arguments.contains("orders-2.shop-etcd-headless.shop.svc:2380"),
        "{arguments}"
    );
}

#[test]
fn images_come_from_the_operator_the_version_or_the_spec() {
    let image = |spec, operator| {
        let resource = resource(spec);
        Cluster::new(&resource, environment(operator)).map(|cluster| cluster.image)
    };
    assert_eq!(image(json!({}), IMAGE).expect("one"), IMAGE);
    let versioned = image(json!({"version": "2.0.0"}), IMAGE).expect("one");
    assert_eq!(versioned, "registry.example:5000/witan:2.0.0");
    let own = image(json!({"version": "2.0.0", "image": "x/y@sha256:z"}), IMAGE);
    assert_eq!(own.expect("one"), "x/y@sha256:z");
    let refused = image(json!({"version": "2.0.0"}), ":1");
    let refused = refused.expect_err("no repository").to_string();
    assert!(refused.contains("--member-image"), "{refused}");
}

#[test]
fn the_version_label_is_the_tag_of_the_image() {
    for (image, version) in [
        ("registry:5000/witan:2.0.0", "2.0.0"),
        ("registry:5000/witan", "latest"),
        ("witan", "latest"),
    ] {
        let labels = cluster(resource(json!({ "image": image }))).labels();
        let found = labels.get(VERSION).map(String::as_str);
        assert_eq!(found, Some(version), "{image}");
    }
}

#[test]
fn pull_secrets_come_from_the_spec_or_the_operator() {
    let names = |spec, defaults: &[&str]| {
        let mut environment = environment(IMAGE).clone();
        environment.member_image_pull_secrets =
            defaults.iter().copied().map(str::to_owned).collect();
        let resource = resource(spec);
        let cluster = Cluster::new(&resource, &environment).expect("a cluster");
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
fn the_operator_sets_only_flags_of_the_server() {
    let table = include_str!("../../../../docs/reference/flags.md");
    let cluster = cluster(full());
    let join = JoinMember {
        id: 7,
        ordinal: None,
        name: String::new(),
        peer_urls: vec!["http://elsewhere:2380".to_owned()],
    };
    let starts = [
        Bootstrap::New { first: 0, members: 3 },
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
            let row = row.unwrap_or_else(|| panic!("{name} is not a flag of the server"));
            assert!(row.contains("supported"), "{row}");
        }
    }
}

fn arguments(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.clone().unwrap_or_default();
    spec.containers[0].args.clone().unwrap_or_default()
}

#[test]
fn an_api_is_disabled_by_its_field() {
    let fields = ["enableV1", "enableV2", "enableGRPCGateway"];
    let flags = ["--enable-v1", "--enable-v2", "--enable-grpc-gateway"];
    for disabled in fields {
        let cluster = cluster(resource(json!({"options": {disabled: false}})));
        let pod = pod(&cluster, &first(0, PeerTls::Off)).expect("a pod");
        for (field, flag) in fields.into_iter().zip(flags) {
            let has_flag = arguments(&pod).contains(&format!("{flag}=false"));
            assert_eq!(has_flag, field == disabled, "{disabled}: {flag}");
        }
    }
}

#[test]
fn a_restarted_member_lists_itself_and_a_joining_one_lists_all() {
    let cluster = cluster(resource(json!({})));
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

#[test]
fn only_the_spec_changes_a_template() {
    let cluster = cluster(resource(json!({})));
    let print = template(&cluster, PeerTls::Off).expect("a template");
    for plan in [
        first(0, PeerTls::Off),
        PodPlan { bootstrap: Bootstrap::Restart, ..first(5, PeerTls::Off) },
    ] {
        let pod = pod(&cluster, &plan).expect("a pod");
        let noted = pod.metadata.annotations.unwrap_or_default();
        assert_eq!(noted.get(super::TEMPLATE), Some(&print));
        let labels = pod.metadata.labels.unwrap_or_default();
        assert_eq!(
            labels.get(MEMBER),
            Some(&cluster.resource.member(plan.ordinal))
        );
    }
    for spec in [
        json!({"version": "1.2.0"}),
        json!({"resources": {"limits": {"memory": "1Gi"}}}),
        json!({"options": {"logLevel": "debug"}}),
        json!({"tls": {"client": {"managed": {}}}}),
    ] {
        let changed = self::cluster(resource(spec.clone()));
        assert_ne!(
            template(&changed, PeerTls::Off).expect("a template"),
            print,
            "{spec}"
        );
    }
    let scaled = self::cluster(resource(json!({"replicas": 5, "paused": true})));
    assert_eq!(template(&scaled, PeerTls::Off).expect("a template"), print);
}

/// Without the variable, a member whose disk was emptied would form a new cluster.
#[test]
fn a_template_does_not_remove_the_variable_of_an_initial_member() {
    let containers = json!([{"name": "etcd", "env": null}]);
    let template = json!({"podTemplate": {"spec": {"containers": containers}}});
    let cluster = cluster(resource(template));
    let pod = pod(&cluster, &first(0, PeerTls::Off)).expect("a pod");
    let spec = pod.spec.expect("a spec");
    let variables = spec.containers[0].env.as_ref().expect("variables");
    assert_eq!(variables[0].name, "ETCD_INITIAL_CLUSTER_STATE");
}

/// Without these containers, the cluster would start without the data of its backup.
#[test]
fn a_template_does_not_remove_the_containers_that_restore_a_backup() {
    let spec = json!({"podTemplate": {"spec": {"initContainers": null}}});
    let mut cluster = cluster(resource(spec));
    cluster.restore = Some(RestorePoint::default());
    let pod = pod(&cluster, &first(0, PeerTls::Off)).expect("a pod");
    let init = pod.spec.expect("a spec").init_containers;
    let names: Vec<_> = init.iter().flatten().map(|one| &one.name).collect();
    assert_eq!(names, ["fetch", "restore"]);
}

#[test]
fn invalid_open_fields_are_refused_with_their_name() {
    for (field, spec) in [
        ("affinity", json!({"affinity": {"nodeAffinity": 3}})),
        ("resources", json!({"resources": {"limits": 3}})),
        (
            "podTemplate",
            json!({"podTemplate": {"spec": {"containers": 3}}}),
        ),
    ] {
        let cluster = cluster(resource(spec));
        let error = pod(&cluster, &first(0, PeerTls::Off))
            .expect_err("refused")
            .to_string();
        assert!(error.starts_with(&format!("spec.{field} ")), "{error}");
    }
}
