//! Maps the names of the gateway's calls to their functions, from the table of calls (`witan_api::access`).

use actix_web::HttpRequest;

use super::{GatewayError, UnaryCall, unless_disconnected};
use crate::{
    auth, cluster,
    concurrency::{election, lock},
    kv, lease, maintenance,
};

/// Runs the call of one row if it is the requested one.
macro_rules! run {
    (server_stream $($row:tt)+) => {};
    (bidi_stream $($row:tt)+) => {};
    (waiting $asked:ident $method:literal $call:ident $request:ident $verb:path) => {
        if $asked == $method {
            return unless_disconnected($request, $call.run($verb)).await;
        }
    };
    (large $asked:ident $method:literal $call:ident $request:ident $verb:path) => {
        if $asked == $method {
            return $call.run_with_permit($verb).await;
        }
    };
    ($unary:ident $asked:ident $method:literal $call:ident $request:ident $verb:path) => {
        if $asked == $method {
            return $call.run($verb).await;
        }
    };
}

macro_rules! dispatch {
    ($($package:ident $clients:ident::$client:ident {$(
        $group:ident {$(
            $method:literal $module:ident::$verb:ident($in:ident) -> $out:ident, $access:ident, $paths:tt;
        )+}
    )+})+) => {
        /// Runs a call with one answer and returns that as JSON. `NotPost` for calls with streams, which begin
        /// elsewhere.
        pub(super) async fn run(
            method: &str,
            call: UnaryCall<'_>,
            request: &HttpRequest,
        ) -> Result<Vec<u8>, GatewayError> {
            $($($(run! { $group method $method call request $module::$verb })+)+)+
            Err(GatewayError::NotPost)
        }
    };
}

witan_api::calls!(dispatch);
