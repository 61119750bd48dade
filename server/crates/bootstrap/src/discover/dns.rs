//! Queries name servers for SRV records over UDP. If a response is truncated, repeats the query over TCP. `simple_dns` encodes
//! the messages.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use resolv_conf::{Config, ScopedIp};
use ring::rand::{SecureRandom as _, SystemRandom};
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;
/// Timeout for a name server's response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
/// Maximum size in bytes of a UDP response.
const DATAGRAM_BYTES: usize = 4096;

/// The reason why a lookup found no records.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum DnsError {
    #[error("{0} is not a domain name")]
    Name(String),
    #[error("cannot read {RESOLV_CONF}: {0}")]
    ResolvConf(String),
    #[error("no name server answers for {name}: {reason}")]
    NoAnswer { name: String, reason: String },
    #[error("the SRV records {} do not exist", .0.join(" and "))]
    NoRecords(Vec<String>),
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// The host name, without a trailing dot.
    pub target: String,
    /// The port.
    pub port: u16,
    /// Clients use the reachable servers with the lowest number.
    pub priority: u16,
    /// The share of clients that use this server, relative to other servers with the same priority.
    pub weight: u16,
}

/// Returns the name of a service's SRV records. A `suffix` that is not empty is appended to the service, after a hyphen.
pub fn srv_name(service: &str, suffix: Option<&str>, domain: &str) -> String {
    match suffix.filter(|suffix| !suffix.is_empty()) {
        Some(suffix) => format!("{service}-{suffix}._tcp.{domain}"),
        None => format!("{service}._tcp.{domain}"),
    }
}

/// Returns the SRV records of a name, or an empty list if the name does not exist or has no SRV records. If `server` is `None`,
/// queries the name servers of the system. Fails for an invalid name, and if no server answers in `ROUNDS` rounds.
pub async fn lookup_srv(
    server: Option<SocketAddr>,
    name: &str,
) -> Result<Vec<SrvRecord>, DnsError> {
    let servers = match server {
        Some(server) => vec![server],
        None => name_servers()?,
    };
    let parsed = Name::new(name).map_err(|_| DnsError::Name(name.to_owned()))?;
    let mut reason = format!("{RESOLV_CONF} contains no name server");
    for _ in 0..ROUNDS {
        for server in &servers {
            match timeout(ANSWER_TIMEOUT, ask(*server, &parsed)).await {
                Ok(Ok(records)) => return Ok(records),
                Ok(Err(error)) => reason = format!("{server}: {error}"),
                Err(_) => reason = format!("{server}: no response within {ANSWER_TIMEOUT:?}"),
            }
        }
    }
    let name = name.to_owned();
    Err(DnsError::NoAnswer { name, reason })
}

/// Reads the addresses of the system's name servers from [`RESOLV_CONF`]. Drops the zones of IPv6 addresses.
fn name_servers() -> Result<Vec<SocketAddr>, DnsError> {
    let text = fs::read(RESOLV_CONF).map_err(|error| DnsError::ResolvConf(error.to_string()))?;
    let read = Config::parse(text).map_err(|error| DnsError::ResolvConf(error.to_string()))?;
    let address = |server: &ScopedIp| match server {
        ScopedIp::V4(address) => IpAddr::V4(*address),
        ScopedIp::V6(address, _) => IpAddr::V6(*address),
    };
    let servers = read.nameservers.iter().map(address);
    Ok(servers.map(|address| (address, DNS_PORT).into()).collect())
}

/// Queries a name server for SRV records over UDP, and over TCP if the response is truncated. Has no timeout.
async fn ask(server: SocketAddr, name: &Name<'_>) -> io::Result<Vec<SrvRecord>> {
    let mut id = [0; 2];
    let drawn = SystemRandom::new().fill(&mut id);
    drawn.map_err(|_| io::Error::other("the system does not provide random numbers"))?;
    let id = u16::from_be_bytes(id);
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind, class) = (QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN));
    let question = Question::new(name.clone(), kind, class, false);
    query.questions.push(question);
    let query = query.build_bytes_vec().map_err(io::Error::other)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut answer = vec![0; DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Anyone can send packets to this socket. Ignore packets that do not match the query.
        match read(&answer[..length], id, name) {
            Ok(Answer::Records(records)) => return Ok(records),
            Ok(Answer::Truncated) => break,
            Ok(Answer::Foreign) => {}
            Err(error) => return Err(error),
        }
    }
    let answer = ask_over_tcp(server, &query).await?;
    match read(&answer, id, name)? {
        Answer::Records(records) => Ok(records),
        Answer::Truncated | Answer::Foreign => {
            Err(io::Error::other("the response does not match the query"))
        }
    }
}

/// Sends an encoded query over TCP and returns the encoded response. Has no timeout.
async fn ask_over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), query].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Records(Vec<SrvRecord>),
    /// The response is truncated. The query must be repeated over TCP.
    Truncated,
    /// The message does not belong to the query.
    Foreign,
}

/// Parses a DNS message. Returns `Foreign` if it does not answer the query with this id and name, and `Truncated` if it is
/// truncated. Returns no records if the name does not exist. Fails for other error codes.
fn read(message: &[u8], id: u16, name: &Name<'_>) -> io::Result<Answer> {
    let Ok(answer) = Packet::parse(message) else {
        return Ok(Answer::Foreign);
    };
    let asked = answer.questions.first();
    let is_asked = |asked: &Question<'_>| {
        let same = asked
            .qname
            .to_string()
            .eq_ignore_ascii_case(&name.to_string());
        same && asked.qtype == QTYPE::TYPE(TYPE::SRV)
    };
    if answer.id() != id || !answer.has_flags(PacketFlag::RESPONSE) || !asked.is_some_and(is_asked)
    {
        return Ok(Answer::Foreign);
    }
    if answer.has_flags(PacketFlag::TRUNCATION) {
        return Ok(Answer::Truncated);
    }
    let code = answer.rcode();
    if code == RCODE::NameError {
        return Ok(Answer::Records(Vec::new()));
    }
    if code != RCODE::NoError {
        let refusal = format!("the name server returned {code:?}");
        return Err(io::Error::other(refusal));
    }
    let records = answer.answers.iter().filter_map(|record| {
        let RData::SRV(record) = &record.rdata else {
            return None;
        };
        Some(SrvRecord {
            target: record.target.to_string().trim_end_matches('.').to_owned(),
            port: record.port,
            priority: record.priority,
            weight: record.weight,
        })
    });
    Ok(Answer::Records(records.collect()))
}
