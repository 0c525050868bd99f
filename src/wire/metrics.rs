//! What an operator watches, and how Prometheus reads it.
//!
//! In: events, as they happen; readings, as they are asked for. Out: Prometheus text (version
//! 0.0.4). Plain numbers and small maps whose keys the node chooses, so that no client can
//! make them grow.
//!
//! Never: reads a clock, holds a lock, makes a metric at run time.

mod clock;
mod endpoint;
mod gossip;
mod readings;

pub use endpoint::Endpoint;
pub use readings::{ClusterReadings, DamageReadings, GrpcCount, Readings};

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::time::Duration;

use litemap::LiteMap;

use crate::base::NodeId;
use crate::journal::Obstacle;
use crate::sync::{Progress, SessionCounts};

/// Media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of latencies, in seconds: from a cached read to a disk that hangs.
const LATENCIES: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Upper bounds of records in one flush.
const BATCHES: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Counts of values by size.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64; 14],
    counts: [u64; 15],
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64; 14]) -> Histogram {
        Histogram { bounds, counts: [0; 15], sum: 0.0 }
    }

    /// Counts a value in its bucket and in the sum.
    pub fn observe(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What became of a request at the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GatewayOutcome {
    /// This node answered it.
    Local,
    /// A replica answered it.
    Forwarded,
    /// No replica answered it in time.
    Failed,
    /// No replica was asked: too many calls waited already.
    Refused,
}

impl GatewayOutcome {
    const ALL: [(GatewayOutcome, &'static str); 4] = [
        (GatewayOutcome::Local, "local"),
        (GatewayOutcome::Forwarded, "forwarded"),
        (GatewayOutcome::Failed, "failed"),
        (GatewayOutcome::Refused, "refused"),
    ];
}

/// What is counted since the start.
#[derive(Clone, Debug)]
pub struct Metrics {
    gateway: [u64; 4],
    gateway_retries: u64,
    queries: [Histogram; Endpoint::ALL.len()],
    http: LiteMap<u16, u64>,
    wal_writes: u64,
    wal_bytes: u64,
    fsyncs: Histogram,
    batches: Histogram,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            gateway: [0; 4],
            gateway_retries: 0,
            queries: std::array::from_fn(|_| Histogram::new(&LATENCIES)),
            http: LiteMap::new_vec(),
            wal_writes: 0,
            wal_bytes: 0,
            fsyncs: Histogram::new(&LATENCIES),
            batches: Histogram::new(&BATCHES),
        }
    }
}

impl Metrics {
    /// A query was answered.
    pub fn count_query(&mut self, endpoint: Endpoint, took: Duration) {
        self.queries[endpoint as usize].observe(took.as_secs_f64());
    }

    /// An HTTP request was answered.
    pub fn count_http(&mut self, status: u16) {
        *self.http.entry(status).or_default() += 1;
    }

    /// A request came to its end at the gateway.
    pub fn count_gateway(&mut self, outcome: GatewayOutcome) {
        self.gateway[outcome as usize] += 1;
    }

    /// A replica did not answer the gateway.
    pub fn count_gateway_retry(&mut self) {
        self.gateway_retries += 1;
    }

    /// The log was written to.
    pub fn count_write(&mut self, records: usize, bytes: usize) {
        self.wal_writes += 1;
        self.wal_bytes += bytes as u64;
        self.batches.observe(records as f64);
    }

    /// The log was flushed.
    pub fn count_fsync(&mut self, took: Duration) {
        self.fsyncs.observe(took.as_secs_f64());
    }
}

/// The text for a scrape.
pub fn render(metrics: &Metrics, readings: &Readings) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    page.node(readings);
    page.http(metrics);
    page.scans(readings);
    page.gateway(metrics);
    page.cluster(&readings.cluster);
    readings.clock.iter().for_each(|clock| page.clock(clock));
    page.log(metrics);
    page.obstacle(readings.obstacle);
    page.damage(&readings.damages);
    page.scrubber(readings.scrubbed);
    page.peers(&readings.sync_cycles);
    page.syncs(readings.cluster.backed_off, &readings.cluster.syncs);
    page.grpc(&readings.grpc);
    page.0
}

/// The text while the node still reads its log.
pub fn render_starting(resident_bytes: u64) -> String {
    let mut page = Page(String::new());
    page.starting(true);
    page.one("process_resident_memory_bytes", "gauge", RESIDENT_HELP, resident_bytes);
    page.0
}

const RESIDENT_HELP: &str = "Resident memory.";

struct Page(String);

impl Page {
    fn starting(&mut self, is_starting: bool) {
        let help = "1 while the node reads its log after a start.";
        self.one("stemedb_starting", "gauge", help, u64::from(is_starting));
    }

    fn node(&mut self, now: &Readings) {
        self.starting(false);
        // The contract names it so; the set only grows, so that a counter it is.
        self.one("stemedb_assertions_total", "counter", "Assertions held.", now.assertions);
        let help = "Assertions held that are not in this node's layout.";
        self.one("stemedb_opaque_assertions", "gauge", help, now.opaque);
        let help = "Heads and frames of the log.";
        self.one("stemedb_log_bytes", "gauge", help, now.log_bytes);
        if let Some(bytes_max) = now.log_bytes_max {
            let help = "What they may take, as STEMEDB_MAX_LOG_BYTES says.";
            self.one("stemedb_log_bytes_max", "gauge", help, bytes_max);
        }
        let bytes = now.resident_bytes;
        self.one("process_resident_memory_bytes", "gauge", RESIDENT_HELP, bytes);
        let help = "Memory that the bounds of the node follow, as STEMEDB_MEMORY says.";
        self.one("stemedb_memory_budget_bytes", "gauge", help, now.memory_bytes);
        let help = "Seconds since the start.";
        self.one("stemedb_uptime_seconds", "gauge", help, now.uptime_seconds);
        let help = "Lines of the log on standard error that nothing took.";
        self.one("stemedb_log_lines_dropped_total", "counter", help, now.log_lines_dropped);
        let name = "stemedb_open_connections";
        self.head(name, "gauge", "Open connections by listener.");
        self.sample(name, &[("listener", "http")], now.http_connections);
        self.sample(name, &[("listener", "gateway")], now.gateway_connections);
        self.sample(name, &[("listener", "grpc")], now.grpc_connections);
        let name = "stemedb_connections_ended_total";
        self.head(name, "counter", "Connections that the node ended, by listener and reason.");
        for &(listener, reason, count) in &now.ended {
            self.sample(name, &[("listener", listener), ("reason", reason)], count);
        }
        let help = "Open connections to other nodes.";
        self.one("stemedb_peer_connections", "gauge", help, now.peer_connections);
    }

    fn gateway(&mut self, metrics: &Metrics) {
        let name = "stemedb_gateway_requests_total";
        self.head(name, "counter", "Requests at the gateway, by who answered.");
        for (outcome, label) in GatewayOutcome::ALL {
            self.sample(name, &[("outcome", label)], metrics.gateway[outcome as usize]);
        }
        let help = "Replicas that did not answer the gateway.";
        self.one("stemedb_gateway_retries_total", "counter", help, metrics.gateway_retries);
    }

    fn cluster(&mut self, now: &ClusterReadings) {
        let name = "stemedb_cluster_members";
        self.head(name, "gauge", "Members by state, this node among them.");
        for (state, count) in &now.members {
            self.sample(name, &[("state", state)], *count);
        }
        let help = "Replicas of shards that moved to another node.";
        self.one("stemedb_shard_moves_total", "counter", help, now.moves);
        let help = "Members probed.";
        self.one("stemedb_swim_probes_total", "counter", help, now.swim.probes);
        let help = "Probes without an answer.";
        self.one("stemedb_swim_probes_failed_total", "counter", help, now.swim.failed);
        let help = "Times this node refuted its own death.";
        self.one("stemedb_swim_refutations_total", "counter", help, now.swim.refuted);
        let help = "Updates refused: impossible, or of nodes beyond the limit of members.";
        self.one("stemedb_swim_refused_total", "counter", help, now.swim.refused);
        let help = "Whether another live node has this node's id.";
        self.one("stemedb_duplicate_node_id", "gauge", help, now.duplicates);
        self.gossip(now);
    }

    fn http(&mut self, metrics: &Metrics) {
        let name = "stemedb_queries_total";
        self.head(name, "counter", "Queries answered.");
        for (endpoint, label) in Endpoint::ALL {
            let count = metrics.queries[endpoint as usize].count();
            self.sample(name, &[("endpoint", label)], count);
        }
        let name = "stemedb_query_latency_seconds";
        self.head(name, "histogram", "Time from a query's head to its answer.");
        for (endpoint, label) in Endpoint::ALL {
            let histogram = &metrics.queries[endpoint as usize];
            self.histogram(name, Some(("endpoint", label)), histogram);
        }
        let name = "stemedb_http_requests_total";
        self.head(name, "counter", "HTTP requests answered, by status.");
        for (status, count) in &metrics.http {
            self.sample(name, &[("status", &status.to_string())], *count);
        }
    }

    fn scans(&mut self, now: &Readings) {
        let help = "Queries that wait for their answers.";
        self.one("stemedb_queries_waiting", "gauge", help, now.queries_waiting);
        let help = "Candidates that queries looked at.";
        self.one("stemedb_query_candidates_total", "counter", help, now.scans.candidates);
        let help = "Queries abandoned because their clients left.";
        self.one("stemedb_queries_abandoned_total", "counter", help, now.scans.abandoned);
        let help = "Queries refused because too many waited.";
        self.one("stemedb_queries_refused_total", "counter", help, now.scans.refused);
    }

    fn log(&mut self, metrics: &Metrics) {
        let help = "Writes to the log; one holds all assertions that waited.";
        self.one("stemedb_wal_writes_total", "counter", help, metrics.wal_writes);
        let help = "Bytes written to the log.";
        self.one("stemedb_wal_bytes_written_total", "counter", help, metrics.wal_bytes);
        let name = "stemedb_wal_fsync_latency_seconds";
        self.head(name, "histogram", "Time of a flush of the log.");
        self.histogram(name, None, &metrics.fsyncs);
        let name = "stemedb_wal_batch_size";
        self.head(name, "histogram", "Assertions in one write to the log.");
        self.histogram(name, None, &metrics.batches);
    }

    fn obstacle(&mut self, now: Option<Obstacle>) {
        let name = "stemedb_writes_refused";
        self.head(name, "gauge", "1: the disk took nothing when it was last tried, by reason.");
        for obstacle in Obstacle::ALL {
            let is_it = u64::from(now == Some(obstacle));
            self.sample(name, &[("reason", obstacle.name())], is_it);
        }
    }

    fn damage(&mut self, now: &DamageReadings) {
        let help = "Damaged records of the log that are not repaired yet.";
        self.one("stemedb_damaged_records", "gauge", help, now.open);
        let help = "Damaged records of the log that were found.";
        self.one("stemedb_damage_found_total", "counter", help, now.found);
        let help = "Damaged records of the log that were repaired.";
        self.one("stemedb_damage_repaired_total", "counter", help, now.repaired);
        let name = "stemedb_damaged_record";
        self.head(name, "gauge", "Which they are (the first hundred); bytes.");
        for damage in &now.listed {
            let (segment, offset) = (damage.at.segment(), damage.at.offset());
            let hash = damage.digest.map(|digest| digest.to_string()).unwrap_or_default();
            let (segment, offset) = (segment.to_string(), offset.to_string());
            let labels = [("segment", &*segment), ("offset", &*offset), ("hash", &*hash)];
            self.sample(name, &labels, damage.bytes);
        }
    }

    fn scrubber(&mut self, [bytes, passes, found]: [u64; 3]) {
        let help = "Bytes of the log read again by the scrubber.";
        self.one("stemedb_scrub_bytes_total", "counter", help, bytes);
        let help = "Passes of the scrubber over all records.";
        self.one("stemedb_scrub_passes_total", "counter", help, passes);
        let help = "Records that the scrubber could not read well.";
        self.one("stemedb_scrub_found_total", "counter", help, found);
    }

    fn peers(&mut self, cycles: &[(NodeId, SessionCounts)]) {
        let cycles: Vec<(String, &SessionCounts)> =
            cycles.iter().map(|(node, cycles)| (node.to_string(), cycles)).collect();
        let name = "stemedb_sync_cycles_total";
        self.head(name, "counter", "Runs of anti-entropy that ended, by peer.");
        for (peer, cycles) in &cycles {
            self.sample(name, &[("peer", peer)], cycles.all);
        }
        let name = "stemedb_sync_useless_total";
        let help = "Runs that ended because the peer's answers were false or useless, by peer.";
        self.head(name, "counter", help);
        for (peer, cycles) in &cycles {
            self.sample(name, &[("peer", peer)], cycles.useless);
        }
    }

    fn syncs(&mut self, backed_off: u64, syncs: &[Progress]) {
        let help = "Members left alone for a while after useless runs.";
        self.one("stemedb_sync_backed_off_members", "gauge", help, backed_off);
        let help = "Runs of anti-entropy under way.";
        self.one("stemedb_sync_running", "gauge", help, syncs.len() as u64);
        let sum = |count: fn(&Progress) -> u64| syncs.iter().map(count).sum();
        let help = "Assertions that runs under way are known to lack.";
        self.one("stemedb_sync_to_receive", "gauge", help, sum(|progress| progress.to_receive));
        let help = "Assertions that peers of runs under way are known to lack.";
        self.one("stemedb_sync_to_send", "gauge", help, sum(|progress| progress.to_send));
    }

    fn grpc(&mut self, counts: &[GrpcCount]) {
        let name = "stemedb_grpc_requests_total";
        self.head(name, "counter", "gRPC calls answered, by method and status code.");
        // Methods of the same name in several versions of a service are one line.
        let mut sums = BTreeMap::new();
        for GrpcCount { method, code, count } in counts {
            let method = if method.is_empty() { "unknown" } else { method };
            *sums.entry((method, code)).or_default() += count;
        }
        let sums: BTreeMap<(&str, &&str), u64> = sums;
        for ((method, code), count) in sums {
            self.sample(name, &[("method", method), ("code", code)], count);
        }
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn histogram(&mut self, name: &str, label: Option<(&str, &str)>, histogram: &Histogram) {
        let labels: Vec<(&str, &str)> = label.into_iter().collect();
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(histogram.counts) {
            below += count;
            let bound = bound.to_string();
            self.sample(&bucket, &[&labels[..], &[("le", &bound)]].concat(), below);
        }
        let count = histogram.count();
        self.sample(&bucket, &[&labels[..], &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), &labels, histogram.sum);
        self.sample(&format!("{name}_count"), &labels, count);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = Escaped(text);
            write!(self.0, "{open}{label}=\"{text}\"").expect("writing to a String cannot fail");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{close} {value}"));
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        writeln!(self.0, "{text}").expect("writing to a String cannot fail");
    }
}

/// A label's value: backslash, quote and newline are escaped.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' => out.write_str("\\\\"),
            '"' => out.write_str("\\\""),
            '\n' => out.write_str("\\n"),
            letter => out.write_char(letter),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a parser of the format would object to: a sample without its head, a name twice.
    fn check_page(page: &str) {
        let mut heads = Vec::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let name = rest.split(' ').next().expect("a name").to_owned();
                assert!(!heads.contains(&name), "{name} twice");
                heads.push(name);
            } else if !line.starts_with('#') {
                let head = heads.last().expect("a head before samples");
                assert!(line.starts_with(head.as_str()), "{line} under {head}");
                let value = line.rsplit(' ').next().expect("a value");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn buckets_count_everything_below_their_bound() {
        let mut metrics = Metrics::default();
        for took in [0, 100, 101, 250_000, 9_000_000] {
            metrics.count_query(Endpoint::Query, Duration::from_micros(took));
        }
        let page = render(&metrics, &Readings::default());
        check_page(&page);
        for line in [
            "stemedb_queries_total{endpoint=\"query\"} 5",
            "stemedb_query_latency_seconds_bucket{endpoint=\"query\",le=\"0.0001\"} 2",
            "stemedb_query_latency_seconds_bucket{endpoint=\"query\",le=\"0.00025\"} 3",
            "stemedb_query_latency_seconds_bucket{endpoint=\"query\",le=\"0.25\"} 4",
            "stemedb_query_latency_seconds_bucket{endpoint=\"query\",le=\"5\"} 4",
            "stemedb_query_latency_seconds_bucket{endpoint=\"query\",le=\"+Inf\"} 5",
            "stemedb_query_latency_seconds_sum{endpoint=\"query\"} 9.250201",
            "stemedb_query_latency_seconds_count{endpoint=\"query\"} 5",
            "stemedb_queries_total{endpoint=\"skeptic\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(Escaped("a\"b\\c\n:1").to_string(), r#"a\"b\\c\n:1"#);
    }

    #[test]
    fn a_starting_node_says_so() {
        let page = render_starting(5);
        check_page(&page);
        assert!(page.contains("\nstemedb_starting 1\n"), "{page}");
        let page = render(&Metrics::default(), &Readings::default());
        assert!(page.contains("\nstemedb_starting 0\n"), "{page}");
    }

    #[test]
    fn every_count_reaches_the_page() {
        let mut metrics = Metrics::default();
        metrics.count_write(3, 700);
        metrics.count_fsync(Duration::from_millis(2));
        metrics.count_http(201);
        let ping = GrpcCount { method: "Ping", code: "OK", count: 1 };
        let unknown = GrpcCount { method: "", code: "UNIMPLEMENTED", count: 2 };
        let grpc = vec![ping, unknown, ping];
        let cycles = vec![(NodeId([0xab; 16]), SessionCounts { all: 1, useless: 0 })];
        let readings = Readings {
            assertions: 7,
            log_bytes_max: Some(99),
            http_connections: 2,
            ended: vec![("grpc", "flood", 5)],
            sync_cycles: cycles,
            grpc,
            ..Readings::default()
        };
        let page = render(&metrics, &readings);
        check_page(&page);
        for line in [
            "# TYPE stemedb_assertions_total counter",
            "stemedb_assertions_total 7",
            "stemedb_log_bytes 0",
            "stemedb_log_bytes_max 99",
            "stemedb_open_connections{listener=\"http\"} 2",
            "stemedb_connections_ended_total{listener=\"grpc\",reason=\"flood\"} 5",
            "stemedb_wal_writes_total 1",
            "stemedb_wal_bytes_written_total 700",
            "stemedb_wal_fsync_latency_seconds_count 1",
            "stemedb_wal_batch_size_bucket{le=\"2\"} 0",
            "stemedb_wal_batch_size_bucket{le=\"4\"} 1",
            "stemedb_sync_cycles_total{peer=\"abababababababababababababababab\"} 1",
            "stemedb_grpc_requests_total{method=\"Ping\",code=\"OK\"} 2",
            "stemedb_grpc_requests_total{method=\"unknown\",code=\"UNIMPLEMENTED\"} 2",
            "stemedb_http_requests_total{status=\"201\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
