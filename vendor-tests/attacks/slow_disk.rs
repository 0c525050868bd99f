//! The attack by calls that read, where each read takes long.
//!
//! In: a library in front of the C library that makes reads of the log slow (`faults/faults.c`).
//! Out: rows: Pings beside callers. Never: leaves the library behind.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use prost::Message;
use vendor_tests::edge::FetchShortRequest;
use vendor_tests::frames::message;
use vendor_tests::pb::GetLeavesRequest;

use crate::queries::import;
use crate::reads::{FETCH, FETCH_SHORT, beside, fetch_request};
use crate::stage::{Setup, Stage};
use crate::{Options, Rows};

/// Assertions, of which a call asks for as many as it may.
const ASSERTIONS: u64 = 10_000;
const HASHES: usize = 1000;
const SHORT_IDS: usize = 8192;
/// Calls at a time: each reads for minutes where its reads come one by one.
const CALLS: usize = 8;

/// Compiles the library into this folder.
fn build_library(folder: &Path) -> String {
    let library = folder.join("faults.so").to_string_lossy().into_owned();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/faults.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o", &library]).arg(source).arg("-ldl");
    assert!(compiler.status().expect("cc is there").success(), "the library does not build");
    library
}

/// Pings beside calls that read all they may.
pub(crate) async fn reads(options: Options, rows: &Rows) {
    let folder = tempfile::tempdir().expect("a temp dir");
    let word = folder.path().join("word");
    std::fs::write(&word, "none").expect("written");
    let own = vec![
        ("LD_PRELOAD", build_library(folder.path())),
        ("FAULTS", word.to_string_lossy().into_owned()),
    ];
    for path in [FETCH, FETCH_SHORT] {
        let settings = vec![("STEMEDB_DURABILITY", "eventual")];
        let setup = Setup { settings, own: own.clone(), ..Setup::default() };
        let mut stage = Stage::start(&setup).await;
        let body = fill(&stage, path).await;
        // The member takes them from the log, and a query reads, too.
        stage.wait_for_member().await;
        stage.targets.http = None;
        std::fs::write(&word, "slow-read").expect("written");
        let method = path.rsplit('/').next().expect("a method");
        let calls = vec![(path, Bytes::from(message(&body))); CALLS];
        let name = format!("slow-disk, {CALLS} x {method}");
        beside(name, options, &stage, 1, calls, rows).await;
        std::fs::write(&word, "none").expect("written");
    }
}

/// Imports the assertions; the request for as many of them as may be asked for.
async fn fill(stage: &Stage, path: &str) -> Vec<u8> {
    import(&stage.node, "small", ASSERTIONS).await;
    let mut client = stage.node.client().await;
    let leaves = client.get_leaves(GetLeavesRequest { max_leaves: 0 }).await;
    let leaves = leaves.expect("the node answers").into_inner().leaves;
    if path == FETCH {
        let hashes = leaves[..HASHES].iter().map(|it| it[..].try_into().expect("32 bytes"));
        return fetch_request(&hashes.collect::<Vec<_>>()).encode_to_vec();
    }
    let ids = leaves[..SHORT_IDS].iter().flat_map(|leaf| leaf[..8].to_vec()).collect();
    FetchShortRequest { ids }.encode_to_vec()
}
