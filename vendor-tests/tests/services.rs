//! Health and reflection, asked by tonic's own clients; and a stop while streams are open.

use prost::Message;
use tokio_stream::{StreamExt, once};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use vendor_tests::node::Node;

const SYNC: &str = "stemedb.sync.v1.SyncService";

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_string() }
}

#[tokio::test]
async fn health_is_served_of_the_node_and_of_its_service() {
    let node = Node::start(&[]);
    let mut health = HealthClient::new(node.channel().await);
    for service in ["", SYNC] {
        let answer = health.check(about(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let refusal = health.check(about("no.such.Service")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound, "{refusal}");
}

#[tokio::test]
async fn a_watch_says_the_state_at_once_and_stays_open() {
    let node = Node::start(&[]);
    let mut health = HealthClient::new(node.channel().await);
    let mut known = health.watch(about(SYNC)).await.unwrap().into_inner();
    let first = known.message().await.unwrap().expect("a first message");
    assert_eq!(first.status(), ServingStatus::Serving);
    let mut unknown = health.watch(about("no.such.Service")).await.unwrap().into_inner();
    let first = unknown.message().await.unwrap().expect("a first message");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    health.check(about("")).await.expect("calls go on beside open watches");
}

#[tokio::test]
async fn a_stop_ends_open_streams_and_the_process_in_order() {
    let mut node = Node::start(&[]);
    let mut health = HealthClient::new(node.channel().await);
    let mut watch = health.watch(about("")).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("a first message");
    let ended = tokio::task::spawn_blocking(move || (node.stop(), node));
    let mut last = None;
    while let Ok(Some(message)) = watch.message().await {
        last = Some(message.status());
    }
    assert!(last.is_none_or(|status| status == ServingStatus::NotServing), "{last:?}");
    let (status, node) = ended.await.unwrap();
    assert!(status.success(), "{status}: {}", node.log());
}

async fn ask(node: &Node, questions: Vec<MessageRequest>) -> Vec<ServerReflectionResponse> {
    let mut client = ServerReflectionClient::new(node.channel().await);
    let requests: Vec<ServerReflectionRequest> = questions
        .into_iter()
        .map(|it| ServerReflectionRequest { host: String::new(), message_request: Some(it) })
        .collect();
    let stream = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap();
    stream.into_inner().map(|answer| answer.unwrap()).collect().await
}

#[tokio::test]
async fn reflection_lists_and_describes_what_is_served() {
    let node = Node::start(&[]);
    let answers = ask(
        &node,
        vec![
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol(SYNC.to_string()),
            MessageRequest::FileContainingSymbol("stemedb.sync.v1.MembershipUpdate".to_string()),
            MessageRequest::FileContainingSymbol("no.such.Thing".to_string()),
            MessageRequest::FileByFilename("no_such.proto".to_string()),
        ],
    )
    .await;
    assert_eq!(answers.len(), 5, "one answer a question, in order");
    let mut answers = answers.into_iter().map(|answer| answer.message_response.unwrap());

    let Some(MessageResponse::ListServicesResponse(list)) = answers.next() else {
        panic!("not a list of services");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in [SYNC, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(names.iter().any(|it| it == name), "{name} is not in {names:?}");
    }
    for _ in 0..2 {
        let Some(MessageResponse::FileDescriptorResponse(files)) = answers.next() else {
            panic!("not a file");
        };
        let has = files.file_descriptor_proto.iter().any(|file| names_of(file).contains("Gossip"));
        assert!(has, "the file has no Gossip in it");
    }
    for _ in 0..2 {
        let Some(MessageResponse::ErrorResponse(error)) = answers.next() else {
            panic!("not an error");
        };
        assert_eq!(error.error_code, Code::NotFound as i32, "{}", error.error_message);
    }
}

/// The text in an encoded file, roughly: enough to see a name in it.
fn names_of(file: &[u8]) -> String {
    String::from_utf8_lossy(file).into_owned()
}

#[tokio::test]
async fn reflection_of_the_older_kind_is_served_too() {
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1alpha::{ServerReflectionRequest, ServerReflectionResponse};

    let node = Node::start(&[]);
    let mut client = ServerReflectionClient::new(node.channel().await);
    let message_request = Some(MessageRequest::FileContainingSymbol(SYNC.to_string()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let stream = client.server_reflection_info(once(request)).await.unwrap();
    let answers: Vec<ServerReflectionResponse> =
        stream.into_inner().map(|answer| answer.unwrap()).collect().await;
    assert_eq!(answers.len(), 1);
    assert!(names_of(&answers[0].encode_to_vec()).contains("FetchAssertions"));
}
