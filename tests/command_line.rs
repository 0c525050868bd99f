//! The program as a user runs it: commands, exit codes, output; an import against a node that
//! answers, stalls, refuses or goes away.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use stemedb_edge::base::digest::{hex, parse_hex};
use stemedb_edge::base::{HlcClock, NodeId, Wall};
use stemedb_edge::model::signature;
use stemedb_edge::wire::json;

const CREATED: &str = r#"{"hash":"00","status":"created"}"#;
const EXISTS: &str = r#"{"hash":"00","status":"exists"}"#;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stemedb-edge"));
    command.env_clear().args(arguments);
    command
}

/// What the program said: exit code, standard output, standard error.
fn finished(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("the program speaks UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    finished(program(arguments).output().expect("the program starts"))
}

/// Runs with this standard input.
fn run_with_input(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = program(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("piped");
    // A program that stopped early reads no more; that is its right.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    finished(child.wait_with_output().expect("the program ends"))
}

/// A directory that is removed with its content.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stemedb-command-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        Scratch(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a plain path").to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the mock node does with a line of a batch.
enum Reply {
    /// Answers the line; or, with what is no answer to one, the whole request.
    Say(u16, &'static str),
    /// The same, and closes the connection behind the answer without having said so.
    SayAndLeave(u16, &'static str),
    /// Closes the connection without an answer.
    Leave,
    /// Never answers.
    Stall,
}

/// A node that answers as the test says: the number of the line (from 0) and its text decide.
struct Node {
    address: String,
    bodies: Receiver<String>,
}

impl Node {
    fn new(script: fn(usize, &str) -> Reply) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (sender, bodies) = channel();
        thread::spawn(move || {
            let count: &AtomicUsize = Box::leak(Box::default());
            for stream in listener.incoming() {
                let (stream, sender) = (stream.expect("a connection"), sender.clone());
                thread::spawn(move || serve(stream, count, &sender, script));
            }
        });
        Node { address, bodies }
    }

    fn import(&self, input: &str) -> (Option<i32>, String, String) {
        run_with_input(&["import", "-", "--to", &self.address], input)
    }
}

fn serve(
    stream: TcpStream,
    count: &AtomicUsize,
    bodies: &Sender<String>,
    script: fn(usize, &str) -> Reply,
) {
    let mut reader = BufReader::new(&stream);
    let say = |text: &str| (&stream).write_all(text.as_bytes());
    while let Some(body) = read_request(&mut reader) {
        let (mut is_begun, mut is_last) = (false, false);
        // Without a body it is one that asks for something.
        let lines = if body.is_empty() { vec![""] } else { body.lines().collect() };
        for (index, line) in lines.into_iter().enumerate() {
            let reply = script(count.fetch_add(1, Ordering::SeqCst), line);
            // The test may have seen enough.
            let _ = bodies.send(line.to_owned());
            let (status, text) = match reply {
                Reply::Say(status, text) => (status, text),
                Reply::SayAndLeave(status, text) => {
                    is_last = true;
                    (status, text)
                }
                Reply::Leave => return,
                Reply::Stall => loop {
                    thread::park();
                },
            };
            let _ = match text.strip_prefix("{\"") {
                Some(rest) => {
                    let head = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n";
                    let head = if is_begun { "" } else { head };
                    let line = format!("{{\"line\":{},\"{rest}\n", index + 1);
                    is_begun = true;
                    say(&format!("{head}{:x}\r\n{line}\r\n", line.len()))
                }
                None => {
                    let length = text.len();
                    say(&format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{text}"))
                }
            };
            if !is_begun {
                break;
            }
        }
        if is_begun {
            let _ = say("0\r\n\r\n");
        }
        if is_last {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

/// Each way to print: what a full disk swallows is no success, and a reader that has read enough
/// is no failure.
#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_a_failure() {
    let scratch = Scratch::new();
    let key = scratch.file("key");
    for arguments in [&["--version"][..], &["--print-settings"], &["status", "--help"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("the device");
        let ended = program(arguments).stdout(full).output().expect("the program starts");
        let (code, _, said) = finished(ended);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(said.contains("the output cannot be written: No space left"), "{said}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = program(arguments).stdout(writer).output().expect("the program starts");
        assert_eq!(finished(ended), (Some(0), String::new(), String::new()), "{arguments:?}");
    }
    // What was done stays done.
    let full = fs::File::options().write(true).open("/dev/full").expect("the device");
    let ended = program(&["keygen", &key]).stdout(full).output().expect("the program starts");
    assert_eq!(finished(ended).0, Some(1));
    assert!(fs::exists(&key).expect("a readable directory"));
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_two() {
    for arguments in [
        &["--seed", "a:1"][..],
        &["imprt"],
        &["import"],
        &["keygen"],
        &["check"],
        &["backup"],
        &["backup", "one"],
        &["backup", "one", "two", "three"],
        &["export", "one", "two"],
        &["export", "https://one:1"],
        &["--shards=0"],
    ] {
        let (code, out, error) = run(arguments);
        assert_eq!((code, out.as_str(), error.lines().count()), (Some(2), "", 1), "{arguments:?}");
        assert!(error.starts_with("stemedb-edge: "), "{error}");
    }
}

#[test]
fn help_version_and_settings_go_to_standard_output() {
    let (code, out, error) = run(&["--version"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(out, concat!("stemedb-edge ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(run(&["--help"]).1.contains("STEMEDB_DATA_DIR"));
    let printed = program(&["--print-settings"]).env("STEMEDB_LOG", "warn").output();
    let (code, out, _) = finished(printed.expect("the program starts"));
    assert_eq!(code, Some(0));
    assert!(
        out.lines().any(|line| line.starts_with("STEMEDB_LOG") && line.ends_with("environment"))
    );
}

#[test]
fn a_key_is_made_once_and_is_private() {
    let scratch = Scratch::new();
    let file = scratch.file("agent.key");
    let (code, agent_id, error) = run(&["keygen", &file]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(parse_hex(agent_id.trim_end(), &mut [0; 32]), "{agent_id}");
    let mode = fs::metadata(&file).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&file).expect("made");
    let (code, _, error) = run(&["keygen", &file]);
    assert_eq!(code, Some(1));
    assert!(error.contains("never overwritten"), "{error}");
    assert_eq!(fs::read(&file).expect("still there"), before);
}

#[test]
fn a_backup_is_whole_or_not_there() {
    let scratch = Scratch::new();
    let (data, copy) = (scratch.file("data"), scratch.file("copy"));
    let (code, out, error) = run(&["backup", &data, &copy]);
    assert_eq!((code, out.as_str(), error.lines().count()), (Some(1), "", 1), "{error}");
    assert_eq!(fs::read_dir(&copy).expect("made").count(), 0, "nothing that looks like a log");
    fs::create_dir_all(scratch.0.join("data/log")).expect("a directory");
    fs::write(scratch.0.join("data/node-id"), "00112233445566778899aabbccddeeff\n")
        .expect("a file");
    let (code, out, error) = run(&["backup", &data, &copy]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(out.contains("0 segments") && out.contains("--node-id 00112233"), "{out}");
    assert!(!scratch.0.join("copy/node-id").exists(), "two live nodes must not share an id");
    let (code, _, error) = run(&["backup", &data, &copy]);
    assert_eq!(code, Some(1));
    assert!(error.contains("there is something in it"), "{error}");
}

#[test]
fn an_export_that_is_cut_is_no_success() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let whole = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/0.1.0/whole");
    let ended = program(&["export", whole]).stdout(writer).output().expect("the program starts");
    let (code, _, said) = finished(ended);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.ends_with("this is not all: the output was closed\n"), "{said}");
}

/// A port that was mistyped is some router's web page, and says 200.
#[test]
fn the_answer_of_another_server_is_no_answer() {
    let node = Node::new(|_, _| Reply::Say(200, "<html>hi</html>"));
    let hash = "0".repeat(64);
    for arguments in [
        &["status", "--ready", &node.address][..],
        &["get", &hash, "--to", &node.address],
        &["query", "--subject", "s", "--to", &node.address],
    ] {
        let (code, out, said) = run(arguments);
        assert!(matches!(code, Some(1 | 3)), "{arguments:?}: {code:?}");
        assert_eq!(out, "");
        assert!(said.contains("answers something else"), "{said}");
    }
}

#[test]
fn a_node_whose_key_file_has_no_key_is_not_to_be_started_again() {
    let scratch = Scratch::new();
    let empty = scratch.file("empty");
    fs::write(&empty, "").expect("a file");
    for file in [empty, scratch.file("missing")] {
        let mut node = program(&["--data-dir", &scratch.file("data")]);
        let (code, _, said) =
            finished(node.env("STEMEDB_CLUSTER_KEY_FILE", file).output().expect("it starts"));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("cannot start: STEMEDB_CLUSTER_KEY_FILE"), "{said}");
    }
}

#[test]
fn an_export_says_what_it_cannot_read() {
    let scratch = Scratch::new();
    let (code, out, error) = run(&["export", &scratch.file("missing")]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(error.contains("0 assertions exported") && error.contains("No such file"), "{error}");
    let node = Node::new(|_, _| Reply::Say(404, "no"));
    let (code, out, error) = run(&["export", &node.address]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert!(error.contains("/v1/health answers 404 Not Found: no"), "{error}");
    assert!(error.contains(&node.address), "{error}");
}

#[test]
fn a_bad_line_names_its_number_and_does_not_stop_the_rest() {
    let node = Node::new(|_, body| match body {
        "old" => Reply::Say(200, EXISTS),
        "bad" => Reply::Say(400, r#"{"error":{"code":"bad_json","message":"column 1: no"}}"#),
        _ => Reply::Say(201, CREATED),
    });
    let (code, out, error) = node.import("new\nold\n\nbad\r\nbad\nnew\nbad");
    let expected = "\
6 lines: 2 created, 1 existed, 3 refused
  3 x bad_json: column 1: no (lines 4, 5, 7)
";
    let mut reasons: Vec<&str> = error.lines().collect();
    // Batches are answered side by side.
    reasons.sort_unstable();
    let named = [4, 5, 7].map(|line| format!("line {line}: bad_json: column 1: no"));
    assert_eq!(
        (code, out.as_str(), reasons),
        (Some(1), expected, named.iter().map(|it| &**it).collect())
    );
}

#[test]
fn each_refused_line_has_its_own_reason_and_is_kept_as_it_was() {
    let scratch = Scratch::new();
    let (rejects, key) = (scratch.file("refused.ndjson"), scratch.file("agent.key"));
    assert_eq!(run(&["keygen", &key]).0, Some(0));
    let node = Node::new(|_, line| match line {
        line if line.contains("\"b\"") => {
            Reply::Say(200, r#"{"error":{"code":"bad_json","message":"column 7: no"}}"#)
        }
        line if line.contains("\"d\"") => {
            Reply::Say(200, r#"{"error":{"code":"bad_json","message":"column 9: yes"}}"#)
        }
        _ => Reply::Say(201, CREATED),
    });
    let object = r#"{"type": "Boolean","value":true}"#;
    let claim = |name| format!(r#"{{"subject": "{name}","predicate":"p","object":{object}}}"#);
    let lines = ["a", "b", "c", "d"].map(claim);
    for key in [None, Some(&*key)] {
        let mut arguments = vec!["import", "-", "--to", &node.address, "--rejects", &rejects];
        arguments.extend(key.iter().flat_map(|key| ["--key", *key]));
        let input = format!("{}\n{{}}\n", lines.join("\n"));
        let (code, out, error) = run_with_input(&arguments, &input);
        assert_eq!(code, Some(1), "{error}");
        let kept = fs::read_to_string(&rejects).expect("made");
        // What cannot be signed is kept, too, and what was signed is as it was before.
        let unsigned = key.map(|_| "{}");
        let expected = [&*lines[1], &lines[3]].into_iter().chain(unsigned);
        assert_eq!(kept.lines().collect::<BTreeSet<_>>(), expected.collect(), "{error}");
        assert!(out.contains("x bad_json: column 7: no (lines 2, 4"), "{out}");
        for reason in ["line 2: bad_json: column 7: no\n", "line 4: bad_json: column 9: yes\n"] {
            assert!(error.contains(reason), "{error}");
        }
        let (code, _, error) = run_with_input(&arguments, &input);
        assert_eq!(code, Some(2));
        assert!(error.contains("is there already, --rejects takes a new file"), "{error}");
        fs::remove_file(&rejects).expect("it is there");
    }
}

#[test]
fn lines_arrive_as_they_are() {
    let node = Node::new(|_, _| Reply::Say(201, CREATED));
    let input: Vec<String> = (0..3000).map(|number| format!("{{\"n\": {number}.0 }}")).collect();
    let (code, out, _) = node.import(&input.join("\n"));
    assert_eq!(code, Some(0), "{out}");
    let mut arrived: Vec<String> = node.bodies.try_iter().collect();
    arrived.sort();
    let mut sent = input;
    sent.sort();
    assert_eq!(arrived, sent);
}

#[test]
fn a_busy_node_is_waited_for_and_a_lost_answer_asked_for_again() {
    let node = Node::new(|number, _| match number {
        0..12 if number % 2 == 0 => Reply::Say(429, "{}"),
        0..12 if number % 3 == 0 => Reply::Leave,
        0..12 => Reply::Say(503, "{}"),
        100 => Reply::Leave,
        120..180 => Reply::Say(200, r#"{"error":{"code":"busy","message":"later"}}"#),
        _ => Reply::Say(201, CREATED),
    });
    let (code, out, error) = node.import(&"x\n".repeat(300));
    let expected = "300 lines: 300 created, 0 existed, 0 refused\n";
    assert_eq!((code, out.as_str()), (Some(0), expected));
    assert!(error.lines().all(|line| line.starts_with("stemedb-edge: waiting")), "{error}");
}

#[test]
fn an_import_that_waits_says_so_and_for_what() {
    let node = Node::new(|number, _| match number {
        0..24 => Reply::Say(503, r#"{"error":{"code":"read_only","message":"it only reads"}}"#),
        _ => Reply::Say(201, CREATED),
    });
    let (code, out, error) = node.import("x\n");
    assert_eq!((code, out.as_str()), (Some(0), "1 lines: 1 created, 0 existed, 0 refused\n"));
    // Once in a wait, however often it tries.
    let why = "it answers read_only: it only reads";
    assert_eq!(error, format!("stemedb-edge: waiting, 60s at most: {}: {why}\n", node.address));
}

#[test]
fn a_connection_that_the_node_closes_is_made_again() {
    let node = Node::new(|_, _| Reply::SayAndLeave(201, CREATED));
    let (code, out, error) = node.import(&"x\n".repeat(300));
    let expected = "300 lines: 300 created, 0 existed, 0 refused\n";
    assert_eq!((code, out.as_str(), error.as_str()), (Some(0), expected, ""));
}

#[test]
fn a_full_disk_ends_the_import_and_says_how_far_it_came() {
    let node = Node::new(|number, _| match number {
        0..100 => Reply::Say(201, CREATED),
        _ => Reply::Say(507, r#"{"error":{"code":"disk_full","message":"the disk is full"}}"#),
    });
    let mut command = program(&["import", "-", "--to", &node.address]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It ends although its input stays open.
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all("x\n".repeat(1000).as_bytes()).expect("the program reads");
    let (code, out, error) = finished(child.wait_with_output().expect("the program ends"));
    drop(pipe);
    assert_eq!(code, Some(3));
    assert!(out.starts_with("100 lines: 100 created"), "{out}");
    assert!(error.contains("is the first without an answer"), "{error}");
    assert!(error.ends_with("it answers disk_full: the disk is full\n"), "{error}");
}

#[test]
fn what_is_no_node_is_reported_at_once() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = closed.local_addr().expect("bound").to_string();
    drop(closed);
    let (code, out, error) = run_with_input(&["import", "-", "--to", &address], "x\n");
    assert_eq!((code, out.as_str(), error.lines().count()), (Some(3), "", 1), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
    let scripts: [fn(usize, &str) -> Reply; 2] =
        [|_, _| Reply::Say(404, ""), |_, _| Reply::Say(200, "<html>")];
    for script in scripts {
        let (code, _, error) = Node::new(script).import("x\n");
        assert_eq!(code, Some(3));
        assert!(error.contains("is that the API of a stemedb node?"), "{error}");
    }
}

#[test]
fn input_that_cannot_be_used_is_reported_before_anything_is_sent() {
    let scratch = Scratch::new();
    let (file, key) = (scratch.file("lines.gz"), scratch.file("key"));
    fs::write(&file, [0x1f, 0x8b, 8, 0]).expect("a file");
    fs::write(&key, "no key").expect("a file");
    let missing = scratch.file("missing");
    let directory = scratch.0.to_str().expect("a plain path");
    for (arguments, expected) in [
        (&["import", &file][..], "is compressed: zcat"),
        (&["import", &missing], "No such file"),
        (&["import", directory], "Is a directory"),
        (&["import", "-", "--key", &key], "is no key"),
        (&["import", "-", "--key", &missing], "reading the key"),
    ] {
        let (code, out, error) = run(arguments);
        assert_eq!((code, out.as_str(), error.lines().count()), (Some(2), "", 1), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_empty_or_closed_input_is_no_lines() {
    let node = Node::new(|_, _| Reply::Say(201, CREATED));
    let expected = "0 lines: 0 created, 0 existed, 0 refused\n";
    assert_eq!(node.import("\n\n"), (Some(0), expected.to_string(), String::new()));
}

#[test]
fn ctrl_c_stops_and_says_how_far_it_came() {
    let node = Node::new(|_, body| match body {
        "stall" => Reply::Stall,
        _ => Reply::Say(201, CREATED),
    });
    let mut command = program(&["import", "-", "--to", &node.address, "--concurrency", "1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("piped");
    // The input stays open: the program waits for it, and for answers that never come.
    for (text, count) in [("x\n", 10), ("stall\n", 1)] {
        pipe.write_all(text.repeat(count).as_bytes()).expect("the program reads");
        for _ in 0..count {
            node.bodies.recv().expect("all lines");
        }
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("our child");
    let (code, out, error) = finished(child.wait_with_output().expect("the program ends"));
    drop(pipe);
    assert_eq!(code, Some(130), "{error}");
    assert!(out.starts_with("10 lines: 10 created"), "{out}");
    assert!(error.contains("line 11 is the first without an answer"), "{error}");
}

#[test]
fn a_key_signs_each_line_and_a_line_that_cannot_be_signed_is_refused() {
    let scratch = Scratch::new();
    let key = scratch.file("agent.key");
    let agent_id = run(&["keygen", &key]).1;
    let node = Node::new(|_, _| Reply::Say(201, CREATED));
    let object = r#""predicate":"p","object":{"type":"Number","value":1.50}"#;
    let input = format!(
        "{{\"subject\":\"a\",{object}}}\n{{\"subject\":\"b\",{object},\"timestamp\":7}}\n{{}}\n"
    );
    let arguments = ["import", "-", "--to", &node.address, "--key", &key];
    let (code, out, _) = run_with_input(&arguments, &input);
    assert_eq!(code, Some(1));
    assert!(out.contains("1 x bad_json: ") && out.contains("(line 3)"), "{out}");
    let bodies: Vec<String> = node.bodies.try_iter().collect();
    assert_eq!(bodies.len(), 2);
    for body in bodies {
        assert!(body.contains(object), "{body}");
        let draft = json::parse_draft(body.as_bytes()).expect("a body");
        let mut clock = HlcClock::new(NodeId::NONE);
        let claim = draft.check(&mut clock, Wall(0)).expect("keeps the rules");
        assert_eq!(hex(&claim.signatures[0].agent_id), agent_id.trim_end());
        assert_eq!(signature::verify(&claim), Ok(()));
        assert_eq!(claim.signatures[0].timestamp, claim.timestamp);
    }
}

#[test]
fn a_line_that_is_too_long_is_refused_here() {
    let node = Node::new(|_, _| Reply::Say(201, CREATED));
    let long = "x".repeat(3 << 20);
    let (code, out, _) = node.import(&format!("{long}\ny\n"));
    assert_eq!(code, Some(1));
    assert!(out.contains("1 x body_too_large: the line has 3145729 bytes, at most"), "{out}");
    assert!(out.contains("(line 1)"), "{out}");
}

#[test]
fn an_import_that_reaches_no_node_leaves_no_file_of_refused_lines() {
    let scratch = Scratch::new();
    let rejects = scratch.file("refused.ndjson");
    let (code, _, error) =
        run_with_input(&["import", "-", "--to", "http://127.0.0.1:1", "--rejects", &rejects], "{}");
    assert_eq!((code, fs::exists(&rejects).expect("a folder")), (Some(3), false), "{error}");
}

#[test]
fn status_has_one_form() {
    for two in [["--json", "--ready"], ["--ready", "--json"]] {
        let (code, out, error) = run(&["status", two[0], two[1]]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{error}");
    }
}
