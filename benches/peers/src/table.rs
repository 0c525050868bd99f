//! Figures by engine and round, and what they come to.
//!
//! In: one figure at a time. Out: a table of medians; ours beside the best of the others' and
//! beside the ceiling. By byte of key and body, "given" went to the kernel (`wchar` of the process,
//! less answers on sockets), "device" to the disk (its own count, which has the writes of all
//! processes). "reopen" is from an end in good order to the first read; servers start their process
//! in it. Never: a mean.

use std::fmt::Write;

use crate::engine;

/// What a figure is of.
#[derive(Clone, Copy)]
pub enum Column {
    /// Durable records per second by one writer, and by 64.
    Rate(usize),
    /// Bytes given to the kernel by byte stored, likewise.
    Given(usize),
    /// Bytes that the disk got by byte stored, likewise.
    Device(usize),
    /// Bytes of memory by record.
    Resident,
    /// Milliseconds from opening to a record read.
    Reopen,
    /// Bytes on disk by record.
    Size,
}

const COLUMNS: [(Column, &str, usize); 9] = [
    (Column::Rate(1), "1 writer/s", 0),
    (Column::Rate(64), "64 wr./s", 0),
    (Column::Given(1), "given 1", 2),
    (Column::Given(64), "given 64", 2),
    (Column::Device(1), "device 1", 2),
    (Column::Device(64), "device 64", 2),
    (Column::Resident, "RSS/rec.", 1),
    (Column::Reopen, "reopen ms", 2),
    (Column::Size, "disk/rec.", 1),
];

impl Column {
    fn index(self) -> usize {
        match self {
            Column::Rate(writers) => usize::from(writers > 1),
            Column::Given(writers) => 2 + usize::from(writers > 1),
            Column::Device(writers) => 4 + usize::from(writers > 1),
            Column::Resident => 6,
            Column::Reopen => 7,
            Column::Size => 8,
        }
    }

    fn is_more_better(self) -> bool {
        matches!(self, Column::Rate(_))
    }
}

/// All figures of one engine.
struct Row {
    name: &'static str,
    figures: [Vec<f64>; COLUMNS.len()],
}

impl Row {
    fn median(&self, column: Column) -> Option<f64> {
        let mut figures = self.figures[column.index()].clone();
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures.get(figures.len().saturating_sub(1) / 2)?, figures.len() / 2);
        Some((low + figures[high]) / 2.0)
    }
}

/// Rows in the order of the engines.
pub struct Table(Vec<Row>);

impl Table {
    pub fn new(names: &[&'static str]) -> Table {
        let row = |name: &&'static str| Row { name, figures: Default::default() };
        Table(names.iter().map(row).collect())
    }

    pub fn add(&mut self, name: &str, column: Column, figure: f64) {
        let row = self.0.iter_mut().find(|row| row.name == name).expect("it is measured");
        row.figures[column.index()].push(figure);
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.name == name)
    }

    pub fn print(&self) {
        let mut out = format!("{:14}", "medians");
        COLUMNS.iter().for_each(|(_, head, _)| put(&mut out, head));
        for row in &self.0 {
            let _ = write!(out, "\n{:14}", row.name);
            for (column, _, digits) in COLUMNS {
                let median = row.median(column).map(|median| format!("{median:.digits$}"));
                put(&mut out, &median.unwrap_or_default());
            }
        }
        println!("{out}");
        for (ours, others) in engine::OURS {
            self.print_ratios(ours, others);
        }
    }

    fn print_ratios(&self, name: &str, others: &[&str]) {
        let Some(ours) = self.row(name) else { return };
        println!();
        let bare = |column| self.row("bare").and_then(|bare| bare.median(column));
        for (column, head, digits) in COLUMNS {
            let Some(mine) = ours.median(column) else { continue };
            let best = self.best(column, others);
            if let Some((best, other)) = best {
                print!("{name} {head}: {mine:.digits$}, best of the others {other:.digits$} ");
                print!("({best}), ratio {:.2}", mine / other);
                match bare(column).filter(|_| column.is_more_better()) {
                    Some(bare) => println!("; bare {bare:.digits$}, ratio {:.2}", mine / bare),
                    None => println!(),
                }
            }
        }
    }

    fn best(&self, column: Column, others: &[&str]) -> Option<(&'static str, f64)> {
        let rows = self.0.iter().filter(|row| others.contains(&row.name));
        let medians = rows.filter_map(|row| row.median(column).map(|median| (row.name, median)));
        let mut medians: Vec<(&str, f64)> = medians.collect();
        medians.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        if column.is_more_better() { medians.pop() } else { medians.first().copied() }
    }
}

fn put(out: &mut String, text: &str) {
    let _ = write!(out, " {text:>10}");
}
