//! The client port as a whole: a member in this process receives any bytes on a new connection. The port itself detects HTTP/2.

use std::{
    fs,
    io::{self, Read, Write as _},
    os::unix::net::UnixStream,
    panic,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use witan::boot;
use witan_config::{Config, Environment, Invocation};
use witan_logging as logging;

/// Maximum wait for the next bytes of an answer. Most requests are incomplete and get no answer.
const PATIENCE: Duration = Duration::from_millis(2);
/// Maximum size of an answer in bytes. Small requests have no larger answers than `/metrics` or a listing of all data.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Interval of complete requests, which check that other clients are still served.
const HEALTH_EVERY: u64 = 256;
/// Maximum time for the member to start or to answer a complete request.
const START: Duration = Duration::from_secs(60);
/// Prefix of a member's directory, before the process id.
const FOLDER: &str = "fuzz-port-";

/// The socket of the running member.
static SOCKET: LazyLock<PathBuf> = LazyLock::new(|| start().expect("a member starts"));
/// Whether any thread has panicked since the start.
static PANICKED: AtomicBool = AtomicBool::new(false);
static SENT: AtomicU64 = AtomicU64::new(0);

/// Sends the bytes to the member and reads its answer.
pub(super) fn connection(bytes: &[u8]) {
    let mut stream = UnixStream::connect(&*SOCKET).expect("the port accepts");
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("a socket accepts a timeout");
    // The member may close the connection before it has read everything.
    let _ = stream.write_all(bytes);
    let answer = answer(&mut stream);
    let http2 = bytes.starts_with(b"PRI");
    assert!(
        answer.is_empty() || http2 || answer.starts_with(b"HTTP/1."),
        "{}",
        answer.escape_ascii()
    );
    let sent = SENT.fetch_add(1, Ordering::Relaxed);
    if sent.is_multiple_of(HEALTH_EVERY) {
        assert!(healthy(), "other clients are served");
    }
    assert!(!PANICKED.load(Ordering::SeqCst), "no thread panics");
}

/// Reads until the connection or an answer ends, or no more bytes arrive in time.
fn answer(stream: &mut UnixStream) -> Vec<u8> {
    let (mut answer, mut part) = (Vec::new(), [0; 16 << 10]);
    while !whole(&answer) {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
        }
        assert!(answer.len() as u64 <= ANSWER_BYTES_MAX, "an endless answer");
    }
    answer
}

/// Returns whether an answer has at least the length that its head announces. Returns `false` if the head has no
/// `Content-Length`.
fn whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        value.trim().parse::<usize>().ok().filter(|_| named)
    });
    length.is_some_and(|length| answer.len() >= head.len() + 4 + length)
}

fn healthy() -> bool {
    let answer = UnixStream::connect(&*SOCKET).and_then(|mut stream| {
        stream.set_read_timeout(Some(START))?;
        stream.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")?;
        Ok(answer(&mut stream))
    });
    answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

/// Starts the member on a thread of this process. Returns its socket. From now on, any panic is recorded.
fn start() -> io::Result<PathBuf> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::SeqCst);
        before(info);
    }));
    let folder = folder()?;
    let socket = folder.join("socket");
    let arguments = [
        format!("--data-dir={}", folder.join("data").display()),
        format!("--listen-client-urls=unix://{}", socket.display()),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        format!("--log-outputs={}", folder.join("log").display()),
    ];
    let loaded = Config::load(arguments.iter().map(Into::into), &Environment::new());
    let Ok(Invocation::Start(config)) = loaded else {
        return Err(io::Error::other(format!("{loaded:?}")));
    };
    let (failed, failure) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        let ended = match logging::init(&config.log) {
            Ok(dial) => format!(
                "{:?}",
                actix_rt::System::new().block_on(boot::run(*config, dial))
            ),
            Err(error) => error.to_string(),
        };
        failed.send(ended)
    });
    let begun = std::time::Instant::now();
    while UnixStream::connect(&socket).is_err() {
        if let Ok(ended) = failure.recv_timeout(PATIENCE) {
            return Err(io::Error::other(ended));
        }
        assert!(begun.elapsed() < START, "a member starts");
    }
    Ok(socket)
}

/// Creates a directory next to the running program and removes the directories of processes that have ended.
fn folder() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().ok_or(io::ErrorKind::NotFound)?;
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        if owner.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let folder = target.join(format!("{FOLDER}{}", process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
