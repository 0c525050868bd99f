//! A peer that is tonic's: a server of the five RPCs over a map in memory, honest or not.
//!
//! In: assertions as bytes, a [`Manner`]. Out: an address to sync with, and what it was given.
//! Never: shares a line with the node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::pb::sync_service_server::{SyncService, SyncServiceServer};
use crate::pb::{
    AssertionData, FetchRequest, FetchResponse, GetLeavesRequest, GetLeavesResponse, GossipRequest,
    GossipResponse, PingRequest, PingResponse, RootExchangeRequest, RootExchangeResponse,
};
use crate::set::{self, Hash};

/// The identity of every such peer.
pub const NODE_ID: [u8; 16] = [0x7e; 16];
/// Leaves in one answer, as the definition says.
const LEAVES_MAX: usize = 10_000;
/// What a default gRPC client accepts; answers stay a little under it.
const ANSWER_BYTES_MAX: usize = (4 << 20) - (64 << 10);

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As the definition says, with the root that `docs/wire.md` defines.
    Honest,
    /// Honest, but its tree is of another kind: roots never match.
    OtherTree,
    /// Honest, but with other limits: this many leaves or assertions in one answer.
    Paged(usize),
    /// Answers fetches with bytes that do not hash to what was asked.
    FalseBytes,
    /// Answers fetches with nothing, though its leaves promise something.
    EmptyHanded,
    /// Always shows the first page of leaves and says there are more.
    FirstPageForEver,
    /// Always has new leaves, and nothing behind them.
    NewLeavesForEver,
    /// Its leaves are 31 bytes long.
    ShortLeaves,
    /// Answers fetches with more than a default client accepts.
    TooLarge,
    /// Takes nothing: `accepted` is false.
    Refusing,
    /// Knows none of the RPCs.
    Unimplemented,
    /// Answers each call with `INTERNAL`.
    Failing,
    /// Answers no call ever.
    Hanging,
}

/// A running peer.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    shelf: Arc<Shelf>,
    task: JoinHandle<()>,
}

struct Shelf {
    manner: Manner,
    assertions: Mutex<BTreeMap<Hash, Vec<u8>>>,
    cursor: Mutex<Option<Hash>>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
    api_addr: String,
}

impl Peer {
    /// A peer that holds these assertions.
    pub async fn start(manner: Manner, bodies: impl IntoIterator<Item = Vec<u8>>) -> Peer {
        Peer::start_with_api(manner, bodies, String::new()).await
    }

    /// One that says that its HTTP API is there.
    pub async fn start_with_api(
        manner: Manner,
        bodies: impl IntoIterator<Item = Vec<u8>>,
        api_addr: String,
    ) -> Peer {
        let assertions = bodies.into_iter().map(|body| (set::hash(&body), body)).collect();
        let shelf = Arc::new(Shelf {
            manner,
            assertions: Mutex::new(assertions),
            cursor: Mutex::default(),
            calls: Mutex::default(),
            api_addr,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let service = SyncServiceServer::from_arc(Arc::clone(&shelf));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let task = tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.expect("the peer serves");
        });
        Peer { address, shelf, task }
    }

    /// What it holds now.
    pub fn assertions(&self) -> BTreeMap<Hash, Vec<u8>> {
        self.shelf.assertions.lock().expect("no panic with the lock").clone()
    }

    /// How often this RPC was called.
    pub fn calls(&self, rpc: &str) -> u64 {
        self.shelf.calls.lock().expect("no panic with the lock").get(rpc).copied().unwrap_or(0)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shelf {
    async fn enter(&self, rpc: &'static str) -> Result<(), Status> {
        *self.calls.lock().expect("no panic with the lock").entry(rpc).or_default() += 1;
        match self.manner {
            Manner::Unimplemented => Err(Status::unimplemented("not here")),
            Manner::Failing => Err(Status::internal("the peer's disk is on fire")),
            Manner::Hanging => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn page(&self, max: usize) -> (Vec<Hash>, bool) {
        let assertions = self.assertions.lock().expect("no panic with the lock");
        if assertions.len() <= max {
            return (assertions.keys().copied().collect(), false);
        }
        let mut cursor = self.cursor.lock().expect("no panic with the lock");
        let after = assertions.keys().filter(|&hash| cursor.is_none_or(|at| *hash > at));
        let page: Vec<Hash> = after.copied().take(max).collect();
        let ended = page.last() == assertions.keys().next_back();
        *cursor = if ended { None } else { page.last().copied() };
        (page, true)
    }

    fn root(&self) -> (Hash, u64) {
        let assertions = self.assertions.lock().expect("no panic with the lock");
        let root = match self.manner {
            Manner::OtherTree => [0x0f; 32],
            _ => set::root(&assertions.keys().copied().collect()),
        };
        (root, assertions.len() as u64)
    }
}

#[tonic::async_trait]
impl SyncService for Shelf {
    async fn gossip(
        &self,
        request: Request<GossipRequest>,
    ) -> Result<Response<GossipResponse>, Status> {
        self.enter("Gossip").await?;
        let request = request.into_inner();
        if self.manner == Manner::Refusing {
            let error = "the shelf is full\nERROR node: forged \u{1b}[2J".to_string();
            return Ok(Response::new(GossipResponse { accepted: false, error }));
        }
        let hash = set::hash(&request.assertion_data);
        if hash[..] != request.assertion_hash || request.hlc_node_id.len() != 16 {
            return Err(Status::invalid_argument("hash or node id is wrong"));
        }
        let mut assertions = self.assertions.lock().expect("no panic with the lock");
        assertions.insert(hash, request.assertion_data);
        Ok(Response::new(GossipResponse { accepted: true, error: String::new() }))
    }

    async fn exchange_roots(
        &self,
        request: Request<RootExchangeRequest>,
    ) -> Result<Response<RootExchangeResponse>, Status> {
        self.enter("ExchangeRoots").await?;
        let (root, assertion_count) = self.root();
        let roots_match = request.into_inner().merkle_root == root;
        let merkle_root = root.to_vec();
        Ok(Response::new(RootExchangeResponse { merkle_root, assertion_count, roots_match }))
    }

    async fn fetch_assertions(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<FetchResponse>, Status> {
        self.enter("FetchAssertions").await?;
        let hashes = request.into_inner().hashes;
        if hashes.len() > 1000 {
            return Err(Status::invalid_argument("more than 1000 hashes"));
        }
        let (count_max, bytes_max) = match self.manner {
            Manner::EmptyHanded | Manner::NewLeavesForEver => (0, 0),
            Manner::Paged(count) => (count, ANSWER_BYTES_MAX),
            Manner::TooLarge => (1000, usize::MAX),
            _ => (1000, ANSWER_BYTES_MAX),
        };
        let shelf = self.assertions.lock().expect("no panic with the lock");
        let mut assertions = Vec::new();
        let mut bytes = 0;
        for hash in hashes {
            let Some(data) = hash[..].try_into().ok().and_then(|hash: Hash| shelf.get(&hash))
            else {
                continue;
            };
            bytes += data.len();
            if assertions.len() == count_max || (bytes > bytes_max && !assertions.is_empty()) {
                break;
            }
            let mut data = data.clone();
            if self.manner == Manner::FalseBytes {
                data[0] ^= 1;
            }
            assertions.push(AssertionData { hash, data });
        }
        Ok(Response::new(FetchResponse { assertions }))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.enter("Ping").await?;
        let (_, assertion_count) = self.root();
        Ok(Response::new(PingResponse {
            node_id: NODE_ID.to_vec(),
            assertion_count,
            updates: Vec::new(),
            rpc_addr: String::new(),
            api_addr: self.api_addr.clone(),
        }))
    }

    async fn get_leaves(
        &self,
        request: Request<GetLeavesRequest>,
    ) -> Result<Response<GetLeavesResponse>, Status> {
        self.enter("GetLeaves").await?;
        let asked = usize::try_from(request.into_inner().max_leaves).unwrap_or(usize::MAX);
        let asked = if asked == 0 { LEAVES_MAX } else { asked.min(LEAVES_MAX) };
        let (leaves, truncated) = match self.manner {
            Manner::Paged(count) => self.page(count.min(asked)),
            Manner::FirstPageForEver => (self.page(asked).0, true),
            Manner::NewLeavesForEver => {
                let call = self.calls.lock().expect("no panic with the lock")["GetLeaves"];
                let leaf = |at: u64| set::hash(format!("{call} {at}").as_bytes());
                ((0..1000).map(leaf).collect(), true)
            }
            _ => self.page(asked),
        };
        let length = if self.manner == Manner::ShortLeaves { 31 } else { 32 };
        let leaves = leaves.iter().map(|leaf| leaf[..length].to_vec()).collect();
        Ok(Response::new(GetLeavesResponse { leaves, truncated }))
    }
}
