//! Node leases and pods, with kube-apiserver's transactions: renewal of a lease, and creation, binding and deletion of a pod.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use bytes::Bytes;
use prost::Message as _;
use witan_api::v3::etcdserverpb::{
    Compare, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};
use witan_e2e::requests;

use crate::{
    h2::{Call, PREFIX_BYTES},
    watched::Clock,
};

pub(super) const LEASES: &str = "/registry/leases/";
pub(super) const PODS: &str = "/registry/pods/";
const LEASE_BYTES: usize = 1 << 10;
const POD_BYTES: usize = 2 << 10;

/// Length of a cycle of transactions: ten renew leases, three create, bind and delete a pod.
const CYCLE: u64 = 13;
/// Step that spreads the transactions over nodes: a prime that divides no number of nodes.
const SPREAD: u64 = 7919;

pub(super) fn lease_key(node: u64) -> String {
    format!("{LEASES}kube-node-lease/node-{node:06}")
}

/// Returns the prefix of a node's pods, which form a namespace.
pub(super) fn pods_prefix(node: u64) -> String {
    format!("{PODS}node-{node:06}/")
}

/// Returns the transactions per second of `nodes` nodes: each renews its lease every 10 s, and pods add three tenths of that
/// rate.
pub(super) fn rate(nodes: u32) -> u32 {
    nodes / 100 * 13
}

#[derive(Clone, Copy, Debug)]
struct Pod {
    number: u64,
    node: u64,
    revision: i64,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Renew { node: u64 },
    Create(Pod),
    Bind(Pod),
    Delete(Pod),
}

impl Change {
    fn node(self) -> u64 {
        match self {
            Self::Renew { node } => node,
            Self::Create(pod) | Self::Bind(pod) | Self::Delete(pod) => pod.node,
        }
    }
}

/// The objects of a cluster, with the revisions of their last changes.
#[derive(Debug)]
pub(super) struct Objects {
    clock: Clock,
    /// The revision of each node's lease, or 0 before its creation.
    leases: Vec<i64>,
    /// Number of nodes whose lease creation was sent.
    begun: usize,
    turn: u64,
    pods: u64,
    unbound: VecDeque<Pod>,
    bound: VecDeque<Pod>,
    /// Numbers of watchers of each node's lease and pods, in addition to `everywhere` watchers of each kind.
    watchers: (Vec<u64>, Vec<u64>),
    everywhere: u64,
    /// Number of events that the watchers must receive for all changes so far.
    pub events: u64,
    /// Number of transactions whose comparison failed.
    pub failed: u64,
    /// Number of transactions that were answered with an error.
    pub refused: u64,
}

impl Objects {
    /// Creates an empty cluster. `watchers` contains the numbers of watchers of each node's lease and of its pods.
    /// `everywhere` watchers watch all leases, and as many watch all pods.
    pub(super) fn new(clock: Clock, watchers: (Vec<u64>, Vec<u64>), everywhere: u64) -> Self {
        Self {
            clock,
            leases: Vec::new(),
            begun: 0,
            turn: 0,
            pods: 0,
            unbound: VecDeque::new(),
            bound: VecDeque::new(),
            watchers,
            everywhere,
            events: 0,
            failed: 0,
            refused: 0,
        }
    }

    /// Grows to `nodes` nodes, whose leases the next changes create. Returns the number of new nodes.
    pub(super) fn grow(&mut self, nodes: usize) -> u64 {
        let new = nodes.saturating_sub(self.leases.len());
        self.leases.resize(self.leases.len() + new, 0);
        new as u64
    }

    /// Returns the next change. Creates a pod if there is none to bind or delete.
    fn next(&mut self) -> Change {
        if self.begun < self.leases.len() {
            self.begun += 1;
            return Change::Renew { node: self.begun as u64 - 1 };
        }
        let (cycle, at) = (self.turn / CYCLE, self.turn % CYCLE);
        self.turn += 1;
        let other = match at {
            11 => self.unbound.pop_front().map(Change::Bind),
            12 => self.bound.pop_front().map(Change::Delete),
            10 => None,
            _ => {
                let node = (cycle * 10 + at) * SPREAD % self.leases.len() as u64;
                Some(Change::Renew { node })
            }
        };
        other.unwrap_or_else(|| {
            let number = self.pods;
            self.pods += 1;
            let node = number * SPREAD % self.leases.len() as u64;
            Change::Create(Pod { number, node, revision: 0 })
        })
    }

    /// Returns a transaction that makes the change if the object has its last known revision, and otherwise reads the object.
    fn transaction(&self, change: Change) -> TxnRequest {
        let (key, revision) = match change {
            Change::Renew { node } => (lease_key(node), self.leases[index(node)]),
            Change::Create(pod) | Change::Bind(pod) | Change::Delete(pod) => {
                let key = format!("{}pod-{:08}", pods_prefix(pod.node), pod.number);
                (key, pod.revision)
            }
        };
        let key = Bytes::from(key);
        let put = |bytes| Request::RequestPut(requests::put(key.clone(), self.clock.value(bytes)));
        let success = match change {
            Change::Renew { .. } => put(LEASE_BYTES),
            Change::Create(_) | Change::Bind(_) => put(POD_BYTES),
            Change::Delete(_) => Request::RequestDeleteRange(requests::delete(key.clone(), "")),
        };
        let read = requests::range(key.clone(), "");
        TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal as i32,
                target: CompareTarget::Mod as i32,
                key: key.clone(),
                target_union: Some(TargetUnion::ModRevision(revision)),
                ..Compare::default()
            }],
            success: vec![requests::op(success)],
            failure: vec![requests::op(Request::RequestRange(read))],
        }
    }

    /// Records the result of a change. `answer` is `None` for an error.
    fn changed(&mut self, change: Change, answer: Option<TxnResponse>) {
        let Some(answer) = answer else {
            self.refused += 1;
            return;
        };
        if !answer.succeeded {
            self.failed += 1;
            return;
        }
        let revision = answer.header.expect("answers have a header").revision;
        let watchers = match change {
            Change::Renew { .. } => &self.watchers.0,
            Change::Create(_) | Change::Bind(_) | Change::Delete(_) => &self.watchers.1,
        };
        let own = watchers.get(index(change.node())).copied();
        self.events += self.everywhere + own.unwrap_or_default();
        match change {
            Change::Renew { node } => self.leases[index(node)] = revision,
            Change::Create(pod) => self.unbound.push_back(Pod { revision, ..pod }),
            Change::Bind(pod) => self.bound.push_back(Pod { revision, ..pod }),
            Change::Delete(_) => {}
        }
    }
}

fn index(node: u64) -> usize {
    usize::try_from(node).expect("nodes have places")
}

/// The transactions of one connection.
#[derive(Debug)]
pub(super) struct Transactions {
    objects: Rc<RefCell<Objects>>,
    /// The change in each slot and the received bytes of its answer.
    slots: Vec<(Option<Change>, Vec<u8>)>,
}

impl Transactions {
    pub(super) fn new(objects: &Rc<RefCell<Objects>>) -> Self {
        Self { objects: Rc::clone(objects), slots: Vec::new() }
    }
}

impl Call for Transactions {
    fn target(&self) -> &'static str {
        "/etcdserverpb.KV/Txn"
    }

    fn message(&mut self, slot: usize, _key: u64) -> Vec<u8> {
        let mut objects = self.objects.borrow_mut();
        let change = objects.next();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Default::default);
        }
        self.slots[slot] = (Some(change), Vec::new());
        objects.transaction(change).encode_to_vec()
    }

    fn data(&mut self, slot: usize, bytes: &[u8]) {
        self.slots[slot].1.extend_from_slice(bytes);
    }

    fn ended(&mut self, slot: usize, answered: bool) {
        let (change, bytes) = std::mem::take(&mut self.slots[slot]);
        let answer = answered
            .then(|| TxnResponse::decode(&bytes[PREFIX_BYTES..]).expect("an answer to a Txn"));
        let change = change.expect("the slot has a change");
        self.objects.borrow_mut().changed(change, answer);
    }
}
