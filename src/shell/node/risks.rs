//! What a node is started with that lets strangers do more than they should.
//!
//! In: settings. Out: a WARN for each risk, once. Never: refuses one: containers listen on all
//! addresses, and a network may be closed by other means.

use crate::config::Settings;

/// Logs each risk, at the start.
pub(crate) fn warn(settings: &Settings) {
    if settings.skip_signatures {
        log::warn!(
            "STEMEDB_UNSAFE_SKIP_SIGNATURES: no signature is verified, every client can write in \
             every agent's name"
        );
    }
    for (what, address) in [("API", settings.bind_addr), ("gateway", settings.gateway_addr)] {
        if settings.api_key.is_none() && !address.ip().is_loopback() {
            log::warn!(
                "the {what} at {address} is open to every client that reaches it: \
                 STEMEDB_AUTH_ENABLED closes it"
            );
        }
    }
    if settings.cluster_key.is_none() && !settings.rpc_addr.ip().is_loopback() {
        let address = settings.rpc_addr;
        log::warn!(
            "gRPC at {address} is open to every client that reaches it: STEMEDB_CLUSTER_KEY closes \
             it"
        );
    }
}
