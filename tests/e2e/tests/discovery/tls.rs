//! Registries over TLS, with certificates, users and a proxy.

use std::{
    fs,
    io::{self, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use witan_e2e::{Folder, Kind, Launch, Server, ports, server, wait};

use super::{
    authority::Authority,
    etcd::{member, set_size, started},
    head, new_token, path, serve,
};

const USER: [&str; 2] = ["root", "secret"];

struct Files {
    ca: String,
    cert: String,
    key: String,
}

impl Files {
    fn make(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("the folder is writable");
        let authority = Authority::new("authority of the registry");
        let ca = authority.write(&dir.join("ca.pem"));
        let pair = authority.issue(dir, "registry", &["localhost", "127.0.0.1"]);
        let [cert, key] = pair.paths();
        Self { ca, cert, key }
    }
}

/// Starts a registry with a plain URL for the test and a TLS URL for members. The TLS URL requires a client certificate.
/// Returns the registry with its TLS port.
fn registry(kind: Kind, files: &Files) -> (Server, u16) {
    let port = ports::free();
    let mut registry = Launch::new(kind).prepare();
    let urls = format!("{},https://127.0.0.1:{port}", registry.url());
    registry.add_args(["--listen-client-urls", &urls]);
    registry.add_args(["--advertise-client-urls", &urls]);
    registry.add_args(["--cert-file", &files.cert, "--key-file", &files.key]);
    registry.add_args(["--trusted-ca-file", &files.ca, "--client-cert-auth"]);
    registry.start_again();
    (registry, port)
}

fn of_v3(port: u16, token: &str, flags: &[&str]) -> Server {
    let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--discovery-token={token}"));
    // The first endpoint does not answer, and the second has no scheme.
    let dead = ports::free();
    flags.push(format!(
        "--discovery-endpoints=127.0.0.1:{dead},127.0.0.1:{port}"
    ));
    started(Kind::Witan, &flags)
}

#[test]
fn v3_discovery_over_tls_with_a_user() {
    let dir = Folder::new("discovery-tls");
    let (files, other) = (Files::make(&dir), Files::make(&dir.join("other")));
    let (ca, foreign) = (&files.ca, &other.ca);
    let ca = &format!("--discovery-cacert={ca}");
    let foreign = &format!("--discovery-cacert={foreign}");
    let cert = &format!("--discovery-cert={}", files.cert);
    let key = &format!("--discovery-key={}", files.key);
    let [name, password] = USER;
    let user = &format!("--discovery-user={name}");
    let password = &format!("--discovery-password={password}");
    let tls = "--discovery-insecure-transport=false";
    let skip = "--discovery-insecure-skip-tls-verify";
    let wrong = "--discovery-password=wrong";
    let (ready, invalid) = (server::READY, "invalid peer certificate");
    let (waits, ends) = ("retrying after a pause", "bad discovery endpoint");
    for kind in [Kind::Etcd36, Kind::Witan] {
        let (registry, port) = registry(kind, &files);
        let cases: [(&str, &[&str], &str); 6] = [
            ("right", &[ca, cert, key, user, password], ready),
            ("skip", &[tls, skip, cert, key, user, password], ready),
            // The member waits, because an operator may correct these errors.
            ("foreign", &[foreign, cert, key, user, password], invalid),
            ("bare", &[tls, skip, user, password], waits),
            // These errors end the member.
            ("nobody", &[ca, cert, key], ends),
            ("wrong", &[ca, cert, key, user, wrong], ends),
        ];
        for (token, ..) in cases {
            set_size(&registry, token, "1");
        }
        registry.require_users(&[&USER.join(":")]);
        let members = cases.map(|(token, flags, _)| of_v3(port, token, flags));
        for (mut asked, (token, _, said)) in members.into_iter().zip(cases) {
            asked.wait_log(0, said);
            if said.starts_with("bad") {
                assert_eq!(asked.wait_exit().code(), Some(1), "{token}");
            }
        }
    }
}

/// The endpoints accept connections but do not answer.
#[test]
fn v3_discovery_gives_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    for (scheme, flags, said) in [
        (
            "https",
            ["--discovery-dial-timeout=100ms"].as_slice(),
            "cannot connect",
        ),
        (
            "http",
            &["--discovery-request-timeout=100ms"],
            "no response within 100ms",
        ),
        (
            "http",
            &[
                "--discovery-request-timeout=1h",
                "--discovery-keepalive-time=100ms",
                "--discovery-keepalive-timeout=100ms",
            ],
            "retrying after a pause",
        ),
    ] {
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push("--discovery-token=token".to_owned());
        flags.push(format!("--discovery-endpoints={scheme}://{address}"));
        let mut waiting = started(Kind::Witan, &flags);
        waiting.wait_log(0, said);
        assert!(waiting.runs());
    }
}

/// Starts a proxy that connects clients to their targets and sends the targets to `lines`.
fn proxy(lines: SyncSender<String>) -> String {
    serve(move |client| {
        let lines = lines.clone();
        thread::spawn(move || connect(client, &lines));
    })
}

fn connect(mut client: TcpStream, lines: &SyncSender<String>) -> io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let first = head(&mut from)?.swap_remove(0);
    let mut server = TcpStream::connect(first.split(' ').nth(1).unwrap_or_default())?;
    // The test may have stopped reading.
    let _ = lines.send(first);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut back, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || io::copy(&mut back, &mut to));
    io::copy(&mut from, &mut server)?;
    Ok(())
}

#[test]
fn the_service_over_tls_through_a_proxy() {
    let dir = Folder::new("discovery-tls");
    let files = Files::make(&dir);
    let port = ports::free();
    let mut service = Launch::witan().bare().prepare();
    let urls = format!("{},https://127.0.0.1:{port}", service.url());
    service.add_args(["--listen-client-urls", &urls]);
    service.add_args(["--advertise-client-urls", &urls]);
    service.add_args(["--cert-file", &files.cert, "--key-file", &files.key]);
    service.start_again();
    let token = path(&new_token(&service, 1));
    let url = format!("https://localhost:{port}{token}");
    let (send, lines) = sync_channel(64);
    let flags = [
        format!("--discovery={url}"),
        format!("--discovery-proxy=http://{}", proxy(send)),
    ];
    let mut alone = member(Kind::Witan, "m0", &flags);
    alone.add_env("SSL_CERT_FILE", &files.ca);
    alone.start_again();
    let first = lines.recv_timeout(wait::PATIENCE).expect("it was asked");
    assert_eq!(first, format!("CONNECT localhost:{port} HTTP/1.1\r\n"));
}
