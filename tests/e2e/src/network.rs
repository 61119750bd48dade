//! A network between members that can fail. Every member advertises a port of this process, which identifies the sender of each
//! connection and forwards it to the member's own port. The network works with any server, with or without TLS.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, interval, sleep_until},
};

use crate::{linear::client::Choice, ports};

const PIECE_BYTES: usize = 32 << 10;

/// Maximum number of pieces in transit in one direction of a connection. When it is exceeded, the sender waits.
const PIECES_MAX: usize = 64;

/// Time after which a lost segment is resent: the minimum of Linux.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// Maximum number of searches for the member that owns a socket. The id of a process that has just started might not be set
/// yet.
const OWNER_LOOKS: usize = 500;

/// Time between two searches.
const OWNER_LOOK: Duration = Duration::from_millis(10);

/// The inode that the kernel's table of sockets shows for a socket that no process holds.
const NO_INODE: &str = "0";

/// The state of the link from one member to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Messages arrive.
    #[default]
    Open,
    /// Messages wait until the state changes, as if TCP resent them.
    Held,
    /// All connections between the two members end, and new ones fail.
    Cut,
    /// Messages are delayed by one to two times this duration.
    Slow(Duration),
    /// This percentage of segments must be resent.
    Lossy(u8),
}

/// The link from one member to another, with its history.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    link: Link,
    /// Number of cuts. A cut that is repaired before a connection sees it still ends the connection.
    cuts: u64,
}

/// A network between the members of a cluster.
#[derive(Debug)]
pub struct Network {
    /// A separate runtime, so that clients do not delay the members' messages.
    runtime: Runtime,
    shared: Arc<Shared>,
    doors: Vec<Door>,
}

/// The port through which other members reach a member.
#[derive(Debug)]
struct Door {
    port: u16,
    accepting: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    /// The links by sender, then by receiver.
    links: Vec<Vec<watch::Sender<Direction>>>,
    /// The process ids of the members.
    pids: Mutex<Vec<Option<u32>>>,
    /// The ports on which the members listen.
    ports: Vec<u16>,
    /// Serializes searches for a socket's owner, because the kernel walks its entire socket table for each.
    look: tokio::sync::Mutex<()>,
}

impl Drop for Network {
    fn drop(&mut self) {
        (0..self.doors.len()).for_each(|at| self.close(at));
    }
}

impl Network {
    /// Creates a network in front of members that listen on these ports. It refuses connections until [`Self::open`].
    pub fn new(listening: &[u16]) -> Self {
        let count = listening.len();
        let row = || (0..count).map(|_| watch::Sender::default()).collect();
        let door = |_| Door { port: ports::free(), accepting: None };
        Self {
            runtime: crate::grpc::runtime(),
            shared: Arc::new(Shared {
                links: (0..count).map(|_| row()).collect(),
                pids: Mutex::new(vec![None; count]),
                ports: listening.to_vec(),
                look: tokio::sync::Mutex::default(),
            }),
            doors: (0..count).map(door).collect(),
        }
    }

    /// Returns the URLs that the members advertise.
    pub fn urls(&self) -> Vec<String> {
        let url = |door: &Door| format!("http://127.0.0.1:{}", door.port);
        self.doors.iter().map(url).collect()
    }

    /// Accepts connections to a member, as its listener does. Panics if the port is in use.
    pub fn open(&mut self, at: usize) {
        let port = self.doors[at].port;
        let listener = crate::wait::until("a port is free", || {
            let listener = std::net::TcpListener::bind(("127.0.0.1", port)).ok()?;
            listener.set_nonblocking(true).ok()?;
            let _context = self.runtime.enter();
            TcpListener::from_std(listener).ok()
        });
        let accepting = accept(self.shared.clone(), listener, at);
        let task = self.runtime.spawn(accepting).abort_handle();
        self.doors[at].accepting = Some(task);
    }

    /// Refuses connections to a member, as the kernel does after its process exits. Open connections stay.
    pub fn close(&mut self, at: usize) {
        if let Some(task) = self.doors[at].accepting.take() {
            task.abort();
        }
    }

    /// Sets a member's process id.
    pub fn runs_as(&self, at: usize, pid: u32) {
        self.shared.pids()[at] = Some(pid);
    }

    /// Changes the link from one member to another.
    pub fn set(&self, from: usize, to: usize, link: Link) {
        change(&self.shared.links[from][to], link);
    }

    /// Changes all links from and to a member.
    pub fn set_around(&self, at: usize, sent: Link, received: Link) {
        for other in (0..self.doors.len()).filter(|other| *other != at) {
            self.set(at, other, sent);
            self.set(other, at, received);
        }
    }

    /// Changes all links.
    pub fn set_all(&self, link: Link) {
        for direction in self.shared.links.iter().flatten() {
            change(direction, link);
        }
    }
}

fn change(direction: &watch::Sender<Direction>, link: Link) {
    direction.send_modify(|direction| {
        direction.link = link;
        direction.cuts += u64::from(link == Link::Cut);
    });
}

impl Shared {
    fn pids(&self) -> MutexGuard<'_, Vec<Option<u32>>> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, from: usize, to: usize) -> watch::Receiver<Direction> {
        self.links[from][to].subscribe()
    }

    /// Returns the member that holds the other end of a connection, or `None` if no member does in [`OWNER_LOOKS`] searches.
    async fn owner(&self, other_end: SocketAddr) -> Option<usize> {
        let mut looks = interval(OWNER_LOOK);
        for _ in 0..OWNER_LOOKS {
            looks.tick().await;
            let pids = self.pids().clone();
            // Run one search at a time, on a thread that forwards no data.
            let _one = self.look.lock().await;
            let look = tokio::task::spawn_blocking(move || {
                let inode = inode(other_end)?;
                let socket = format!("socket:[{inode}]");
                let holder = |pid: &Option<u32>| pid.is_some_and(|pid| holds(pid, &socket));
                Some((inode == NO_INODE, pids.iter().position(holder)))
            });
            match look.await {
                Ok(Some((_, Some(at)))) => return Some(at),
                // The other end has closed the socket.
                Ok(Some((true, None))) => return None,
                // Retry even if the row is missing, because the table changes while it is read.
                Ok(Some((false, None)) | None) => {}
                // This process is ending.
                Err(_) => return None,
            }
        }
        None
    }
}

/// Returns the inode of the socket with this local address, or [`NO_INODE`] if no process holds it. Returns `None` for IPv6, or
/// if the kernel lists no such socket. Prefers a socket that a process holds.
fn inode(local: SocketAddr) -> Option<String> {
    let SocketAddr::V4(local) = local else {
        return None;
    };
    let bytes = u32::from_le_bytes(local.ip().octets());
    let wanted = format!("{bytes:08X}:{:04X}", local.port());
    let table = fs::read_to_string("/proc/self/net/tcp").ok()?;
    let rows = table.lines().map(|line| line.split_whitespace());
    let inodes = rows.filter_map(|mut fields| {
        (fields.nth(1)? == wanted).then_some(())?;
        fields.nth(7).map(str::to_owned)
    });
    inodes.max_by_key(|inode| inode != NO_INODE)
}

fn holds(pid: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut files = files.flatten();
    files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket))
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, to: usize) {
    let mut count = 0;
    while let Ok((stream, other_end)) = listener.accept().await {
        count += 1;
        // Use one task per connection, so that a waiting connection does not block others.
        tokio::spawn(connect(shared.clone(), stream, other_end, to, count));
    }
}

/// Forwards a connection to member `to` while the links of its sender permit it. Drops the connection of an unknown sender.
async fn connect(
    shared: Arc<Shared>,
    stream: TcpStream,
    other_end: SocketAddr,
    to: usize,
    seed: u64,
) {
    let Some(from) = shared.owner(other_end).await else {
        return;
    };
    let (mut there, mut back) = (shared.link(from, to), shared.link(to, from));
    let (there_cut, back_cut) = (cut(there.clone()), cut(back.clone()));
    let forwarded = async {
        // A held link also delays the connection request.
        passable(&mut there).await;
        passable(&mut back).await;
        let target = TcpStream::connect(("127.0.0.1", shared.ports[to])).await;
        let Ok(target) = target else { return };
        if stream.set_nodelay(true).is_err() || target.set_nodelay(true).is_err() {
            return;
        }
        let (near_read, near_write) = stream.into_split();
        let (far_read, far_write) = target.into_split();
        tokio::select! {
            () = pump(near_read, far_write, there, Choice(seed)) => {}
            () = pump(far_read, near_write, back, Choice(!seed)) => {}
        }
    };
    tokio::select! {
        // Check for a cut first, so that no held data arrives after it.
        biased;
        () = there_cut => {}
        () = back_cut => {}
        () = forwarded => {}
    }
}

/// Completes when the direction is cut, or has been cut and repaired since this call.
fn cut(mut direction: watch::Receiver<Direction>) -> impl Future<Output = ()> {
    let before = direction.borrow().cuts;
    async move {
        // An error means that the network was dropped, which ends the connection.
        let _ = direction
            .wait_for(|now| now.link == Link::Cut || now.cuts != before)
            .await;
    }
}

async fn passable(direction: &mut watch::Receiver<Direction>) {
    // An error means that the network was dropped, which ends the connection.
    let _ = direction.wait_for(|now| now.link != Link::Held).await;
}

/// Forwards one direction of a connection until it ends.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut direction: watch::Receiver<Direction>,
    mut choice: Choice,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let now = direction.clone();
    let reading = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut arrives = Instant::now();
        loop {
            let count = from.read(&mut buffer).await.unwrap_or(0);
            let late = delay(now.borrow().link, &mut choice);
            // A piece must not overtake a delayed one.
            arrives = arrives.max(Instant::now() + late);
            let sent = sender.send((arrives, buffer[..count].to_vec())).await;
            if sent.is_err() || count == 0 {
                return std::future::pending::<()>().await;
            }
        }
    };
    let writing = async move {
        while let Some((arrives, piece)) = pieces.recv().await {
            sleep_until(arrives).await;
            passable(&mut direction).await;
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

fn delay(link: Link, choice: &mut Choice) -> Duration {
    match link {
        Link::Open | Link::Held | Link::Cut => Duration::ZERO,
        Link::Slow(by) => by + by * u32::try_from(choice.below(100)).unwrap_or_default() / 100,
        Link::Lossy(percent) => match choice.below(100) < usize::from(percent) {
            true => RETRANSMISSION,
            false => Duration::ZERO,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_cut_that_is_repaired_at_once_ends_all_connections() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut network = Network::new(&[0, listener.local_addr().unwrap().port()]);
        network.open(1);
        network.runs_as(0, std::process::id());
        let mut pairs: Vec<_> = (0..8)
            .map(|_| {
                let mut near = TcpStream::connect(("127.0.0.1", network.doors[1].port)).unwrap();
                let (mut far, _) = listener.accept().unwrap();
                near.write_all(b"it passes").unwrap();
                far.read_exact(&mut [0; 9]).unwrap();
                (near, far)
            })
            .collect();
        network.set(0, 1, Link::Cut);
        network.set(0, 1, Link::Open);
        for (near, far) in &mut pairs {
            assert_eq!(near.read(&mut [0]).unwrap_or(0), 0);
            assert_eq!(far.read(&mut [0]).unwrap_or(0), 0);
        }
    }
}
