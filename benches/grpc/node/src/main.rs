//! The node's gRPC layer with a service that does next to nothing, for `benches/grpc/run`.

use std::future::pending;
use std::rc::Rc;

use async_executor::LocalExecutor;
use bytes::Bytes;
use prost::Message;
use stemedb_edge::shell::grpc::{Answer, Bounds, Call, Server, Service};
use stemedb_edge::shell::runtime::reactor;
use stemedb_edge::shell::runtime::socket::TcpListener;
use stemedb_edge::wire::grpc::{Code, Status};
use stemedb_edge::wire::pb::sync::{
    GossipRequest, GossipResponse, MembershipUpdate, PingRequest, PingResponse,
};

struct Sync {
    /// Whether answers come from a future, as those do that wait for a flush.
    later: bool,
}

impl Service for Sync {
    fn name(&self) -> &'static str {
        "stemedb.sync.v1.SyncService"
    }

    fn methods(&self) -> &'static [&'static str] {
        &["Gossip", "Ping"]
    }

    fn call(&self, method: &'static str, call: &Call) -> Answer {
        let answer = match method {
            "Ping" => ping(call),
            _ => gossip(call),
        };
        if !self.later {
            return Answer::Now(answer);
        }
        Answer::Later(Box::pin(async {
            futures_lite::future::yield_now().await;
            answer
        }))
    }
}

fn decode<M: Message + Default>(call: &Call) -> Result<M, Status> {
    M::decode(call.message.clone())
        .map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))
}

fn ping(call: &Call) -> Result<Bytes, Status> {
    let request: PingRequest = decode(call)?;
    let node_id = Bytes::from_static(&[7; 16]);
    let update = MembershipUpdate {
        node_id: node_id.clone(),
        rpc_addr: "127.0.0.1:18182".to_owned(),
        api_addr: "127.0.0.1:18180".to_owned(),
        ..MembershipUpdate::default()
    };
    let answer = PingResponse {
        node_id,
        assertion_count: request.node_id.len() as u64,
        rpc_addr: update.rpc_addr.clone(),
        api_addr: update.api_addr.clone(),
        updates: vec![update],
    };
    Ok(answer.encode_to_vec().into())
}

fn gossip(call: &Call) -> Result<Bytes, Status> {
    let request: GossipRequest = decode(call)?;
    let accepted = request.assertion_data.len() == 1024;
    Ok(GossipResponse { accepted, error: String::new() }.encode_to_vec().into())
}

fn main() {
    let later = std::env::args().nth(1).as_deref() == Some("later");
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    println!("{}", listener.local_addr().expect("bound"));
    let executor = Rc::new(LocalExecutor::new());
    let server = Server::new(vec![Box::new(Sync { later })], None, Bounds::default());
    let runs = executor.clone();
    let serving = executor.spawn(async move { server.serve(&runs, listener, pending()).await });
    reactor::current().expect("epoll").block_on(&executor, serving);
}
