//! Many parts of files behind one reader, and the check that files are still what they were when they were planned.

use std::collections::{BTreeMap, VecDeque};
use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{Aside, BatchReader, Format, ReadReport, SetAside, Split};

/// What a file must still be like when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mark {
    /// Not touched at all.
    Untouched {
        /// Its length in bytes.
        size: u64,
        /// Nanoseconds since the Unix epoch.
        modified: u64,
    },
    /// The same file, perhaps longer.
    Grown {
        /// What [`identity`] said.
        identity: u64,
        /// Its length in bytes, at least.
        size_min: u64,
    },
}

impl Mark {
    /// # Errors
    /// `NotFound` if the file is gone, `Corrupt` if it is another one now.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let now = std::fs::metadata(path).map_err(|error| {
            Error::io(path, "read a file that was planned", error)
                .advice("keep files where they are until the batch that reads them is done")
        })?;
        let same = match *self {
            Self::Untouched { size, modified } => now.len() == size && modified_at(&now) == modified,
            Self::Grown { identity: known, size_min } => identity(&now) == known && now.len() >= size_min,
        };
        if same {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "the file changed between planning and reading")
            .at(Place::file(path))
            .advice("write files beside and rename them into place once complete; follow a growing file with tail"))
    }
}

/// When a file was changed last, in nanoseconds since the Unix epoch; 0 where the system does not say.
pub(crate) fn modified_at(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// What tells a file from another one that later stands under the same name.
#[cfg(unix)]
pub(crate) fn identity(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

/// What tells a file from another one that later stands under the same name.
#[cfg(not(unix))]
pub(crate) fn identity(metadata: &Metadata) -> u64 {
    let since = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A part of a file, and what the file must still be like.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) split: Split,
    pub(crate) mark: Mark,
    /// Whether nobody knows that records end where it does: its reader looks.
    pub(crate) is_believed: bool,
}

impl Piece {
    /// Looks at the piece after it was read.
    fn check(&self, reader: &dyn BatchReader) -> Result<()> {
        // Checked before and after: what was read in between is what was planned.
        self.mark.check(&self.split.path)?;
        if !self.is_believed || reader.ended_at() == Some(self.split.range.end) {
            return Ok(());
        }
        let message = "a line end at which a file was cut is inside of a record";
        let place = Place::file(&self.split.path).byte(self.split.range.end);
        Err(Error::new(ErrorKind::Corrupt, message).at(place).advice("read the file again, cut between records"))
    }
}

/// The same for pieces of several parts of a source, which readers do not mix; parts may have no pieces.
pub(crate) fn readers_by_part(
    format: &Arc<dyn Format>,
    parts: BTreeMap<String, Vec<Piece>>,
    partitions: usize,
) -> Vec<Box<dyn BatchReader>> {
    let bytes_of = |pieces: &[Piece]| pieces.iter().map(|piece| u128::from(piece.split.bytes)).sum::<u128>();
    let total = parts.values().map(|pieces| bytes_of(pieces)).sum::<u128>().max(1);
    // Each part has one, and what is left goes by bytes.
    let more = partitions.saturating_sub(parts.len());
    let readers_of = |(part, pieces): (String, Vec<Piece>)| {
        let share = bytes_of(&pieces) * more as u128 / total;
        let chains = chains(pieces, 1 + usize::try_from(share).unwrap_or(more));
        let part: Arc<str> = part.into();
        chains.into_iter().map(move |chain| reader(format, chain, Some(Arc::clone(&part))))
    };
    parts.into_iter().flat_map(readers_of).collect()
}

/// Deals pieces out to at least one and at most `partitions` readers of about equally many bytes, in order.
pub(crate) fn readers(format: &Arc<dyn Format>, pieces: Vec<Piece>, partitions: usize) -> Vec<Box<dyn BatchReader>> {
    chains(pieces, partitions).into_iter().map(|chain| reader(format, chain, None)).collect()
}

fn reader(format: &Arc<dyn Format>, chain: Vec<Piece>, part: Option<Arc<str>>) -> Box<dyn BatchReader> {
    Box::new(ChainReader {
        format: Arc::clone(format),
        part,
        waiting: chain.into(),
        current: None,
        report: ReadReport::default(),
        aside: Aside::default(),
    })
}

/// At least one and at most so many chains of about equally many bytes.
fn chains(pieces: Vec<Piece>, partitions: usize) -> Vec<Vec<Piece>> {
    let total: u128 = pieces.iter().map(|piece| u128::from(piece.split.bytes.max(1))).sum();
    let (mut chains, mut current): (Vec<Vec<Piece>>, Vec<Piece>) = (Vec::new(), Vec::new());
    let (mut before, mut current_share) = (0_u128, 0_u128);
    for piece in pieces {
        let bytes = u128::from(piece.split.bytes.max(1));
        // A piece belongs where its middle lies.
        let share = (2 * before + bytes) * partitions.max(1) as u128 / (2 * total);
        before += bytes;
        if share != current_share && !current.is_empty() {
            chains.push(std::mem::take(&mut current));
        }
        current_share = share;
        join(&mut current, piece);
    }
    if !current.is_empty() || chains.is_empty() {
        chains.push(current);
    }
    chains
}

/// Adds a piece to a chain; one that continues the last is read together with it.
fn join(chain: &mut Vec<Piece>, piece: Piece) {
    match chain.last_mut() {
        Some(last) if last.split.path == piece.split.path && last.split.range.end == piece.split.range.start => {
            last.split.range.end = piece.split.range.end;
            last.split.bytes += piece.split.bytes;
        }
        _ => chain.push(piece),
    }
}

/// Reads pieces one after another; a file is open only while its turn is.
struct ChainReader {
    format: Arc<dyn Format>,
    /// Of the source.
    part: Option<Arc<str>>,
    waiting: VecDeque<Piece>,
    current: Option<(Piece, Box<dyn BatchReader>)>,
    /// What the readers did that are through.
    report: ReadReport,
    /// What they put aside.
    aside: Aside,
}

impl BatchReader for ChainReader {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some((piece, reader)) = &mut self.current {
                if let Some(batch) = reader.next_batch()? {
                    return Ok(Some(batch));
                }
                piece.check(reader.as_ref())?;
                self.report.absorb(reader.report());
                reader.take_aside().into_iter().try_for_each(|record| self.aside.push(record))?;
                self.current = None;
            }
            let Some(piece) = self.waiting.pop_front() else { return Ok(None) };
            piece.mark.check(&piece.split.path)?;
            let reader = self.format.open(&piece.split)?;
            self.current = Some((piece, reader));
        }
    }

    fn report(&self) -> ReadReport {
        let mut report = self.report.clone();
        if let Some((_, reader)) = &self.current {
            report.absorb(reader.report());
        }
        report
    }

    fn take_aside(&mut self) -> Vec<SetAside> {
        let mut aside = self.aside.take();
        if let Some((_, reader)) = &mut self.current {
            aside.append(&mut reader.take_aside());
        }
        aside
    }

    fn source_part(&self) -> Option<&str> {
        self.part.as_deref()
    }
}
