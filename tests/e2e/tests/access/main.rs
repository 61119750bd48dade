//! The permissions of every route of every dialect. Each route is called anonymously, with an invalid credential, as a user
//! without permissions and as root. Auth is enabled for v2, for v3, for both or for neither. The expected answers follow from
//! the list that the server uses for authorization (`witan_api::access`). The gRPC descriptors and the gateway's OpenAPI
//! document show that the list is complete.
#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

mod calls;
mod log_in;
mod rows;
mod samples;
mod spent;
mod stage;
mod switches;

use std::{collections::BTreeSet, thread};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use witan_api::{
    access::{Access, AuthSwitches, GRPC, gateway_paths},
    v3::DESCRIPTORS,
};
use witan_e2e::Launch;

use rows::Row;
use stage::{CallerKind, Stage};

const WHO: [CallerKind; 4] = [
    CallerKind::Anonymous,
    CallerKind::Invalid,
    CallerKind::User,
    CallerKind::Root,
];

const SWITCHES: [AuthSwitches; 4] = [
    AuthSwitches { v2: false, v3: false },
    AuthSwitches { v2: true, v3: false },
    AuthSwitches { v2: false, v3: true },
    AuthSwitches { v2: true, v3: true },
];

/// Returns the calls on one server that were not admitted or refused as listed.
fn wrong_cells(on: AuthSwitches) -> Vec<String> {
    let mut stage = Stage::set(on);
    let mut wrong = Vec::new();
    for row in rows::all() {
        for who in WHO {
            let admitted = row.ask(&mut stage, who);
            if admitted != who.has(row.access(), on) {
                let did = if admitted { "admitted" } else { "refused" };
                wrong.push(format!("{did} {who:?} with {on:?}: {row}"));
            }
        }
    }
    wrong
}

#[test]
fn every_route_requires_the_listed_access() {
    let servers = SWITCHES.map(|on| thread::spawn(move || wrong_cells(on)));
    let wrong: Vec<String> = servers
        .into_iter()
        .flat_map(|server| server.join().unwrap())
        .collect();
    let (rows, columns) = (rows::all().len(), WHO.len() * SWITCHES.len());
    println!("{rows} rows, {columns} columns, {} wrong", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {} cells are wrong:\n{}",
        wrong.len(),
        rows * columns,
        wrong.join("\n")
    );
}

#[test]
fn the_list_has_every_method_and_every_path() {
    let sets = [
        DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let served: BTreeSet<String> = sets.into_iter().flat_map(methods).collect();
    let listed: BTreeSet<String> = GRPC.iter().map(|route| route.method.to_owned()).collect();
    // etcd's health service has a method that this release does not serve.
    let unserved = BTreeSet::from(["/grpc.health.v1.Health/List".to_owned()]);
    assert_eq!(&served - &unserved, listed);

    let server = Launch::witan().start();
    let document = server.http("GET", "/openapi.json", "").json();
    let paths = document["paths"].as_object().unwrap().keys().cloned();
    let listed = gateway_paths().map(|(path, _)| format!("/v3/{path}"));
    assert_eq!(
        paths.collect::<BTreeSet<_>>(),
        listed.collect::<BTreeSet<_>>()
    );
}

fn methods(set: &[u8]) -> Vec<String> {
    let set = FileDescriptorSet::decode(set).unwrap();
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            let of = |method: &prost_types::MethodDescriptorProto| {
                format!("/{service_name}/{}", method.name())
            };
            methods.extend(service.method.iter().map(of));
        }
    }
    methods
}

#[test]
fn every_access_is_required_by_a_row() {
    for access in Access::ALL {
        let asked = rows::all().iter().any(|row: &Row| row.access() == access);
        assert!(asked, "{access:?}");
    }
}
