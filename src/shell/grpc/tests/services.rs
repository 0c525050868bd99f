//! Health and reflection.
//!
//! Never: looks at a service of the node.

use prost::Message;

use super::*;
use crate::shell::grpc::identity::Identity;
use crate::wire::pb::health::{HealthCheckRequest, HealthCheckResponse};
use crate::wire::pb::reflection::server_reflection_request::MessageRequest;
use crate::wire::pb::reflection::server_reflection_response::MessageResponse;
use crate::wire::pb::reflection::{ServerReflectionRequest, ServerReflectionResponse};

#[test]
fn a_call_of_this_process_itself_is_refused_and_says_so() {
    check(|bench| async move {
        let (own, other) = (Identity::new(), Identity::new());
        let called = Rc::new(Cell::new(0));
        let count = called.clone();
        own.observe_called(Box::new(move |_| count.set(count.get() + 1)));
        bench.server.identify_by(own.clone());
        let mut send = bench.connect().await;
        assert_eq!(call(&mut send, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
        assert_eq!(called.get(), 0, "no node called");
        for (caller, is_own) in [(&other, false), (&own, true), (&other, false)] {
            let mut request = request("/test.Echo/Now");
            caller.put(request.headers_mut());
            let (response, mut body) = open(&mut send, request);
            let _ = body.send_data(Bytes::from(framed(b"x")), true);
            let reply = receive(response).await.expect("an answer");
            assert_eq!(own.is_own(&reply.headers), is_own);
            match is_own {
                true => assert_eq!(reply.code(), Code::FailedPrecondition),
                false => assert_eq!(reply.only(), b"x"),
            }
        }
        assert_eq!(called.get(), 1, "once a connection");
    });
}

#[test]
fn health_is_checked_and_watched() {
    let ask =
        |service: &str| framed(&HealthCheckRequest { service: service.to_owned() }.encode_to_vec());
    let read = |message: &[u8]| HealthCheckResponse::decode(message).expect("an answer").status;
    check(|bench| async move {
        let mut send = bench.connect().await;
        for (is_serving, expected) in [(true, 1), (false, 2), (true, 1)] {
            bench.server.set_serving(is_serving);
            for service in ["", "test.Echo", "grpc.health.v1.Health"] {
                let reply = call(&mut send, "/grpc.health.v1.Health/Check", &[&ask(service)]).await;
                assert_eq!(read(reply.only()), expected);
            }
            assert_eq!(call(&mut send, "/test.Echo/Now", &[&framed(b"x")]).await.only(), b"x");
        }
        let reply = call(&mut send, "/grpc.health.v1.Health/Check", &[&ask("none")]).await;
        assert_eq!(reply.code(), Code::NotFound);
        let mut watches = Vec::new();
        for service in ["", "none"] {
            let (response, mut body) = open(&mut send, request("/grpc.health.v1.Health/Watch"));
            send_all(&mut body, &[&ask(service)]);
            let mut stream = response.await.expect("an answer").into_body();
            let first = stream.data().await.expect("a message").expect("whole");
            watches.push((read(&first[5..]), stream));
        }
        // A service that there is none of says nothing new until the end.
        for (is_serving, expected) in [(false, 2), (true, 1)] {
            bench.server.set_serving(is_serving);
            let next = watches[0].1.data().await.expect("a message").expect("whole");
            assert_eq!(read(&next[5..]), expected);
        }
        bench.stop.close();
        for ((first, mut stream), expected) in watches.into_iter().zip([1, 3]) {
            let last = stream.data().await.expect("a message").expect("whole");
            assert_eq!((first, read(&last[5..])), (expected, 2));
            assert!(stream.data().await.is_none());
            let trailers = stream.trailers().await.expect("a whole stream").expect("trailers");
            assert_eq!(trailers["grpc-status"], Code::Unavailable.digits());
        }
    });
}

#[test]
fn reflection_answers_in_order_in_both_versions() {
    let questions = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("none".to_owned()),
        MessageRequest::FileByFilename("sync.proto".to_owned()),
    ];
    let questions: Vec<Vec<u8>> = questions
        .into_iter()
        .map(|question| {
            let request =
                ServerReflectionRequest { message_request: Some(question), ..Default::default() };
            framed(&request.encode_to_vec())
        })
        .collect();
    check(|bench| async move {
        let mut send = bench.connect().await;
        for version in ["v1", "v1alpha"] {
            let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            let all = questions.concat();
            let reply = call(&mut send, &path, &[&all[..7], &all[7..]]).await;
            assert_eq!(reply.code(), Code::Ok);
            let mut answers = Vec::new();
            let (mut reader, mut rest) =
                (crate::wire::frame::FrameReader::new(100_000), Bytes::from(reply.body));
            while let Some(message) = reader.read(&mut rest).expect("well framed") {
                answers.push(ServerReflectionResponse::decode(message).expect("an answer"));
            }
            let kinds: Vec<_> = answers.into_iter().map(|answer| answer.message_response).collect();
            let [Some(list), Some(error), Some(file)] = &kinds[..] else { panic!("{kinds:?}") };
            let MessageResponse::ListServicesResponse(list) = list else { panic!("{list:?}") };
            let names: Vec<_> = list.service.iter().map(|service| &service.name[..]).collect();
            assert_eq!(names[..2], ["test.Echo", "grpc.health.v1.Health"]);
            assert!(
                matches!(error, MessageResponse::ErrorResponse(error) if error.error_code == 5)
            );
            assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)));
        }
    });
}
