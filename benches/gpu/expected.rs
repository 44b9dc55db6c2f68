//! What a good device should reach by its own bandwidth (`docs/gpu.md`), and what this one did.

/// What was measured of it; none of what there were too few rows for.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Bytes a second that go up at best, and that the device reads and writes when it copies.
    pub(crate) up: f64,
    pub(crate) copy: f64,
    /// Seconds that a batch of next to no rows takes.
    pub(crate) fixed: Option<f64>,
    /// Shares of the copy, resident.
    pub(crate) sum: Option<f64>,
    pub(crate) filtered_sum: Option<f64>,
    pub(crate) dense_groups: Option<f64>,
    /// Rows a second, resident, of 100,000 and of 10 million groups.
    pub(crate) some_groups: Option<f64>,
    pub(crate) many_groups: Option<f64>,
}

/// Keeps the better of two figures.
pub(crate) fn better(known: &mut Option<f64>, found: f64) {
    *known = Some(known.map_or(found, |known| known.max(found)));
}

impl Found {
    /// Prints it beside what is expected.
    pub(crate) fn tell(&self, is_software: bool) {
        let verdict = |is_met: bool| match (is_software, is_met) {
            (true, _) => "says nothing: a software adapter",
            (false, true) => "met",
            (false, false) => "missed",
        };
        let line = |what: &str, expected: &str, found: Option<(String, bool)>| {
            let (found, verdict) =
                found.map_or(("not measured: too few rows".to_owned(), ""), |(found, is_met)| (found, verdict(is_met)));
            println!("| {what} | {expected} | {found} | {verdict} |");
        };
        let share = |found: Option<f64>, least: f64| found.map(|it| (format!("{:.0} %", 100.0 * it), it >= least));
        let speed = |found: Option<f64>, least: f64| found.map(|it| (format!("{:.2} G rows/s", it / 1e9), it >= least));
        println!("\n| | expected | found | |\n|---|---|---|---|");
        println!("| upload | 60 % of the link | {:.1} GB/s | the link's own speed is not known here |", self.up / 1e9);
        let fixed = self.fixed.map(|seconds| (format!("{:.0} µs", 1e6 * seconds), seconds <= 300e-6));
        line("fixed cost of a batch", "300 µs or less", fixed);
        line("sum, resident", "70 % of the copy", share(self.sum, 0.7));
        line("filtered sum, resident", "70 % of the copy", share(self.filtered_sum, 0.7));
        line("4,096 groups by number, resident", "25 % of the copy", share(self.dense_groups, 0.25));
        line("100,000 groups, resident", "5 G rows/s", speed(self.some_groups, 5e9));
        line("10 million groups, resident", "2 G rows/s", speed(self.many_groups, 2e9));
        println!(
            "| `auto` | at most 5 % slower than the better device | `pelton bench --device gpu,auto` says it | |\n"
        );
    }
}
