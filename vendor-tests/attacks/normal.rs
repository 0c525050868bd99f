//! The normal client: calls without a pause longer than a few milliseconds, and how long each took.
//!
//! In: addresses, a path to ask for. Out: percentiles and errors per kind of call. A call that is
//! still open when the measurement ends is waited for, so that a stall counts in full. Never: gives
//! up on a call before [`CALL_MAX`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;
use vendor_tests::pb::PingRequest;
use vendor_tests::pb::sync_service_client::SyncServiceClient;

/// A call that takes longer is an error, and counts as having taken so long.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(20);
/// Pause between two calls of one kind.
const PAUSE: Duration = Duration::from_millis(3);
/// The metadata by which nodes of a cluster know each other.
pub(crate) const KEY_NAME: &str = "x-stemedb-cluster-key";

/// Whom the normal client calls.
#[derive(Clone)]
pub(crate) struct Targets {
    /// The HTTP API, if it has one.
    pub(crate) http: Option<SocketAddr>,
    /// gRPC.
    pub(crate) rpc: SocketAddr,
    /// The point query.
    pub(crate) path: String,
    /// The cluster key.
    pub(crate) key: Option<&'static str>,
}

/// What is called.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Fresh,
    Kept,
    Health,
    Ping,
}

/// The times of the calls of one kind, sorted, and what went wrong.
#[derive(Default)]
pub(crate) struct Samples {
    times: Vec<Duration>,
    errors: Vec<String>,
}

impl Samples {
    fn percentile(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }
}

/// The worst of the kinds in each column.
#[derive(Clone, Default)]
pub(crate) struct Figures {
    pub(crate) calls: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) worst: Duration,
    pub(crate) errors: Vec<String>,
}

impl Figures {
    pub(crate) fn of(kinds: Vec<Samples>) -> Figures {
        let mut figures = Figures::default();
        for mut samples in kinds {
            samples.times.sort_unstable();
            figures.calls += samples.times.len();
            figures.p50 = figures.p50.max(samples.percentile(0.5));
            figures.p99 = figures.p99.max(samples.percentile(0.99));
            figures.worst = figures.worst.max(samples.percentile(1.0));
            figures.errors.append(&mut samples.errors);
        }
        figures
    }
}

/// A measurement under way.
pub(crate) struct Client {
    stop: Arc<AtomicBool>,
    kinds: Vec<JoinHandle<Samples>>,
}

impl Client {
    pub(crate) fn start(targets: &Targets) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let kinds: &[Kind] = match targets.http {
            Some(_) => &[Kind::Fresh, Kind::Kept, Kind::Health, Kind::Ping],
            None => &[Kind::Ping],
        };
        let start = |&kind| tokio::spawn(call_again(kind, targets.clone(), stop.clone()));
        Client { kinds: kinds.iter().map(start).collect(), stop }
    }

    /// Ends it when the calls under way have ended.
    pub(crate) async fn stop(self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        let mut kinds = Vec::new();
        for kind in self.kinds {
            kinds.push(kind.await.expect("the client does not panic"));
        }
        Figures::of(kinds)
    }

    /// A measurement of so long.
    pub(crate) async fn measure(targets: &Targets, time: Duration) -> Figures {
        let client = Client::start(targets);
        tokio::time::sleep(time).await;
        client.stop().await
    }
}

async fn call_again(kind: Kind, targets: Targets, stop: Arc<AtomicBool>) -> Samples {
    let mut samples = Samples::default();
    let mut kept: Option<BufReader<TcpStream>> = None;
    let endpoint = Endpoint::from_shared(format!("http://{}", targets.rpc)).expect("a good URI");
    let mut grpc = SyncServiceClient::new(endpoint.connect_lazy());
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let call = async {
            match (kind, targets.http) {
                (Kind::Fresh, Some(http)) => fresh(http, &targets.path).await,
                (Kind::Health, Some(http)) => fresh(http, "/v1/health").await,
                (Kind::Kept, Some(http)) => {
                    let mut stream = match kept.take() {
                        Some(stream) => stream,
                        None => connect(http).await?,
                    };
                    get(&mut stream, &targets.path).await?;
                    kept = Some(stream);
                    Ok(())
                }
                _ => ping(&mut grpc, targets.key).await,
            }
        };
        let outcome = tokio::time::timeout(CALL_MAX, call).await;
        samples.times.push(start.elapsed());
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(why)) => samples.errors.push(format!("{kind:?}: {why}")),
            Err(_) => samples.errors.push(format!("{kind:?}: no answer within {CALL_MAX:?}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    samples
}

pub(crate) async fn connect(to: SocketAddr) -> Result<BufReader<TcpStream>, String> {
    let stream = TcpStream::connect(to).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(BufReader::new(stream))
}

async fn fresh(to: SocketAddr, path: &str) -> Result<(), String> {
    get(&mut connect(to).await?, path).await.map(drop)
}

/// GET that must be answered 200; the body.
pub(crate) async fn get(
    stream: &mut BufReader<TcpStream>,
    path: &str,
) -> Result<(String, Vec<u8>), String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let (head, body) = answer(stream).await.map_err(|e| e.to_string())?;
    match head.split(' ').nth(1) {
        Some("200") => Ok((head, body)),
        _ => Err(format!("{} {}", head.lines().next().unwrap_or_default(), cut(&body))),
    }
}

/// The first bytes of a body as text.
fn cut(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(100)]).replace(['\n', '\r'], " ")
}

/// Head, in lower case, and body of an HTTP answer of a known length.
pub(crate) async fn answer(
    stream: &mut BufReader<TcpStream>,
) -> std::io::Result<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            let why = format!("the connection ended after {head:?}");
            return Err(std::io::Error::other(why));
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length = length.and_then(|length| length.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok((head, body))
}

/// A request with this message, and the cluster key, if there is one.
pub(crate) fn with_key<T>(message: T, key: Option<&'static str>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(key) = key {
        request.metadata_mut().insert(KEY_NAME, key.parse().expect("a key is ASCII"));
    }
    request
}

async fn ping(
    client: &mut SyncServiceClient<tonic::transport::Channel>,
    key: Option<&'static str>,
) -> Result<(), String> {
    let ping = with_key(PingRequest::default(), key);
    client.ping(ping).await.map(drop).map_err(|status| status.to_string())
}

/// A Ping on a connection of its own.
pub(crate) async fn fresh_ping(to: SocketAddr, key: Option<&'static str>) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).expect("a good URI");
    let channel = endpoint.connect().await.map_err(|e| e.to_string())?;
    ping(&mut SyncServiceClient::new(channel), key).await
}

/// A query on a connection of its own.
pub(crate) async fn fresh_get(to: SocketAddr, path: &str) -> Result<(), String> {
    fresh(to, path).await
}
