//! The attacks by floods of frames.
//!
//! In: a kind. Out: rows: the normal client beside 1 and beside 4 connections, and who is cut off.
//! Never: takes a slow machine for a slow node: the node runs at `nice` 15 on the flooders'
//! processor, where it is slower than they are.

use std::time::{Duration, Instant};

use crate::flood::{Flood, KINDS, Kind, Manner};
use crate::normal::{Client, Figures};
use crate::report::Row;
use crate::stage::{Setup, Stage};
use crate::theirs::Theirs;
use crate::{Options, Rows};

/// Who has made no call for so long is to be cut off.
const NO_CALL_MAX: Duration = Duration::from_secs(10);
/// The node looks now and then.
const LATENESS: Duration = Duration::from_secs(5);

fn kind(name: &str) -> Kind {
    KINDS.iter().find(|(known, _)| *known == name).expect("a flood").1
}

/// A flood of this name.
pub(crate) async fn flood(name: &str, options: Options, rows: &Rows) {
    if options.is_tonic {
        return against_tonic(name, options, rows).await;
    }
    let stage = Stage::start(&Setup { is_slow: true, ..Setup::default() }).await;
    let calm = Client::measure(&stage.targets, options.calm).await;
    for connections in [1, 4] {
        let mut row = Row::new(format!("{name}, {connections}"));
        let before = stage.start_count();
        let manner = Manner { connections, ..slow_flooder(kind(name)) };
        let client = Client::start(&stage.targets);
        let flood = Flood::start(stage.targets.rpc, manner);
        tokio::time::sleep(options.seconds).await;
        let flooded = tokio::task::spawn_blocking(|| flood.stop()).await.expect("no panic");
        row.memory = stage.memory(before);
        row.check_latency(options.bounds, &calm, client.stop().await);
        check_alive(&mut row, &stage);
        row.notes.push(format!("{} MB sent", flooded.bytes >> 20));
        if flooded.cuts > 0 {
            row.notes.push(format!("cut off {} times", flooded.cuts));
        }
        let _ = rows.send(row);
    }
}

fn slow_flooder(kind: Kind) -> Manner {
    Manner { kind, connections: 1, processor: Some(0), comes_back: true }
}

/// The member never thought the node gone.
pub(crate) fn check_alive(row: &mut Row, stage: &Stage) {
    let (looks, gone) = stage.gone();
    row.check(looks > 0, "the member did not look");
    row.check(gone == 0, format!("not Alive to its member at {gone} of {looks} looks"));
}

/// tonic has no bounds to keep: its figures are to compare with.
async fn against_tonic(name: &str, options: Options, rows: &Rows) {
    let theirs = Theirs::start(true).await;
    let calm = Client::measure(&theirs.targets, options.calm).await;
    for connections in [1, 4] {
        let manner = Manner { connections, ..slow_flooder(kind(name)) };
        let client = Client::start(&theirs.targets);
        let flood = Flood::start(theirs.targets.rpc, manner);
        tokio::time::sleep(options.seconds).await;
        let flooded = tokio::task::spawn_blocking(|| flood.stop()).await.expect("no panic");
        let attacked = client.stop().await;
        let note = format!("{} MB sent", flooded.bytes >> 20);
        theirs.show(&format!("{name}, {connections}"), &calm, attacked, note, rows);
    }
}

/// One connection of each kind, all at once; the node is to end them all.
pub(crate) async fn cut_off(options: Options, rows: &Rows) {
    let stage = Stage::start(&Setup::default()).await;
    let calm: Figures = Client::measure(&stage.targets, options.calm).await;
    let client = Client::start(&stage.targets);
    let before = stage.start_count();
    let start = Instant::now();
    let flood = |kind| {
        let manner = Manner { kind, connections: 1, processor: None, comes_back: false };
        Flood::start(stage.targets.rpc, manner)
    };
    let floods = KINDS.map(|(name, kind)| (name, flood(kind)));
    while start.elapsed() < NO_CALL_MAX + LATENESS && !floods.iter().all(|(_, it)| it.is_over()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut row = Row::new("cut-off");
    let attacked = client.stop().await;
    for (name, flood) in floods {
        let flooded = tokio::task::spawn_blocking(|| flood.stop()).await.expect("no panic");
        row.check(flooded.first_cut.is_some(), format!("{name} goes on"));
        if let Some(time) = flooded.first_cut {
            row.notes.push(format!("{name} {:.1} s", time.as_secs_f64()));
        }
    }
    row.memory = stage.memory(before);
    row.check_latency(options.bounds, &calm, attacked);
    check_alive(&mut row, &stage);
    let _ = rows.send(row);
}
