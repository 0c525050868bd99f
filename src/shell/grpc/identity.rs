//! Who calls whom: metadata by which nodes know their cluster, and a process its own calls.
//!
//! In: metadata of requests and answers. Out: metadata to send, and whether a call is answered. A
//! node that is dialled at an address of its own refuses its own call, so that it never takes
//! itself for a member; the same token shows another process under its node id. A node
//! of another cluster is refused. Programs that send no such metadata are let in.
//!
//! Never: grants anything: a caller may write any metadata.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::base::ClusterId;
use crate::cluster::identity::{ClusterRefusal, Tag};
use crate::shell::runtime::log_limit;
use crate::wire::grpc::{self, format_tag, parse_tag};
use crate::wire::status::{Code, Status};

const INSTANCE: HeaderName = HeaderName::from_static(grpc::INSTANCE);
const CLUSTER_ID: HeaderName = HeaderName::from_static(grpc::CLUSTER_ID);

/// Hears of the address at which another node called this one.
pub type Called = Box<dyn Fn(IpAddr)>;

/// Hears of the cluster that this node belongs to from now on.
pub type Settled = Box<dyn Fn(ClusterId)>;

/// Judges a call by what its caller says of its cluster.
pub type Judge = Box<dyn Fn(Option<Tag>) -> Result<(), ClusterRefusal>>;

/// What a process says of itself with every call.
pub struct Identity {
    /// Drawn at the start, never kept.
    instance: HeaderValue,
    /// What it says of its cluster, once it says anything.
    tag: RefCell<Option<(Tag, HeaderValue)>>,
    settled: RefCell<Option<Settled>>,
    judge: RefCell<Option<Judge>>,
    called: RefCell<Option<Called>>,
}

/// What a caller says of itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Caller<'a> {
    pub(crate) instance: Option<&'a [u8]>,
    pub(crate) cluster: Option<&'a [u8]>,
}

impl Identity {
    /// A process of its own.
    pub fn new() -> Rc<Identity> {
        // The node id would not do: a copy of the data directory has it, too.
        let instance = format!("{:016x}", fastrand::u64(..));
        let instance = HeaderValue::from_str(&instance).expect("hex digits are visible");
        let (tag, settled, judge, called) = Default::default();
        Rc::new(Identity { instance, tag, settled, judge, called })
    }

    /// Calls `called` for each connection by which another node calls.
    pub fn observe_called(&self, called: Called) {
        *self.called.borrow_mut() = Some(called);
    }

    /// Has `judge` say whether a node's call is answered.
    pub fn judge_by(&self, judge: Judge) {
        *self.judge.borrow_mut() = Some(judge);
    }

    /// Calls `settled` once this node's cluster is settled.
    pub fn observe_settled(&self, settled: Settled) {
        *self.settled.borrow_mut() = Some(settled);
    }

    /// Says this of its cluster from now on.
    pub fn set_tag(&self, tag: Tag) {
        let value = HeaderValue::from_str(&format_tag(tag)).expect("hex digits are visible");
        *self.tag.borrow_mut() = Some((tag, value));
        if let (Some(id), Some(settled)) = (tag.settled(), &*self.settled.borrow()) {
            settled(id);
        }
    }

    /// The id of this node's cluster, if it is settled.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.tag.borrow().as_ref().and_then(|(tag, _)| tag.settled())
    }

    /// Puts what this process says of itself beside a request, or a refusal.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(INSTANCE, self.instance.clone());
        self.put_tag(headers);
    }

    /// Puts what this node says of its cluster beside an answer.
    pub(crate) fn put_tag(&self, headers: &mut HeaderMap) {
        if let Some((_, value)) = &*self.tag.borrow() {
            headers.insert(CLUSTER_ID, value.clone());
        }
    }

    /// Whether the metadata are of this process.
    pub(crate) fn is_own(&self, headers: &HeaderMap) -> bool {
        headers.get(INSTANCE).is_some_and(|instance| *instance == self.instance)
    }

    /// What the metadata say of their node's cluster.
    pub(crate) fn tag_in(&self, headers: &HeaderMap) -> Option<Tag> {
        let value = headers.get(CLUSTER_ID)?;
        match &*self.tag.borrow() {
            Some((tag, own)) if own == value => Some(*tag),
            _ => parse_tag(value.as_bytes()),
        }
    }

    /// Whether a call of another node may be answered; `from` is its host.
    pub(crate) fn admit(&self, caller: Caller<'_>, from: Option<IpAddr>) -> Result<(), Status> {
        if caller.instance == Some(self.instance.as_bytes()) {
            let message = "this node called itself: the address that it dialled is its own";
            return Err(Status::new(Code::FailedPrecondition, message));
        }
        // grpcurl and programs of other languages send no tag: they are no nodes of another
        // cluster.
        let Some(said) = caller.cluster else { return Ok(()) };
        match &*self.tag.borrow() {
            // What nearly every call says: compared as bytes, without parsing them.
            Some((Tag::Settled(_), own)) if own == said => return Ok(()),
            _ => {}
        }
        let tag = parse_tag(said).ok_or_else(|| {
            let name = grpc::CLUSTER_ID;
            Status::new(Code::InvalidArgument, format!("the metadata {name} takes 32 hex digits"))
        })?;
        let judge = self.judge.borrow();
        // The cluster decides: a node whose own id is not settled yet judges otherwise.
        let verdict = judge.as_ref().map_or(Ok(()), |judge| judge(Some(tag)));
        verdict.map_err(|refusal| self.refuse(refusal, from))
    }

    fn refuse(&self, refusal: ClusterRefusal, from: Option<IpAddr>) -> Status {
        let ClusterRefusal::Foreign { ours, theirs } = refusal else {
            let message =
                "this node has not heard yet from one of its seeds which cluster it is of";
            return Status::new(Code::Unavailable, message);
        };
        let from = from.map_or_else(|| "this process".to_owned(), |from| from.to_string());
        self.note_foreign(&from, ours, theirs);
        let message = format!(
            "this node is of the cluster {ours}, the caller of {theirs}: they do not merge by \
             themselves (stemedb-edge adopt-cluster merges them)"
        );
        Status::new(Code::FailedPrecondition, message)
    }

    /// A node of another cluster called from, or was called at, `address`.
    pub(crate) fn note_foreign(&self, address: &str, ours: ClusterId, theirs: ClusterId) {
        let line = format_args!(
            "the node at {address} is of another cluster, {theirs}; this one is of {ours}: neither \
             answers the other's calls. If a seed names it, correct STEMEDB_SEEDS; to merge the \
             clusters: stemedb-edge adopt-cluster DIR {ours}, on each stopped node of {theirs}"
        );
        log_limit::warn((module_path!(), address, "nodes of another cluster"), line);
    }

    /// Another node called at this address.
    pub(crate) fn note_called(&self, at: IpAddr) {
        if let Some(called) = self.called.borrow().as_ref() {
            called(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_calls() {
        let (one, other) = (Identity::new(), Identity::new());
        let mut headers = HeaderMap::new();
        assert!(!one.is_own(&headers));
        one.put(&mut headers);
        assert!(one.is_own(&headers) && !other.is_own(&headers));
        let caller = Caller { instance: Some(headers[INSTANCE].as_bytes()), cluster: None };
        assert_eq!(one.admit(caller, None).map_err(|it| it.code), Err(Code::FailedPrecondition));
        assert_eq!(other.admit(caller, None).map_err(|it| it.code), Ok(()));
    }

    #[test]
    fn another_cluster_is_refused_with_both_ids() {
        let (ours, theirs) = (ClusterId([1; 16]), ClusterId([2; 16]));
        let one = Identity::new();
        one.judge_by(Box::new(move |tag| match tag.and_then(Tag::settled) {
            Some(theirs) if theirs != ours => Err(ClusterRefusal::Foreign { ours, theirs }),
            _ => Ok(()),
        }));
        assert_eq!(one.cluster(), None);
        one.set_tag(Tag::Settled(ours));
        assert_eq!(one.cluster(), Some(ours));
        let admit = |text: &str| {
            let caller = Caller { instance: None, cluster: Some(text.as_bytes()) };
            one.admit(caller, None)
        };
        assert_eq!(admit(&ours.to_string()), Ok(()));
        assert_eq!(admit(&format_tag(Tag::Proposed(theirs))), Ok(()));
        let refused = admit(&theirs.to_string()).expect_err("another cluster");
        assert_eq!(refused.code, Code::FailedPrecondition);
        let names = |id: ClusterId| refused.message.contains(&id.to_string());
        assert!(names(ours) && names(theirs), "{refused}");
        assert_eq!(admit("nonsense").map_err(|it| it.code), Err(Code::InvalidArgument));
        let mut headers = HeaderMap::new();
        one.put_tag(&mut headers);
        assert_eq!(one.tag_in(&headers), Some(Tag::Settled(ours)));
        assert_eq!(Identity::new().tag_in(&headers), Some(Tag::Settled(ours)));
    }
}
