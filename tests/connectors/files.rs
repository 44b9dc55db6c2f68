use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pelton::connectors::Sink;
use pelton::connectors::files::{Existing, FilesSink, MakeEncoder};
use pelton::error::{Error, ErrorKind, Result};
use pelton::formats::Encoder;
use tempfile::TempDir;

use crate::contract::{check_sink, try_write, write};
use crate::tables::number_schema;

/// Writes a number a line; a number of 666 does not fit on the disk.
struct NumberLines(Box<dyn Write + Send>);

impl Encoder for NumberLines {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for number in batch.column(0).as_primitive::<Int64Type>().values() {
            if *number == 666 {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(Error::io("the disk", "write", full));
            }
            writeln!(self.0, "{number}").map_err(|error| Error::io("the disk", "write", error))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Write + Send>> {
        Ok(self.0)
    }
}

fn number_lines() -> MakeEncoder {
    Arc::new(|writer, _| Ok(Box::new(NumberLines(writer))))
}

fn opened(folder: &Path) -> FilesSink {
    let mut sink = FilesSink::new(folder, "txt", number_lines()).existing(Existing::Continue);
    sink.open(&number_schema()).unwrap();
    sink
}

/// All names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All numbers in the files of a folder.
fn contents(folder: &Path) -> Vec<i64> {
    let files = names(folder).into_iter().map(|name| fs::read_to_string(folder.join(name)).unwrap());
    files.flat_map(|text| text.lines().map(|line| line.parse().unwrap()).collect::<Vec<i64>>()).collect()
}

#[test]
fn files_keep_the_contract_of_a_sink() {
    for sync in [false, true] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("made/on/the/way");
        check_sink(
            &mut || Box::new(FilesSink::new(&path, "txt", number_lines()).sync(sync).existing(Existing::Continue)),
            &mut || contents(&path),
        );
    }
}

#[test]
fn files_are_named_by_batch_and_partition_and_partitions_without_rows_have_none() {
    let folder = TempDir::new().unwrap();
    write(&mut opened(folder.path()), 12, &[&[1], &[], &[2]]);
    assert_eq!(names(folder.path()), ["part-00000000000000000012-00000.txt", "part-00000000000000000012-00002.txt"]);
}

#[test]
fn a_full_disk_is_a_typed_error_and_leaves_no_file_of_the_batch() {
    let folder = TempDir::new().unwrap();
    let mut sink = opened(folder.path());
    write(&mut sink, 0, &[&[1]]);
    let error = try_write(&mut sink, 1, &[&[2], &[3, 666], &[4]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connector);
    assert_eq!(error.retry(), pelton::error::Retry::Later);
    assert_eq!(contents(folder.path()), [1]);
    write(&mut sink, 1, &[&[2], &[3], &[4]]);
    assert_eq!(contents(folder.path()), [1, 2, 3, 4]);
}

#[test]
fn what_a_killed_program_left_is_cleared_away_but_nothing_else() {
    let folder = TempDir::new().unwrap();
    for name in [".part-00000000000000000003-00000.txt.tmp", ".other.tmp", "part-3-0.txt"] {
        fs::write(folder.path().join(name), "99\n").unwrap();
    }
    fs::write(folder.path().join("part-00000000000000000003-00007.txt"), "98\n").unwrap();
    let mut sink = opened(folder.path());
    write(&mut sink, 3, &[&[1]]);
    assert_eq!(names(folder.path()), [".other.tmp", "part-00000000000000000003-00000.txt", "part-3-0.txt"]);
}

#[test]
fn an_output_that_is_a_file_is_refused_when_the_query_starts() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("taken");
    fs::write(&path, "").unwrap();
    let error = FilesSink::new(&path, "txt", number_lines()).open(&number_schema()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connector);
    assert!(error.to_string().contains("taken"), "{error}");
}

#[test]
fn a_directory_that_vanishes_is_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out");
    let mut sink = opened(&path);
    fs::remove_dir(&path).unwrap();
    assert_eq!(try_write(&mut sink, 0, &[&[1]]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn files_of_an_earlier_run_are_refused_removed_or_continued_as_told() {
    let folder = TempDir::new().unwrap();
    let sink = |existing| FilesSink::new(folder.path(), "txt", number_lines()).existing(existing);
    let earlier = "part-00000000000000000003-00000.txt";
    fs::write(folder.path().join(earlier), "7\n").unwrap();
    fs::write(folder.path().join("notes.txt"), "8\n").unwrap();

    let error = sink(Existing::Refuse).open(&number_schema()).unwrap_err();
    assert!(error.to_string().contains("files of an earlier run"), "{error}");
    assert_eq!(error.place().file.as_deref(), Some(folder.path().join(earlier).as_path()));
    sink(Existing::Continue).open(&number_schema()).unwrap();
    assert_eq!(names(folder.path()), ["notes.txt", earlier], "nothing is removed before its batch comes again");
    sink(Existing::Remove).open(&number_schema()).unwrap();
    assert_eq!(names(folder.path()), ["notes.txt"], "only files of a sink are removed");
    sink(Existing::Refuse).open(&number_schema()).unwrap();
}
