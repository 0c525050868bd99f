//! What became of the lines, and the words for it.
//!
//! In: one fate per line. Out: the report of the end and the progress bar. Never: writes anywhere,
//! keeps more than a few line numbers per reason.

use std::fmt;
use std::time::Duration;

use litemap::LiteMap;

/// Line numbers kept per reason.
const NUMBERS_MAX: usize = 5;
/// Reasons counted apart; error codes are few, so that more of them come from no node of ours.
const REASONS_MAX: usize = 32;
/// Letters of a reason that are shown.
const MESSAGE_LETTERS_MAX: usize = 200;
/// Letters of the bar itself.
const BAR_WIDTH: usize = 20;

/// What became of one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// The node has it now.
    Created,
    /// The node had it.
    Existed,
    /// The node will not have it, or it could not be sent.
    Refused {
        /// The error code of the answer, by which the report groups.
        code: String,
        /// The error message of the answer.
        message: String,
    },
}

/// Counts what became of the lines, for bar and report.
#[derive(Default)]
pub(super) struct Tally {
    created: u64,
    existed: u64,
    refused: u64,
    reasons: LiteMap<String, Reason>,
}

#[derive(Default)]
struct Reason {
    count: u64,
    message: String,
    /// The lowest numbers, in order; the message belongs to the first.
    numbers: Vec<u64>,
}

impl Reason {
    fn add(&mut self, number: u64, message: &str) {
        self.count += 1;
        let index = self.numbers.partition_point(|&kept| kept < number);
        if index == 0 {
            self.message = printable(message);
        }
        self.numbers.insert(index, number);
        self.numbers.truncate(NUMBERS_MAX);
    }
}

/// Foreign text must not move the cursor, nor fill the screen.
pub(super) fn printable(message: &str) -> String {
    let clean = |letter: char| if letter.is_control() { '?' } else { letter };
    let mut text: String = message.chars().take(MESSAGE_LETTERS_MAX).map(clean).collect();
    if message.chars().nth(MESSAGE_LETTERS_MAX).is_some() {
        text.push_str("...");
    }
    text
}

impl Tally {
    pub(super) fn add(&mut self, number: u64, fate: Fate) {
        match fate {
            Fate::Created => self.created += 1,
            Fate::Existed => self.existed += 1,
            Fate::Refused { code, message } => {
                self.refused += 1;
                let code = printable(&code);
                let is_counted =
                    self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&code);
                let code = if is_counted { code } else { "other".to_string() };
                self.reasons.entry(code).or_default().add(number, &message);
            }
        }
    }

    pub(super) fn lines(&self) -> u64 {
        self.created + self.existed + self.refused
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// One line that fits a terminal: how far, how fast, how many were refused.
    pub(super) fn bar(&self, done: u64, total: Option<u64>, elapsed: Duration) -> String {
        let lines = self.lines();
        let rate = lines as f64 / elapsed.as_secs_f64().max(0.001);
        let refused = match self.refused {
            0 => String::new(),
            count => format!("  {} refused", grouped(count)),
        };
        let counts = format!("{} lines  {}/s{refused}", grouped(lines), grouped(rate as u64));
        let Some(total) = total.filter(|&total| total > 0) else {
            return format!("{} MiB  {counts}", grouped(done >> 20));
        };
        let share = (done as f64 / total as f64).min(1.0);
        let full = (share * BAR_WIDTH as f64) as usize;
        let bar = format!("{}{}", "=".repeat(full), " ".repeat(BAR_WIDTH - full));
        format!("[{bar}] {:3.0} %  {counts}", share * 100.0)
    }
}

/// The report of the end: counts, then each reason with its first lines.
impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lines, created, existed, refused] =
            [self.lines(), self.created, self.existed, self.refused];
        writeln!(out, "{lines} lines: {created} created, {existed} existed, {refused} refused")?;
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, reason)| std::cmp::Reverse(reason.count));
        for (code, reason) in reasons {
            let numbers: Vec<String> = reason.numbers.iter().map(u64::to_string).collect();
            let more = if reason.count > NUMBERS_MAX as u64 { ", ..." } else { "" };
            let word = if reason.count == 1 { "line" } else { "lines" };
            writeln!(
                out,
                "  {} x {code}: {} ({word} {}{more})",
                reason.count,
                reason.message,
                numbers.join(", ")
            )?;
        }
        Ok(())
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str) -> Fate {
        Fate::Refused { code: code.to_string(), message: message.to_string() }
    }

    #[test]
    fn the_report_counts_and_names_the_first_lines_of_each_reason() {
        let mut tally = Tally::default();
        tally.add(1, Fate::Created);
        tally.add(2, Fate::Existed);
        for number in [19, 7, 17, 5, 15, 13, 3] {
            tally.add(number, refused("bad_body", &format!("wrong at {number}")));
        }
        tally.add(4, refused("bad_json", "column 3: no"));
        let expected = "\
10 lines: 1 created, 1 existed, 8 refused
  7 x bad_body: wrong at 3 (lines 3, 5, 7, 13, 15, ...)
  1 x bad_json: column 3: no (line 4)
";
        assert_eq!(tally.to_string(), expected);
        assert_eq!((tally.lines(), tally.refused()), (10, 8));
    }

    #[test]
    fn reasons_are_bounded_and_cannot_move_the_cursor() {
        let mut tally = Tally::default();
        for number in 0..1000 {
            tally.add(number, refused(&format!("code{number}\x1b"), &"\r\u{9b}x".repeat(1000)));
        }
        assert!(tally.reasons.len() <= REASONS_MAX + 1);
        assert_eq!(tally.reasons.values().map(|reason| reason.count).sum::<u64>(), 1000);
        let text = tally.to_string();
        assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'));
        assert!(text.len() < 40 * 400);
    }

    #[test]
    fn the_bar_fits_a_terminal() {
        let mut tally = Tally::default();
        tally.add(1, Fate::Created);
        let bar = tally.bar(1 << 20, Some(4 << 20), Duration::from_secs(2));
        assert_eq!(bar, "[=====               ]  25 %  1 lines  0/s");
        tally.created = 1_234_567;
        tally.add(2, refused("a", "b"));
        let bar = tally.bar(5, Some(4), Duration::from_secs(1));
        assert!(bar.contains("100 %  1,234,568 lines  1,234,568/s  1 refused"), "{bar}");
        assert!(bar.len() < 80);
        assert!(tally.bar(5 << 20, None, Duration::ZERO).starts_with("5 MiB  "));
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
    }
}
