use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use pelton::clock::VirtualClock;
use pelton::connectors::directory::DirectorySource;
use pelton::connectors::{Available, OffsetRange, ReadLimits, Source};
use pelton::error::{Error, ErrorKind};
use pelton::formats::{FormatKind, FormatOptions};
use tempfile::TempDir;

use crate::contract::check_source;
use crate::lines::SlowLines;
use crate::tables::{lines, lines_of, next, ranges, rows, text};

/// Writes a file that was last changed so many seconds after the epoch.
fn put(folder: &Path, name: &str, content: &str, modified: u64) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    touch(&path, modified);
}

fn touch(path: &Path, modified: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(modified);
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn watch(path: impl AsRef<Path>) -> DirectorySource {
    DirectorySource::new(path, SlowLines::shared()).unwrap()
}

fn read_error(source: &mut DirectorySource, range: &OffsetRange) -> Error {
    let tried = source.read(range, 1).and_then(|readers| {
        readers.into_iter().try_for_each(|mut reader| {
            while reader.next_batch()?.is_some() {}
            Ok(())
        })
    });
    tried.unwrap_err()
}

#[test]
fn a_directory_keeps_the_contract() {
    let folder = TempDir::new().unwrap();
    let mut all = Vec::new();
    for (index, name) in ["c", "a", "b", "d"].into_iter().enumerate() {
        let lines: Vec<String> = (0..index * 9).map(|line| format!("{name}{}", line * line)).collect();
        put(folder.path(), name, &(lines.join("\n") + "\n"), 10 + index as u64);
        all.extend(if index == 0 { vec![String::new()] } else { lines });
    }
    for split_bytes in [1, 7, 1 << 20] {
        check_source(&mut || Box::new(watch(folder.path()).split_bytes(split_bytes)), &text(&all));
    }
}

#[test]
fn a_single_file_keeps_the_contract_and_ends() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "only.txt", "one\ntwo\nthree", 1);
    let path = folder.path().join("only.txt");
    check_source(&mut || Box::new(watch(&path).split_bytes(2)), &text(&["one", "two", "three"]));
    let mut source = watch(&path);
    next(&mut source);
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Ended);
}

#[test]
fn files_come_in_the_order_of_modification_time_then_name() {
    let folder = TempDir::new().unwrap();
    for (name, modified) in [("z", 5), ("b", 7), ("a", 7), ("m", 6)] {
        put(folder.path(), name, name, modified);
    }
    let mut source = watch(folder.path());
    let range = next(&mut source);
    assert_eq!(lines(&mut source, &range), ["z", "m", "a", "b"]);
}

#[test]
fn new_files_are_found_even_with_an_old_modification_time_and_read_files_are_not_read_again() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "first", "1", 100);
    let mut source = watch(folder.path());
    next(&mut source);
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
    put(folder.path(), "late", "2", 1);
    touch(&folder.path().join("first"), 200);
    let range = next(&mut source);
    assert_eq!(lines(&mut source, &range), ["2"]);
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
}

#[test]
fn names_that_say_not_yet_are_passed_over_and_so_are_empty_files_until_they_are_filled() {
    let folder = TempDir::new().unwrap();
    for name in [".hidden", "_SUCCESS", "part.tmp"] {
        put(folder.path(), name, "no", 1);
    }
    put(folder.path(), "empty", "", 1);
    let mut source = watch(folder.path());
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
    fs::rename(folder.path().join("part.tmp"), folder.path().join("part")).unwrap();
    put(folder.path(), "empty", "filled", 2);
    let range = next(&mut source);
    assert_eq!(lines(&mut source, &range), ["no", "filled"]);
}

#[test]
fn directories_below_are_read_if_asked_for() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "top", "top", 1);
    put(folder.path(), "day/hour/deep", "deep", 2);
    put(folder.path(), "_logs/x", "no", 2);
    let mut flat = watch(folder.path());
    let range = next(&mut flat);
    assert_eq!(lines(&mut flat, &range), ["top"]);
    let mut deep = watch(folder.path()).recursive(true);
    let range = next(&mut deep);
    assert_eq!(lines(&mut deep, &range), ["top", "deep"]);
}

#[test]
fn a_pattern_picks_files() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a/x.csv", "a", 1);
    put(folder.path(), "b/x.csv", "b", 2);
    put(folder.path(), "b/x.json", "no", 3);
    put(folder.path(), "b/.x.csv", "no", 3);
    let mut source = watch(folder.path().join("*/*.csv"));
    let range = next(&mut source);
    assert_eq!(lines(&mut source, &range), ["a", "b"]);
    put(folder.path(), "c/y.csv", "c", 0);
    let range = next(&mut source);
    assert_eq!(lines(&mut source, &range), ["c"]);
}

#[test]
fn a_file_settles_before_it_counts() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", "a", 100);
    let clock = VirtualClock::at(Duration::from_secs(104));
    let mut source = watch(folder.path()).settle(Duration::from_secs(5)).clock(Arc::new(clock.clone()));
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
    clock.advance(Duration::from_secs(1));
    next(&mut source);
}

#[test]
fn a_directory_that_does_not_exist_is_found_out_at_once() {
    let folder = TempDir::new().unwrap();
    for missing in ["nowhere", "nowhere/*.csv"] {
        let error = DirectorySource::new(folder.path().join(missing), SlowLines::shared()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{missing}");
        assert!(error.to_string().contains("create the directory"), "{error}");
    }
    let error = DirectorySource::new(folder.path().join("a***b"), SlowLines::shared()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
}

#[test]
fn a_directory_that_vanishes_is_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("in");
    fs::create_dir(&path).unwrap();
    let mut source = watch(&path);
    fs::remove_dir(&path).unwrap();
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_file_that_vanishes_between_planning_and_reading_is_an_error() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", "a", 1);
    let mut source = watch(folder.path());
    let range = next(&mut source);
    fs::remove_file(folder.path().join("a")).unwrap();
    let error = read_error(&mut source, &range);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains('a'), "{error}");
}

#[test]
fn a_file_that_changes_between_planning_and_reading_is_an_error() {
    for (content, modified) in [("longer\n", 1), ("b", 2)] {
        let folder = TempDir::new().unwrap();
        put(folder.path(), "a", "a", 1);
        let mut source = watch(folder.path());
        let range = next(&mut source);
        put(folder.path(), "a", content, modified);
        assert_eq!(read_error(&mut source, &range).kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", "a\nb\n", 1);
    let mut source = watch(folder.path());
    let range = next(&mut source);
    let mut reader = source.read(&range, 1).unwrap().remove(0);
    assert!(reader.next_batch().unwrap().is_some());
    put(folder.path(), "a", "a\n", 2);
    assert_eq!(reader.next_batch().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_name_is_free_again_once_its_file_is_gone() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", "old", 1);
    let mut source = watch(folder.path());
    next(&mut source);
    fs::remove_file(folder.path().join("a")).unwrap();
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
    put(folder.path(), "a", "new", 2);
    let range = next(&mut source);
    assert_eq!(lines(&mut source, &range), ["new"]);
}

#[test]
fn a_directory_may_move_between_two_lives() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    put(&old, "a", "1\n2\n3\n", 1);
    let mut first = watch(&old).split_bytes(2);
    let limits = ReadLimits { bytes_max: Some(2), ..ReadLimits::default() };
    let Available::Range(range) = first.next_range(&limits).unwrap() else { panic!("no range") };
    fs::rename(&old, &new).unwrap();
    let mut second = watch(&new);
    second.resume(&[range]).unwrap();
    let range = next(&mut second);
    assert_eq!(lines(&mut second, &range), ["2", "3"]);
}

#[test]
fn a_half_read_file_that_changed_between_two_lives_is_an_error() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", "1\n2\n3\n", 1);
    let limits = ReadLimits { bytes_max: Some(2), ..ReadLimits::default() };
    let Available::Range(range) = watch(folder.path()).next_range(&limits).unwrap() else { panic!("no range") };
    put(folder.path(), "a", "1\n2\n3\n", 2);
    assert_eq!(watch(folder.path()).resume(&[range]).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn limits_bound_files_and_bytes_and_the_rest_waits() {
    let folder = TempDir::new().unwrap();
    for index in 0..5 {
        put(folder.path(), &format!("{index}"), "0123456789\n", index);
    }
    let count = |limits| {
        let mut source = watch(folder.path());
        let all = ranges(&mut source, &limits);
        all.iter().map(|range| rows(&mut source, range, 1).num_rows()).collect::<Vec<_>>()
    };
    let none = ReadLimits::default();
    assert_eq!(count(ReadLimits { files_max: Some(2), ..none }), [2, 2, 1]);
    assert_eq!(count(ReadLimits { bytes_max: Some(35), ..none }), [3, 2]);

    let mut source = watch(folder.path()).limits(ReadLimits { files_max: Some(4), ..none });
    next(&mut source);
    let left = source.backlog();
    assert_eq!((left.files, left.bytes), (Some(1), Some(11)));

    let mut source = watch(folder.path()).limits(ReadLimits { bytes_max: Some(35), ..none });
    let Available::Range(all) = source.next_range(&ReadLimits { is_lifted: true, ..none }).unwrap() else {
        panic!("no range")
    };
    assert_eq!(rows(&mut source, &all, 1).num_rows(), 5, "all that is there was wanted");
}

/// Reads all that there is by batches of at most so many bytes in turn, each in another life if `dies`; the rows, and the
/// rows of each batch.
fn by_turns(files: &Path, options: &FormatOptions, turns: &[u64], dies: bool) -> (Vec<String>, Vec<usize>) {
    let format = options.build(Some(&files.with_file_name("0.data"))).unwrap();
    let open = || DirectorySource::new(files, Arc::clone(&format)).unwrap().split_bytes(1_000);
    let (mut source, mut committed) = (open(), Vec::new());
    let (mut all, mut counts) = (Vec::new(), Vec::new());
    for &bytes in turns.iter().cycle() {
        let limits = ReadLimits { bytes_max: Some(bytes), ..ReadLimits::default() };
        let Available::Range(range) = source.next_range(&limits).unwrap() else { break };
        let batch = rows(&mut source, &range, 1);
        assert_eq!(rows(&mut source, &range, 3), batch, "three partitions");
        counts.push(batch.num_rows());
        let cell = |column, row| arrow_cast::display::array_value_to_string(batch.column(column), row).unwrap();
        all.extend((0..batch.num_rows()).map(|row| format!("{},{}", cell(0, row), cell(1, row))));
        committed.push(range);
        if dies {
            committed = source.compact(committed).unwrap();
            source = open();
            source.resume(&committed).unwrap();
        }
    }
    (all, counts)
}

#[test]
fn a_batch_keeps_to_bounds_that_become_tighter_inside_a_file() {
    let cell = |row: usize| if row % 5 == 4 { format!("a, {row}\ntext") } else { "plain".to_owned() };
    let csv = |row: usize| format!("{row},\"{}\"\n", cell(row));
    let json = |row: usize| format!("{{\"n\":{row},\"t\":\"{}\"}}\n", cell(row).replace('\n', "\\n"));
    let csv = (FormatKind::Csv, "n,t\n", &csv as &dyn Fn(usize) -> String);
    for (kind, header, record) in [csv, (FormatKind::Ndjson, "", &json)] {
        let folder = TempDir::new().unwrap();
        for file in 0..3 {
            let records = (file * 90..(file + 1) * 90).map(record).collect::<String>();
            put(folder.path(), &format!("{file}.data"), &format!("{header}{records}"), file as u64);
        }
        let files = folder.path().join("*.data");
        let options = FormatOptions::new(kind);
        let expected: Vec<_> = (0..270).map(|row| format!("{row},{}", cell(row))).collect();
        // No record has fewer bytes than 11, or more than 40.
        for turns in [&[u64::MAX][..], &[1_500, 100], &[300], &[100, 1_200, 333, 1], &[1]] {
            for dies in [false, true] {
                let (all, counts) = by_turns(&files, &options, turns, dies);
                assert!(all == expected, "{kind:?} {turns:?} {dies}: {} rows", all.len());
                let most = counts.iter().zip(turns.iter().cycle()).map(|(&rows, &bytes)| (rows as u64, bytes));
                for (rows, bytes) in most.filter(|(_, bytes)| *bytes < 10_000) {
                    assert!(rows <= bytes / 11 + 4, "{kind:?} {turns:?} {dies}: {rows} rows in {bytes} bytes");
                }
            }
        }
    }
}

#[test]
fn partitions_hold_about_equally_many_bytes_whether_files_are_small_or_large() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "large", &"1234567\n".repeat(1000), 1);
    for index in 0..100 {
        put(folder.path(), &format!("small{index:03}"), &"1234567\n".repeat(10), 2);
    }
    let mut source = watch(folder.path()).split_bytes(800);
    let range = next(&mut source);
    let mut readers = source.read(&range, 4).unwrap();
    let shares: Vec<usize> = readers
        .iter_mut()
        .map(|reader| std::iter::from_fn(|| reader.next_batch().unwrap()).map(|batch| batch.num_rows()).sum())
        .collect();
    assert_eq!(shares, [500; 4]);
}

#[cfg(unix)]
#[test]
fn more_partitions_than_pieces_cost_nothing() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", "1\n2\n3\n", 1);
    let mut source = watch(folder.path()).split_bytes(2);
    let range = next(&mut source);
    assert_eq!(source.read(&range, usize::MAX).unwrap().len(), 3);
    assert_eq!(lines(&mut source, &range), ["1", "2", "3"]);
}

#[test]
fn a_file_without_permission_to_read_is_an_error_with_its_name() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", "a", 1);
    let path = folder.path().join("a");
    let mut source = watch(folder.path());
    let range = next(&mut source);
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o000);
    fs::set_permissions(&path, permissions).unwrap();
    if File::open(&path).is_ok() {
        return; // Root may read everything.
    }
    let error = read_error(&mut source, &range);
    assert_eq!(error.kind(), ErrorKind::Connector);
    assert!(error.to_string().contains("denied"), "{error}");
}

#[test]
fn ten_thousand_files_are_listed_once_and_in_order() {
    let folder = TempDir::new().unwrap();
    for index in 0..10_000 {
        fs::write(folder.path().join(format!("{index:05}")), "x\n").unwrap();
    }
    let mut source = watch(folder.path());
    let all = ranges(&mut source, &ReadLimits { files_max: Some(100), ..ReadLimits::default() });
    assert_eq!(all.len(), 100);
    let total: usize = all.iter().step_by(33).map(|range| rows(&mut source, range, 2).num_rows()).sum();
    assert_eq!(total, 400);
}

/// Parts that readers name, with the lines of each.
fn by_part(source: &mut DirectorySource, range: &OffsetRange, partitions: usize) -> Vec<(String, Vec<String>)> {
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for mut reader in source.read(range, partitions).unwrap() {
        let name = reader.source_part().unwrap().to_owned();
        if parts.last().is_none_or(|(last, _)| *last != name) {
            parts.push((name, Vec::new()));
        }
        let lines = &mut parts.last_mut().unwrap().1;
        while let Some(batch) = reader.next_batch().unwrap() {
            lines.extend(lines_of(&batch));
        }
    }
    parts
}

#[test]
fn folders_are_told_apart_and_named_when_they_are_first_seen() {
    let folder = TempDir::new().unwrap();
    for (name, content, modified) in
        [("a/1", "a1\n", 1), ("b/1", "b1\nb2\n", 2), ("a/2", "a2\n", 3), ("0", "root\n", 4)]
    {
        put(folder.path(), name, content, modified);
    }
    let new = || watch(folder.path()).recursive(true).event_time_by_folder(true);
    let mut source = new();
    let limits = ReadLimits { files_max: Some(1), ..ReadLimits::default() };
    let all = ranges(&mut source, &limits);
    let texts = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let part = |name: &str, lines: &[&str]| (name.to_owned(), texts(lines));
    for partitions in [1, 3, 9] {
        // The first range says which folders there are, whether or not their files have had their turn.
        let first = by_part(&mut source, &all[0], partitions);
        assert_eq!(first, [part("", &[]), part("a", &["a1"]), part("b", &[])]);
        assert_eq!(by_part(&mut source, &all[1], partitions), [part("b", &["b1", "b2"])]);
    }
    let mut source = new();
    let range = next(&mut source);
    let whole = [part("", &["root"]), part("a", &["a1", "a2"]), part("b", &["b1", "b2"])];
    assert_eq!(by_part(&mut source, &range, 2), whole);
    // A folder that comes later is named then; those that are known are not named again.
    put(folder.path(), "c/1", "c1\n", 5);
    put(folder.path(), "a/3", "a3\n", 6);
    let range = source.next_range(&limits).unwrap();
    let Available::Range(range) = range else { panic!("{range:?}") };
    assert_eq!(by_part(&mut source, &range, 2), [part("c", &["c1"])]);
    let range = next(&mut source);
    assert_eq!(by_part(&mut source, &range, 2), [part("a", &["a3"])]);
}

#[test]
fn a_directory_by_folder_keeps_the_contract() {
    let folder = TempDir::new().unwrap();
    let all = ["x1", "x2", "x3", "y1", "y2"];
    put(folder.path(), "x/1", "x1\nx2\nx3\n", 1);
    put(folder.path(), "y/1", "y1\ny2\n", 2);
    for split_bytes in [1, 1 << 20] {
        let new = || watch(folder.path()).recursive(true).event_time_by_folder(true).split_bytes(split_bytes);
        check_source(&mut || Box::new(new()), &text(&all));
    }
}
