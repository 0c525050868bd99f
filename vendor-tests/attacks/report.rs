//! Rows of the table: what was measured, what was to hold.
//!
//! In: figures and checks. Out: a table or JSON, and how many rows passed. Never: passes a row
//! without a check.

use std::time::Duration;

use serde_json::{Value, json};

use crate::normal::Figures;

/// What the verdict on latency goes by.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// The absolute bounds, for a machine with nothing else to do.
    pub(crate) is_quiet: bool,
}

/// p99 and worst call on a quiet machine.
const QUIET: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(150));
/// On a noisy machine as many times what the calm run before gave, or this where that is more.
const TIMES: (u32, u32) = (10, 20);
const NOISY_FLOOR: Duration = Duration::from_millis(500);

/// Resident memory of the attacked node in KiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) before: u64,
    pub(crate) peak: u64,
    /// When the attack was over for some time; 0 where it was not measured.
    pub(crate) after: u64,
}

/// One attack.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) calm: Option<Figures>,
    pub(crate) attacked: Option<Figures>,
    pub(crate) memory: Memory,
    /// What was seen besides.
    pub(crate) notes: Vec<String>,
    held: usize,
    broken: Vec<String>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>) -> Row {
        Row { name: name.into(), ..Row::default() }
    }

    /// Something that must hold.
    pub(crate) fn check(&mut self, holds: bool, otherwise: impl Into<String>) {
        if holds {
            self.held += 1;
        } else {
            self.broken.push(otherwise.into());
        }
    }

    /// The normal client was served as the bounds ask, without an error.
    pub(crate) fn check_latency(&mut self, bounds: Bounds, calm: &Figures, attacked: Figures) {
        let (p99, worst) = if bounds.is_quiet {
            QUIET
        } else {
            ((calm.p99 * TIMES.0).max(NOISY_FLOOR), (calm.worst * TIMES.1).max(NOISY_FLOOR))
        };
        let errors = attacked.errors.len();
        self.check(attacked.p99 <= p99, format!("p99 over {} ms", ms(p99)));
        self.check(attacked.worst <= worst, format!("worst over {} ms", ms(worst)));
        let first = attacked.errors.first().cloned().unwrap_or_default();
        self.check(errors == 0, format!("{errors} errors, the first: {first}"));
        self.calm = Some(calm.clone());
        self.attacked = Some(attacked);
    }

    pub(crate) fn passed(&self) -> bool {
        self.broken.is_empty() && self.held > 0
    }

    fn json(&self) -> Value {
        let figures = |it: &Option<Figures>| {
            it.as_ref().map(|it| {
                json!({ "calls": it.calls, "p50_ms": millis(it.p50), "p99_ms": millis(it.p99),
                    "worst_ms": millis(it.worst), "errors": it.errors.len() })
            })
        };
        json!({ "attack": self.name, "calm": figures(&self.calm),
            "attacked": figures(&self.attacked), "resident_kib": { "before": self.memory.before,
            "peak": self.memory.peak, "after": self.memory.after },
            "notes": self.notes, "passed": self.passed(), "broken": self.broken })
    }

    /// Cells of the table.
    fn cells(&self) -> [String; 6] {
        let latency = |it: &Option<Figures>| match it {
            Some(it) => format!("{} / {} / {}", ms(it.p50), ms(it.p99), ms(it.worst)),
            None => String::new(),
        };
        let errors = self.attacked.as_ref().map(|it| it.errors.len().to_string());
        let mib = |kib: u64| {
            if kib == 0 { "-".to_string() } else { format!("{:.1}", kib as f64 / 1024.0) }
        };
        let memory = match self.memory.before {
            0 => String::new(),
            _ => [self.memory.before, self.memory.peak, self.memory.after].map(mib).join(" / "),
        };
        [
            self.name.clone(),
            latency(&self.calm),
            latency(&self.attacked),
            errors.unwrap_or_default(),
            memory,
            self.verdict(),
        ]
    }

    fn verdict(&self) -> String {
        let verdict = if self.passed() { "ok" } else { "FAILED: " };
        let mut said = verdict.to_string() + &self.broken.join("; ");
        if !self.notes.is_empty() {
            said += &format!(" ({})", self.notes.join("; "));
        }
        said
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

fn ms(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}

/// The heads of the columns.
const HEADS: [&str; 6] = [
    "attack",
    "calm p50 / p99 / worst, ms",
    "attacked p50 / p99 / worst, ms",
    "errors",
    "MiB before / peak / after",
    "verdict",
];

/// One line of the table as it becomes known.
pub(crate) fn show(row: &Row) {
    println!("| {} |", row.cells().join(" | "));
}

/// The lines above the first row.
pub(crate) fn show_heads() {
    println!("| {} |\n|{}", HEADS.join(" | "), "---|".repeat(HEADS.len()));
}

/// All rows as JSON.
pub(crate) fn show_json(rows: &[Row]) {
    println!("{:#}", Value::Array(rows.iter().map(Row::json).collect()));
}
