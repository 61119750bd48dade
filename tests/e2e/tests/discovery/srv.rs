//! Witan finds its initial members, and a gateway its endpoints, by SRV records from a name server of the test.

use std::{
    io,
    net::{TcpListener, UdpSocket},
    thread,
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{RData, SRV},
};
use witan_e2e::{Folder, Kind, Launch, Server, ports};

use super::{
    authority::Authority,
    etcd::{ids, member, started},
};

const DOMAIN: &str = "example.test";

/// The service names, each with the ports on localhost of its records.
type Zone = Vec<(&'static str, Vec<u16>)>;

/// Starts a name server. If it `truncates`, its UDP answers are truncated. Returns its address.
fn name_server(zone: Zone, truncates: bool) -> String {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = udp.local_addr().expect("it is bound");
        if let Ok(tcp) = TcpListener::bind(address) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().expect("it is bound").to_string();
    let of_tcp = zone.clone();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = udp.recv_from(&mut query) {
            // First send a response to another query.
            let foreign = answer(&query[..length], &Vec::new(), false, 1);
            let own = answer(&query[..length], &zone, truncates, 0);
            for message in [foreign, own] {
                udp.send_to(&message, client).expect("it is sent");
            }
        }
    });
    thread::spawn(move || {
        for mut client in tcp.incoming().map_while(Result::ok) {
            serve(&mut client, &of_tcp).expect("a query");
        }
    });
    address
}

fn serve(client: &mut (impl io::Read + io::Write), zone: &Zone) -> io::Result<()> {
    let mut length = [0; 2];
    client.read_exact(&mut length)?;
    let mut query = vec![0; u16::from_be_bytes(length).into()];
    client.read_exact(&mut query)?;
    let message = answer(&query, zone, false, 0);
    let length = u16::try_from(message.len()).expect("it fits");
    client.write_all(&length.to_be_bytes())?;
    client.write_all(&message)
}

/// Returns the response to a query for SRV records. Adds `id_offset` to the id of the query.
fn answer(query: &[u8], zone: &Zone, truncated: bool, id_offset: u16) -> Vec<u8> {
    let query = Packet::parse(query).expect("a query");
    let question = query.questions.first().expect("a question");
    assert_eq!(question.qtype, QTYPE::TYPE(TYPE::SRV));
    let mut reply = Packet::new_reply(query.id().wrapping_add(id_offset));
    let asked = question.qname.to_string();
    let found = zone
        .iter()
        .find(|(service, _)| asked == format!("{service}._tcp.{DOMAIN}"));
    match found {
        _ if truncated => reply.set_flags(PacketFlag::TRUNCATION),
        Some((_, ports)) => reply.answers.extend(ports.iter().map(|port| {
            let rdata = RData::SRV(SRV {
                priority: 0,
                weight: 0,
                port: *port,
                target: Name::new_unchecked("localhost"),
            });
            ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, rdata)
        })),
        None => *reply.rcode_mut() = RCODE::NameError,
    }
    reply.questions.push(question.clone());
    reply.build_bytes_vec().expect("it can be encoded")
}

fn flags(server: &str) -> Vec<String> {
    vec![
        format!("--discovery-srv={DOMAIN}"),
        format!("--discovery-srv-server={server}"),
    ]
}

fn url(of: &Server) -> String {
    format!("http://localhost:{}", of.peer_port())
}

/// A member's id depends on the record's target, not on the address that the member advertises.
#[test]
fn ids_come_from_the_names_of_the_targets() {
    for truncates in [false, true] {
        let mut alone = member(Kind::Witan, "m0", &[]);
        let zone = vec![("_etcd-server-mine", vec![alone.peer_port()])];
        let server = name_server(zone, truncates);
        alone.add_args(["--discovery-srv", DOMAIN, "--discovery-srv-server", &server]);
        alone.add_args(["--discovery-srv-name=mine", "--initial-cluster-token=some"]);
        alone.start_again();
        let url = url(&alone);
        let etcd = Launch::new(Kind::Etcd34)
            .arg(format!("--initial-advertise-peer-urls={url}"))
            .arg(format!("--initial-cluster=default={url}"))
            .arg("--initial-cluster-token=some")
            .start();
        assert_eq!(ids(&alone), ids(&etcd));
    }
}

#[test]
fn the_members_come_from_the_records() {
    let mut members = ["m0", "m1", "m2"].map(|name| member(Kind::Witan, name, &[]));
    let ports = members.iter().map(Server::peer_port).collect();
    let mut urls = members.each_ref().map(url);
    urls.sort();
    let server = name_server(vec![("_etcd-server", ports)], false);
    for member in &mut members {
        member.add_args(flags(&server));
        member.start_unready_again();
    }
    for (member, name) in members.iter().zip(["m0", "m1", "m2"]) {
        let line = member.wait_log(0, "found the initial members of the cluster");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let found = line["members"].as_str().expect("a text").split(',');
        let found = found.map(|part| part.split_once('=').expect("NAME=URL"));
        let (names, mut found): (Vec<&str>, Vec<&str>) = found.unzip();
        assert_eq!(names, ["0", "1", name]);
        assert_eq!(found.last(), Some(&url(member).as_str()));
        found.sort_unstable();
        assert_eq!(found, urls);
        member.wait_log(0, witan_e2e::server::READY);
    }
    assert_eq!(ids(&members[0]).len(), 3);
    assert_eq!(ids(&members[0]), ids(&members[2]));
}

#[test]
fn records_without_this_member_end_it() {
    let free = witan_e2e::ports::free();
    for (zone, said) in [
        (vec![], "the SRV records _etcd-server-ssl._tcp."),
        (
            vec![("_etcd-server", vec![free])],
            "cannot find local etcd member",
        ),
        (vec![("_etcd-server-ssl", vec![free])], "https://localhost:"),
    ] {
        let mut lost = started(Kind::Witan, &flags(&name_server(zone, false)));
        assert_eq!(lost.wait_exit().code(), Some(1), "{said}");
        lost.wait_log(0, said);
    }
}

fn gateway(server: &str, more: &[&str]) -> Server {
    let mut gateway = Launch::witan().bare().prepare();
    let address = gateway.address();
    gateway.add_args(["gateway", "start", "--listen-addr", &address]);
    gateway.add_args(flags(server));
    gateway.add_args(more.iter().copied());
    gateway.start_unready_again();
    gateway
}

#[test]
fn a_gateway_verifies_the_endpoints_of_the_records() {
    let dir = Folder::new("gateway-records");
    let authority = Authority::new("authority of the domain");
    let ca = format!("--trusted-ca-file={}", authority.write(&dir.join("ca.pem")));
    let [cert, key] = authority.issue(&dir, "member", &[DOMAIN]).paths();
    let mut member = Launch::witan().prepare();
    let (plain, tls) = (member.client_port(), ports::free());
    let urls = format!("{},https://127.0.0.1:{tls}", member.url());
    member.add_args(["--listen-client-urls", &urls]);
    member.add_args(["--advertise-client-urls", &urls]);
    member.add_args(["--cert-file", &cert, "--key-file", &key]);
    member.start_again();
    let zone = vec![
        ("_etcd-client-ssl", vec![tls]),
        ("_etcd-client", vec![plain]),
    ];
    let server = name_server(zone, false);
    let (tls, plain) = (format!("localhost:{tls}"), format!("localhost:{plain}"));
    let known = member.address();
    let given = format!("--endpoints={known}");
    for (more, expected) in [
        (&ca, &tls),
        (
            &"--insecure-discovery".to_owned(),
            &format!("{tls},{plain}"),
        ),
        // The system does not trust the CA.
        (&given, &known),
    ] {
        let gateway = gateway(&server, &[more]);
        let line = gateway.wait_log(0, "ready to proxy client requests");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(line["endpoints"], expected.as_str(), "{more}");
        if expected == &known {
            gateway.etcdctl(&["put", "a", "1"]);
        }
    }
    for (more, said) in [
        (
            "--insecure-discovery=false",
            "no discovered endpoint is verified",
        ),
        ("--discovery-srv-name=other", "_etcd-client-other._tcp"),
    ] {
        let mut lost = gateway(&server, &[more]);
        assert_eq!(lost.wait_exit().code(), Some(1), "{said}");
        lost.wait_log(0, said);
    }
}
