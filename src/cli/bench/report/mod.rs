//! What a run found, and the figures that follow from it; written as a table, as JSON and as HTML.
//!
//! All figures are made of the median of the runs. docs/bench.md says what each of them means.

pub(super) mod html;
pub(super) mod json;
pub(super) mod table;

use super::beside::OnDevice;
use super::measure::Times;
use crate::cli::figures::grouped;

/// The circumstances of a run.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// The suite, or the file.
    pub(super) suite: String,
    pub(super) processor: String,
    pub(super) simd: String,
    pub(super) threads: usize,
    /// Bytes a second that these threads read from memory.
    pub(super) bandwidth: f64,
    pub(super) runs: usize,
    /// Rows of a micro-batch; without it all rows are one batch.
    pub(super) batch_rows: Option<usize>,
    /// Rows of the micro-batches that are measured beside that.
    pub(super) beside_batches: Option<usize>,
    /// Whether the engine gets all micro-batches at once.
    pub(super) at_once: bool,
    /// How floats are added up: `exact` or `ordered`.
    pub(super) floats: &'static str,
    /// The name of the engine measured beside ours.
    pub(super) peer: Option<&'static str>,
}

impl Setup {
    /// How the rows come.
    fn cut(&self) -> String {
        let batches = match self.batch_rows {
            Some(rows) if self.at_once => format!("micro-batches of {} rows at once", grouped(rows as u64)),
            Some(rows) => format!("micro-batches of {} rows", grouped(rows as u64)),
            None => match self.beside_batches {
                Some(rows) => format!("one batch, and micro-batches of {} rows", grouped(rows as u64)),
                None => "one batch".to_owned(),
            },
        };
        format!("{batches}, {} sums of floats", self.floats)
    }
}

/// What one case gave.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) case: String,
    pub(super) rows: u64,
    pub(super) answer_rows: u64,
    /// Bytes of the columns that the query reads.
    pub(super) bytes: u64,
    pub(super) ours: Times,
    /// How groups were found.
    pub(super) group_ids: Option<String>,
    pub(super) peer: Peer,
    /// What other devices gave, one after another.
    pub(super) devices: Vec<OnDevice>,
}

/// What the other engine gave.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    NotAsked,
    /// It cannot run the query, with the reason.
    Refused(String),
    Measured(Times),
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "a measured number has few digits")]
    pub(super) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / seconds(&self.ours)
    }

    #[expect(clippy::cast_precision_loss, reason = "a measured number has few digits")]
    pub(super) fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / seconds(&self.ours)
    }

    /// How many times as long as ours the other engine takes.
    pub(super) fn times_peer(&self) -> Option<f64> {
        self.peer_times().map(|theirs| seconds(theirs) / seconds(&self.ours))
    }

    /// Rows and bytes a second on another device.
    #[expect(clippy::cast_precision_loss, reason = "a measured number has few digits")]
    pub(super) fn rates_of(&self, times: &Times) -> (f64, f64) {
        (self.rows as f64 / seconds(times), self.bytes as f64 / seconds(times))
    }

    /// How many times as fast as the CPU that is.
    pub(super) fn times_cpu(&self, times: &Times) -> f64 {
        seconds(&self.ours) / seconds(times)
    }

    pub(super) fn peer_times(&self) -> Option<&Times> {
        match &self.peer {
            Peer::Measured(times) => Some(times),
            Peer::NotAsked | Peer::Refused(_) => None,
        }
    }
}

/// The median in seconds, never 0.
fn seconds(times: &Times) -> f64 {
    times.median().as_secs_f64().max(1e-9)
}

/// Whether this program was built without optimisation, so that its times mean nothing.
pub(super) const UNOPTIMISED: bool = cfg!(debug_assertions);

#[cfg(test)]
pub(super) fn sample() -> (Setup, Vec<Measured>) {
    use std::time::Duration;

    use super::beside::Outcome;
    let times = |millis: &[u64]| Times::of(millis.iter().map(|millis| Duration::from_millis(*millis)).collect());
    let setup = Setup {
        suite: "groupby".to_owned(),
        processor: "Some <processor>".to_owned(),
        simd: "AVX2 (256 bits)".to_owned(),
        threads: 2,
        bandwidth: 32e9,
        runs: 3,
        floats: "exact",
        batch_rows: Some(65_536),
        beside_batches: None,
        at_once: false,
        peer: Some("Polars"),
    };
    let measured = |case: &str, peer| Measured {
        case: case.to_owned(),
        rows: 4_000_000,
        answer_rows: 100,
        bytes: 80_000_000,
        ours: times(&[4, 5, 9]).unwrap(),
        group_ids: Some("group ids of the latest run: k by a hash table".to_owned()),
        peer,
        devices: Vec::new(),
    };
    let mut results = vec![
        measured("int/100", Peer::Measured(times(&[20, 25, 30]).unwrap())),
        measured("text/100", Peer::Refused("in (…) is not translated for Polars".to_owned())),
        measured("two/100", Peer::NotAsked),
    ];
    results[2].devices = vec![
        OnDevice {
            name: "gpu_with_copies",
            outcome: Outcome::Measured(times(&[2, 2, 3]).unwrap()),
            bandwidth: None,
            note: None,
        },
        OnDevice {
            name: "gpu_resident",
            outcome: Outcome::Measured(times(&[1, 1, 1]).unwrap()),
            bandwidth: Some(160e9),
            note: None,
        },
        OnDevice { name: "auto", outcome: Outcome::Refused("not here".to_owned()), bandwidth: None, note: None },
    ];
    (setup, results)
}
