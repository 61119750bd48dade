//! The v3 contract: messages and services (generated from `server/crates/api/proto`), and
//! the JSON mapping of the gateway.

pub mod json;
pub mod shape;

// The generator formats this code; its documentation is in the protos.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::too_many_lines, reason = "generated code")]
#[path = "generated"]
mod generated {
    pub mod authpb;
    pub mod etcdserverpb;
    pub mod mvccpb;
    pub mod shapes;
    pub mod v3electionpb;
    pub mod v3lockpb;
}

pub use generated::{authpb, etcdserverpb, mvccpb, v3electionpb, v3lockpb};

/// Bytes of a message that our clients receive: etcd's flags allow its members to send as large an event as they want.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// All services with their messages as an encoded `FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
