//! A long life leaves a short checkpoint behind, and sources go on from it.

use std::fs;

use pelton::checkpoint::{CheckpointOptions, verify};

use crate::{Site, files, lay_out, queries};

#[test]
fn a_checkpoint_holds_few_files_however_long_the_query_has_run() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    lay_out(&input, 120);
    let site = Site::new(&input, folder.path());
    let options = CheckpointOptions { snapshot_every: 5, retain: 10 };
    site.start_with(&queries::ALL[0], site.store(), options).unwrap().await_termination().unwrap();
    let report = verify(&site.store()).unwrap();
    assert_eq!(report.committed, Some(119));
    assert!(report.sound.len() >= 10, "{:?}", report.sound);
    assert!(report.files < 45, "{} files", report.files);
}

#[test]
fn files_are_read_once_whether_they_stay_or_go() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let site = Site::new(&input, folder.path());
    for round in 1..=7 {
        lay_out(&folder.path().join("more"), 3 * round);
        fs::create_dir_all(&input).unwrap();
        for file in 3 * (round - 1)..3 * round {
            let name = format!("{file:03}.csv");
            fs::rename(folder.path().join("more").join(&name), input.join(&name)).unwrap();
        }
        let totals = site.start(&queries::ALL[0], site.store()).unwrap().await_termination().unwrap();
        assert_eq!((totals.batches, totals.rows_in), (3, 120), "round {round}");
        // Some files go, some stay.
        for file in files(&input).into_keys().filter(|_| round % 2 == 0) {
            fs::remove_file(input.join(file)).unwrap();
        }
    }
}
