//! Configuration: what was asked for by flag, environment or file, validated and typed.

/// The settings that request handlers read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--max-request-bytes`: largest v3 proposal.
    pub max_request_bytes: usize,
    /// `--max-txn-ops`.
    pub max_txn_ops: usize,
    /// `--cors`: allowed origins, `*` for all.
    pub cors: Vec<String>,
    /// `--host-whitelist`: accepted `Host` names, `*` for all.
    pub host_whitelist: Vec<String>,
    /// `--enable-grpc-gateway`.
    pub enable_grpc_gateway: bool,
    /// `--quota-backend-bytes`, resolved (0 becomes the default of 2 GiB); `None` is unlimited.
    pub quota_bytes: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_request_bytes: 1_572_864,
            max_txn_ops: 128,
            cors: vec!["*".into()],
            host_whitelist: vec!["*".into()],
            enable_grpc_gateway: true,
            quota_bytes: Some(2 << 30),
        }
    }
}
