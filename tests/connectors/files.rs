use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pelton::connectors::directory::DirectorySource;
use pelton::connectors::files::{Existing, FilesSink, MakeEncoder};
use pelton::connectors::manifest;
use pelton::connectors::{Available, ReadLimits, Sink, Source};
use pelton::error::{Error, ErrorKind, Result};
use pelton::formats::{Encoder, FormatKind, FormatOptions};
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

/// All names in a folder, hidden ones too, but for the manifests.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != manifest::FOLDER);
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

#[test]
fn a_manifest_names_the_files_of_each_batch_with_their_checksums() {
    let folder = TempDir::new().unwrap();
    let mut sink = opened(folder.path());
    write(&mut sink, 4, &[&[1], &[], &[2, 3]]);
    write(&mut sink, 5, &[&[], &[]]);
    write(&mut sink, 6, &[&[4]]);
    let manifests = manifest::read_all(folder.path()).unwrap();
    let told = manifests.iter().map(|one| (one.batch, one.rows, one.bytes, one.files.len())).collect::<Vec<_>>();
    assert_eq!(told, [(4, 3, 6, 2), (6, 1, 2, 1)], "a batch without rows has none");
    assert_eq!(manifests[0].files[1].name, "part-00000000000000000004-00002.txt");
    // The CRC-32 of "2\n3\n".
    assert_eq!(manifests[0].files[1].crc32, format!("{:08x}", crc32(b"2\n3\n")));
    let report = manifest::verify(folder.path()).unwrap();
    assert_eq!((report.batches, report.files, report.rows, report.bytes), (2, 3, 4, 8));
    assert!(report.damages.is_empty() && report.unnamed.is_empty(), "{report:?}");
}

/// The checksum bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn what_is_missing_damaged_or_not_named_is_found() {
    let folder = TempDir::new().unwrap();
    let mut sink = opened(folder.path());
    (0..5).for_each(|batch| write(&mut sink, batch, &[&[10 + i64::try_from(batch).unwrap()]]));
    let file = |batch: u64| folder.path().join(format!("part-{batch:020}-00000.txt"));
    fs::write(file(0), "99\n").unwrap();
    fs::write(file(1), "1\n").unwrap();
    fs::remove_file(file(2)).unwrap();
    fs::write(folder.path().join(format!("{}/{:020}.json", manifest::FOLDER, 3)), "{}").unwrap();
    fs::write(file(7), "1\n").unwrap();
    let report = manifest::verify(folder.path()).unwrap();
    let said = report.damages.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>();
    assert!(said[0].contains("its checksum is") && said[1].contains("2 bytes; 3 were written"), "{said:?}");
    assert!(said[2].contains("missing") && said[3].contains("manifest is damaged"), "{said:?}");
    assert_eq!(report.unnamed, [file(3), file(7)]);
    assert_eq!(manifest::verify(TempDir::new().unwrap().path()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_batch_that_comes_again_with_other_rows_has_another_manifest() {
    let folder = TempDir::new().unwrap();
    write(&mut opened(folder.path()), 1, &[&[1], &[2]]);
    let first = manifest::read(folder.path(), 1).unwrap().unwrap();
    write(&mut opened(folder.path()), 1, &[&[1], &[2]]);
    assert_eq!(manifest::read(folder.path(), 1).unwrap().unwrap(), first);
    write(&mut opened(folder.path()), 1, &[&[3]]);
    assert_eq!(manifest::read(folder.path(), 1).unwrap().unwrap().rows, 1);
    assert!(manifest::verify(folder.path()).unwrap().unnamed.is_empty());
    write(&mut opened(folder.path()), 1, &[&[]]);
    assert_eq!(manifest::read(folder.path(), 1).unwrap(), None);
    // As an earlier sink left it that did not write manifests.
    write(&mut opened(folder.path()).manifest(false), 2, &[&[1]]);
    assert_eq!(manifest::read(folder.path(), 2).unwrap(), None);
}

#[test]
fn a_source_that_asks_the_manifests_reads_named_files_only() {
    let folder = TempDir::new().unwrap();
    let mut sink = opened(folder.path());
    write(&mut sink, 0, &[&[1, 2]]);
    fs::write(folder.path().join("part-00000000000000000001-00000.txt"), "666\n").unwrap();
    let text = || FormatOptions::new(FormatKind::Text).build(None).unwrap();
    let mut source = DirectorySource::new(folder.path(), text()).unwrap().manifest(true).unwrap();
    let mut read = || match source.next_range(&ReadLimits::default()).unwrap() {
        Available::Range(range) => {
            let mut rows = 0;
            for mut reader in source.read(&range, 1).unwrap() {
                while let Some(batch) = reader.next_batch().unwrap() {
                    rows += batch.num_rows();
                }
            }
            rows
        }
        _ => 0,
    };
    assert_eq!((read(), read()), (2, 0), "the second file is not named yet");
    write(&mut sink, 1, &[&[3]]);
    assert_eq!((read(), read()), (1, 0));
    let file = folder.path().join("part-00000000000000000001-00000.txt");
    let error = DirectorySource::new(file, text()).unwrap().manifest(true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
}
