//! The commands that talk to a cluster: `status` and `demo`, as an operator runs them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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
