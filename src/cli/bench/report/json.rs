//! The results for programs. The keys are documented in docs/bench.md; a key never changes its meaning, a changed meaning
//! gets another `format`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Measured, Peer, Setup, UNOPTIMISED};
use crate::cli::bench::beside::{OnDevice, Outcome};
use crate::cli::bench::data::SEED;
use crate::cli::bench::measure::Times;
use crate::error::{Error, Result};

/// Rises when a key changes its meaning or goes away.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    pelton: &'static str,
    suite: &'a str,
    seed: u64,
    runs: usize,
    floats: &'static str,
    batch_rows: Option<usize>,
    beside_batches: Option<usize>,
    at_once: bool,
    optimised: bool,
    machine: Machine<'a>,
    results: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Machine<'a> {
    processor: &'a str,
    simd: &'a str,
    threads: usize,
    memory_bytes_per_second: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    case: &'a str,
    rows: u64,
    answer_rows: u64,
    bytes: u64,
    best_seconds: f64,
    median_seconds: f64,
    rows_per_second: f64,
    bytes_per_second: f64,
    share_of_memory: f64,
    group_ids: Option<&'a str>,
    /// Other devices by their names, if some were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    devices: BTreeMap<&'static str, Value>,
    /// Under the name of the other engine.
    #[serde(flatten)]
    peer: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct Seconds {
    best_seconds: f64,
    median_seconds: f64,
}

impl From<&Times> for Seconds {
    fn from(times: &Times) -> Self {
        Self { best_seconds: times.best().as_secs_f64(), median_seconds: times.median().as_secs_f64() }
    }
}

/// The whole report as one JSON object.
pub(in crate::cli::bench) fn write(setup: &Setup, results: &[Measured]) -> Result<String> {
    let document = Document {
        format: FORMAT,
        pelton: env!("CARGO_PKG_VERSION"),
        suite: &setup.suite,
        seed: SEED,
        runs: setup.runs,
        floats: setup.floats,
        batch_rows: setup.batch_rows,
        beside_batches: setup.beside_batches,
        at_once: setup.at_once,
        optimised: !UNOPTIMISED,
        machine: Machine {
            processor: &setup.processor,
            simd: &setup.simd,
            threads: setup.threads,
            memory_bytes_per_second: setup.bandwidth,
        },
        results: results.iter().map(|measured| line(setup, measured)).collect(),
    };
    let text = serde_json::to_string_pretty(&document);
    text.map(|text| text + "\n")
        .map_err(|error| Error::internal("the results cannot be written as JSON").because(error))
}

fn line<'a>(setup: &Setup, measured: &'a Measured) -> Line<'a> {
    let refused = match &measured.peer {
        Peer::Refused(reason) => Some(reason.as_str()),
        Peer::NotAsked | Peer::Measured(_) => None,
    };
    let name = setup.peer.unwrap_or("Polars").to_lowercase();
    let peer = BTreeMap::from([
        (format!("times_{name}"), json!(measured.times_peer())),
        (format!("{name}_refused"), json!(refused)),
        (name, json!(measured.peer_times().map(Seconds::from))),
    ]);
    Line {
        case: &measured.case,
        rows: measured.rows,
        answer_rows: measured.answer_rows,
        bytes: measured.bytes,
        best_seconds: measured.ours.best().as_secs_f64(),
        median_seconds: measured.ours.median().as_secs_f64(),
        rows_per_second: measured.rows_per_second(),
        bytes_per_second: measured.bytes_per_second(),
        share_of_memory: measured.bytes_per_second() / setup.bandwidth,
        group_ids: measured.group_ids.as_deref(),
        devices: measured.devices.iter().map(|device| (device.name, on_device(measured, device))).collect(),
        peer,
    }
}

fn on_device(measured: &Measured, device: &OnDevice) -> Value {
    let times = match &device.outcome {
        Outcome::Refused(reason) => return json!({ "refused": reason }),
        Outcome::Measured(times) => times,
    };
    let (rows, bytes) = measured.rates_of(times);
    json!({
        "best_seconds": times.best().as_secs_f64(),
        "median_seconds": times.median().as_secs_f64(),
        "rows_per_second": rows,
        "bytes_per_second": bytes,
        "share_of_device_memory": device.bandwidth.map(|bandwidth| bytes / bandwidth),
        "times_cpu": measured.times_cpu(times),
        "note": device.note,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::report::sample;

    #[test]
    fn every_figure_has_a_key() {
        let (setup, results) = sample();
        let document: Value = serde_json::from_str(&write(&setup, &results).unwrap()).unwrap();
        assert_eq!(document["format"], json!(1));
        assert_eq!((&document["batch_rows"], &document["at_once"]), (&json!(65_536), &json!(false)));
        assert_eq!(
            document["machine"],
            json!({ "processor": "Some <processor>", "simd": "AVX2 (256 bits)", "threads": 2, "memory_bytes_per_second": 32e9 })
        );
        assert_eq!(
            document["results"][0],
            json!({
                "case": "int/100", "rows": 4_000_000, "answer_rows": 100, "bytes": 80_000_000,
                "best_seconds": 0.004, "median_seconds": 0.005, "rows_per_second": 8e8, "bytes_per_second": 1.6e10,
                "share_of_memory": 0.5, "group_ids": "group ids of the latest run: k by a hash table", "polars": { "best_seconds": 0.02, "median_seconds": 0.025 },
                "polars_refused": null, "times_polars": 5.0
            })
        );
        assert_eq!(document["results"][1]["polars_refused"], json!("in (…) is not translated for Polars"));
        assert_eq!(document["results"][2]["polars"], Value::Null);
        let devices = &document["results"][2]["devices"];
        assert_eq!(
            devices["gpu_resident"],
            json!({
                "best_seconds": 0.001, "median_seconds": 0.001, "rows_per_second": 4e9, "bytes_per_second": 8e10,
                "share_of_device_memory": 0.5, "times_cpu": 5.0, "note": null
            })
        );
        assert_eq!(devices["auto"], json!({ "refused": "not here" }));
    }
}
