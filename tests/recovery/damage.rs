//! Damaged checkpoints are refused with file and byte, and the newest sound batch is offered.

use std::fs;
use std::path::PathBuf;

use pelton::checkpoint::{rollback, verify};
use pelton::error::ErrorKind;

use crate::queries::{self, Query};
use crate::{Site, copy_folder, lay_out, undisturbed};

/// A site whose query has run to its end.
fn finished(query: &Query) -> (tempfile::TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    lay_out(&input, 8);
    let site = Site::new(&input, folder.path());
    site.run(query, site.store()).unwrap();
    (folder, site)
}

/// All files of the checkpoint but the lock.
fn checkpoint_files(site: &Site) -> Vec<PathBuf> {
    let mut folders = vec![site.checkpoint.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != "lock" {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_sound_checkpoint_has_no_damage_and_all_batches_to_go_back_to() {
    for query in queries::ALL {
        let (_folder, site) = finished(query);
        let report = verify(&site.store()).unwrap();
        assert!(report.damages.is_empty(), "{:?}", report.damages);
        assert_eq!((report.committed, report.pending.len()), (Some(7), 0));
        assert_eq!(report.files, checkpoint_files(&site).len());
        // Older ones are gone: two are to be retained, and snapshots are taken after batches 2 and 5.
        assert_eq!(report.sound, [2, 3, 4, 5, 6, 7]);
    }
}

#[test]
fn a_missing_file_is_told_wherever_the_query_would_miss_it() {
    for query in &queries::ALL[..4] {
        let (folder, site) = finished(query);
        let expected = undisturbed(&site.input, query);
        let whole = folder.path().join("whole");
        copy_folder(&site.checkpoint, &whole);
        let mut lost: Vec<PathBuf> = checkpoint_files(&site);
        // Without this file there is no checkpoint, as everybody says.
        lost.retain(|file| *file != site.checkpoint.join("query"));
        lost.extend(
            fs::read_dir(site.checkpoint.join("state")).into_iter().flatten().map(|entry| entry.unwrap().path()),
        );
        for file in lost {
            if file.is_dir() { fs::remove_dir_all(&file) } else { fs::remove_file(&file) }.unwrap();
            let report = verify(&site.store()).unwrap();
            match site.run(query, site.store()) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    assert!(!report.damages.is_empty(), "{} is missing, and nobody said so", file.display());
                    assert!(!report.sound.contains(&7));
                    if let Some(&sound) = report.sound.last() {
                        rollback(&site.store(), sound, false).unwrap();
                        site.run(query, site.store()).unwrap();
                    }
                }
                Ok(()) => assert!(report.damages.is_empty(), "{}: {:?}", file.display(), report.damages),
            }
            if !report.sound.is_empty() {
                assert_eq!(site.written(), expected, "{}", file.display());
            }
            fs::remove_dir_all(&site.checkpoint).unwrap();
            copy_folder(&whole, &site.checkpoint);
        }
    }
}

#[test]
fn every_damaged_file_is_named_with_its_byte_and_the_way_back_gives_the_same_bytes() {
    for (number, query) in queries::ALL.iter().enumerate() {
        let (folder, site) = finished(query);
        let expected = undisturbed(&site.input, query);
        // What does not hang on what a query keeps is looked at for the first ones.
        let is_wanted = |file: &PathBuf| number < 3 || file.starts_with(site.checkpoint.join("state"));
        for file in checkpoint_files(&site).into_iter().filter(is_wanted) {
            let sound = fs::read(&file).unwrap();
            let mut damaged = sound.clone();
            let byte = damaged.len() - 12;
            damaged[byte] ^= 1;
            for content in [damaged.as_slice(), &sound[..sound.len() / 2], b""] {
                fs::write(&file, content).unwrap();
                let report = verify(&site.store()).unwrap();
                assert_eq!(report.damages.len(), 1, "{}", file.display());
                let name = file.file_name().unwrap().to_str().unwrap();
                assert!(report.damages[0].what.contains(name), "{:?}", report.damages);
                assert!(report.damages[0].what.contains("byte"), "{:?}", report.damages);
            }
            // Either the file is needed and the query refuses to start, or it is not needed any more.
            match site.run(query, site.store()) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    assert!(error.to_string().contains("sound"), "{error}");
                }
                Ok(()) => assert_eq!(site.written(), expected),
            }
            let report = verify(&site.store()).unwrap();
            if let Some(&newest) = report.sound.last() {
                let copy = tempfile::tempdir().unwrap();
                copy_folder(folder.path(), copy.path());
                let site = Site::new(&site.input, copy.path());
                rollback(&site.store(), newest, false).unwrap();
                site.run(query, site.store()).unwrap();
                assert_eq!(site.written(), expected, "after going back to {newest} from {}", file.display());
            } else {
                assert_eq!(file.file_name().unwrap(), "query");
            }
            fs::write(&file, sound).unwrap();
        }
    }
}

#[test]
fn going_back_runs_the_same_batches_again() {
    for query in queries::ALL {
        let (folder, site) = finished(query);
        let expected = site.written();
        for recut in [false, true] {
            for to in 2..=7 {
                let copy = tempfile::tempdir().unwrap();
                copy_folder(folder.path(), copy.path());
                // The files that are read stay where they are: a checkpoint knows them by their paths.
                let site = Site::new(&site.input, copy.path());
                rollback(&site.store(), to, recut).unwrap();
                let query_run = site.start(query, site.store()).unwrap();
                let recovery = query_run.recovery().unwrap().clone();
                assert_eq!(recovery.committed, Some(to));
                assert_eq!(recovery.repeated.len() as u64, if recut { 0 } else { 7 - to });
                let totals = query_run.await_termination().unwrap();
                assert_eq!(totals.batches, 7 - to);
                assert_eq!(site.written(), expected, "{}: back to {to}, recut {recut}", query.name);
            }
        }
    }
}

#[test]
fn what_cannot_be_gone_back_to_is_said() {
    let (_folder, site) = finished(&queries::ALL[0]);
    for to in [0, 8, 1_000] {
        let error = rollback(&site.store(), to, false).unwrap_err();
        assert!(error.to_string().contains("from 2 to 7"), "{error}");
    }
    let nowhere = Site::new(&site.input, &site.input.join("nowhere"));
    assert_eq!(verify(&nowhere.store()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_missing_file_in_the_middle_is_found() {
    let (_folder, site) = finished(&queries::ALL[0]);
    fs::remove_file(site.checkpoint.join("offsets/00000000000000000006")).unwrap();
    let error = site.run(&queries::ALL[0], site.store()).unwrap_err().to_string();
    assert!(error.contains("offsets of batch 6 are missing") && error.contains("batch 5 is the newest"), "{error}");
}
