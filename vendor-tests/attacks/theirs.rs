//! A tonic server of the five calls on one thread, in a process of its own.
//!
//! In: attacks. Out: the figures to compare the node's with. Never: shares a thread with the
//! attackers or the client.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use vendor_tests::peer::{Manner, Peer};

use crate::Rows;
use crate::normal::{Figures, Targets};
use crate::report::Row;
use crate::stage::{resident_kib, slow_words};

/// What the child does until it is killed.
pub(crate) async fn serve() {
    let peer = Peer::start(Manner::Honest, []).await;
    println!("{}", peer.address);
    std::future::pending::<()>().await;
}

/// The running child.
pub(crate) struct Theirs {
    child: Child,
    pub(crate) targets: Targets,
}

impl Theirs {
    pub(crate) async fn start(is_slow: bool) -> Theirs {
        let mut words = if is_slow { slow_words() } else { Vec::new() };
        let this = std::env::current_exe().expect("a program has a path");
        words.push(this.to_string_lossy().into_owned());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg("serve-tonic")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tonic starts");
        let mut line = String::new();
        let said = child.stdout.take().expect("stdout is piped");
        BufReader::new(said).read_line(&mut line).expect("tonic says where it listens");
        let rpc = line.trim().parse().expect("an address");
        let targets = Targets { http: None, rpc, path: String::new(), key: None };
        Theirs { child, targets }
    }

    /// Sends a row that only says what was measured.
    pub(crate) fn show(
        &self,
        name: &str,
        calm: &Figures,
        attacked: Figures,
        note: String,
        rows: &Rows,
    ) {
        let mut row = Row::new(format!("tonic: {name}"));
        row.check(attacked.calls > 0, "no call came to an end");
        row.memory.before = resident_kib(self.child.id());
        row.memory.peak = row.memory.before;
        row.calm = Some(calm.clone());
        row.attacked = Some(attacked);
        row.notes.push(note);
        let _ = rows.send(row);
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
