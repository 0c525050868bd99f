//! The commands that talk to a cluster: `put`, `get`, `query`, `status` and `demo`, as an operator
//! runs them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;
use vendor_tests::claims::claim;
use vendor_tests::node::{Node, command};
use vendor_tests::wait::until;

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = command().args(arguments).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn status_shows_members_shards_and_roots() {
    let one = Node::start(&[]);
    let seed = one.rpc.to_string();
    let two = Node::start(&[("STEMEDB_SEEDS", &seed)]);
    until("they know each other", async || one.members().await.len() == 2).await;
    one.assert(&claim(1)).await;
    until("both have it", async || two.root().await == one.root().await).await;
    let (code, text, _) = run(&["status", &one.http.to_string()]);
    assert_eq!(code, 0);
    assert!(text.contains("roots: equal") && text.contains("shards: 64, 3 replicas"), "{text}");
    for node in [&one, &two] {
        let id = node.id().await;
        let row = text.lines().find(|line| line.starts_with(&id[..12])).expect("a row");
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[1], "Alive");
        assert_eq!(cells[2], node.rpc.to_string());
        assert_eq!((cells[5], cells[6], cells[7]), ("32", "64", "1"), "{text}");
    }
    let (code, text, why) = run(&["status", "127.0.0.1:1"]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert!(why.contains("127.0.0.1:1: no connection"), "{why}");
    assert_eq!(run(&["status", "nowhere"]).0, 2);
    let (code, text, _) = run(&["status", "--json", &one.http.to_string()]);
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (code, &status["is_well"], &status["are_roots_equal"]),
        (0, &true.into(), &true.into())
    );
    assert_eq!(status["node_id"], one.id().await);
    let members = status["members"].as_array().expect("a list");
    assert_eq!(members.len(), 2, "{text}");
    for member in members {
        assert_eq!((&member["state"], &member["assertions_count"]), (&"Alive".into(), &1.into()));
        assert_eq!((&member["shards"], &member["replicas"]), (&32.into(), &64.into()), "{text}");
    }
}

/// Exit code, output and complaint, with this standard input.
fn run_with_input(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all(input.as_bytes()).expect("it reads");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_claim_goes_in_and_comes_out_without_curl() {
    let node = Node::start(&[]);
    let to = format!("http://{}", node.http);
    let put = |words: &[&str]| run(&[&["put", "--to", &to], words].concat());
    let (code, said, why) = put(&["the \"Moon\"", "made of", "50 % rock\n", "--timestamp", "5"]);
    assert_eq!((code, why.as_str()), (0, ""));
    let (hash, status) = said.trim_end().split_once(' ').expect("a hash and a word");
    assert_eq!((hash.len(), status), (64, "created"));
    let again = put(&["the \"Moon\"", "made of", "50 % rock\n", "--timestamp", "5"]);
    assert_eq!(again, (0, format!("{hash} exists\n"), String::new()));
    let (code, shown, _) = run(&["get", "--to", &to, hash]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((code, &shown["object"]["value"]), (0, &"50 % rock\n".into()));
    assert_eq!(shown["timestamp"], 5);

    // Each type, each field, a key.
    let folder = tempfile::tempdir().expect("a temp dir");
    let key = folder.path().join("key");
    let key = key.to_str().expect("a plain path");
    let (code, agent, _) = run(&["keygen", key]);
    assert_eq!(code, 0);
    let signed = ["--key", key, "--type", "number", "--confidence", "0.5", "--source-class"];
    let (code, said, why) =
        put(&[&signed[..], &["Clinical", "attic", "temperature", "--", "-3.5"]].concat());
    assert_eq!(code, 0, "{why}");
    let (_, shown, _) = run(&["get", "--to", &to, &said[..64]]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["object"], serde_json::json!({"type": "Number", "value": -3.5}));
    assert_eq!((&shown["confidence"], &shown["source_class"]), (&0.5.into(), &1.into()));
    assert_eq!(shown["signatures"][0]["agent_id"], agent.trim_end());
    let body = "{\"subject\": \"attic\",\n \"predicate\": \"warm\", \"timestamp\": 7,\n\
                \"object\": {\"type\": \"Boolean\", \"value\": false}}\n";
    let (code, _, why) = run_with_input(&["put", "-", "--to", &to, "--key", key], body);
    assert_eq!(code, 0, "{why}");

    let at = node.gateway.to_string();
    let query = |words: &[&str]| run(&[&["query", "--to", &at], words].concat());
    let (code, page, why) =
        query(&["--subject", "the \"Moon\"", "--predicate", "made of", "--lens", "recency"]);
    let page: Value = serde_json::from_str(&page).unwrap_or_else(|_| panic!("{why}"));
    assert_eq!((code, &page["resolution"]["winner"]), (0, &hash.into()));
    let (code, page, _) = query(&["--subject", "attic", "--source-class", "1", "--limit=1"]);
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let found = page["assertions"].as_array().expect("a list");
    assert_eq!((code, found.len(), &found[0]["predicate"]), (0, 1, &"temperature".into()));
}

#[tokio::test]
async fn what_a_node_refuses_and_a_node_that_is_silent_have_their_exit_codes() {
    let node = Node::start(&[("STEMEDB_AUTH_ENABLED", "true"), ("STEMEDB_ROOT_API_KEY", "sesame")]);
    let (to, folder) = (node.http.to_string(), tempfile::tempdir().expect("a temp dir"));
    let file = folder.path().join("api-key");
    std::fs::write(&file, "sesame\n").expect("written");
    let file = file.to_str().expect("a plain path");
    let with_key = ["--to", &to, "--api-key-file", file];
    let unknown = "ab".repeat(32);
    for (words, keyed, code, part) in [
        (&["put", "s", "p", "v"][..], false, 1, "key_missing"),
        (&["query"], false, 1, "401"),
        (&["put", "s", "p", "v"], true, 0, ""),
        (&["put", "s", "p", "v", "--confidence", "2"], true, 1, "confidence is 2"),
        (&["put", "s", "p", "v", "--lifecycle", "Dead"], true, 1, "lifecycle"),
        (&["get", &unknown], true, 1, "not_found"),
        (&["query", "--lens", "best"], true, 1, "recency, hlc"),
        (&["query", "--sbject", "s"], true, 1, "no parameter"),
    ] {
        let target = if keyed { &with_key[..] } else { &with_key[..2] };
        let (found, _, why) = run(&[words, target].concat());
        assert_eq!(found, code, "{words:?}: {why}");
        assert!(why.contains(part), "{words:?}: {why}");
    }
    for words in [&["put", "s", "p", "v"][..], &["get", &unknown], &["query"]] {
        let (code, _, why) = run(&[words, &["--to", "127.0.0.1:1"]].concat());
        assert_eq!((code, why.contains("no connection")), (3, true), "{words:?}: {why}");
    }
    assert_eq!(run_with_input(&["put", "-", "--key", "/nowhere"], "{}").0, 2);
    let large = "x".repeat((1280 << 10) + 1);
    let (code, _, why) = run_with_input(&["put", "-"], &large);
    assert_eq!((code, why.contains("too large")), (2, true), "{why}");
    assert_eq!(
        run(&["status", "--ready", &to]),
        (0, "{\"status\":\"ready\",\"writes\":\"ok\"}\n".into(), String::new())
    );
    let (code, said, why) = run(&["status", "--ready", "127.0.0.1:1"]);
    assert_eq!((code, said.as_str(), why.contains("no connection")), (1, "", true));
}

#[tokio::test]
async fn a_node_that_is_not_ready_fails_the_check_that_images_make() {
    let node = Node::start(&[("STEMEDB_SEEDS", "127.0.0.1:1")]);
    let (code, _, why) = run(&["status", "--ready", &node.http.to_string()]);
    assert_eq!((code, why.contains("not_joined")), (1, true), "{why}");
}

/// What the demo says until a line has these words, and then a signal ends it.
fn demo(words: &str, signal: &str) -> String {
    let folder = tempfile::tempdir().expect("a temp dir");
    let mut demo = command()
        .arg("demo")
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let mut story = Vec::new();
    for line in BufReader::new(demo.stdout.take().expect("piped")).lines() {
        story.push(line.expect("text"));
        if story.last().is_some_and(|line| line.contains(words)) {
            let pid = demo.id().to_string();
            assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        }
    }
    let story = story.join("\n");
    assert!(demo.wait().expect("our child").success(), "{story}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
    story
}

#[test]
fn the_demo_tells_its_story_and_leaves_nothing_behind() {
    let story = demo("grpcurl", "-INT");
    for part in ["same 6 claims", "is Suspect", "is Dead", "on other ports", "c has what it missed"]
    {
        assert!(story.contains(part), "{part}:\n{story}");
    }
}

/// Its nodes live on by themselves when a terminal goes.
#[test]
fn the_demo_ends_with_its_terminal() {
    demo("same 6 claims", "-HUP");
}
