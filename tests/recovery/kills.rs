//! A child process is killed at seeded moments, and started again, until it comes to its end.
//!
//! `PELTON_CRASHES` says how often (default 24 for each query); the long form is a thousand.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::common::Random;
use crate::queries::{self, Query};
use crate::{Site, lay_out, undisturbed};

const CHILD: &str = "PELTON_RECOVERY_CHILD";

/// What each step of a slow sink takes: batches are then mostly being written.
const SINK_STEP: Duration = Duration::from_micros(500);

/// The child: the test program itself, with orders in an environment variable.
#[test]
fn a_child_runs_the_query_it_is_told() {
    let Ok(orders) = env::var(CHILD) else { return };
    let mut orders = orders.split('\n');
    let mut next = || orders.next().unwrap();
    let (query, input, folder) = (next(), next(), next());
    let mut site = Site::new(Path::new(input), Path::new(folder));
    match next() {
        "cramped" => site.state_memory = Some(1),
        "slow" => {
            site.on_sink_step = Some(Arc::new(|_, _| {
                std::thread::sleep(SINK_STEP);
                Ok(())
            }));
        }
        _ => {}
    }
    site.run(queries::by_name(query), site.store()).unwrap();
}

/// Starts the child and kills it after a while; whether it came to its end before.
fn run_and_kill(query: &Query, input: &Path, folder: &Path, how: &str, after: Duration) -> bool {
    let orders = format!("{}\n{}\n{}\n{how}", query.name, input.display(), folder.display());
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "kills::a_child_runs_the_query_it_is_told", "--test-threads=1"])
        .env(CHILD, orders)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    // On Unix this is SIGKILL: the child gets no chance to tidy up.
    child.kill().unwrap();
    child.wait().unwrap().success()
}

#[test]
fn a_killed_process_goes_on_and_writes_the_same_bytes() {
    let kills: u64 = env::var("PELTON_CRASHES").map_or(24, |kills| kills.parse().unwrap());
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 12);
    for query in queries::ALL {
        let expected = undisturbed(input.path(), query);
        let (mut killed, mut seed) = (0, 0);
        while killed < kills {
            let mut random = Random::new(seed);
            seed += 1;
            let folder = tempfile::tempdir().unwrap();
            let site = Site::new(input.path(), folder.path());
            // State has no room in memory in some sites, in some the sink is slow.
            let how = ["roomy", "cramped", "slow"][(seed % 3) as usize];
            // A few deaths in a row; then it may come to its end.
            for _ in 0..4 {
                let after = Duration::from_micros(random.below(25_000) as u64);
                killed += u64::from(!run_and_kill(query, input.path(), folder.path(), how, after));
            }
            site.run(query, site.store()).unwrap();
            assert_eq!(site.written(), expected, "{}, seed {seed}", query.name);
            // Machines differ in speed: if nothing can be killed in time, the test must not go on forever.
            assert!(seed < kills * 10, "{}: only {killed} processes died in {seed} rounds", query.name);
        }
    }
}
