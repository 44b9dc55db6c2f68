//! One HTML file that needs nothing else: bars of how much of the memory's speed each case reaches, ours and that of the
//! engine beside it.
//!
//! A bar's length is the rate at which the columns are read as a share of what memory gives, so that cases of any width
//! stand on one scale whose end is the machine's own limit.

use super::{Measured, Peer, Setup, UNOPTIMISED};
use crate::cli::figures::{rough, time};

/// Pixels: the names left of the bars, the bars, and the figures right of them.
const NAME_WIDTH: usize = 160;
const BAR_WIDTH: usize = 430;
const FIGURES_WIDTH: usize = 370;
/// The scale above the bars.
const HEAD: usize = 44;
const LINE: usize = 17;
const GAP: usize = 10;

const STYLE: &str = "\
:root { color-scheme: light dark; --ours: #1f6fb4; --peer: #8c8c8c; }
@media (prefers-color-scheme: dark) { :root { --ours: #5aa9e6; --peer: #a0a0a0; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
svg { width: 100%; height: auto; }
text { font: 12px system-ui, sans-serif; fill: currentColor; font-variant-numeric: tabular-nums; }
.name { text-anchor: end; }
.tick { text-anchor: middle; opacity: 0.75; }
.ours { fill: var(--ours); } .peer { fill: var(--peer); }
.grid { stroke: currentColor; opacity: 0.15; }
.limit { stroke: currentColor; stroke-dasharray: 4 3; opacity: 0.8; }
.key { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.3em 0 1em; }
";

/// The whole page.
pub(in crate::cli::bench) fn write(setup: &Setup, results: &[Measured]) -> String {
    let title = format!("pelton bench {}", escaped(&setup.suite));
    let key = |class: &str, name: &str| {
        format!("<span class=\"key\" style=\"background:var(--{class})\"></span>{}", escaped(name))
    };
    let peer = setup.peer.map(|peer| key("peer", peer)).unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>pelton {version}, {cut}, median of {runs} runs{doubt}. {processor}, {simd}, {threads} threads, which read \
         memory at {bandwidth:.1} GB/s: 100 %.</p>\n<p>{ours}{peer}</p>\n{chart}</body>\n</html>\n",
        version = env!("CARGO_PKG_VERSION"),
        cut = setup.cut(),
        runs = setup.runs,
        doubt = if UNOPTIMISED { " <b>without optimisation: the times mean nothing</b>" } else { "" },
        processor = escaped(&setup.processor),
        simd = escaped(&setup.simd),
        threads = setup.threads,
        bandwidth = setup.bandwidth / 1e9,
        ours = key("ours", "Pelton"),
        chart = chart(setup, results),
    )
}

fn chart(setup: &Setup, results: &[Measured]) -> String {
    // Data that stays in the caches between runs is read faster than memory; the scale then goes on.
    let share = |measured: &Measured| measured.bytes_per_second() / setup.bandwidth;
    let end = results.iter().map(share).fold(1.0, f64::max);
    let mut bars = String::new();
    let mut top = HEAD + GAP;
    for measured in results {
        let ours = share(measured);
        bars.push_str(&text("name", NAME_WIDTH - 8, top + LINE - 5, &measured.case));
        bars.push_str(&bar("ours", top, ours / end, &figures(setup, measured, ours)));
        top += LINE;
        if let Some(ratio) = measured.times_peer() {
            bars.push_str(&bar("peer", top, ours / ratio / end, ""));
            top += LINE;
        }
        top += GAP;
    }
    format!(
        "<svg viewBox=\"0 0 {width} {top}\" role=\"img\" aria-label=\"Share of the memory's speed by case\">\n\
         {scale}{bars}</svg>\n",
        width = NAME_WIDTH + BAR_WIDTH + FIGURES_WIDTH,
        scale = scale(end, top),
    )
}

/// The lines of the scale up to the bottom of the chart, and what they mean.
fn scale(end: f64, bottom: usize) -> String {
    let title = "columns read a second, in % of the memory's speed";
    let mut lines = text("tick", NAME_WIDTH + BAR_WIDTH / 2, 14, title);
    let step = if end > 2.0 { 0.5 } else { 0.25 };
    let mut share = 0.0;
    while share <= end + 1e-9 {
        let (x, class) = (NAME_WIDTH + pixels(share / end), if share == 1.0 { "limit" } else { "grid" });
        lines.push_str(&text("tick", x, HEAD - 10, &format!("{:.0}", share * 100.0)));
        lines.push_str(&format!("<line class=\"{class}\" x1=\"{x}\" x2=\"{x}\" y1=\"{HEAD}\" y2=\"{bottom}\"/>\n"));
        share += step;
    }
    lines
}

/// What stands right of a bar.
fn figures(setup: &Setup, measured: &Measured, share: f64) -> String {
    let (time, rate) = (time(measured.ours.median()), rough(measured.rows_per_second()));
    let ours = format!("{time}, {rate} rows/s, {:.0} %", share * 100.0);
    match (measured.times_peer(), &measured.peer, setup.peer) {
        (Some(ratio), _, Some(peer)) => format!("{ours}, {ratio:.1} × {peer}"),
        (None, Peer::Refused(reason), _) => format!("{ours}; {reason}"),
        _ => ours,
    }
}

fn text(class: &str, x: usize, y: usize, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>\n", escaped(text))
}

fn bar(class: &str, top: usize, share: f64, figures: &str) -> String {
    let (width, height) = (pixels(share).max(1), LINE - 3);
    let figures = match figures {
        "" => String::new(),
        figures => text("figures", NAME_WIDTH + BAR_WIDTH + 10, top + LINE - 5, figures),
    };
    format!("<rect class=\"{class}\" x=\"{NAME_WIDTH}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n{figures}")
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
        assert_eq!(page.matches("class=\"peer\"").count(), 1);
        assert!(page.contains("width=\"215\""), "half of the memory's speed is half of the bar");
        assert!(page.contains("5.0 ms, 800 M rows/s, 50 %, 5.0 × Polars"), "{page}");
        assert!(page.contains("Some &lt;processor&gt;"));
        assert!(
            page.contains("% of the memory's speed") && page.contains(">25</text>") && page.contains(">100</text>")
        );
        for outside in ["http:", "https:", "<script", "src=", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
