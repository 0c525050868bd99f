//! The attack by more claims at once than there is memory for.
//!
//! In: a memory limit, by whichever version of cgroups there is. Out: rows: whether the node lives,
//! and what the claims were answered. Never: passes where no cgroup can be made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use vendor_tests::node::Node;

use crate::normal::{answer, connect};
use crate::report::Row;
use crate::stage::{peak_kib, resident_kib};
use crate::{Options, Rows};

/// Limits in MiB.
const LIMITS: [u32; 3] = [16, 24, 32];
/// Runs at the smallest of them.
const RUNS: u32 = 10;
/// Claims at once, and how large the value of each is.
const CLAIMS: usize = 120;
const VALUE_BYTES: usize = 500_000;
/// How long all of them may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cgroup with a memory limit, gone when dropped.
struct Cgroup {
    path: PathBuf,
    is_first_version: bool,
}

impl Cgroup {
    fn new(mib: u32) -> std::io::Result<Cgroup> {
        let (first, second) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let is_first_version = first.is_dir();
        let parent = if is_first_version { first } else { second };
        if !is_first_version {
            // Where it is on already, this changes nothing; where it may not be, making the limit
            // fails.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let path = parent.join(format!("stemedb-attacks-{}", std::process::id()));
        fs::create_dir(&path)?;
        let cgroup = Cgroup { path, is_first_version };
        let limit = if is_first_version { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(cgroup.path.join(limit), (u64::from(mib) << 20).to_string())?;
        if !is_first_version {
            let _ = fs::write(cgroup.path.join("memory.swap.max"), "0");
        }
        Ok(cgroup)
    }

    /// The words that start a program in it.
    fn words(&self) -> Vec<String> {
        let join = format!("echo $$ > '{}' && exec \"$0\" \"$@\"", self.procs());
        ["sh", "-c", &join].map(str::to_string).to_vec()
    }

    fn procs(&self) -> String {
        self.path.join("cgroup.procs").display().to_string()
    }

    /// Processes killed for want of memory.
    fn kills(&self) -> u64 {
        let name = if self.is_first_version { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// What the claims of one run were answered.
#[derive(Default)]
struct Answers {
    stored: usize,
    busy: usize,
    other: Vec<String>,
}

async fn claim(http: std::net::SocketAddr, number: usize) -> Result<String, String> {
    let object = json!({ "type": "Text", "value": ".".repeat(VALUE_BYTES) });
    let body = json!({ "subject": format!("s{number}"), "predicate": "p", "object": object,
        "timestamp": 1_700_000_000 })
    .to_string();
    let head = format!(
        "POST /v1/assert HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = connect(http).await?;
    // A refusal may come before the body is sent; what is left of it then does not matter.
    let sent = stream.write_all((head + &body).as_bytes()).await;
    let (head, _) = answer(&mut stream).await.map_err(|why| format!("{why} ({sent:?})"))?;
    Ok(head.split(' ').nth(1).unwrap_or_default().to_string())
}

async fn all_at_once(node: &Node) -> Answers {
    let mut claims = JoinSet::new();
    for number in 0..CLAIMS {
        claims.spawn(tokio::time::timeout(PATIENCE, claim(node.http, number)));
    }
    let mut answers = Answers::default();
    for outcome in claims.join_all().await {
        match outcome {
            Ok(Ok(status)) if status == "201" => answers.stored += 1,
            Ok(Ok(status)) if status == "429" || status == "503" => answers.busy += 1,
            Ok(Ok(status)) => answers.other.push(status),
            Ok(Err(why)) => answers.other.push(why),
            Err(_) => answers.other.push(format!("no answer within {PATIENCE:?}")),
        }
    }
    answers
}

/// All limits.
pub(crate) async fn limits(options: Options, rows: &Rows) {
    for mib in LIMITS {
        let runs = if mib == LIMITS[0] { RUNS } else { options.runs };
        let mut row = Row::new(format!("cgroup, {mib} MiB, {runs} runs"));
        let (mut killed, mut stored, mut busy, mut other) = (0, 0, 0, Vec::new());
        for _ in 0..runs {
            let cgroup = match Cgroup::new(mib) {
                Ok(cgroup) => cgroup,
                Err(why) => {
                    row.check(false, format!("no cgroup can be made: {why}"));
                    break;
                }
            };
            let mut node = Node::start_under(&cgroup.words(), &[]);
            row.memory.before = resident_kib(node.pid());
            let mut answers = all_at_once(&node).await;
            row.memory.peak = row.memory.peak.max(peak_kib(node.pid()));
            killed += u32::from(!node.is_running() || cgroup.kills() > 0);
            if node.is_running() {
                other.append(&mut answers.other);
            }
            stored += answers.stored;
            busy += answers.busy;
            node.kill();
        }
        row.check(killed == 0, format!("killed in {killed} of {runs} runs"));
        let first = other.first().cloned().unwrap_or_default();
        row.check(other.is_empty(), format!("{} odd answers, the first: {first}", other.len()));
        row.notes.push(format!("{stored} stored, {busy} refused as busy"));
        let _ = rows.send(row);
    }
}
