//! Dispatches the gateway's unary calls with the table of calls (`witan_api::access`).

use witan_dialect::{Context, jobs::WithPermit};

use super::{GatewayError, JsonText, UnaryCall};
use crate::{
    auth, cluster,
    concurrency::{election, lock},
    kv, lease, maintenance,
};

/// Runs the call of a table row if it is the requested method.
macro_rules! run {
    (server_stream $($row:tt)+) => {};
    (bidi_stream $($row:tt)+) => {};
    (large $requested:ident $method:literal $call:ident $verb:path) => {
        if $requested == $method {
            return $call.run($verb).await;
        }
    };
    ($unary:ident $requested:ident $method:literal $call:ident $verb:path) => {
        if $requested == $method {
            let verb =
                async |ctx: &Context, request| $verb(ctx, request).await.map(WithPermit::without);
            return $call.run(verb).await;
        }
    };
}

macro_rules! dispatch {
    ($($package:ident $clients:ident::$client:ident {$(
        $group:ident {$(
            $method:literal $module:ident::$verb:ident($in:ident) -> $out:ident, $access:ident, $paths:tt;
        )+}
    )+})+) => {
        /// Runs a unary call and returns its response as JSON. Fails with `NotPost` for a streaming call or an unknown method.
        pub(super) async fn run(
            method: &str,
            call: UnaryCall<'_>,
        ) -> Result<JsonText, GatewayError> {
            $($($(run! { $group method $method call $module::$verb })+)+)+
            Err(GatewayError::NotPost)
        }
    };
}

witan_api::calls!(dispatch);
