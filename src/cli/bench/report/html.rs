//! One HTML file that needs nothing else: bars of how much of the memory's speed each case reaches, ours and Polars'.
//!
//! A bar's length is the rate at which the columns are read as a share of what memory gives, so that cases of any width
//! stand on one scale whose end is the machine's own limit.

use super::{Measured, Peer, Setup, UNOPTIMISED};
use crate::cli::figures::rough;

const NAME_WIDTH: usize = 190;
const BAR_WIDTH: usize = 460;
const NOTE_WIDTH: usize = 250;
const LINE: usize = 18;
const GAP: usize = 12;

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
svg { width: 100%; height: auto; }
text { font-size: 12px; fill: currentColor; }
.name { text-anchor: end; }
.ours { fill: #1f77b4; } .polars { fill: #b8b8b8; }
.limit { stroke: currentColor; stroke-dasharray: 3 3; opacity: 0.6; }
.key { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.3em 0 1em; }
";

/// The whole page.
pub(in crate::cli::bench) fn write(setup: &Setup, results: &[Measured]) -> String {
    let title = format!("pelton bench {}", escaped(&setup.suite));
    let cut = setup.cut();
    let with_polars = results.iter().any(|result| !matches!(result.polars, Peer::NotAsked));
    let polars_key = "<span class=\"key\" style=\"background:#b8b8b8\"></span>Polars";
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>pelton {version}, {cut}, median of {runs} runs{doubt}. {processor}, {simd}, {threads} threads, which read \
         memory at {bandwidth:.1} GB/s: the dashed line.</p>\n\
         <p><span class=\"key\" style=\"background:#1f77b4\"></span>Pelton{polars}</p>\n{chart}</body>\n</html>\n",
        version = env!("CARGO_PKG_VERSION"),
        runs = setup.runs,
        doubt = if UNOPTIMISED { " <b>without optimisation: the times mean nothing</b>" } else { "" },
        processor = escaped(&setup.processor),
        simd = escaped(&setup.simd),
        threads = setup.threads,
        bandwidth = setup.bandwidth / 1e9,
        polars = if with_polars { polars_key } else { "" },
        chart = chart(setup, results),
    )
}

fn chart(setup: &Setup, results: &[Measured]) -> String {
    // Data that stays in the caches between runs is read faster than memory; the scale then goes on.
    let share = |measured: &Measured| measured.bytes_per_second() / setup.bandwidth;
    let end = results.iter().map(share).fold(1.0, f64::max);
    let mut bars = String::new();
    let mut top = GAP;
    for measured in results {
        let ours = share(measured);
        let text = format!("{} rows/s, {:.0} %", rough(measured.rows_per_second()), ours * 100.0);
        let text = match measured.times_polars() {
            Some(ratio) => format!("{text}, {ratio:.1} × Polars"),
            None => text,
        };
        bars.push_str(&format!(
            "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\n",
            NAME_WIDTH - 8,
            top + LINE - 5,
            escaped(&measured.case)
        ));
        bars.push_str(&bar("ours", top, ours / end, &text));
        top += LINE;
        if let Some(ratio) = measured.times_polars() {
            bars.push_str(&bar("polars", top, ours / ratio / end, ""));
            top += LINE;
        }
        top += GAP;
    }
    let limit = NAME_WIDTH + pixels(1.0 / end);
    format!(
        "<svg viewBox=\"0 0 {width} {top}\" role=\"img\" aria-label=\"Share of memory bandwidth by case\">\n{bars}\
         <line class=\"limit\" x1=\"{limit}\" x2=\"{limit}\" y1=\"0\" y2=\"{top}\"/>\n</svg>\n",
        width = NAME_WIDTH + BAR_WIDTH + NOTE_WIDTH,
    )
}

fn bar(class: &str, top: usize, share: f64, text: &str) -> String {
    let width = pixels(share).max(1);
    let note = match text {
        "" => String::new(),
        text => format!("<text x=\"{}\" y=\"{}\">{}</text>\n", NAME_WIDTH + width + 6, top + LINE - 5, escaped(text)),
    };
    format!(
        "<rect class=\"{class}\" x=\"{NAME_WIDTH}\" y=\"{top}\" width=\"{width}\" height=\"{}\"/>\n{note}",
        LINE - 3
    )
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]
fn pixels(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * BAR_WIDTH as f64).round() as usize
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::report::sample;

    #[test]
    fn the_page_has_a_bar_for_each_engine_and_needs_nothing_else() {
        let (setup, results) = sample();
        let page = write(&setup, &results);
        assert_eq!(page.matches("class=\"ours\"").count(), 3);
        assert_eq!(page.matches("class=\"polars\"").count(), 1);
        assert!(page.contains("width=\"230\""), "half of the memory's speed is half of the bar");
        assert!(page.contains("800 M rows/s, 50 %, 5.0 × Polars"), "{page}");
        assert!(page.contains("Some &lt;processor&gt;"));
        for outside in ["http:", "https:", "<script", "src=", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
