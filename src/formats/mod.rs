//! Bytes to batches and back.
//!
//! A [`Format`] knows how to cut a file into [`Split`]s that can be read independently, how to read one, and how to
//! write a file. What happens to a record that cannot be read is decided by a [`BadRecordPolicy`] and counted in the
//! reader's [`ReadReport`]; nothing is lost silently.
//!
//! A user's [`FormatOptions`] become a format by [`FormatOptions::build`], and a writer of files by [`encoder`]. Text,
//! CSV and NDJSON are [`LineFormat`]s too: they read records from any stream of bytes. `docs/semantics.md` says, in its
//! section "Reading", which texts are which values.

mod arrow_ipc;
mod bad_records;
mod build;
mod bytes;
mod cell;
mod checksum;
mod codes;
mod column;
mod compression;
mod container;
mod csv;
mod dates;
mod digits;
mod encode;
mod floats;
mod infer;
mod input;
mod json;
mod kept_rows;
mod lines;
mod marks;
mod nulls;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod printer;
mod spans;
mod text;
mod untrusted;
mod wording;
mod writing;

pub use crate::columnar::{Bound, Keeps};
pub(crate) use bad_records::too_much;
pub use bad_records::{Aside, BadRecord, BadRecordPolicy, ReadReport, SetAside};
pub use checksum::Checksum;
pub use column::BinaryText;
pub use encode::encoder;
pub use infer::{infer, schema_of};
pub use json::write::json_objects;
pub use lines::LineFormat;
pub use options::{CheckedRows, FormatKind, FormatOptions};
pub use text::LINE_COLUMN;
pub use untrusted::panic_becomes_error;
pub use writing::ParquetCompression;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::Result;

/// A part of a file that can be read without the rest.
///
/// For text the range is in bytes of the file, and a split holds the records that *start* in it: a reader skips to the
/// first record border at or after the start and reads the last record to its end. Any cut of a file thus gives each
/// record to exactly one split. Containers (Parquet, Arrow IPC) and compressed files use ranges over what they can be
/// cut at, in units of their own choosing; `Format::splits` makes them, each time the same for the same file and target.
///
/// Neighbours of one file may be joined: the split from the start of one to the end of the next holds what both hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The file.
    pub path: PathBuf,
    /// What part of it, in units of the format.
    pub range: Range<u64>,
    /// How many bytes of the file that is, about.
    pub bytes: u64,
}

/// A kind of file.
pub trait Format: Send + Sync + std::fmt::Debug {
    /// Its name in pipeline files, e.g. `csv`.
    fn name(&self) -> &'static str;

    /// The schema of what it reads.
    fn schema(&self) -> SchemaRef;

    /// The same format for readers that look at these columns only, by index; nothing if that saves no work. Schema and
    /// splits stay as they are, and the other columns hold values that mean nothing.
    fn narrowed(&self, columns: &BTreeSet<usize>) -> Option<Arc<dyn Format>> {
        let _ = columns;
        None
    }

    /// The same format with these columns of texts, by index, as codes: as a dictionary of [`coded_text`](crate::columnar::data_type::coded_text);
    /// nothing if it cannot give them so. Splits and all values stay as they are.
    fn coded(&self, columns: &BTreeSet<usize>) -> Option<Arc<dyn Format>> {
        let _ = columns;
        None
    }

    /// The same format for readers of rows that keep all these bounds: what it leaves out of others is counted as pruned.
    /// Nothing if it leaves none out. Schema and splits stay as they are.
    fn bounded(&self, bounds: &[Bound]) -> Option<Arc<dyn Format>> {
        let _ = bounds;
        None
    }

    /// Whether records that cannot be read are put in quarantine.
    fn may_quarantine(&self) -> bool {
        false
    }

    /// Cuts a file of this length (in bytes) into splits of about `target_bytes` each, in order, all of it.
    ///
    /// # Errors
    /// A file that cannot be opened or whose structure cannot be read.
    fn splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>>;

    /// The same as [`Format::splits`], if borders between records take a search that this saves: cut where records most
    /// likely begin. Nothing if there is nothing to save, or a reason for doubt. Between such splits a border is true if the
    /// reader of all before it, which began at a true one, has [ended](BatchReader::ended_at) there.
    ///
    /// # Errors
    /// As for [`Format::splits`].
    fn believed_splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Option<Vec<Split>>> {
        let _ = (path, file_bytes, target_bytes);
        Ok(None)
    }

    /// Cuts a split into smaller ones of about `target_bytes` each, in order, all of it; one, itself, if it cannot be cut.
    ///
    /// # Errors
    /// As for [`Format::splits`].
    fn smaller(&self, split: &Split, target_bytes: u64) -> Result<Vec<Split>> {
        let _ = target_bytes;
        Ok(vec![split.clone()])
    }

    /// Opens a split for reading. Work is done by the reader, not here.
    ///
    /// # Errors
    /// A file that cannot be opened.
    fn open(&self, split: &Split) -> Result<Box<dyn BatchReader>>;
}

/// Reads the records of a split (or of a part of any other source), batch by batch.
pub trait BatchReader: Send {
    /// The next batch, of at most `ROWS_PER_READ_MAX` rows; `None` at the end.
    ///
    /// # Errors
    /// A record that cannot be read under the policy `fail`, a damaged or vanished file; with file, line and byte.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>>;

    /// What was read so far.
    fn report(&self) -> ReadReport;

    /// The records that were put aside for the quarantine since the last call, in their order. Whoever reads asks for them
    /// after each batch, so that they do not pile up.
    fn take_aside(&mut self) -> Vec<SetAside> {
        Vec::new()
    }

    /// The byte of its file at which it has ended, after its last batch, if it reads bytes.
    fn ended_at(&self) -> Option<u64> {
        None
    }

    /// The part of its source that all its rows are of, if the source has several whose event times are told apart: a name
    /// that stays the same for the life of the query. A reader may have no rows, only to say that there is such a part.
    fn source_part(&self) -> Option<&str> {
        None
    }
}

/// Writes batches of one schema as one file.
pub trait Encoder: Send {
    /// Writes a batch.
    ///
    /// # Errors
    /// What the writer below says, or a type that the format cannot hold.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what ends a file, flushes, and gives the writer back.
    ///
    /// # Errors
    /// What the writer below says.
    fn finish(self: Box<Self>) -> Result<Box<dyn Write + Send>>;
}
