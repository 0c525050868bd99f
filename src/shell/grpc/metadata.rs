//! What the headers of a request say about its call.
//!
//! In: headers of a foreign program. Out: the call's deadline, or why it is not answered. Never:
//! keeps anything of them.

use std::time::Duration;

use http::{HeaderMap, Method as Verb, StatusCode};

use super::identity::Caller;
use super::link::Link;
use crate::shell::runtime::log_limit;
use crate::wire::grpc::{self, CLUSTER_ID, CLUSTER_KEY, Code, INSTANCE, SETTINGS, Status};

/// What the headers say about the call. Looked for in one pass: a look-up by name costs about as
/// much as comparing with all of the few names there are.
#[derive(Default)]
pub(super) struct Metadata<'a> {
    content_type: Option<&'a [u8]>,
    timeout: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    pub(super) settings: Option<&'a [u8]>,
    caller: Caller<'a>,
}

impl<'a> Metadata<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Metadata<'a> {
        let mut metadata = Metadata::default();
        for (name, value) in headers {
            let field = match name.as_str() {
                "content-type" => &mut metadata.content_type,
                "grpc-timeout" => &mut metadata.timeout,
                "grpc-encoding" => &mut metadata.encoding,
                CLUSTER_KEY => &mut metadata.key,
                SETTINGS => &mut metadata.settings,
                INSTANCE => &mut metadata.caller.instance,
                CLUSTER_ID => &mut metadata.caller.cluster,
                _ => continue,
            };
            // The first of several, as none of these fields is a list.
            field.get_or_insert(value.as_bytes());
        }
        metadata
    }

    /// Refusals of HTTP come with a status of gRPC, as grpc-go sends it.
    pub(super) fn check_http(&self, verb: &Verb) -> Result<(), (StatusCode, Status)> {
        if *verb != Verb::POST {
            let status = Status::new(Code::Internal, format!("the method is {verb}, not POST"));
            // gRPC has no other method (gRPC over HTTP/2, "Requests").
            return Err((StatusCode::METHOD_NOT_ALLOWED, status));
        }
        let Some(content_type) = self.content_type else {
            let status = Status::new(Code::InvalidArgument, "the content-type is missing");
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, status));
        };
        match grpc::check_content_type(content_type) {
            Ok(()) => Ok(()),
            // It is gRPC, in words that are not known here.
            Err(status) if status.code == Code::Unimplemented => Err((StatusCode::OK, status)),
            Err(status) => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, status)),
        }
    }

    /// Whether the call may be made, by the cluster key it brings. Of a key no more is said than
    /// that it is missing or another.
    pub(super) fn check_key(&self, link: &Link, is_open: bool) -> Result<(), Status> {
        let key = link.state.key.get();
        let is_right = key.zip(self.key).map(|(key, given)| key.matches(given));
        if is_right == Some(true) {
            link.note_key();
        // Health and reflection are open: orchestrators and operators have no key.
        } else if key.is_some() && !is_open {
            let problem = match is_right {
                Some(_) => "is not this cluster's",
                None => "is missing: nodes of this cluster send it with every call",
            };
            let (message, host) = (format!("the metadata {CLUSTER_KEY} {problem}"), link.host());
            let line = format_args!(
                "gRPC call from {host} refused: {message}; STEMEDB_CLUSTER_KEY has to be the same \
                 on all nodes"
            );
            log_limit::warn((module_path!(), &host, "refused cluster keys"), line);
            return Err(Status::new(Code::Unauthenticated, message));
        }
        if link.is_turned_away() && !is_open {
            // UNAVAILABLE and GOAWAY: the client may try again, and its slot is free for another.
            link.leave();
            let message = "all connections are taken, try again";
            return Err(Status::new(Code::Unavailable, message));
        }
        Ok(())
    }

    /// Whether the call may be answered, by what a node says of itself with it; others say nothing.
    pub(super) fn check_caller(&self, link: &Link) -> Result<(), Status> {
        if self.caller.instance.is_none() && self.caller.cluster.is_none() {
            return Ok(());
        }
        if let Some(identity) = link.state.identity.get() {
            identity.admit(self.caller, link.ends.map(|ends| ends.far))?;
            link.note_node(identity);
        }
        Ok(())
    }

    pub(super) fn timeout(&self) -> Result<Option<Duration>, Status> {
        self.timeout.map(grpc::parse_timeout).transpose()
    }

    pub(super) fn check_encoding(&self) -> Result<(), Status> {
        self.encoding.map_or(Ok(()), grpc::check_encoding)
    }
}
