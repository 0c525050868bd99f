//! Which questions are counted and timed, and what each is called.
//!
//! In: nothing. Out: names for labels. Never: counts one.

/// The endpoints that answer queries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// `/v1/assertions/{hash}`.
    Assertion,
    /// `/v1/query`.
    Query,
    /// `/v1/skeptic`.
    Skeptic,
    /// `/v1/layered`.
    Layered,
    /// `/v1/subjects`.
    Subjects,
    /// `/v1/predicates`.
    Predicates,
    /// `/v1/conflicts`.
    Conflicts,
}

impl Endpoint {
    pub(super) const ALL: [(Endpoint, &'static str); 7] = [
        (Endpoint::Assertion, "assertions"),
        (Endpoint::Query, "query"),
        (Endpoint::Skeptic, "skeptic"),
        (Endpoint::Layered, "layered"),
        (Endpoint::Subjects, "subjects"),
        (Endpoint::Predicates, "predicates"),
        (Endpoint::Conflicts, "conflicts"),
    ];
}
