//! Routes, query strings, headers.

use ::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderMap};
use fastrand::Rng;

use super::*;
use crate::base::{Hlc, NodeId};
use crate::model::{ConflictsQuery, Cursor, Lens};

const CURSOR: &str = "00112233445566778899aabbccddeeff-7-1f";

/// The route of `request` (a method and a target), or its status and message.
fn check(request: &str, expected: Result<Route, (u16, &str)>) {
    let (method, target) = request.split_once(' ').expect("method and target");
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let found = route(&method, &target.parse().expect("a target"));
    match (found, expected) {
        (Err(rejection), Err((status, message))) => {
            assert_eq!(rejection.status().0, status, "{request}: {rejection}");
            assert!(rejection.to_string().contains(message), "{request}: {rejection}");
        }
        (found, expected) => assert_eq!(found.ok(), expected.ok(), "{request}"),
    }
}

#[test]
fn each_route_is_found_with_its_methods() {
    let hash = "ab".repeat(32);
    check("POST /v1/assert", Ok(Route::Assert));
    check("POST /v1/vote", Ok(Route::Vote));
    check("POST /v1/admin/sync", Ok(Route::Sync));
    check("GET /v1/health", Ok(Route::Health));
    check("HEAD /v1/health?", Ok(Route::Health));
    check("GET /v1/health/live", Ok(Route::Live));
    check("HEAD /v1/health/ready", Ok(Route::Ready));
    check("GET /metrics", Ok(Route::Metrics));
    check("GET /v1/query", Ok(Route::Query(Query::default())));
    check("GET /v1/cluster/status", Ok(Route::Cluster));
    check("GET /v1/admin/cluster", Ok(Route::Cluster));
    check("GET /v1/admin/ranges", Ok(Route::Ranges));
    check("GET /v1/shards/7", Ok(Route::Shard(7)));
    let assertion = Route::Assertion(Digest([0xab; 32]));
    check(&format!("GET /v1/assertions/{hash}"), Ok(assertion.clone()));
    check(&format!("HEAD /v1/assertions/{}", hash.to_uppercase()), Ok(assertion));
    check("OPTIONS /v1/assert", Ok(Route::Options(POST)));
    check("OPTIONS /v1/query", Ok(Route::Options(GET)));
    for (request, status, message) in [
        ("GET /", 404, "no such route"),
        ("GET /v1/assertions", 404, "no such route"),
        ("GET /v1/health/", 404, "no such route"),
        ("GET /v1/health/live/", 404, "no such route"),
        ("POST /v1/health/live", 405, "this route takes GET, HEAD, OPTIONS"),
        ("GET /v1/health/ready?x=1", 400, "this route has no parameter \"x\""),
        ("OPTIONS /v1/nothing", 404, "no such route"),
        ("GET /v1/assert", 405, "takes POST, OPTIONS"),
        ("DELETE /v1/query", 405, "takes GET, HEAD, OPTIONS"),
        ("POST /v1/assertions/00", 405, "takes GET"),
        ("BREW /metrics", 405, "takes GET"),
        ("GET /v1/assertions/", 400, "64 hex digits"),
        (&format!("GET /v1/assertions/{}", &hash[1..]), 400, "64 hex digits"),
        (&format!("GET /v1/assertions/{}", hash.replace('a', "g")), 400, "64 hex digits"),
        ("GET /v1/shards/x", 400, "a whole number"),
        ("GET /v1/shards/", 400, "a whole number"),
        ("POST /v1/subjects", 405, "takes GET"),
        ("POST /v1/admin/ranges", 405, "takes GET"),
        ("GET /v1/health?x=1", 400, "this route has no parameter \"x\""),
        ("POST /v1/assert?subject=s", 400, "this route has no parameter \"subject\""),
    ] {
        check(request, Err((status, message)));
    }
}

#[test]
fn a_query_string_is_decoded_and_held_against_the_bounds() {
    let expected = Query {
        subject: Some("a b+c&\u{e9}".into()),
        predicate: Some("p=q".into()),
        lens: Some(Lens::Hlc),
        limit: 7,
        cursor: Cursor::parse(CURSOR),
        ..Query::default()
    };
    let text = "subject=a+b%2Bc%26%C3%a9&&predicate=p=q&lens=hlc&limit=7";
    let text = format!("{text}&cursor={CURSOR}&");
    check(&format!("GET /v1/query?{text}"), Ok(Route::Query(expected)));
    let view = Query { subject: Some("s".into()), predicate: Some("p".into()), ..Query::default() };
    check("GET /v1/skeptic?subject=s&predicate=p", Ok(Route::Skeptic(view.clone())));
    check("GET /v1/layered?predicate=p&subject=s", Ok(Route::Layered(view)));
    let listing = Listing {
        subject: Some("s".into()),
        prefix: Some("a b".into()),
        after: Some("a c".into()),
        limit: 7,
        ..Listing::new(NameKind::Predicates)
    };
    check(
        "GET /v1/predicates?subject=s&prefix=a+b&cursor=612063&limit=7",
        Ok(Route::Names(listing)),
    );
    check("HEAD /v1/subjects", Ok(Route::Names(Listing::new(NameKind::Subjects))));
    let conflicts = ConflictsQuery {
        of: Query { limit: 3, ..Query::default() },
        prefix: "a b".into(),
        min_score: 0.5,
    };
    let target = "GET /v1/conflicts?prefix=a+b&min_score=0.5&limit=3";
    check(target, Ok(Route::Conflicts(conflicts)));
    check("GET /v1/conflicts", Ok(Route::Conflicts(ConflictsQuery::default())));
    for (target, message) in [
        ("subjects?subject=s", "there is no parameter \"subject\"; there are prefix, limit"),
        ("subjects?lens=hlc", "there is no parameter \"lens\"; there are prefix, limit"),
        ("predicates?x=1", "there is no parameter \"x\"; there are subject, prefix, limit"),
        ("predicates?prefix=a&prefix=b", "the parameter prefix is there twice"),
        ("subjects?cursor=1f2", "cursor is \"1f2\", it takes the next_cursor of an earlier"),
        ("conflicts?min_score=1.5", "min_score is \"1.5\", it takes 0 to 1"),
        ("conflicts?min_score=NaN", "min_score is \"NaN\", it takes 0 to 1"),
        ("conflicts?subject=s", "this route has no parameter \"subject\""),
        ("conflicts?limit=1001", "limit is \"1001\""),
        ("query?subject=", "subject is \"\", it takes 1 to 4096 bytes"),
        ("query?subject", "subject is \"\", it takes"),
        ("query?subject=a%00b", "subject is \"a\\0b\", it takes"),
        ("query?subject=%ff", "\"%ff\" is not UTF-8 when decoded"),
        ("query?subject=%f", "has a % that is not followed by two hex digits"),
        ("query?subject=%zz", "has a % that is not followed by two hex digits"),
        ("query?limit=1001", "limit is \"1001\", it takes 1 to 1000"),
        ("query?limit=1&limit=1", "the parameter limit is there twice"),
        ("query?limit=1&l%69mit=1", "the parameter limit is there twice"),
        ("query?subjct=s", "there is no parameter \"subjct\""),
        ("query?=s", "there is no parameter \"\""),
        ("skeptic?subject=s", "the parameter predicate is missing"),
        ("layered?predicate=s", "the parameter subject is missing"),
        ("query?subject=s&lens=hlc", "the parameter predicate is missing: claims are judged that"),
        ("query?predicate=p&lens=hlc", "the parameter subject is missing: claims are judged that"),
        ("query?lens=hlc&as_of=1", "the parameter subject is missing"),
        ("query?lifecycle=Approved,!Approved", "lifecycle is \"Approved,!Approved\", it takes"),
        ("skeptic?subject=s&predicate=p&limit=1", "this route has no parameter \"limit\""),
        ("layered?subject=s&predicate=p&explain=true", "this route has no parameter \"explain\""),
        ("skeptic?subject=s&predicate=p&explain=true&voices=claims", "it goes with voices=agents"),
        ("query?explain=yes", "explain is \"yes\", it takes true or false"),
    ] {
        check(&format!("GET /v1/{target}"), Err((400, message)));
    }
    let long = format!("GET /v1/query?{}=1", "x".repeat(9000));
    check(&long, Err((400, &format!("no parameter \"{}\"", "x".repeat(64)))));
}

#[test]
fn damaged_query_strings_are_read_or_refused() {
    let mut rng = Rng::with_seed(5);
    let good = "subject=a%20b&predicate=p&lens=hlc&limit=7&half_life=1.5&as_of=3";
    let good = format!("{good}&cursor={CURSOR}");
    for _ in 0..20_000 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..rng.usize(1..5) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..3) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes.insert(at, b"%&=+"[rng.usize(..4)]),
                _ => drop(bytes.drain(at..)),
            }
            bytes.push(b'x');
        }
        fuzz(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_stamp_survives_its_header() {
    let stamp = Hlc { time: 1_700_000_000_123, counter: 9, node: NodeId([7; 16]) };
    assert_eq!(parse_stamp(&stamp_text(stamp)), Some(stamp));
    for bad in ["", "1-2", "1-2-3", "x-2-07070707070707070707070707070707"] {
        assert_eq!(parse_stamp(bad), None, "{bad}");
    }
}

#[test]
fn json_is_recognised_by_its_media_type() {
    let check = |value: &str, expected| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, value.parse().expect("a header"));
        assert_eq!(is_json(&headers), expected, "{value}");
    };
    assert!(is_json(&HeaderMap::new()));
    check("application/json", true);
    check("Application/JSON; Charset=\"UTF-8\"; x=y", true);
    check("application/ld+json;charset=utf8", true);
    check("application/json; charset=latin1", false);
    check("application/x-www-form-urlencoded", false);
    check("text/json", false);
    check("application/jsonx", false);
    check("", false);
}

#[test]
fn pages_of_allowed_origins_may_read() {
    let check = |origins: Option<&[&str]>, origin: Option<&str>, expected: Option<&str>| {
        let origins = origins.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
        let mut answer = HeaderMap::new();
        let origin = origin.map(|origin| origin.parse().expect("a header"));
        Cors { origins }.decorate(origin.as_ref(), &mut answer);
        let allowed = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(allowed.map(|value| value.to_str().expect("text")), expected);
    };
    check(None, Some("http://a"), Some("*"));
    check(None, None, None);
    check(Some(&["http://a", "http://b:1"]), Some("http://b:1"), Some("http://b:1"));
    check(Some(&["http://a"]), Some("HTTP://A"), Some("HTTP://A"));
    check(Some(&["http://a"]), Some("http://ab"), None);
    check(Some(&[]), Some("http://a"), None);
}
