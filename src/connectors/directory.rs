//! Files in a directory, as they come.
//!
//! A directory is watched by listing it. New files are read in the order of their modification time, then of their
//! name; one file may be spread over several batches, cut at record borders. A range names its files and what they
//! looked like when they were planned, so it can be read again in another process.
//!
//! A file counts as soon as it stands under its final name: write beside (a name that starts with `.` or `_` or ends in
//! `.tmp` is ignored) and rename. Where writers cannot rename, [`DirectorySource::settle`] waits until a file has been
//! left alone for a while. Empty files wait for their content. A file that is changed after it was read is not read
//! again; one that is removed frees its name. This source does not follow growing files: see `tail`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock};
use crate::columnar::SchemaRef;
use crate::connectors::chain::{self, Mark, Piece};
use crate::connectors::listing::Listing;
use crate::connectors::{Available, Backlog, OffsetRange, ReadLimits, Replay, Source};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{BatchReader, Bound, Format, Split};
use crate::limits::PARTITION_BYTES_MIN;

/// Reads the files of a directory, of a glob pattern, or a single file.
///
/// A directory or a pattern never ends; a single file ends when it has been read.
#[derive(Debug)]
pub struct DirectorySource {
    listing: Listing,
    format: Arc<dyn Format>,
    settle: Duration,
    clock: Arc<dyn Clock>,
    split_bytes: u64,
    limits: ReadLimits,
    /// Files that were taken or wait, by their names relative to the root, and the listing that saw them last.
    known: HashMap<Box<Path>, u64, foldhash::fast::FixedState>,
    listings: u64,
    /// Files not begun, in the order of reading: modification time and name, size.
    waiting: BTreeMap<(u64, Box<Path>), u64>,
    waiting_bytes: u64,
    /// The file that earlier ranges took only a part of.
    begun: Option<BegunFile>,
    /// If event times are told apart by folder.
    folders: Option<Folders>,
}

/// The folders in which files were seen.
#[derive(Debug, Default)]
struct Folders {
    named: BTreeSet<PathBuf>,
    /// Those that no range has named yet.
    new: BTreeSet<PathBuf>,
}

/// Into so many pieces a split is cut at most, however little a batch may hold.
const PIECES_MAX: u64 = 1 << 12;

/// A part of a file in an offset range.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FilePart {
    /// Relative to the root, so that the directory may move.
    name: PathBuf,
    size: u64,
    modified: u64,
    /// The target that the file was cut with; cutting again with it gives the same borders.
    target: u64,
    /// In units of the format.
    range: Range<u64>,
    bytes: u64,
    /// Whether this is the end of the file.
    last: bool,
    /// Whether its borders are others than those of the target, so that it is read in one piece.
    #[serde(default)]
    is_piece: bool,
    /// Folders that had files for the first time when this was planned, in the first part of a range, if event times are told
    /// apart by folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    folders: Vec<PathBuf>,
}

impl FilePart {
    fn mark(&self) -> Mark {
        Mark::Untouched { size: self.size, modified: self.modified }
    }
}

/// A file and its splits that are still to be read.
#[derive(Debug)]
struct BegunFile {
    name: PathBuf,
    size: u64,
    modified: u64,
    target: u64,
    rest: VecDeque<Split>,
    /// How many of these, the first ones, are pieces of a split that was too large.
    pieces: usize,
}

impl BegunFile {
    fn rest_bytes(&self) -> u64 {
        self.rest.iter().map(|split| split.bytes).sum()
    }

    /// Cuts the first split smaller if it holds more than `bytes`.
    fn fit(&mut self, bytes: u64, format: &dyn Format) -> Result<()> {
        let Some(split) = self.rest.front().filter(|split| split.bytes > bytes) else { return Ok(()) };
        let smaller = format.smaller(split, bytes.max(split.bytes.div_ceil(PIECES_MAX)))?;
        if smaller.len() > 1 {
            self.rest.pop_front();
            self.pieces = self.pieces.saturating_sub(1) + smaller.len();
            smaller.into_iter().rev().for_each(|piece| self.rest.push_front(piece));
        }
        Ok(())
    }

    /// Takes splits of together at most `bytes`, or pieces; if `at_least_one`, the first one whatever it holds.
    fn take(&mut self, bytes: u64, at_least_one: bool) -> Option<FilePart> {
        let mut part: Option<FilePart> = None;
        while let Some(split) = self.rest.front() {
            let taken = part.as_ref().map_or(0, |part| part.bytes);
            let is_free = at_least_one && part.is_none();
            let is_piece = self.pieces > 0;
            if taken.saturating_add(split.bytes) > bytes && !is_free
                || part.as_ref().is_some_and(|part| part.is_piece != is_piece)
            {
                break;
            }
            let part = part.get_or_insert_with(|| FilePart {
                name: self.name.clone(),
                size: self.size,
                modified: self.modified,
                target: self.target,
                range: split.range.clone(),
                bytes: 0,
                last: false,
                is_piece,
                folders: Vec::new(),
            });
            part.range.end = split.range.end;
            part.bytes += split.bytes;
            self.rest.pop_front();
            self.pieces = self.pieces.saturating_sub(1);
            part.last = self.rest.is_empty();
        }
        part
    }
}

impl DirectorySource {
    /// Watches `path`: a directory, a glob pattern such as `logs/*/access-*.log`, or a single file.
    ///
    /// # Errors
    /// `NotFound` if it does not exist (of a pattern, the part before the first wild card), `InvalidOption` for a
    /// malformed pattern.
    pub fn new(path: impl AsRef<Path>, format: Arc<dyn Format>) -> Result<Self> {
        Ok(Self {
            listing: Listing::new(path.as_ref())?,
            format,
            settle: Duration::ZERO,
            clock: Arc::new(SystemClock::new()),
            split_bytes: PARTITION_BYTES_MIN,
            limits: ReadLimits::default(),
            known: HashMap::default(),
            listings: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            begun: None,
            folders: None,
        })
    }

    /// Whether directories below the directory are read too. Default: no. A glob pattern says so itself, by `**`.
    #[must_use]
    pub fn recursive(mut self, recursive: bool) -> Self {
        if let Listing::Directory { recursive: current, .. } = &mut self.listing {
            *current = recursive;
        }
        self
    }

    /// Whether only files count that a manifest names ([`manifest`](crate::connectors::manifest)): those of batches that a
    /// [`FilesSink`](crate::connectors::files::FilesSink) has written as a whole. The path must be a directory then.
    ///
    /// # Errors
    /// `InvalidOption` for a path that is no directory.
    pub fn manifest(mut self, only_named: bool) -> Result<Self> {
        if !only_named {
            return Ok(self);
        }
        let Listing::Directory { root, .. } = &self.listing else {
            let error = Error::new(ErrorKind::InvalidOption, "manifests name the files of a directory");
            return Err(error.at(Place::file(self.listing.root())).advice("name the directory that a sink writes to"));
        };
        self.listing = Listing::Manifest { root: root.clone(), known: RefCell::default() };
        Ok(self)
    }

    /// Whether the event times of folders are told apart: a watermark then waits for the slowest folder that is not idle, also
    /// for one whose files have not had their turn. Default: no. Right where each folder is what one machine or partition
    /// wrote. The rows of a batch come folder by folder.
    #[must_use]
    pub fn event_time_by_folder(mut self, by_folder: bool) -> Self {
        self.folders = by_folder.then(Folders::default);
        self
    }

    /// How long a file must have been left alone before it counts. Default: not at all, which is right if writers
    /// rename files into place. Compares the file's modification time with the clock.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// The clock for [`DirectorySource::settle`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The pieces a file is cut into, about: partitions and batches are made of whole pieces. Default: 1 MiB.
    #[must_use]
    pub fn split_bytes(mut self, split_bytes: u64) -> Self {
        self.split_bytes = split_bytes.max(1);
        self
    }

    /// Bounds of a batch, besides those of the query. They do not hold for `Trigger::Once`.
    #[must_use]
    pub fn limits(mut self, limits: ReadLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The first file there is to read now, to take the columns from; `None` if there is none yet.
    ///
    /// # Errors
    /// A directory that cannot be listed.
    pub fn first_file(&self) -> Result<Option<PathBuf>> {
        let root = self.listing.root();
        let mut first: Option<(u64, PathBuf)> = None;
        self.listing.visit(&mut |name| {
            let found = look_at(&root.join(name))?.filter(|(size, _)| *size > 0);
            if let Some((_, modified)) = found
                && first.as_ref().is_none_or(|(time, earlier)| (modified, name) < (*time, earlier))
            {
                first = Some((modified, name.to_owned()));
            }
            Ok(())
        })?;
        Ok(first.map(|(_, name)| root.join(name)))
    }

    /// Lists, and queues the files that were not there before.
    fn look(&mut self) -> Result<()> {
        self.listings += 1;
        let now = nanoseconds(self.clock.now().saturating_sub(self.settle));
        let Self { listing, known, waiting, waiting_bytes, listings, settle, folders, .. } = self;
        let root = listing.root();
        listing.visit(&mut |name| {
            if let Some(seen) = known.get_mut(name) {
                *seen = *listings;
                return Ok(());
            }
            let Some((size, modified)) = look_at(&root.join(name))? else { return Ok(()) };
            if size > 0 && (settle.is_zero() || modified <= now) {
                known.insert(name.into(), *listings);
                if let Some(folders) = folders
                    && !folders.named.contains(folder_of(name))
                {
                    folders.new.insert(folder_of(name).to_owned());
                }
                waiting.insert((modified, name.into()), size);
                *waiting_bytes += size;
            }
            Ok(())
        })?;
        // What is gone frees its name; what waits is looked at again when its turn comes.
        known.retain(|_, seen| *seen == *listings);
        Ok(())
    }

    /// Begins the next file that waits, of which there is room for so many bytes; `false` if none does. A file that cannot be
    /// begun goes on waiting.
    fn begin(&mut self, room: u64) -> Result<bool> {
        while let Some(((modified, name), size)) = self.waiting.first_key_value() {
            let path = self.listing.root().join(name);
            let (modified, name, size) = (*modified, name.clone(), *size);
            // Removed or emptied before its turn: as if it had not been there.
            if let Some((size, modified)) = look_at(&path)?.filter(|(size, _)| *size > 0) {
                let target = self.split_bytes;
                // What is taken whole need not be cut yet.
                let whole = if size <= room { self.format.believed_splits(&path, size, u64::MAX)? } else { None };
                let splits = whole.map_or_else(|| self.format.splits(&path, size, target), Ok)?;
                let rest = splits.into();
                self.begun = Some(BegunFile { name: name.to_path_buf(), size, modified, target, rest, pieces: 0 })
                    .filter(|begun| !begun.rest.is_empty());
            }
            self.waiting.remove(&(modified, name));
            self.waiting_bytes -= size;
            if self.begun.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn plan(&mut self, limits: &ReadLimits) -> Result<Vec<FilePart>> {
        let mut parts = Vec::new();
        let mut bytes_left = limits.bytes_max.unwrap_or(u64::MAX);
        while limits.files_max.is_none_or(|files| parts.len() < files.max(1)) {
            let Some(begun) = &mut self.begun else {
                match self.begin(bytes_left) {
                    Ok(true) => continue,
                    Ok(false) => break,
                    // What is planned must not be lost: it comes first, and the error when it is met again.
                    Err(_) if !parts.is_empty() => break,
                    Err(error) => return Err(error),
                }
            };
            if parts.is_empty() {
                begun.fit(bytes_left, &*self.format)?;
            }
            let Some(part) = begun.take(bytes_left, parts.is_empty()) else { break };
            bytes_left = bytes_left.saturating_sub(part.bytes);
            if part.last {
                self.begun = None;
            }
            parts.push(part);
        }
        if let (Some(first), Some(folders)) = (parts.first_mut(), &mut self.folders) {
            first.folders = folders.new.iter().cloned().collect();
            folders.named.append(&mut folders.new);
        }
        Ok(parts)
    }

    /// Whether what is known already makes a full batch: a long queue is not paid for by a listing each time.
    fn is_full(&self, limits: &ReadLimits) -> bool {
        let Backlog { files, bytes, .. } = self.backlog();
        let is_reached = |known: Option<u64>, max: Option<u64>| known.zip(max).is_some_and(|(a, b)| a >= b.max(1));
        is_reached(files, limits.files_max.map(|max| max as u64)) || is_reached(bytes, limits.bytes_max)
    }

    /// The part of a file, in the pieces it was cut into; of a whole file, these may be believed to be pieces.
    fn pieces(&self, part: &FilePart, may_believe: bool) -> Result<Vec<Piece>> {
        let path = self.listing.root().join(&part.name);
        part.mark().check(&path)?;
        if part.is_piece || part.bytes <= part.target {
            let split = Split { path, range: part.range.clone(), bytes: part.bytes };
            return Ok(vec![Piece { split, mark: part.mark(), is_believed: false }]);
        }
        let may_believe = may_believe && part.range == (0..part.size);
        let believed = if may_believe { self.format.believed_splits(&path, part.size, part.target)? } else { None };
        let is_believed = believed.is_some();
        let splits = believed.map_or_else(|| self.format.splits(&path, part.size, part.target), Ok)?;
        let inside: Vec<Piece> = splits
            .into_iter()
            .filter(|split| split.range.start >= part.range.start && split.range.end <= part.range.end)
            .map(|split| Piece { split, mark: part.mark(), is_believed })
            .collect();
        let covered = inside.first().zip(inside.last()).map(|(a, b)| a.split.range.start..b.split.range.end);
        if covered.as_ref() != Some(&part.range) {
            return Err(foreign(&path, &part.range));
        }
        Ok(inside)
    }

    /// Opens a range, and says whether anything of it is only believed.
    fn open(
        &self,
        range: &OffsetRange,
        partitions: usize,
        may_believe: bool,
    ) -> Result<(Vec<Box<dyn BatchReader>>, bool)> {
        let parts = range.parse::<Vec<FilePart>>()?;
        let pieces = parts.iter().map(|part| self.pieces(part, may_believe)).collect::<Result<Vec<_>>>()?;
        let believes = pieces.iter().flatten().any(|piece| piece.is_believed);
        if self.folders.is_none() {
            let pieces = pieces.into_iter().flatten().collect();
            return Ok((chain::readers(&self.format, pieces, partitions), believes));
        }
        let mut folders: BTreeMap<String, Vec<Piece>> = BTreeMap::new();
        for (part, pieces) in parts.iter().zip(pieces) {
            for new in &part.folders {
                folders.entry(new.to_string_lossy().into_owned()).or_default();
            }
            let folder = folder_of(&part.name).to_string_lossy().into_owned();
            folders.entry(folder).or_default().extend(pieces);
        }
        Ok((chain::readers_by_part(&self.format, folders, partitions), believes))
    }
}

impl Source for DirectorySource {
    fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    fn replay(&self) -> Replay {
        Replay::Always
    }

    fn narrow(&mut self, columns: &BTreeSet<usize>) {
        if let Some(narrowed) = self.format.narrowed(columns) {
            self.format = narrowed;
        }
    }

    fn codable(&self, columns: &BTreeSet<usize>) -> BTreeSet<usize> {
        self.format.coded(columns).map_or_else(BTreeSet::new, |_| columns.clone())
    }

    fn read_as_codes(&mut self, columns: &BTreeSet<usize>) {
        if let Some(coded) = self.format.coded(columns) {
            self.format = coded;
        }
    }

    fn bound(&mut self, bounds: &[Bound]) {
        if let Some(bounded) = self.format.bounded(bounds) {
            self.format = bounded;
        }
    }

    fn may_quarantine(&self) -> bool {
        self.format.may_quarantine()
    }

    fn has_parts(&self) -> bool {
        self.folders.is_some()
    }

    fn next_range(&mut self, limits: &ReadLimits) -> Result<Available> {
        let own = if limits.is_lifted { ReadLimits::default() } else { self.limits };
        let limits = ReadLimits {
            files_max: tighter(limits.files_max, own.files_max),
            bytes_max: tighter(limits.bytes_max, own.bytes_max),
            ..*limits
        };
        if !self.is_full(&limits) {
            self.look()?;
        }
        let parts = self.plan(&limits)?;
        if !parts.is_empty() {
            return Ok(Available::Range(OffsetRange::write(&parts)?));
        }
        let is_read = matches!(&self.listing, Listing::File(_)) && !self.known.is_empty();
        Ok(if is_read { Available::Ended } else { Available::Nothing })
    }

    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        self.open(range, partitions, false).map(|(readers, _)| readers)
    }

    fn read_believing(&mut self, range: &OffsetRange, partitions: usize) -> Result<(Vec<Box<dyn BatchReader>>, bool)> {
        self.open(range, partitions, true)
    }

    fn commit(&mut self, _: &OffsetRange) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self, committed: &[OffsetRange]) -> Result<()> {
        let mut unfinished: Option<FilePart> = None;
        for range in committed {
            for part in range.parse::<Vec<FilePart>>()? {
                self.known.insert(part.name.as_path().into(), 0);
                unfinished = Some(part).filter(|part| !part.last);
            }
        }
        let Some(part) = unfinished else { return Ok(()) };
        let path = self.listing.root().join(&part.name);
        part.mark().check(&path)?;
        let mut rest = self.format.splits(&path, part.size, part.target)?;
        rest.retain(|split| split.range.end > part.range.end);
        let mut pieces = 0;
        if let (Some(first), true) = (rest.first_mut(), part.is_piece)
            && first.range.start < part.range.end
        {
            // What is left of a split that was cut smaller. Only files that are cut at bytes have such.
            first.range.start = part.range.end;
            first.bytes = first.range.end - first.range.start;
            pieces = 1;
        }
        if rest.first().is_none_or(|split| split.range.start != part.range.end) {
            return Err(foreign(&path, &part.range));
        }
        let FilePart { name, size, modified, target, .. } = part;
        self.begun = Some(BegunFile { name, size, modified, target, rest: rest.into(), pieces });
        Ok(())
    }

    /// One range that names each file once. Files that have been removed free their names, here as there.
    fn compact(&self, committed: Vec<OffsetRange>) -> Result<Vec<OffsetRange>> {
        let mut parts: BTreeMap<PathBuf, FilePart> = BTreeMap::new();
        let mut last = None;
        for range in &committed {
            for part in range.parse::<Vec<FilePart>>()? {
                last = Some(part.name.clone());
                parts.insert(part.name.clone(), part);
            }
        }
        // The file that was read last comes last: the next batch may go on in it.
        let last = last.and_then(|name| parts.remove(&name));
        parts.retain(|name, _| self.known.contains_key(name.as_path()));
        let parts: Vec<FilePart> = parts.into_values().chain(last).collect();
        if parts.is_empty() { Ok(Vec::new()) } else { Ok(vec![OffsetRange::write(&parts)?]) }
    }

    fn backlog(&self) -> Backlog {
        let begun = self.begun.as_ref();
        Backlog {
            files: Some(self.waiting.len() as u64 + u64::from(begun.is_some())),
            bytes: Some(self.waiting_bytes + begun.map_or(0, BegunFile::rest_bytes)),
            rows: None,
        }
    }
}

/// The folder of a file, relative to the root as its name is.
fn folder_of(name: &Path) -> &Path {
    name.parent().unwrap_or(Path::new(""))
}

/// Size and modification time of a file; `None` if it is none, or gone.
fn look_at(path: &Path) -> Result<Option<(u64, u64)>> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some((metadata.len(), chain::modified_at(&metadata)))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "look at a file", error)),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn foreign(path: &Path, range: &Range<u64>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{} to {} is not where this file is cut", range.start, range.end))
        .at(Place::file(path))
        .advice("read the file with the format and version that planned it")
}
