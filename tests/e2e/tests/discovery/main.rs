//! Discovery: the service for curl and browsers, clusters of etcd that use it, and clusters of Witan that use registries on
//! Witan and on etcd.

#[expect(dead_code, reason = "other test programs use the rest of the module")]
#[path = "../tls/authority.rs"]
mod authority;
mod etcd;
mod members;
mod service;
mod srv;
mod tls;

use std::{
    io::{self, BufRead},
    net::{TcpListener, TcpStream},
    thread,
};

use witan_e2e::{Server, http::Response};

fn new_token(server: &Server, size: u32) -> String {
    let made = server.answers(200, "GET", &format!("/new?size={size}"), "");
    made.text()
}

fn path(url: &str) -> String {
    let (_, token) = url.rsplit_once('/').expect("a URL has a path");
    format!("/{token}")
}

/// Returns status, code and cause of a v2 error.
fn error(answer: &Response) -> (u16, u64, String) {
    let json = answer.json();
    let code = json["errorCode"].as_u64().unwrap_or_default();
    let cause = json["cause"].as_str().unwrap_or_default();
    (answer.status, code, cause.to_owned())
}

/// Passes connections to `each`, one after the other. Returns the address.
fn serve(each: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let serve = move || listener.incoming().map_while(Result::ok).for_each(each);
    thread::spawn(serve);
    address
}

fn head(from: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut head: Vec<String> = Vec::new();
    while head.last().is_none_or(|line| line.len() > "\r\n".len()) {
        let mut line = String::new();
        from.read_line(&mut line)?;
        head.push(line);
    }
    Ok(head)
}
