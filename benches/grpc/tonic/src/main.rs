//! A tonic server on one thread with the same service, for `benches/grpc/run`.

mod pb {
    tonic::include_proto!("stemedb.sync.v1");
}

use bytes::Bytes;
use pb::sync_service_server::{SyncService, SyncServiceServer};
use pb::{
    FetchRequest, FetchResponse, GetLeavesRequest, GetLeavesResponse, GossipRequest,
    GossipResponse, MembershipUpdate, PingRequest, PingResponse, RootExchangeRequest,
    RootExchangeResponse,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

struct Sync {
    later: bool,
}

impl Sync {
    async fn wait(&self) {
        if self.later {
            tokio::task::yield_now().await;
        }
    }
}

#[tonic::async_trait]
impl SyncService for Sync {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.wait().await;
        let request = request.into_inner();
        let node_id = Bytes::from_static(&[7; 16]);
        let update = MembershipUpdate {
            node_id: node_id.clone(),
            rpc_addr: "127.0.0.1:18182".to_owned(),
            api_addr: "127.0.0.1:18180".to_owned(),
            ..MembershipUpdate::default()
        };
        Ok(Response::new(PingResponse {
            node_id,
            assertion_count: request.node_id.len() as u64,
            rpc_addr: update.rpc_addr.clone(),
            api_addr: update.api_addr.clone(),
            updates: vec![update],
        }))
    }

    async fn gossip(
        &self,
        request: Request<GossipRequest>,
    ) -> Result<Response<GossipResponse>, Status> {
        self.wait().await;
        let accepted = request.into_inner().assertion_data.len() == 1024;
        Ok(Response::new(GossipResponse { accepted, error: String::new() }))
    }

    async fn exchange_roots(
        &self,
        _: Request<RootExchangeRequest>,
    ) -> Result<Response<RootExchangeResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn fetch_assertions(
        &self,
        _: Request<FetchRequest>,
    ) -> Result<Response<FetchResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get_leaves(
        &self,
        _: Request<GetLeavesRequest>,
    ) -> Result<Response<GetLeavesResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let later = std::env::args().nth(1).as_deref() == Some("later");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(SyncServiceServer::new(Sync { later }))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
