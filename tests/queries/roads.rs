//! The ways in which a case is run: partitions, threads, cuts, backends, and forms of the same input.

use std::fs;
use std::path::Path;

use pelton::cli::pipeline::{Pipeline, Surroundings};

use crate::inputs::{Form, Source};

/// One way to run a query.
pub(crate) struct Road {
    pub(crate) name: &'static str,
    /// What is said anew of the pipeline.
    sets: &'static [&'static str],
    /// What is said anew of each source of files.
    source_sets: &'static [&'static str],
    form: Form,
    /// The road cuts the input into more than one micro-batch.
    cuts: bool,
    /// The query ends after each micro-batch of a file, and another life goes on from its checkpoint, with other partitions.
    has_lives: bool,
}

const PLAIN: Road = Road {
    name: "plain",
    sets: ["trigger=once", "partitions=1"].as_slice(),
    source_sets: &[],
    form: Form::Plain,
    cuts: false,
    has_lives: false,
};

/// Pieces so small that several partitions have something to do.
const SMALL: &[&str] = &["split_bytes=701"];

const fn partitioned(name: &'static str, sets: &'static [&'static str]) -> Road {
    Road { name, sets, source_sets: SMALL, ..PLAIN }
}

const fn formed(name: &'static str, form: Form) -> Road {
    Road { name, sets: &["trigger=once", "partitions=2"], form, ..PLAIN }
}

const fn cut(name: &'static str, sets: &'static [&'static str]) -> Road {
    Road { name, sets, source_sets: SMALL, form: Form::Pieces, cuts: true, has_lives: false }
}

/// Roads for queries that regroup the rows of a micro-batch: all rows are in one.
pub(crate) const BATCH_ROADS: &[Road] = &[
    PLAIN,
    partitioned("one partition of small pieces", &["trigger=once", "partitions=1"]),
    partitioned("two partitions", &["trigger=once", "partitions=2", "threads=2"]),
    partitioned("three partitions", &["trigger=once", "partitions=3", "threads=2"]),
    partitioned("seven partitions on one thread", &["trigger=once", "partitions=7", "threads=1"]),
    partitioned("seven partitions on four threads", &["trigger=once", "partitions=7", "threads=4"]),
    Road { name: "reference", sets: &["trigger=once", "partitions=1", "device=reference"], ..PLAIN },
    partitioned("reference, three partitions", &["trigger=once", "partitions=3", "device=reference"]),
    formed("one file", Form::Joined),
    formed("many files", Form::Pieces),
    formed("gzip", Form::Gzip),
    Road { has_lives: true, ..formed("a life after the batch", Form::Joined) },
];

/// Roads for queries whose rows do not know of each other: any cut into micro-batches will do, too.
pub(crate) const ROW_ROADS: &[Road] = &[
    PLAIN,
    partitioned("one partition of small pieces", &["trigger=once", "partitions=1"]),
    partitioned("two partitions", &["trigger=once", "partitions=2", "threads=2"]),
    partitioned("three partitions", &["trigger=once", "partitions=3", "threads=2"]),
    partitioned("seven partitions", &["trigger=once", "partitions=7", "threads=4"]),
    Road { name: "reference", sets: &["trigger=once", "partitions=1", "device=reference"], ..PLAIN },
    partitioned("reference, three partitions", &["trigger=once", "partitions=3", "device=reference"]),
    formed("one file", Form::Joined),
    formed("many files", Form::Pieces),
    formed("gzip", Form::Gzip),
    cut("a file a batch", &["trigger=available_now", "partitions=2", "limits.files=1"]),
    cut("a few bytes a batch", &["trigger=available_now", "partitions=3", "limits.bytes=1500"]),
    Road { has_lives: true, ..cut("a file a life", &["trigger=once", "threads=2"]) },
    cut("a few bytes a batch, reference", &["trigger=available_now", "limits.bytes=4001", "device=reference"]),
];

/// A query in a pipeline file with a sink named `answer`.
pub(crate) struct Case {
    pipeline: Pipeline,
    sources: Vec<Source>,
}

impl Case {
    pub(crate) fn read(file: &Path) -> Self {
        let pipeline = Pipeline::read(file).unwrap();
        let document: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
        let sources = document["source"].as_array().unwrap().iter().map(Source::of).collect();
        Self { pipeline, sources }
    }

    /// The rows that a road leads to, as CSV with a header; empty without rows.
    pub(crate) fn answer(&self, road: &Road) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let answer = folder.path().join("answer");
        let mut pipeline = self.pipeline.clone();
        let mut set = |key_and_value: String| pipeline.set(&key_and_value).unwrap();
        road.sets.iter().for_each(|key_and_value| set((*key_and_value).to_owned()));
        if road.has_lives {
            set(format!("checkpoint='{}'", folder.path().join("checkpoint").display()));
        }
        set(format!("sink.answer.path='{}'", answer.display()));
        for source in &self.sources {
            let input = folder.path().join(&source.name);
            source.lay_out(road.form, &input);
            set(format!("source.{}.path='{}'", source.name, input.display()));
            road.source_sets.iter().for_each(|said| set(format!("source.{}.{said}", source.name)));
        }
        let batches = if road.has_lives { self.live(pipeline, folder.path())? } else { run(&pipeline)? };
        if road.cuts != (batches > 1) {
            return Err(format!("the road was to lead elsewhere, not over {batches} batches"));
        }
        Ok(rows(&answer))
    }

    /// A life for each file: those laid out come one after another. How many batches that were.
    fn live(&self, mut pipeline: Pipeline, folder: &Path) -> Result<u64, String> {
        let mut waiting = Vec::new();
        for source in &self.sources {
            let (input, apart) = (folder.join(&source.name), folder.join(format!("{}-waits", source.name)));
            fs::rename(&input, &apart).unwrap();
            fs::create_dir(&input).unwrap();
            let mut files: Vec<_> = fs::read_dir(&apart).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            waiting.push((input, files.into_iter()));
        }
        let mut batches = 0;
        for partitions in [1, 3, 2].into_iter().cycle() {
            let mut has_come = false;
            for (input, files) in &mut waiting {
                if let Some(file) = files.next() {
                    fs::rename(&file, input.join(file.file_name().unwrap())).unwrap();
                    has_come = true;
                }
            }
            pipeline.set(&format!("partitions={partitions}")).unwrap();
            batches += run(&pipeline)?;
            if !has_come {
                // A life in which nothing came changes nothing.
                break;
            }
        }
        Ok(batches)
    }
}

/// Runs a query to its end; how many batches it had.
fn run(pipeline: &Pipeline) -> Result<u64, String> {
    let context = pipeline.context(&Surroundings::default()).map_err(|error| error.to_string())?;
    let query = context.start().map_err(|error| error.to_string())?;
    Ok(query.await_termination().map_err(|error| error.to_string())?.batches)
}

/// All rows of the files in a folder, in order.
fn rows(folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    let mut rows = String::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let header_end = text.find('\n').map_or(0, |end| end + 1);
        rows.push_str(if rows.is_empty() { &text } else { &text[header_end..] });
    }
    rows
}
