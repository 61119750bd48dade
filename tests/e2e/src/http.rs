//! An HTTP/1.1 client that shows the data on the wire: the status line, header names as received, the body, and single chunks
//! as they arrive.
//!
//! The client follows no redirects, keeps no cookies, decodes no bodies and pools no connections, so a test sees each response.
//! A [`Connection`] can send several requests.

use std::{
    io::{self, BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use crate::wait::PATIENCE;

/// Content type of v2 forms, which is the default for every body.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The header of a JSON body.
pub const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// Maximum length of a header line in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The version, such as `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase as sent.
    pub reason: String,
    /// Header names and values as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body without its framing. It is empty after [`Connection::head`].
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the first value of a header, ignoring the case of the name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the index of the v2 key space in the response. Panics if there is none.
    pub fn etcd_index(&self) -> u64 {
        let index = self.header("X-Etcd-Index");
        let index = index.and_then(|index| index.parse().ok());
        index.unwrap_or_else(|| panic!("no X-Etcd-Index in {} {}", self.status, self.text()))
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON. Panics if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.text()))
    }
}

/// Sends a request with a form on a new connection. Panics if there is no complete response.
pub fn once(address: &str, method: &str, target: &str, body: &str) -> Response {
    try_once(address, method, target, &[], body.as_bytes())
        .unwrap_or_else(|error| panic!("{method} {target} on {address}: {error}"))
}

/// Sends a request with these headers on a new connection. Fails if there is no complete response.
pub fn try_once(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut connection = Connection::open(address)?;
    connection.request(method, target, headers, body)
}

/// Converts a `/v3` body to the form of etcd 3.6 and later: removes the field `error`, in which etcd 3.4 repeats the message.
/// Returns any other body unchanged.
pub fn without_error(body: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(body).ok();
    let error = parsed.as_ref().and_then(|json| {
        let error = json.get("error")?;
        (json.get("message")? == error && json.get("code").is_some()).then(|| error.to_string())
    });
    match error {
        Some(error) => body.replace(&format!(",\"error\":{error}}}"), "}"),
        None => body.to_owned(),
    }
}

/// Escapes a string for a form or a query.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The framing of the rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// A TCP connection with HTTP/1.1.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
    framing: Framing,
}

impl Connection {
    /// Connects to `host:port`. Reads time out after the patience of tests. Fails if no server listens.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            address: address.into(),
            framing: Framing::None,
        })
    }

    /// Sets the timeout of reads, for tests that expect no data. Fails if the socket is closed.
    pub fn patience(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    /// Sends a request. Adds `Host` and, for a body, its length and form type unless `headers` contain them. Fails if the
    /// connection is closed.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let given = |name: &str| {
            headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !given("host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() && !given("content-type") {
            head.push_str(&format!("Content-Type: {FORM}\r\n"));
        }
        let bodied = !body.is_empty() || matches!(method, "PUT" | "POST");
        if bodied && !given("content-length") && !given("transfer-encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send_raw(&bytes)
    }

    /// Sends a request and reads the complete response. Fails if the connection ends or times out first.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        self.send(method, target, headers, body)?;
        self.response(method)
    }

    /// Sends raw bytes, for malformed requests. Fails if the connection is closed.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Closes the sending direction. The connection can still read. Fails if the connection is closed.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// Reads a complete response to a request with `method`. Fails if the connection ends or times out first.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.head(method)?;
        while let Some(piece) = self.chunk()? {
            response.body.extend_from_slice(&piece);
        }
        Ok(response)
    }

    /// Reads the status line and headers of the next response that is not `100 Continue`; [`Connection::chunk`] reads the body.
    /// Fails if the connection ends or times out first, or the response is not HTTP.
    pub fn head(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let response = self.any_head()?;
            if response.status != 100 {
                self.framing = framing(method, &response)?;
                return Ok(response);
            }
        }
    }

    fn any_head(&mut self) -> io::Result<Response> {
        let line = self.line()?;
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| bad(format!("no status line: {line:?}")))?;
        let reason = words.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { version, status, reason, headers, body: Vec::new() });
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| bad(format!("no header: {line:?}")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Reads the next piece of the body: one chunk, a whole body with a length, or everything up to the end of the connection.
    /// Returns `None` at the end of the body. Fails if the connection ends inside the body or times out.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = match self.framing {
            Framing::None => return Ok(None),
            Framing::Length(length) => {
                self.framing = Framing::None;
                length
            }
            Framing::UntilClose => {
                self.framing = Framing::None;
                let mut rest = Vec::new();
                self.stream.read_to_end(&mut rest)?;
                return Ok(Some(rest));
            }
            Framing::Chunked => {
                let line = self.line()?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let length = usize::from_str_radix(digits, 16)
                    .map_err(|_| bad(format!("no chunk length: {line:?}")))?;
                if length == 0 {
                    self.framing = Framing::None;
                    while !self.line()?.is_empty() {}
                    return Ok(None);
                }
                length
            }
        };
        let mut piece = vec![0; length];
        self.stream.read_exact(&mut piece)?;
        if self.framing == Framing::Chunked {
            self.line()?;
        }
        Ok(Some(piece))
    }

    /// Returns whether data or the end of the stream arrives within `patience`, which must not be 0. Then resets the timeout of
    /// reads. Fails if the socket is closed.
    pub fn ready(&mut self, patience: Duration) -> io::Result<bool> {
        self.patience(patience)?;
        let ready = match self.stream.fill_buf() {
            Ok(_) => Ok(true),
            Err(error) if is_silence(&error) => Ok(false),
            Err(error) => Err(error),
        };
        self.patience(PATIENCE)?;
        ready
    }

    /// Returns whether the server closes the connection before a read times out, without sending more data.
    pub fn closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok(bytes) if bytes.is_empty())
    }

    /// Reads a line without its end. Fails if the connection ends first or the line is longer than [`LINE_BYTES_MAX`].
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(Error::new(
                ErrorKind::UnexpectedEof,
                "the connection ended inside a line",
            ));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|error| bad(error.to_string()))
    }
}

/// Returns how a body is framed. A body without a length or chunks ends with the connection.
fn framing(method: &str, response: &Response) -> io::Result<Framing> {
    if method == "HEAD" || matches!(response.status, 204 | 304) {
        return Ok(Framing::None);
    }
    if response
        .header("transfer-encoding")
        .is_some_and(|value| value.contains("chunked"))
    {
        return Ok(Framing::Chunked);
    }
    match response.header("content-length") {
        Some(text) => text
            .parse()
            .map(Framing::Length)
            .map_err(|_| bad(format!("no content length: {text:?}"))),
        None => Ok(Framing::UntilClose),
    }
}

/// Returns whether a read timed out.
pub fn is_silence(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn bad(text: String) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}
