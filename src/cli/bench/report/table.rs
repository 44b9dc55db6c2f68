//! The table for people: a header with the circumstances, then a line a case, each written when it is known.

use std::time::Duration;

use super::{Measured, Peer, Setup, UNOPTIMISED};
use crate::cli::bench::beside::{OnDevice, Outcome};
use crate::cli::figures::{bytes, grouped};

/// The header of each column of figures; each holds its widest usual value.
const COLUMNS: [&str; 8] =
    ["       rows", "   rows out", "      read", "   best ms", " median ms", " Mrows/s", "  GB/s", "% of memory"];

/// Writes lines that stand under each other.
#[derive(Debug)]
pub(in crate::cli::bench) struct Table {
    name_width: usize,
    columns: Vec<String>,
    bandwidth: f64,
}

impl Table {
    /// A table for cases of these names.
    pub(in crate::cli::bench) fn new<'a>(names: impl IntoIterator<Item = &'a str>, setup: &Setup) -> Self {
        let widths = names.into_iter().map(|name| name.chars().count());
        let name_width = widths.max().unwrap_or(0).max("case".len());
        let peer =
            setup.peer.into_iter().flat_map(|peer| [format!("{:>10}", format!("{peer} ms")), format!("× {peer}")]);
        let columns = COLUMNS.iter().map(|&column| column.to_owned()).chain(peer).collect();
        Self { name_width, columns, bandwidth: setup.bandwidth }
    }

    /// The circumstances, and the names of the columns.
    pub(in crate::cli::bench) fn header(&self, setup: &Setup) -> String {
        let cut = setup.cut();
        let mut text = format!(
            "pelton {} · {} · {} · {} runs\n{} · {} · {} threads · reads memory at {:.1} GB/s\n",
            env!("CARGO_PKG_VERSION"),
            setup.suite,
            cut,
            setup.runs,
            setup.processor,
            setup.simd,
            setup.threads,
            setup.bandwidth / 1e9,
        );
        if UNOPTIMISED {
            text.push_str("this program was built without optimisation: its times mean nothing\n");
        }
        text.push_str(&format!("\n{:<width$}", "case", width = self.name_width));
        self.columns.iter().for_each(|column| text.push_str(&format!("  {column}")));
        text.push('\n');
        text
    }

    /// A line about one case.
    pub(in crate::cli::bench) fn line(&self, measured: &Measured) -> String {
        let mut cells = vec![
            grouped(measured.rows),
            grouped(measured.answer_rows),
            bytes(measured.bytes),
            millis(measured.ours.best()),
            millis(measured.ours.median()),
            three_digits(measured.rows_per_second() / 1e6),
            three_digits(measured.bytes_per_second() / 1e9),
            format!("{:.0}", 100.0 * measured.bytes_per_second() / self.bandwidth),
        ];
        let mut note = String::new();
        match (&measured.peer, measured.times_peer()) {
            (Peer::Measured(times), Some(ratio)) => cells.extend([millis(times.median()), three_digits(ratio)]),
            (Peer::Refused(reason), _) => {
                cells.extend(["-".to_owned(), "-".to_owned()]);
                note = format!("  {reason}");
            }
            _ => {}
        }
        let mut line = format!("{:<width$}", measured.case, width = self.name_width);
        for (cell, column) in cells.iter().zip(&self.columns) {
            line.push_str(&format!("  {cell:>width$}", width = column.chars().count()));
        }
        line.push_str(&note);
        line.push('\n');
        measured.devices.iter().for_each(|device| line.push_str(&self.device(measured, device)));
        line
    }

    /// A line about the same case on another device. The share is that of what the device's own memory gives, if the rows
    /// lie there.
    fn device(&self, measured: &Measured, device: &OnDevice) -> String {
        let mut line = format!("{:<width$}", format!("· {}", device.name), width = self.name_width);
        let (cells, note) = match &device.outcome {
            Outcome::Refused(reason) => (vec![String::new(); COLUMNS.len()], format!("  {reason}")),
            Outcome::Measured(times) => {
                let (rows, bytes) = measured.rates_of(times);
                let share = format!("{:.0}", 100.0 * bytes / device.bandwidth.unwrap_or(self.bandwidth));
                let of = if device.bandwidth.is_some() { " (of the device's memory)" } else { "" };
                let note = device.note.as_ref().map_or(String::new(), |note| format!("; {note}"));
                let cells = vec![
                    String::new(),
                    String::new(),
                    String::new(),
                    millis(times.best()),
                    millis(times.median()),
                    three_digits(rows / 1e6),
                    three_digits(bytes / 1e9),
                    share,
                ];
                (cells, format!("{of}  {} × cpu{note}", three_digits(measured.times_cpu(times))))
            }
        };
        for (cell, column) in cells.iter().zip(&self.columns) {
            line.push_str(&format!("  {cell:>width$}", width = column.chars().count()));
        }
        line.push_str(&note);
        line.push('\n');
        line
    }
}

/// A time in milliseconds.
fn millis(time: Duration) -> String {
    three_digits(time.as_secs_f64() * 1e3)
}

/// A number with three digits that count, or all before the point.
fn three_digits(number: f64) -> String {
    let decimals = match number {
        _ if number >= 100.0 => 0,
        _ if number >= 10.0 => 1,
        _ if number >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::report::sample;

    #[test]
    fn figures_stand_under_their_columns() {
        let (setup, results) = sample();
        let table = Table::new(results.iter().map(|result| result.case.as_str()), &setup);
        let header = table.header(&setup);
        let columns = header.lines().last().unwrap();
        let line = table.line(&results[0]);
        assert_eq!(line.trim_end().chars().count(), columns.chars().count(), "{header}{line}");
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>();
        assert_eq!(
            cells,
            ["int/100", "4,000,000", "100", "76.3 MiB", "4.00", "5.00", "800", "16.0", "50", "25.0", "5.00"]
        );
        assert!(header.contains("micro-batches of 65,536 rows") && header.contains("reads memory at 32.0 GB/s"));
        assert!(table.line(&results[1]).trim_end().ends_with("is not translated for Polars"));
    }

    #[test]
    fn without_another_engine_there_are_no_columns_for_it() {
        let (setup, results) = sample();
        let setup = Setup { peer: None, ..setup };
        let table = Table::new(["two/100"], &setup);
        assert!(!table.header(&setup).contains("Polars"));
        assert!(table.line(&results[2]).lines().next().unwrap().trim_end().ends_with(" 50"));
    }

    #[test]
    fn other_devices_have_lines_of_their_own() {
        let (setup, results) = sample();
        let table = Table::new(["two/100", "· gpu_with_copies"], &setup);
        let text = table.line(&results[2]);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[1], ["· gpu_with_copies", "2.00", "2.00", "2000", "40.0", "125", "2.50 × cpu"]);
        assert_eq!(
            lines[2],
            ["· gpu_resident", "1.00", "1.00", "4000", "80.0", "50 (of the device's memory)", "5.00 × cpu"]
        );
        assert_eq!(lines[3], ["· auto", "not here"]);
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [0.0123, 1.234, 12.34, 123.4, 12_345.6].map(three_digits),
            ["0.012", "1.23", "12.3", "123", "12346"]
        );
    }
}
