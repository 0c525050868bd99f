//! The table of settings: each variable with its flag, its default and what it means.
//!
//! In: values and where they came from. Out: [`RawSettings`], unchecked, and the tables that
//! `--help` and `--print-settings` show. Never: judges a value.

use std::ffi::{OsStr, OsString};
use std::fmt;

/// One setting of the node.
pub(super) struct Setting {
    /// Its environment variable.
    pub(super) variable: &'static str,
    /// What its value looks like, for `--help`.
    pub(super) shape: &'static str,
    /// Its value when none is given, or what stands in for one.
    pub(super) default: &'static str,
    /// What it does, for `--help`.
    pub(super) meaning: &'static str,
}

impl Setting {
    /// `STEMEDB_DATA_DIR` is `data-dir`.
    pub(super) fn flag(&self) -> String {
        let name = self.variable.strip_prefix(PREFIX).unwrap_or(self.variable);
        name.to_ascii_lowercase().replace('_', "-")
    }

    /// May be given as a bare flag, without a value.
    pub(super) fn is_switch(&self) -> bool {
        self.shape == SWITCH
    }

    /// Its value is never shown.
    pub(super) fn is_secret(&self) -> bool {
        self.shape == SECRET
    }
}

/// What every variable begins with.
pub(super) const PREFIX: &str = "STEMEDB_";
const SWITCH: &str = "true|false";
const SECRET: &str = "SECRET";

/// Names a row of [`SETTINGS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SettingName {
    DataDir,
    BindAddr,
    GatewayAddr,
    RpcAddr,
    AdvertiseRpcAddr,
    AdvertiseApiAddr,
    NodeId,
    ClusterId,
    Seeds,
    Shards,
    ReplicationFactor,
    AuthEnabled,
    RootApiKey,
    RootApiKeyFile,
    OpenMetrics,
    ClusterKey,
    ClusterKeyFile,
    SkipSignatures,
    RootAgents,
    AllowedOrigins,
    AllowedHosts,
    Durability,
    MaxLogBytes,
    ZerosAhead,
    ProbeInterval,
    AntiEntropyInterval,
    SyncRate,
    ScrubRate,
    Memory,
    DrainDelay,
    Log,
    LogLevelFile,
    LogFormat,
}

impl SettingName {
    pub(super) fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }
}

const fn row(
    variable: &'static str,
    shape: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting { variable, shape, default, meaning }
}

/// All settings, in the order of [`SettingName`].
pub(super) const SETTINGS: [Setting; 33] = [
    row("STEMEDB_DATA_DIR", "DIR", "./data", "where the log and the node id live"),
    row("STEMEDB_BIND_ADDR", "IP:PORT", "127.0.0.1:18180", "HTTP API"),
    row("STEMEDB_GATEWAY_ADDR", "IP:PORT", "127.0.0.1:18181", "HTTP gateway"),
    row("STEMEDB_RPC_ADDR", "IP:PORT", "127.0.0.1:18182", "gRPC for peers"),
    row(
        "STEMEDB_ADVERTISE_RPC_ADDR",
        "HOST:PORT",
        "the bound address",
        "RPC address advertised to peers",
    ),
    row(
        "STEMEDB_ADVERTISE_API_ADDR",
        "HOST:PORT",
        "the bound address",
        "API address advertised to peers",
    ),
    row("STEMEDB_NODE_ID", "ID", "made once, kept", "32 hex digits or a UUID"),
    row("STEMEDB_CLUSTER_ID", "ID", "learned, kept", "the cluster that peers must be of"),
    row("STEMEDB_SEEDS", "HOST:PORT,...", "none", "where to find the cluster"),
    row("STEMEDB_SHARDS", "COUNT", "64", "shards that subjects are assigned to"),
    row("STEMEDB_REPLICATION_FACTOR", "COUNT", "3", "nodes that gateways write to and ask"),
    row("STEMEDB_AUTH_ENABLED", SWITCH, "false", "ask for the API key"),
    row("STEMEDB_ROOT_API_KEY", SECRET, "none", "the key that requests must bring"),
    row("STEMEDB_ROOT_API_KEY_FILE", "FILE", "none", "a file with that key"),
    row("STEMEDB_OPEN_METRICS", SWITCH, "false", "/metrics without a key"),
    row("STEMEDB_CLUSTER_KEY", SECRET, "none", "secret that peers must present"),
    row("STEMEDB_CLUSTER_KEY_FILE", "FILE", "none", "a file with that secret"),
    row("STEMEDB_UNSAFE_SKIP_SIGNATURES", SWITCH, "false", "development only: verify none"),
    row("STEMEDB_ROOT_AGENTS", "KEY,...", "none", "agents whose word on trust and epochs counts"),
    row("STEMEDB_ALLOWED_ORIGINS", "ORIGIN,...", "all", "CORS: web pages that may call"),
    row(
        "STEMEDB_ALLOWED_HOSTS",
        "NAME,...",
        "any; on loopback IPs and localhost",
        "what Host may name",
    ),
    row("STEMEDB_DURABILITY", "MODE", "immediate", "immediate, batched or eventual"),
    row("STEMEDB_MAX_LOG_BYTES", "BYTES", "no limit", "disk budget: beyond it writes get 507"),
    row("STEMEDB_ZEROS_AHEAD", SWITCH, "true", "zeros follow small writes: quicker, more bytes"),
    row("STEMEDB_PROBE_INTERVAL", "DURATION", "1s", "how often peers are probed"),
    row("STEMEDB_ANTI_ENTROPY_INTERVAL", "DURATION|off", "30s", "how often sets are compared"),
    row("STEMEDB_SYNC_RATE", "BYTES|off", "16M", "bytes a second taken while catching up"),
    row("STEMEDB_SCRUB_RATE", "BYTES|off", "256K", "bytes a second read again to find damage"),
    row("STEMEDB_MEMORY", "BYTES", "the cgroup's or all left", "memory that all bounds follow"),
    row("STEMEDB_DRAIN_DELAY", "DURATION", "0s", "a stop serves on so long, saying not ready"),
    row("STEMEDB_LOG", "LEVEL", "info", "error, warn, info, debug, trace, off"),
    row("STEMEDB_LOG_LEVEL_FILE", "FILE", "none", "a file with that level, read again on SIGHUP"),
    row("STEMEDB_LOG_FORMAT", "FORMAT", "text", "text, or json: an object a line"),
];

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SettingOrigin {
    Default,
    Environment,
    Flag,
}

/// Values as they were given, with their origin; nothing is checked yet.
pub(super) struct RawSettings {
    values: [Option<(OsString, SettingOrigin)>; SETTINGS.len()],
}

impl Default for RawSettings {
    fn default() -> RawSettings {
        RawSettings { values: [const { None }; SETTINGS.len()] }
    }
}

impl RawSettings {
    /// Takes a value over what an origin of lower rank gave; among flags the last one wins.
    pub(super) fn put(&mut self, index: usize, value: OsString, origin: SettingOrigin) {
        let slot = &mut self.values[index];
        if origin == SettingOrigin::Flag || slot.is_none() {
            *slot = Some((value, origin));
        }
    }

    pub(super) fn value(&self, name: SettingName) -> Option<(&OsStr, SettingOrigin)> {
        self.values[name as usize].as_ref().map(|(value, origin)| (value.as_os_str(), *origin))
    }
}

/// The table of `--print-settings`: variable, value, origin.
impl fmt::Display for RawSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (setting, given) in SETTINGS.iter().zip(&self.values) {
            let (value, origin) = match given {
                None => (setting.default.to_string(), SettingOrigin::Default),
                Some(_) if setting.is_secret() => ("***".to_string(), origin_of(given)),
                Some((value, origin)) => (value.to_string_lossy().into_owned(), *origin),
            };
            let origin = match origin {
                SettingOrigin::Default => "default".to_string(),
                SettingOrigin::Environment => "environment".to_string(),
                SettingOrigin::Flag => format!("--{}", setting.flag()),
            };
            writeln!(out, "{:31} {value:24} {origin}", setting.variable)?;
        }
        Ok(())
    }
}

fn origin_of(given: &Option<(OsString, SettingOrigin)>) -> SettingOrigin {
    given.as_ref().map_or(SettingOrigin::Default, |(_, origin)| *origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_names_its_own_row() {
        for (name, flag) in [
            (SettingName::DataDir, "data-dir"),
            (SettingName::NodeId, "node-id"),
            (SettingName::AuthEnabled, "auth-enabled"),
            (SettingName::SkipSignatures, "unsafe-skip-signatures"),
            (SettingName::AllowedOrigins, "allowed-origins"),
            (SettingName::AllowedHosts, "allowed-hosts"),
            (SettingName::Log, "log"),
        ] {
            assert_eq!(name.setting().flag(), flag);
        }
        assert_eq!(SettingName::LogFormat as usize + 1, SETTINGS.len());
    }
}
