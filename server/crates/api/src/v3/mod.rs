//! The v3 contract: messages generated from `server/crates/api/proto`, clients (`client`), and the messages' JSON (`json`, from
//! the tables in `shape`).

mod client;
pub mod json;
pub mod shape;

// The generator formats this code, and the protos document it.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::too_many_lines, reason = "the code is generated")]
#[path = "generated"]
mod generated {
    pub mod authpb;
    pub mod etcdserverpb;
    pub mod mvccpb;
    pub mod shapes;
    pub mod v3electionpb;
    pub mod v3lockpb;
}

pub use generated::{authpb, mvccpb};

/// Messages and clients for keys, leases, watches, members, maintenance and users.
pub mod etcdserverpb {
    pub use super::{
        client::{
            auth_client, cluster_client, kv_client, lease_client, maintenance_client, watch_client,
        },
        generated::etcdserverpb::*,
    };
}

/// Messages and client of the Election service.
pub mod v3electionpb {
    pub use super::{client::election_client, generated::v3electionpb::*};
}

/// Messages and client of the Lock service.
pub mod v3lockpb {
    pub use super::{client::lock_client, generated::v3lockpb::*};
}

/// Maximum size in bytes of a message that Witan's clients receive; if a message is longer, the call fails. etcd's flags allow
/// its members to send events of any size.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// All services with their messages as an encoded `FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
