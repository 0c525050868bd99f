//! From raw settings to checked ones: every wrong value is found, not only the first.
//!
//! In: [`RawSettings`]. Out: [`Settings`], or a line for each thing that is wrong. Never: reads the
//! environment, resolves a name, opens a file.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use super::table::{RawSettings, SettingName, SettingOrigin};
use super::takes::Takes;
use super::values::{self, Endpoint, Parsed};
use crate::base::{ClusterId, NodeId, Secret, capacity, limits};
use crate::journal::Durability;
use crate::model;
use crate::wire::log_line::Format;

/// What a node is started with; every value can be used as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Where the log and the node id live; made if missing.
    pub data_dir: PathBuf,
    /// Where the HTTP API listens.
    pub bind_addr: SocketAddr,
    /// Where the HTTP gateway listens.
    pub gateway_addr: SocketAddr,
    /// Where gRPC listens, for peers and for clients.
    pub rpc_addr: SocketAddr,
    /// What the node advertises to peers for gRPC; `None` is the bound address.
    pub advertise_rpc_addr: Option<Endpoint>,
    /// What the node advertises to peers for HTTP; `None` is the bound address.
    pub advertise_api_addr: Option<Endpoint>,
    /// The node's identity; `None` is the one kept in the data directory.
    pub node_id: Option<NodeId>,
    /// The cluster that the node belongs to; `None` is the one kept in the data directory, or one
    /// that it learns or makes.
    pub cluster_id: Option<ClusterId>,
    /// Peers to sync with; a name means all addresses it resolves to.
    pub seeds: Vec<Endpoint>,
    /// Shards that subjects are assigned to.
    pub shards: u32,
    /// Nodes that gateways write the subjects of a shard to and ask about them.
    pub replication_factor: u32,
    /// What every HTTP request must bring; `None` asks for nothing.
    pub api_key: Option<SecretSource>,
    /// `/metrics` asks for no key.
    pub open_metrics: bool,
    /// What every call between nodes must carry; `None` asks for nothing.
    pub cluster_key: Option<SecretSource>,
    /// Development only: signatures are kept but not verified.
    pub skip_signatures: bool,
    /// The agents whose statements about agents and epochs count.
    pub root_agents: model::RootAgents,
    /// Origins (lower case) whose web pages may call the API; `None` is every origin.
    pub allowed_origins: Option<Vec<String>>,
    /// Names that requests may ask for, besides addresses and `localhost`; `None` is those two on a
    /// loopback address, and any elsewhere.
    pub allowed_hosts: Option<Vec<String>>,
    /// When a claim counts as stored.
    pub durability: Durability,
    /// Disk budget of the log; beyond it writes are refused.
    pub max_log_bytes: Option<u64>,
    /// Zeros are written behind small batches, so that later flushes change no size.
    pub zeros_ahead: bool,
    /// How often peers are probed.
    pub probe_interval: Duration,
    /// How often sets are compared with peers; `None` is only when asked.
    pub anti_entropy_interval: Option<Duration>,
    /// Bytes a second that anti-entropy takes from all peers together; `None` is no limit.
    pub sync_rate: Option<u64>,
    /// Bytes a second that the scrubber reads; `None` is no scrubber.
    pub scrub_rate: Option<u64>,
    /// Memory that all bounds follow; `None` is what the system lets the node have.
    pub memory: Option<u64>,
    /// How long a node that is asked to stop serves on, saying that it is not ready.
    pub drain_delay: Duration,
    /// The most detailed level that is logged.
    pub log: LevelFilter,
    /// The file that has the level instead.
    pub log_level_file: Option<PathBuf>,
    /// Text or JSON lines.
    pub log_format: Format,
    /// Things that are set but do nothing, for the log.
    pub warnings: Vec<String>,
}

/// Where a secret is to be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// It was given as it is.
    Text(Secret),
    /// It is the one line of this file, which a list of processes does not show.
    File(PathBuf),
}

impl SecretSource {
    /// The file that it comes from, if it does.
    pub fn path(&self) -> Option<&Path> {
        match self {
            SecretSource::Text(_) => None,
            SecretSource::File(path) => Some(path),
        }
    }
}

impl Settings {
    /// Checks every value; on failure one line for each that cannot be used.
    pub(super) fn check(raw: &RawSettings) -> Result<Settings, Vec<String>> {
        let mut reader = SettingsReader { raw, problems: Vec::new() };
        let settings = reader.settings();
        if settings.api_key.is_some() && settings.skip_signatures {
            let hint = "is for development only and cannot go with STEMEDB_AUTH_ENABLED";
            reader.refuse(SettingName::SkipSignatures, hint);
        }
        if settings.api_key.is_some()
            && settings.cluster_key.is_none()
            && !settings.rpc_addr.ip().is_loopback()
        {
            let hint = "takes STEMEDB_CLUSTER_KEY beside STEMEDB_AUTH_ENABLED, or a loopback \
                        address: without it a stranger could join, and be handed API keys";
            reader.refuse(SettingName::RpcAddr, hint);
        }
        reader.check_listeners(&settings);
        if reader.problems.is_empty() { Ok(settings) } else { Err(reader.problems) }
    }
}

impl Settings {
    /// Where the node of these settings has its API, and its key: for commands that share them.
    pub(super) fn own_api(
        raw: &RawSettings,
    ) -> Result<(Endpoint, Option<SecretSource>), Vec<String>> {
        let mut reader = SettingsReader { raw, problems: Vec::new() };
        let at = values::local_api(reader.value(SettingName::BindAddr, values::listen_address));
        let api_key = reader.secret(SettingName::RootApiKey, SettingName::RootApiKeyFile);
        if reader.problems.is_empty() { Ok((at, api_key)) } else { Err(reader.problems) }
    }
}

/// Reads values one by one and keeps what is wrong with them; a wrong value reads as its default.
struct SettingsReader<'a> {
    raw: &'a RawSettings,
    problems: Vec<String>,
}

impl SettingsReader<'_> {
    fn settings(&mut self) -> Settings {
        use SettingName::*;
        Settings {
            data_dir: self.data_dir(),
            bind_addr: self.value(BindAddr, values::listen_address),
            gateway_addr: self.value(GatewayAddr, values::listen_address),
            rpc_addr: self.value(RpcAddr, values::listen_address),
            advertise_rpc_addr: self.optional(AdvertiseRpcAddr, values::advertised),
            advertise_api_addr: self.optional(AdvertiseApiAddr, values::advertised),
            node_id: self.optional(NodeId, values::node_id),
            cluster_id: self.optional(ClusterId, values::cluster_id),
            seeds: self.optional(Seeds, values::seeds).unwrap_or_default(),
            shards: self.value(Shards, |text| values::count(text, 1..=limits::SHARDS_MAX)),
            replication_factor: self
                .value(ReplicationFactor, |text| values::count(text, 1..=limits::REPLICAS_MAX)),
            api_key: self.api_key(),
            open_metrics: self.value(OpenMetrics, values::boolean),
            cluster_key: self.secret(ClusterKey, ClusterKeyFile),
            skip_signatures: self.value(SkipSignatures, values::boolean),
            root_agents: self.optional(RootAgents, values::agents).unwrap_or_default(),
            allowed_origins: self.optional(AllowedOrigins, values::origins).flatten(),
            allowed_hosts: self.optional(AllowedHosts, values::hosts),
            durability: self.value(Durability, durability),
            max_log_bytes: self
                .optional(MaxLogBytes, |text| values::bytes(text, limits::LOG_BYTES_MIN)),
            zeros_ahead: self.value(ZerosAhead, values::boolean),
            probe_interval: self.value(ProbeInterval, interval),
            anti_entropy_interval: self.value(AntiEntropyInterval, |text| match text {
                "off" => Ok(None),
                _ => interval(text).map(Some).map_err(or_off),
            }),
            sync_rate: self.value(SyncRate, |text| rate(text, limits::SYNC_RATE_MIN)),
            scrub_rate: self.value(ScrubRate, |text| rate(text, limits::SCRUB_RATE_MIN)),
            memory: self.optional(Memory, |text| values::bytes(text, capacity::LEAST)),
            drain_delay: self.value(DrainDelay, |text| {
                values::duration(text, Duration::ZERO..=limits::DRAIN_DELAY_MAX)
            }),
            log: self.value(Log, log_level),
            log_level_file: self.log_level_file(),
            log_format: self.value(LogFormat, |text| match text {
                "text" => Ok(Format::Text),
                "json" => Ok(Format::Json),
                _ => Err(Takes::LogFormat),
            }),
            warnings: self.warnings(),
        }
    }

    fn data_dir(&mut self) -> PathBuf {
        match self.given(SettingName::DataDir) {
            // A mistake in a script (`--data-dir "$UNSET"`) must not start an empty node elsewhere.
            Some((text, _)) if text.is_empty() => {
                self.refuse(SettingName::DataDir, "takes the path of a directory");
                PathBuf::new()
            }
            Some((text, _)) => PathBuf::from(text),
            None => PathBuf::from(SettingName::DataDir.setting().default),
        }
    }

    fn log_level_file(&mut self) -> Option<PathBuf> {
        let path = self.given(SettingName::LogLevelFile).map(|(path, _)| PathBuf::from(path))?;
        if path.as_os_str().is_empty() {
            self.refuse(SettingName::LogLevelFile, "takes the path of a file with the level in it");
        } else if self.given(SettingName::Log).is_some() {
            let hint = "STEMEDB_LOG is given too: one of them is enough";
            self.refuse(SettingName::LogLevelFile, hint);
        }
        Some(path)
    }

    /// The value or its default.
    fn value<T>(&mut self, name: SettingName, parse: impl Fn(&str) -> Parsed<T>) -> T {
        self.optional(name, &parse).unwrap_or_else(|| {
            parse(name.setting().default).unwrap_or_else(|hint| {
                unreachable!("the default of {} {hint}", name.setting().variable)
            })
        })
    }

    /// The value, if one is given and can be used.
    fn optional<T>(&mut self, name: SettingName, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let (value, _) = self.given(name)?;
        match value.to_str().ok_or(Takes::Utf8).and_then(parse) {
            Ok(value) => Some(value),
            Err(takes) => {
                self.refuse(name, &takes.to_string());
                None
            }
        }
    }

    /// What was given; an empty variable counts as not set, as compose files write it.
    fn given(&self, name: SettingName) -> Option<(&OsStr, SettingOrigin)> {
        let (value, origin) = self.raw.value(name)?;
        let is_unset = value.is_empty() && origin == SettingOrigin::Environment;
        (!is_unset).then_some((value, origin))
    }

    fn refuse(&mut self, name: SettingName, hint: &str) {
        let Some((value, origin)) = self.raw.value(name) else { return };
        let setting = name.setting();
        let value = if setting.is_secret() { "***".into() } else { value.to_string_lossy() };
        self.problems.push(match origin {
            SettingOrigin::Flag => format!("--{} '{value}': {hint}", setting.flag()),
            _ => format!("{}='{value}': {hint}", setting.variable),
        });
    }

    /// The key that HTTP requests must bring, if one is asked for. Here an empty variable counts:
    /// it is the trace of a guard that a script lost.
    fn api_key(&mut self) -> Option<SecretSource> {
        let key = self.secret(SettingName::RootApiKey, SettingName::RootApiKeyFile);
        let enabled = self
            .raw
            .value(SettingName::AuthEnabled)
            .map(|(value, _)| values::is_true(value.to_str()?));
        match enabled {
            None | Some(Some(false)) => None,
            Some(None) => {
                self.refuse(SettingName::AuthEnabled, &Takes::Boolean.to_string());
                None
            }
            Some(Some(true)) => {
                if key.is_none() {
                    let hint = "takes STEMEDB_ROOT_API_KEY or STEMEDB_ROOT_API_KEY_FILE beside it";
                    self.refuse(SettingName::AuthEnabled, hint);
                }
                key
            }
        }
    }

    /// A secret as it is or the file with it. An empty variable does not count as unset: it is
    /// the trace of a secret that a script lost.
    fn secret(&mut self, text: SettingName, file: SettingName) -> Option<SecretSource> {
        let path = self.raw.value(file).map(|(path, _)| PathBuf::from(path));
        let secret = self.raw.value(text).map(|(value, _)| Secret::new(&value.to_string_lossy()));
        match &secret {
            Some(Err(unfit)) => self.refuse(text, &unfit.to_string()),
            Some(Ok(_)) if path.is_some() => {
                let other = text.setting().variable;
                self.refuse(file, &format!("{other} is given too: one of them is enough"));
            }
            _ => {}
        }
        if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            self.refuse(file, "takes the path of a file with the secret in it");
        }
        let secret = secret.and_then(Result::ok).map(SecretSource::Text);
        path.map(SecretSource::File).or(secret)
    }

    fn check_listeners(&mut self, settings: &Settings) {
        let listeners = [
            (SettingName::BindAddr, settings.bind_addr),
            (SettingName::GatewayAddr, settings.gateway_addr),
            (SettingName::RpcAddr, settings.rpc_addr),
        ];
        for (index, &(name, address)) in listeners.iter().enumerate() {
            let earlier = listeners[..index].iter().find(|(_, other)| *other == address);
            if let (Some((other, _)), true) = (earlier, address.port() != 0) {
                self.problems.push(format!(
                    "{} and {} are both {address}: each listener takes an address of its own",
                    other.setting().variable,
                    name.setting().variable
                ));
            }
        }
    }

    fn warnings(&self) -> Vec<String> {
        let asks = |value: &OsStr| value.to_str().and_then(values::is_true) == Some(true);
        let is_open =
            !self.raw.value(SettingName::AuthEnabled).is_some_and(|(value, _)| asks(value));
        let idle = [SettingName::RootApiKey, SettingName::RootApiKeyFile, SettingName::OpenMetrics]
            .into_iter()
            .filter(|&name| is_open && self.given(name).is_some())
            .map(|name| {
                let variable = name.setting().variable;
                format!("{variable} has no effect without STEMEDB_AUTH_ENABLED")
            });
        let shown = [SettingName::ClusterKey, SettingName::RootApiKey]
            .into_iter()
            .filter(|&name| {
                self.given(name).is_some_and(|(_, origin)| origin == SettingOrigin::Flag)
            })
            .map(|name| {
                let (flag, variable) = (name.setting().flag(), name.setting().variable);
                format!("--{flag} shows in every list of processes, {variable}_FILE does not")
            });
        idle.chain(shown).collect()
    }
}

/// The level that a word names.
pub fn log_level(text: &str) -> Result<LevelFilter, Takes> {
    text.parse().map_err(|_| Takes::LogLevel)
}

fn durability(text: &str) -> Parsed<Durability> {
    match text {
        "immediate" => Ok(Durability::Immediate),
        "batched" => Ok(Durability::Batched),
        "eventual" => Ok(Durability::Eventual),
        _ => Err(Takes::Durability),
    }
}

fn rate(text: &str, min: u64) -> Parsed<Option<u64>> {
    match text {
        "off" => Ok(None),
        _ => values::bytes(text, min).map(Some).map_err(or_off),
    }
}

fn or_off(takes: Takes) -> Takes {
    Takes::OrOff(Box::new(takes))
}

fn interval(text: &str) -> Parsed<Duration> {
    values::duration(text, limits::INTERVAL_MIN..=limits::INTERVAL_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::table::SETTINGS;
    use super::*;

    fn check(given: &[(SettingName, &str, SettingOrigin)]) -> Result<Settings, Vec<String>> {
        let mut raw = RawSettings::default();
        for &(name, value, origin) in given {
            raw.put(name as usize, value.into(), origin);
        }
        Settings::check(&raw)
    }

    #[test]
    fn nothing_given_is_the_contract() {
        let settings = check(&[]).expect("the defaults can be used");
        assert_eq!(settings.data_dir, PathBuf::from("./data"));
        assert_eq!(settings.bind_addr.to_string(), "127.0.0.1:18180");
        assert_eq!(settings.gateway_addr.to_string(), "127.0.0.1:18181");
        assert_eq!(settings.rpc_addr.to_string(), "127.0.0.1:18182");
        assert_eq!((settings.shards, settings.replication_factor), (64, 3));
        assert_eq!(settings.durability, Durability::Immediate);
        assert_eq!(settings.probe_interval, Duration::from_secs(1));
        assert_eq!(settings.anti_entropy_interval, Some(Duration::from_secs(30)));
        assert_eq!(settings.log, LevelFilter::Info);
        assert_eq!((settings.node_id, settings.max_log_bytes), (None, None));
        assert_eq!((settings.allowed_origins, settings.skip_signatures), (None, false));
        assert!(settings.seeds.is_empty() && settings.warnings.is_empty());
    }

    #[test]
    fn every_wrong_value_has_its_line_with_name_value_and_remedy() {
        use SettingName::*;
        let wrong = [
            (DataDir, ""),
            (BindAddr, "localhost"),
            (GatewayAddr, "1"),
            (RpcAddr, "x:1"),
            (AdvertiseRpcAddr, "0.0.0.0:1"),
            (AdvertiseApiAddr, "nowhere"),
            (NodeId, "12"),
            (ClusterId, "12"),
            (Seeds, "node1"),
            (Shards, "0"),
            (ReplicationFactor, "many"),
            (AuthEnabled, "perhaps"),
            (RootApiKey, "hush hush"),
            (RootApiKeyFile, ""),
            (OpenMetrics, "perhaps"),
            (ClusterKey, "hush hush"),
            (ClusterKeyFile, ""),
            (SkipSignatures, "perhaps"),
            (RootAgents, "12"),
            (AllowedOrigins, "here"),
            (AllowedHosts, "http://here"),
            (Durability, "forever"),
            (MaxLogBytes, "64"),
            (ZerosAhead, "perhaps"),
            (Memory, "8M"),
            (DrainDelay, "2h"),
            (ProbeInterval, "1"),
            (AntiEntropyInterval, "never"),
            (SyncRate, "10"),
            (ScrubRate, "0"),
            (Log, "loud"),
            (LogLevelFile, ""),
            (LogFormat, "xml"),
        ];
        let given = wrong.map(|(name, value)| (name, value, SettingOrigin::Flag));
        let problems = check(&given).expect_err("all are wrong");
        assert_eq!(problems.len(), SETTINGS.len());
        for (name, value) in wrong {
            let setting = name.setting();
            let shown = if setting.is_secret() { "***" } else { value };
            let start = format!("--{} '{shown}': ", setting.flag());
            assert!(problems.iter().any(|line| line.starts_with(&start)), "{start} {problems:#?}");
        }
        assert!(!problems.concat().contains("hush"));
    }

    #[test]
    fn an_empty_variable_is_not_set_but_an_empty_flag_is_wrong() {
        for setting in [
            SettingName::DataDir,
            SettingName::BindAddr,
            SettingName::NodeId,
            SettingName::Log,
            SettingName::Seeds,
        ] {
            assert_eq!(check(&[(setting, "", SettingOrigin::Environment)]), check(&[]));
        }
        for setting in
            [SettingName::DataDir, SettingName::BindAddr, SettingName::NodeId, SettingName::Log]
        {
            assert!(check(&[(setting, "", SettingOrigin::Flag)]).is_err());
        }
        assert_eq!(check(&[(SettingName::Seeds, "", SettingOrigin::Flag)]), check(&[]));
    }

    #[test]
    fn guards_are_never_dropped_silently() {
        use SettingName::{AuthEnabled, ClusterKey, ClusterKeyFile, RootApiKey};
        for name in [AuthEnabled, RootApiKey, ClusterKey, ClusterKeyFile] {
            assert!(check(&[(name, "", SettingOrigin::Environment)]).is_err());
        }
        assert!(check(&[(SettingName::AuthEnabled, "false", SettingOrigin::Environment)]).is_ok());
        let alone = check(&[(SettingName::AuthEnabled, "true", SettingOrigin::Flag)]);
        assert!(alone.expect_err("no key")[0].contains("takes STEMEDB_ROOT_API_KEY"));
        let both = check(&[
            (SettingName::AuthEnabled, "true", SettingOrigin::Flag),
            (SettingName::RootApiKeyFile, "/run/key", SettingOrigin::Environment),
            (SettingName::SkipSignatures, "true", SettingOrigin::Environment),
        ]);
        let problems = both.expect_err("development only");
        assert!(problems[0].starts_with("STEMEDB_UNSAFE_SKIP_SIGNATURES='true': "), "{problems:?}");
    }

    #[test]
    fn a_secret_is_given_once_and_a_flag_with_it_is_warned_of() {
        let text = (SettingName::ClusterKey, "hush", SettingOrigin::Flag);
        let settings = check(&[text]).expect("a secret");
        let secret = Secret::new("hush").expect("visible");
        assert_eq!(settings.cluster_key, Some(SecretSource::Text(secret)));
        assert!(settings.warnings[0].contains("STEMEDB_CLUSTER_KEY_FILE"));
        let file = (SettingName::ClusterKeyFile, "/run/key", SettingOrigin::Environment);
        let settings = check(&[file]).expect("a path");
        assert_eq!(settings.cluster_key, Some(SecretSource::File("/run/key".into())));
        assert!(settings.warnings.is_empty());
        let problems = check(&[text, file]).expect_err("both");
        assert!(problems[0].contains("one of them is enough"), "{problems:?}");
    }

    #[test]
    fn listeners_share_no_address() {
        let api = (SettingName::BindAddr, "127.0.0.1:18182", SettingOrigin::Flag);
        let problems = check(&[api]).expect_err("the RPC address");
        assert!(problems[0].contains("STEMEDB_RPC_ADDR are both 127.0.0.1:18182"), "{problems:?}");
        let any = [SettingName::BindAddr, SettingName::GatewayAddr, SettingName::RpcAddr]
            .map(|name| (name, "127.0.0.1:0", SettingOrigin::Flag));
        assert!(check(&any).is_ok());
    }

    #[test]
    fn a_key_that_has_no_effect_is_reported() {
        let key = (SettingName::RootApiKey, "hush", SettingOrigin::Environment);
        let settings = check(&[key]).expect("can be used");
        assert_eq!(settings.api_key, None);
        assert!(settings.warnings[0].starts_with("STEMEDB_ROOT_API_KEY has no effect"));
        let settings =
            check(&[key, (SettingName::AuthEnabled, "on", SettingOrigin::Flag)]).expect("a key");
        assert!(settings.api_key.is_some() && settings.warnings.is_empty());
        let off = [(SettingName::AntiEntropyInterval, "off", SettingOrigin::Flag)];
        assert_eq!(check(&off).expect("can be used").anti_entropy_interval, None);
    }
}
