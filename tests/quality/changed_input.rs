//! Input that is another one when a batch is run again is noticed, even if its size and time are the same.

use std::sync::Arc;

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use pelton::runtime::CheckpointPlace;

use super::*;

/// A sink that fails while a file is there.
struct Failing(std::path::PathBuf);

impl Sink for Failing {
    fn open(&mut self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, _: &OutputBatch<'_>) -> Result<WriteReport> {
        match self.0.exists() {
            true => Err(Error::new(ErrorKind::Connector, "the sink fails")),
            false => Ok(WriteReport::default()),
        }
    }

    fn repeat(&self) -> Repeat {
        Repeat::Replaces
    }
}

fn run(input: &Path, folder: &Path, partitions: usize) -> Result<u64> {
    let store = Arc::new(FolderStore::new(folder.join("checkpoint")).sync(false));
    let context = StreamingContext::builder("visits")
        .trigger(Trigger::AvailableNow)
        .partitions(partitions)
        .checkpoint_at(CheckpointPlace { store, options: CheckpointOptions::default() })
        .build()?;
    let format = visits().with_policy(BadRecordPolicy::Drop).build(None)?;
    let source = pelton::connectors::directory::DirectorySource::new(input, format)?.split_bytes(40);
    context.source("visits", source)?.write(Failing(folder.join("fails")))?;
    Ok(context.start()?.await_termination()?.rows_in)
}

/// A file, the time it seems to be of, and a query that read it and died in its sink.
fn died() -> (tempfile::TempDir, tempfile::TempDir, String) {
    let (input, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = format!("city,n\n{}", (0..100).map(|n| format!("Oslo,{n}\nno number\n")).collect::<String>());
    fs::write(input.path().join("a.csv"), &text).unwrap();
    fs::write(folder.path().join("fails"), "").unwrap();
    assert_eq!(run(input.path(), folder.path(), 2).unwrap_err().kind(), ErrorKind::Connector);
    fs::remove_file(folder.path().join("fails")).unwrap();
    (input, folder, text)
}

/// Writes the file anew, with the size and time that it had.
fn rewrite(input: &Path, text: &str) {
    let file = input.join("a.csv");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, text).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
}

#[test]
fn the_same_input_runs_again_with_any_partitions() {
    for partitions in [1, 2, 3, 8] {
        let (input, folder, text) = died();
        rewrite(input.path(), &text);
        assert_eq!(run(input.path(), folder.path(), partitions).unwrap(), 100, "{partitions} partitions");
    }
}

#[test]
fn input_that_changed_is_noticed_and_the_way_back_is_told() {
    let (input, folder, text) = died();
    for changed in [text.replace("Oslo,77\n", "Oslo,78\n"), text.replace("Oslo,5\nno number", "Oslo,5\nno Number")] {
        rewrite(input.path(), &changed);
        let error = run(input.path(), folder.path(), 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let said = error.to_string();
        assert!(said.contains("the input of source \"visits\" changed since batch 0 was first read"), "{said}");
        assert!(said.contains("bring the input back"), "{said}");
    }
    rewrite(input.path(), &text);
    assert_eq!(run(input.path(), folder.path(), 4).unwrap(), 100, "as it was before");
}
