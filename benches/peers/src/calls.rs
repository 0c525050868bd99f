//! System calls of our own write path, per record, at one writer.
//!
//! In: an engine, how many records; `strace` (Debian's package). Out: calls by thread and name, and
//! of which kind they are. Tracing slows the threads, so they wait for each other more often than
//! they do otherwise: the hand-over is an upper bound. Never: a figure of time.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use crate::child::{self, Children};
use crate::measure::{CALLS_BEGIN, CALLS_END, Task};
use crate::process;

/// By these a thread waits, or wakes another that does.
const WAITING: [&str; 6] = ["futex", "epoll_wait", "epoll_pwait", "poll", "ppoll", "sched_yield"];
/// By these files change; on a socket or an eventfd they are something else.
const WRITING: [&str; 8] =
    ["pwrite64", "write", "writev", "fdatasync", "fsync", "ftruncate", "openat", "close"];

/// All other calls are memory's, and those of threads that begin and end.
fn kind(call: &str) -> &'static str {
    match call {
        _ if call.ends_with(EVENTFD) || WAITING.contains(&call) => "hand-over",
        _ if call.ends_with(SOCKET) => "network",
        _ if WRITING.contains(&call) => "file",
        _ => "other",
    }
}

/// What a call is about, behind its name.
const EVENTFD: &str = " eventfd";
const SOCKET: &str = " socket";

/// Traces a child and prints what it called.
pub fn print(name: &str, records: usize, children: &Children) {
    let trace = children.scratch.path.join("trace");
    let dir = children.scratch.empty(name);
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "--decode-pids=comm", "-e", "signal=none", "-o"]).arg(&trace);
    command.arg(process::own_path()).args(child::words(name, &dir, &Task::Calls { records }));
    children.set_environment(&mut command);
    let status = command.stdout(Stdio::null()).status();
    let status = status.expect("strace is missing: install Debian's package strace");
    assert!(status.success(), "strace ended with {status}");
    let trace = fs::read_to_string(&trace).expect("strace wrote it");
    println!("{name}, {records} records, one writer: system calls per record");
    println!("{:12} {:17} {:>10}  kind", "thread", "call", "per record");
    for ((thread, call), count) in count(&trace) {
        println!("{thread:12} {call:17} {:>10.4}  {}", count as f64 / records as f64, kind(&call));
    }
}

/// Calls by thread and name between the two marks.
fn count(trace: &str) -> BTreeMap<(&str, String), usize> {
    let mut counts = BTreeMap::new();
    let lines = trace.lines().skip_while(|line| !says(line, CALLS_BEGIN)).skip(1);
    for line in lines.take_while(|line| !says(line, CALLS_END)) {
        // `123<thread> call(4<file>, ...`; a call that others interrupted comes in two lines.
        let Some((thread, rest)) = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'))
        else {
            continue;
        };
        let Some((call, rest)) = rest.trim_start().split_once('(') else { continue };
        if !call.starts_with("<...") {
            let first = rest.split(',').next().unwrap_or_default();
            let about = match first {
                _ if first.contains("[eventfd]") => EVENTFD,
                _ if first.contains("<socket:") => SOCKET,
                _ => "",
            };
            *counts.entry((thread, call.to_owned() + about)).or_default() += 1;
        }
    }
    counts
}

fn says(line: &str, mark: &str) -> bool {
    line.contains(&format!("\"{mark}\\n\""))
}
