//! Witan as a member that starts through discovery: registries on Witan and on etcd, refusals, proxies, restarts.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::mpsc::{SyncSender, sync_channel},
};

use witan_e2e::{Kind, Launch, wait};

use super::{
    error,
    etcd::{begin, begin_by_v3, flags_of_v3, ids, is_full, registered, set_size, started},
    head, new_token, path, serve,
};

/// The registry is on etcd. `etcd` tests the opposite.
#[test]
fn witan_bootstraps_with_a_registry_on_etcd_3_4() {
    let service = &Launch::new(Kind::Etcd34).start();
    for size in [1, 3] {
        let list = format!("/v2/keys/_etcd/registry/token{size}");
        let target = format!("{list}/_config/size");
        service.answers(201, "PUT", &target, &format!("value={size}"));
        let flags = [format!("--discovery={}{list}", service.url())];
        let members = begin(Kind::Witan, size, &flags);
        assert_eq!(registered(service, &list), ids(&members[0]));
        is_full(Kind::Witan, &flags);
        assert_eq!(registered(service, &list).len(), size);
    }
}

#[test]
fn witan_bootstraps_with_v3_discovery_on_etcd_3_6() {
    let service = Launch::new(Kind::Etcd36).start();
    for size in [1, 3] {
        begin_by_v3(Kind::Witan, size, &service);
    }
}

/// Checks that a member with these flags exits with code 1 and logs `said`.
fn ends(flags: &[String], said: &str) {
    let mut member = started(Kind::Witan, flags);
    assert_eq!(member.wait_exit().code(), Some(1), "{flags:?}");
    member.wait_log(0, said);
}

#[test]
fn a_registry_that_cannot_be_used_ends_the_member() {
    let service = Launch::witan().start();
    let of = |path: &str| [format!("--discovery={}{path}", service.url())];
    ends(&of(&format!("/{}", "0".repeat(32))), "size key not found");
    ends(&of("/nowhere"), "bad discovery endpoint");
    ends(&of("/version"), "bad discovery endpoint");
    for size in ["abc", "0", "-1", ""] {
        let key = format!("/v2/keys/_etcd/registry/bad{size}");
        let target = format!("{key}/_config/size");
        service.http("PUT", &target, &format!("value={size}"));
        ends(&of(&key), "size key is bad");
        let token = format!("bad{size}");
        set_size(&service, &token, size);
        ends(&flags_of_v3(&service, &token), "size key is bad");
    }
    ends(&flags_of_v3(&service, "unknown"), "size key not found");
}

#[test]
fn a_member_that_lost_its_data_is_a_duplicate() {
    let service = Launch::witan().start();
    let url = new_token(&service, 2);
    let mut first = started(Kind::Witan, &[format!("--discovery={url}")]);
    first.wait_log(0, "waiting for the other members to register");
    let id = registered(&service, &path(&url)).remove(0);
    // The member waits without a limit until it is stopped.
    assert_eq!(first.terminate().code(), Some(0));
    let skip = first.log().len();
    first.start_unready_again();
    assert_eq!(first.wait_exit().code(), Some(1));
    assert!(first.wait_log(skip, "duplicate").contains(&id));
    // It can start when its registration has been removed.
    let gone = service.http("DELETE", &format!("{}/{id}", path(&url)), "");
    assert_eq!(error(&gone).0, 200);
    let skip = first.log().len();
    first.start_unready_again();
    first.wait_log(skip, "waiting for the other members to register");
}

#[test]
fn members_may_start_before_the_service() {
    let mut service = Launch::witan().start();
    let flags = [format!("--discovery={}", new_token(&service, 1))];
    let of_v3 = flags_of_v3(&service, "token");
    set_size(&service, "token", "1");
    service.terminate();
    let mut early = [flags.as_slice(), &of_v3].map(|flags| {
        let early = started(Kind::Witan, flags);
        early.wait_log(0, "retrying after a pause");
        early
    });
    service.start_again();
    for early in &mut early {
        early.wait_log(0, "ready to serve client requests");
    }
    // A member with data sends no request.
    service.terminate();
    for early in &mut early {
        early.terminate();
        let skip = early.log().len();
        early.start_unready_again();
        early.wait_log(skip, "ready to serve client requests");
        let log = early.log();
        let differs = log.iter().any(|line| line.contains("other initial flags"));
        assert!(!differs, "{}", early.tail());
    }
}

/// Starts a proxy that forwards any request and sends the first line of each request to `lines`. Returns the proxy's address.
fn proxy(lines: SyncSender<String>) -> String {
    serve(move |client| {
        // The other side may have closed the connection.
        let _ = pass_on(client, &lines);
    })
}

fn pass_on(mut client: TcpStream, lines: &SyncSender<String>) -> io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let mut head = head(&mut from)?;
    let length = head.iter().find_map(|line| {
        let line = line.to_ascii_lowercase();
        line.strip_prefix("content-length:")?.trim().parse().ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body)?;
    let target = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
    let _ = lines.send(head[0].clone());
    let rest = target.strip_prefix("http://").unwrap_or_default();
    let place = rest.split('/').next().unwrap_or_default();
    head[0] = head[0].replace(&format!("http://{place}"), "");
    let mut server = TcpStream::connect(place)?;
    server.write_all(head.concat().as_bytes())?;
    server.write_all(&body)?;
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn a_proxy_gets_absolute_urls() {
    let service = Launch::witan().start();
    let url = new_token(&service, 1);
    let (send, lines) = sync_channel(64);
    let flags = [
        format!("--discovery={url}"),
        format!("--discovery-proxy={}", proxy(send)),
    ];
    let members = begin(Kind::Witan, 1, &flags);
    assert_eq!(registered(&service, &path(&url)), ids(&members[0]));
    let first = lines.recv_timeout(wait::PATIENCE).expect("it was asked");
    assert_eq!(first, format!("GET {url}/_config/size HTTP/1.1\r\n"));
}

/// Starts a registry that answers every connection with `answer`, repeatedly if `endless`. Returns the URL of a token.
fn canned(answer: &'static str, endless: bool) -> String {
    let address = serve(move |mut client| {
        let asked = head(&mut BufReader::new(client.try_clone().expect("a socket")));
        asked.expect("a request");
        while client.write_all(answer.as_bytes()).is_ok() && endless {}
    });
    format!("http://{address}/t")
}

#[test]
fn a_server_that_is_not_a_registry_does_no_harm() {
    let (waits, ends) = ("retrying after a pause", "bad discovery endpoint");
    for (answer, endless, said) in [
        ("220 mail.example.org ESMTP\r\n", false, waits),
        ("HTTP/1.1 200 OK\r\n\r\n<html>", false, ends),
        ("HTTP/1.1 200 OK\r\n\r\n[[[[[[[[", true, waits),
        ("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", false, "503"),
        (
            "HTTP/1.1 200 OK\r\n\r\n{\"node\":{\"value\":\"many\"}}",
            false,
            "size key is bad",
        ),
    ] {
        let flags = [format!("--discovery={}", canned(answer, endless))];
        started(Kind::Witan, &flags).wait_log(0, said);
    }
}

#[test]
fn a_surplus_member_exits_with_any_fallback() {
    let service = Launch::witan().start();
    let of = format!("--discovery={}", new_token(&service, 1));
    let _alone = begin(Kind::Witan, 1, std::slice::from_ref(&of));
    for fallback in ["exit", "proxy"] {
        let flags = [of.clone(), format!("--discovery-fallback={fallback}")];
        ends(&flags, "cluster is full");
    }
    ends(&[of, "--discovery-fallback=wait".to_owned()], "exit, proxy");
}
