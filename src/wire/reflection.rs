//! Server reflection: answers what a client asks about the services and their files.
//!
//! In: one request. Out: one answer. Each answer carries a file and everything it imports, so that
//! a client needs to ask but once. v1 and v1alpha have the same messages and share this.
//!
//! Never: fails a stream; what cannot be answered is an `error_response`.

use bytes::Bytes;
use prost::Message;

use super::pb::DESCRIPTORS;
use super::pb::reflection::server_reflection_request::MessageRequest;
use super::pb::reflection::server_reflection_response::MessageResponse;
use super::pb::reflection::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};
use super::status::{Code, Status};

/// Answers a request, for a server that has `services` (full names).
pub fn answer(message: &[u8], services: &[&str]) -> Result<Bytes, Status> {
    let request = ServerReflectionRequest::decode(message).map_err(|error| {
        let message = format!("the message is no ServerReflectionRequest: {error}");
        Status::new(Code::InvalidArgument, message)
    })?;
    Ok(response(request, services).encode_to_vec().into())
}

fn response(request: ServerReflectionRequest, services: &[&str]) -> ServerReflectionResponse {
    let response = match &request.message_request {
        Some(MessageRequest::FileByFilename(name)) => {
            file_response(|file| file.name == *name, "file", name)
        }
        Some(MessageRequest::FileContainingSymbol(symbol)) => {
            file_response(|file| file.declares(symbol), "symbol", symbol)
        }
        Some(MessageRequest::ListServices(_)) => {
            let service = |name: &&str| ServiceResponse { name: (*name).to_owned() };
            let service = services.iter().map(service).collect();
            MessageResponse::ListServicesResponse(ListServiceResponse { service })
        }
        Some(MessageRequest::FileContainingExtension(extension)) => refusal(
            Code::NotFound,
            format!("no extensions of {:?} here", extension.containing_type),
        ),
        Some(MessageRequest::AllExtensionNumbersOfType(message)) => {
            refusal(Code::NotFound, format!("no extensions of {message:?} here"))
        }
        None => refusal(Code::InvalidArgument, "the request asks nothing".to_owned()),
    };
    ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        message_response: Some(response),
    }
}

fn refusal(code: Code, error_message: String) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse { error_code: code as i32, error_message })
}

fn file_response(wanted: impl Fn(&FileOutline) -> bool, kind: &str, name: &str) -> MessageResponse {
    let set = FileSet::decode(DESCRIPTORS).expect("the descriptors are our own");
    let files: Vec<(FileOutline, Bytes)> = set
        .file
        .into_iter()
        .map(|bytes| (FileOutline::decode(bytes.clone()).expect("as above"), bytes))
        .collect();
    let Some(first) = files.iter().position(|(file, _)| wanted(file)) else {
        return refusal(Code::NotFound, format!("no {kind} {name:?} here"));
    };
    let mut found = vec![first];
    let mut next = 0;
    while let Some(&file) = found.get(next) {
        for import in &files[file].0.dependency {
            let index = files.iter().position(|(file, _)| file.name == *import);
            let index = index.expect("the compiler puts each imported file into the set");
            if !found.contains(&index) {
                found.push(index);
            }
        }
        next += 1;
    }
    let file_descriptor_proto = found.into_iter().map(|file| files[file].1.clone()).collect();
    MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto })
}

/// `FileDescriptorSet` with its files still encoded, as they are served.
#[derive(Message)]
struct FileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// The names in a `FileDescriptorProto`.
#[derive(Message)]
struct FileOutline {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    dependency: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<MessageOutline>,
    #[prost(message, repeated, tag = "5")]
    enums: Vec<EnumOutline>,
    #[prost(message, repeated, tag = "6")]
    services: Vec<ServiceOutline>,
}

/// The names in a `DescriptorProto`.
#[derive(Message)]
struct MessageOutline {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<NamedDescriptor>,
    #[prost(message, repeated, tag = "3")]
    messages: Vec<MessageOutline>,
    #[prost(message, repeated, tag = "4")]
    enums: Vec<EnumOutline>,
    #[prost(message, repeated, tag = "8")]
    oneofs: Vec<NamedDescriptor>,
}

/// The names in an `EnumDescriptorProto`.
#[derive(Message)]
struct EnumOutline {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    values: Vec<NamedDescriptor>,
}

/// The names in a `ServiceDescriptorProto`.
#[derive(Message)]
struct ServiceOutline {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<NamedDescriptor>,
}

/// Any descriptor of which only the name counts.
#[derive(Message)]
struct NamedDescriptor {
    #[prost(string, tag = "1")]
    name: String,
}

impl FileOutline {
    /// Whether this file declares the fully qualified `symbol`, a leading dot or not.
    fn declares(&self, symbol: &str) -> bool {
        let symbol = symbol.strip_prefix('.').unwrap_or(symbol);
        let Some(path) = symbol.strip_prefix(self.package.as_str()) else { return false };
        let Some(path) = path.strip_prefix('.') else { return false };
        in_scope(path, &self.messages, &self.enums)
            || self.services.iter().any(|service| match step(path, &service.name) {
                Some("") => true,
                Some(rest) => has(&service.methods, rest),
                None => false,
            })
    }
}

/// What is left of `path` after the name it begins with; empty after the last.
fn step<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(name)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('.').filter(|rest| !rest.is_empty())
    }
}

fn has(names: &[NamedDescriptor], wanted: &str) -> bool {
    names.iter().any(|name| name.name == wanted)
}

/// Messages and enums stand in files and in messages. An enum's values are in the scope around it.
fn in_scope(path: &str, messages: &[MessageOutline], enums: &[EnumOutline]) -> bool {
    messages.iter().any(|message| match step(path, &message.name) {
        Some("") => true,
        Some(rest) => {
            has(&message.fields, rest)
                || has(&message.oneofs, rest)
                || in_scope(rest, &message.messages, &message.enums)
        }
        None => false,
    }) || enums.iter().any(|item| item.name == path || has(&item.values, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: MessageRequest) -> MessageResponse {
        let request =
            ServerReflectionRequest { host: "h".to_owned(), message_request: Some(question) };
        let response = response(request.clone(), &["a.A", "b.B"]);
        assert_eq!((response.valid_host.as_str(), response.original_request), ("h", Some(request)));
        response.message_response.expect("each request has an answer")
    }

    fn file_of(question: MessageRequest) -> Result<String, i32> {
        match ask(question) {
            MessageResponse::FileDescriptorResponse(found) => {
                let file = found.file_descriptor_proto.into_iter().next().expect("the file asked");
                Ok(FileOutline::decode(file).expect("a descriptor").name)
            }
            MessageResponse::ErrorResponse(error) => Err(error.error_code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_symbol_leads_to_its_file() {
        let rows = [
            ("stemedb.sync.v1.SyncService", "sync.proto"),
            ("stemedb.sync.v1.SyncService.Ping", "sync.proto"),
            (".stemedb.sync.v1.PingRequest", "sync.proto"),
            ("stemedb.sync.v1.PingRequest.node_id", "sync.proto"),
            ("grpc.health.v1.Health.Watch", "health.proto"),
            ("grpc.health.v1.HealthCheckResponse.ServingStatus", "health.proto"),
            ("grpc.health.v1.HealthCheckResponse.NOT_SERVING", "health.proto"),
            ("grpc.reflection.v1.ServerReflection", "reflection.proto"),
            ("grpc.reflection.v1.ServerReflectionRequest.message_request", "reflection.proto"),
            ("grpc.reflection.v1alpha.ServerReflection", "reflection_v1alpha.proto"),
        ];
        for (symbol, file) in rows {
            let found = file_of(MessageRequest::FileContainingSymbol(symbol.to_owned()));
            assert_eq!(found.as_deref(), Ok(file), "{symbol}");
        }
        for unknown in [
            "",
            ".",
            "stemedb.sync.v1",
            "stemedb.sync.v1.",
            "stemedb.sync.v1.Nothing",
            "stemedb.sync.v1.SyncService.",
            "stemedb.sync.v1.SyncService.Nothing",
            "stemedb.sync.v1.SyncServicePing",
            "SyncService",
        ] {
            let found = file_of(MessageRequest::FileContainingSymbol(unknown.to_owned()));
            assert_eq!(found, Err(Code::NotFound as i32), "{unknown}");
        }
    }

    #[test]
    fn files_are_found_by_name_and_services_listed() {
        let by_name = |name: &str| file_of(MessageRequest::FileByFilename(name.to_owned()));
        assert_eq!(by_name("sync.proto").as_deref(), Ok("sync.proto"));
        assert_eq!(by_name("sync"), Err(Code::NotFound as i32));
        let listed = ask(MessageRequest::ListServices(String::new()));
        let MessageResponse::ListServicesResponse(list) = listed else { panic!("{listed:?}") };
        let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        assert_eq!(names, ["a.A", "b.B"]);
    }

    #[test]
    fn extensions_and_empty_requests_are_refused_in_words() {
        let none = ask(MessageRequest::AllExtensionNumbersOfType("a.B".to_owned()));
        assert!(matches!(none, MessageResponse::ErrorResponse(error) if error.error_code == 5));
        let nothing = response(ServerReflectionRequest::default(), &[]);
        let Some(MessageResponse::ErrorResponse(error)) = nothing.message_response else {
            panic!("an empty request cannot be answered");
        };
        assert_eq!(error.error_code, Code::InvalidArgument as i32);
    }
}
