//! The state of operators on storage: Arrow batches, written after each batch as changes or as a whole.

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;

use super::entries::number;
use super::frame;
use super::store::Store;
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Place, Result};

/// How much of the state a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatePart {
    /// What a batch changed.
    Changes,
    /// All of it, after a batch.
    Snapshot,
}

impl StatePart {
    const ALL: [Self; 2] = [Self::Changes, Self::Snapshot];

    fn name(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Snapshot => "snapshot",
        }
    }

    /// The kind of the file, in its first line.
    fn kind(self) -> String {
        format!("state {}", self.name())
    }
}

/// The state of an operator after a batch, as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateParts {
    /// All of it after an earlier batch; nothing if changes go back to the beginning.
    pub snapshot: Option<Vec<RecordBatch>>,
    /// What each batch after that changed, in order.
    pub changes: Vec<Vec<RecordBatch>>,
}

/// The folder of all state.
pub(super) const FOLDER: &str = "state";

fn folder(operator: &str) -> String {
    format!("{FOLDER}/{operator}")
}

pub(super) fn file(operator: &str, batch: u64, part: StatePart) -> String {
    format!("{}/{}.{}", folder(operator), number(batch), part.name())
}

/// The files of an operator: batch and part, rising.
pub(super) fn files(store: &dyn Store, operator: &str) -> Result<Vec<(u64, StatePart)>> {
    let mut files = Vec::new();
    for name in store.list(&folder(operator))? {
        let known = name.split_once('.').and_then(|(batch, end)| {
            let part = StatePart::ALL.into_iter().find(|part| part.name() == end)?;
            Some((batch.parse().ok()?, part))
        });
        files.push(known.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("\"{name}\" is no file of a checkpoint"))
                .at(store.place(&folder(operator)))
                .advice("move it away: nothing but the engine may write here")
        })?);
    }
    Ok(files)
}

pub(super) fn write(
    store: &dyn Store,
    operator: &str,
    batch: u64,
    part: StatePart,
    rows: &[RecordBatch],
) -> Result<()> {
    store.write(&file(operator, batch, part), &seal_rows(&part.kind(), rows)?)
}

/// A file of this kind with batches of one schema.
pub(crate) fn seal_rows(kind: &str, rows: &[RecordBatch]) -> Result<Vec<u8>> {
    Ok(frame::seal(kind, &to_bytes(rows)?))
}

/// The batches of a file of this kind, which lies at `place`.
///
/// # Errors
/// `Corrupt` if it is not what was written.
pub(crate) fn open_rows(kind: &str, place: &Place, file: Vec<u8>) -> Result<Vec<RecordBatch>> {
    let bytes = frame::open_in_place(kind, place, file)?;
    from_bytes(bytes).map_err(|error| error.at(place.clone()))
}

/// Removes what was written for a batch.
pub(super) fn delete(store: &dyn Store, operator: &str, batch: u64) -> Result<()> {
    StatePart::ALL.into_iter().try_for_each(|part| store.delete(&file(operator, batch, part)))
}

pub(super) fn read_file(store: &dyn Store, operator: &str, batch: u64, part: StatePart) -> Result<Vec<RecordBatch>> {
    let name = file(operator, batch, part);
    let place = store.place(&name);
    open_rows(&part.kind(), &place, store.read(&name)?)
}

/// The state of an operator after a batch.
///
/// # Errors
/// `Corrupt` for a file that is damaged or missing.
pub fn read_state(store: &dyn Store, operator: &str, batch: u64) -> Result<StateParts> {
    let files = files(store, operator)?;
    let snapshot = files.iter().rfind(|(at, part)| *at <= batch && *part == StatePart::Snapshot).map(|(at, _)| *at);
    let first_change = snapshot.map_or(0, |at| at + 1);
    let changes = (first_change..=batch).map(|at| {
        read_file(store, operator, at, StatePart::Changes).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let message = format!("what batch {at} changed of \"{operator}\" is missing");
                Error::new(ErrorKind::Corrupt, message).at(error.place().clone())
            }
            _ => error,
        })
    });
    let changes = changes.collect::<Result<_>>()?;
    let snapshot = snapshot.map(|at| read_file(store, operator, at, StatePart::Snapshot)).transpose()?;
    Ok(StateParts { snapshot, changes })
}

/// Batches of one schema as an Arrow IPC stream; nothing for none.
fn to_bytes(rows: &[RecordBatch]) -> Result<Vec<u8>> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let mut writer = StreamWriter::try_new(Vec::new(), first.schema_ref())?;
    rows.iter().try_for_each(|batch| writer.write(batch))?;
    Ok(writer.into_inner()?)
}

/// The batches, whose columns stay where the bytes lie.
fn from_bytes(bytes: Vec<u8>) -> Result<Vec<RecordBatch>> {
    let mut bytes = Buffer::from_vec(bytes);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut bytes)? {
        batches.push(batch);
    }
    // Nothing was written for no batches.
    if decoder.schema().is_some() {
        decoder.finish()?;
    }
    Ok(batches)
}
