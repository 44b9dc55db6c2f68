//! No row is lost and none comes twice, however a query dies: output files are compared byte for byte with those of a run
//! that nothing disturbed.
//!
//! `faults` fails at each step that a checkpoint makes on its folder, `sink_faults` at each step of the output; `kills` kills a child process; `damage` changes
//! bytes of files; `changes` starts changed queries on old checkpoints, `older` one of an older release; `positions` looks at sources that go on; `restarts` stops
//! after every batch and goes on with another number of partitions; `shared` gives rows to several sinks; `spilled` gives state no room in memory; `simulation` lets queries live in made-up worlds.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod changes;
mod damage;
mod faults;
mod kills;
mod older;
mod positions;
mod queries;
mod restarts;
mod shared;
mod simulation;
mod sink_faults;
mod spilled;
#[path = "../common/tree.rs"]
mod tree;

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::files::{FilesSink, FilesStep};
use pelton::formats::{FormatKind, FormatOptions};
use pelton::prelude::*;
use pelton::query::ContextBuilder;
use pelton::runtime::CheckpointPlace;

use queries::Query;

/// A folder with input files, a checkpoint and outputs.
struct Site {
    input: PathBuf,
    checkpoint: PathBuf,
    output: PathBuf,
    /// What happens before each step of the sink.
    on_sink_step: Option<OnSinkStep>,
    /// How many bytes state may take in memory, if there is a bound; what is more goes to `spill`.
    state_memory: Option<u64>,
    spill: PathBuf,
}

type OnSinkStep = Arc<dyn Fn(FilesStep, &Path) -> std::io::Result<()> + Send + Sync>;

impl Site {
    /// A site that reads the files of `input` and keeps the rest below `folder`.
    fn new(input: &Path, folder: &Path) -> Self {
        Self {
            input: input.to_owned(),
            checkpoint: folder.join("checkpoint"),
            output: folder.join("output"),
            on_sink_step: None,
            state_memory: None,
            spill: folder.join("spill"),
        }
    }

    /// The storage of the checkpoint. Killed processes need no sync to the disk, and tests no patience.
    fn store(&self) -> FolderStore {
        FolderStore::new(&self.checkpoint).sync(false)
    }

    fn start(&self, query: &Query, store: FolderStore) -> Result<RunningQuery> {
        self.start_with(query, store, CheckpointOptions { snapshot_every: 3, retain: 2 })
    }

    /// Starts the query: a file a batch, then it ends.
    fn start_with(&self, query: &Query, store: FolderStore, options: CheckpointOptions) -> Result<RunningQuery> {
        let builder = StreamingContext::builder(query.name).trigger(Trigger::AvailableNow).partitions(2);
        self.start_as(query, store, options, builder)
    }

    fn start_as(
        &self,
        query: &Query,
        store: FolderStore,
        options: CheckpointOptions,
        builder: ContextBuilder,
    ) -> Result<RunningQuery> {
        let builder = match self.state_memory {
            Some(bytes) => builder.state_memory(bytes).spill_folder(&self.spill),
            None => builder,
        };
        let context = builder
            .limits(ReadLimits { files_max: Some(1), ..ReadLimits::default() })
            .retries(0, std::time::Duration::ZERO)
            .checkpoint_at(CheckpointPlace { store: Arc::new(store), options })
            .build()?;
        let schema = Schema::new(vec![
            Field::new("time", DataType::Timestamp(TimeUnit::Second, None), true),
            Field::new("city", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ]);
        let stream = (query.stream)(&context.csv_file_stream(&self.input, schema)?)?;
        let mut sink = FilesSink::of(&self.output, FormatOptions::new(FormatKind::Csv));
        if let Some(hook) = self.on_sink_step.clone() {
            sink = sink.on_step(move |step, path| hook(step, path));
        }
        stream.write_named("files", Box::new(sink))?;
        context.start()
    }

    fn run(&self, query: &Query, store: FolderStore) -> Result<()> {
        self.start(query, store)?.await_termination().map(drop)
    }

    /// All files that readers see, by name, and the manifests that name them.
    fn written(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = files(&self.output);
        all.extend(files(&self.output.join(pelton::connectors::manifest::FOLDER)));
        all
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named.filter(|(name, _)| !name.starts_with('.')).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Writes input files of a few rows each; times rise about, with rows that come late.
fn lay_out(folder: &Path, files: usize) {
    let mut random = common::Random::new(7);
    fs::create_dir_all(folder).unwrap();
    for file in 0..files {
        let mut text = "time,city,n\n".to_owned();
        for row in 0..40 {
            let seconds = (file * 10 + row / 4).saturating_sub(random.below(12));
            let city = random.pick(&["Oslo", "Rome", "Lima", "Bonn", "Kyiv"]);
            text.push_str(&format!(
                "2026-01-01T00:{:02}:{:02},{city},{}\n",
                seconds / 60,
                seconds % 60,
                random.below(100)
            ));
        }
        fs::write(folder.join(format!("{file:03}.csv")), text).unwrap();
    }
}

/// What the query writes if nothing disturbs it.
fn undisturbed(input: &Path, query: &Query) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(input, folder.path());
    site.run(query, site.store()).unwrap();
    let written = site.written();
    assert!(written.len() > 3, "{}: there is something to compare", query.name);
    written
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
