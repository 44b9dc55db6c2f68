//! Files out: one for each partition of each micro-batch.
//!
//! A file is named `part-<batch id, 20 digits>-<partition, 5 digits>.<extension>`. It is written beside, under a hidden
//! name that ends in `.tmp`, and renamed when all files of the batch are complete: readers that list the directory, such
//! as [`DirectorySource`], never see a part of a file. A repeated batch takes the same names, and what an earlier
//! attempt left beyond them is removed. Partitions without rows have no file.
//!
//! When all files of a batch are in their places, its manifest names them ([`manifest`]): readers that take only what is
//! named see whole batches, and each row once. A batch that comes again with other rows loses its manifest first.
//!
//! The directory belongs to one run of one query: another would take the same names. A sink therefore refuses a
//! directory that holds files of an earlier run, unless it is told what to do with them ([`Existing`]), or the query goes
//! on from a checkpoint: then the files are those of the same run.
//!
//! [`DirectorySource`]: crate::connectors::directory::DirectorySource

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::manifest::{self, BatchManifest, NamedFile, Sum, Summing};
use crate::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{Encoder, FormatOptions, encoder};

/// Makes the encoder of one file.
pub type MakeEncoder = Arc<dyn Fn(Box<dyn Write + Send>, &SchemaRef) -> Result<Box<dyn Encoder>> + Send + Sync>;

/// What becomes of the files that an earlier run left in the directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// The sink does not open: nothing is lost.
    #[default]
    Refuse,
    /// They are removed when the sink opens.
    Remove,
    /// They stay until a batch of the same id replaces them: for a query that goes on where it stopped.
    Continue,
}

/// What a [`FilesSink`] is about to do to its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesStep {
    /// Make a file under a hidden name, and write it.
    Create,
    /// Bring a hidden file to the disk, if that is asked for.
    Sync,
    /// Give a file its name.
    Rename,
    /// Remove a file of an earlier attempt.
    Remove,
    /// Bring names to the disk, if that is asked for.
    SyncFolder,
}

/// Called before each step; an error takes the place of the step.
type OnStep = dyn Fn(FilesStep, &Path) -> io::Result<()> + Send + Sync;

/// Writes micro-batches as files into a directory.
pub struct FilesSink {
    directory: PathBuf,
    extension: String,
    make_encoder: MakeEncoder,
    sync: bool,
    existing: Existing,
    manifest: bool,
    on_step: Option<Arc<OnStep>>,
    /// No file of this batch, or of a later one, can be there.
    fresh_from: u64,
}

impl FilesSink {
    /// A sink that writes files of a known format, and makes their directory if it is missing.
    /// Options that contradict each other, and what the format cannot hold, are found out by [`Sink::open`].
    pub fn of(directory: impl Into<PathBuf>, options: FormatOptions) -> Self {
        let extension = options.kind.name();
        Self::new(directory, extension, Arc::new(move |writer, schema| encoder(&options, schema, writer)))
    }

    /// A sink that writes files with this extension (without a dot) by an encoder of one's own, and makes their
    /// directory if it is missing.
    pub fn new(directory: impl Into<PathBuf>, extension: impl Into<String>, make_encoder: MakeEncoder) -> Self {
        Self {
            directory: directory.into(),
            extension: extension.into(),
            make_encoder,
            sync: false,
            existing: Existing::default(),
            manifest: true,
            on_step: None,
            fresh_from: 0,
        }
    }

    /// What becomes of the files that an earlier run left in the directory. Default: the sink refuses to open.
    #[must_use]
    pub fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Whether a batch is on the disk itself, and not only in the system's caches, when its write returns: it then
    /// survives a power failure. Default: no.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Whether a manifest names the files of each batch. Default: yes.
    #[must_use]
    pub fn manifest(mut self, manifest: bool) -> Self {
        self.manifest = manifest;
        self
    }

    /// Calls a closure before each step that changes the directory; its error takes the place of the step. For tests of
    /// what a crash or a full disk leaves behind.
    #[must_use]
    pub fn on_step(mut self, hook: impl Fn(FilesStep, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.on_step = Some(Arc::new(hook));
        self
    }

    fn step(&self, step: FilesStep, path: &Path) -> io::Result<()> {
        self.on_step.as_ref().map_or(Ok(()), |hook| hook(step, path))
    }

    /// Writes a file under its hidden name.
    fn draft(&self, name: &str, batches: &[RecordBatch], schema: &SchemaRef) -> Result<Draft> {
        let mut draft = Draft {
            hidden: self.directory.join(format!(".{name}.tmp")),
            visible: self.directory.join(name),
            file: NamedFile { name: name.to_owned(), rows: 0, bytes: 0, crc32: String::new() },
            published: false,
        };
        let failed = |doing| move |error| Error::io(self.directory.join(name), doing, error);
        let create = || self.step(FilesStep::Create, &draft.hidden).and_then(|()| File::create(&draft.hidden));
        let file = create().map_err(failed("create a file"))?;
        let sum = Sum::default();
        let handle = file.try_clone().map_err(failed("create a file"))?;
        let place = Place::file(&draft.visible);
        let here = |error: Error| error.at(place.clone()).context("while writing a file");
        let mut encoder =
            (self.make_encoder)(Box::new(Summing::new(BufWriter::new(file), sum.clone())), schema).map_err(here)?;
        for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
            encoder.write(batch).map_err(here)?;
            draft.file.rows += batch.num_rows() as u64;
        }
        encoder.finish().map_err(here)?.flush().map_err(failed("write a file"))?;
        self.sync_file(&handle, &draft.hidden).map_err(failed("write a file to the disk"))?;
        (draft.file.bytes, draft.file.crc32) = sum.told();
        Ok(draft)
    }

    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        self.step(FilesStep::Sync, path)?;
        if self.sync { file.sync_all() } else { Ok(()) }
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        let synced = self.step(FilesStep::SyncFolder, folder).and_then(|()| match self.sync {
            true => sync_directory(folder),
            false => Ok(()),
        });
        synced.map_err(|error| Error::io(folder, "write a directory to the disk", error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let removed = self.step(FilesStep::Remove, path).and_then(|()| fs::remove_file(path));
        removed.map_err(|error| Error::io(path, "remove a file of an earlier attempt", error))
    }

    /// Writes the manifest of a batch whose files are in their places.
    fn name_files(&self, manifest: &BatchManifest) -> Result<()> {
        let folder = self.directory.join(manifest::FOLDER);
        let name = manifest::name_of(manifest.batch);
        let (hidden, visible) = (folder.join(format!(".{name}.tmp")), folder.join(&name));
        let bytes = manifest.to_bytes()?;
        let write = || {
            self.step(FilesStep::Create, &hidden)?;
            let mut file = File::create(&hidden).or_else(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    return Err(error);
                }
                // The first manifest of its folder.
                fs::create_dir(&folder)?;
                File::create(&hidden)
            })?;
            file.write_all(&bytes)?;
            self.sync_file(&file, &hidden)?;
            self.step(FilesStep::Rename, &visible)?;
            fs::rename(&hidden, &visible)
        };
        write().map_err(|error| Error::io(&visible, "write a manifest", error))?;
        self.sync_folder(&folder)
    }

    /// Removes the manifest that an earlier attempt wrote, if it named something else: it would name what is not there.
    fn forget_names(&self, manifest: &BatchManifest) -> Result<()> {
        let known = manifest::read(&self.directory, manifest.batch);
        let is_same = match &known {
            Ok(known) => known.as_ref().is_none_or(|known| known == manifest),
            Err(error) => error.kind() != ErrorKind::Corrupt,
        };
        if is_same {
            return known.map(drop);
        }
        let folder = self.directory.join(manifest::FOLDER);
        self.remove(&folder.join(manifest::name_of(manifest.batch)))?;
        self.sync_folder(&folder)
    }

    /// All files of a batch, hidden; on an error those already written are removed.
    fn drafts(&self, batch: &OutputBatch<'_>) -> Result<Vec<Draft>> {
        let partitions = batch.partitions.par_iter().enumerate();
        let filled = partitions.filter(|(_, batches)| batches.iter().any(|batch| batch.num_rows() > 0));
        filled
            .map(|(partition, batches)| {
                let name = format!("part-{:020}-{partition:05}.{}", batch.batch_id, self.extension);
                self.draft(&name, batches, batch.schema)
            })
            .collect()
    }

    /// Removes files of the batch that are not among `written`.
    fn remove_leftovers(&self, batch_id: u64, written: &[PathBuf]) -> Result<()> {
        self.visit(|path, name| {
            if batch_of(name) == Some(batch_id) && !written.iter().any(|file| file == path) {
                self.remove(path)?;
            }
            Ok(())
        })
    }

    fn visit(&self, mut visit: impl FnMut(&Path, &str) -> Result<()>) -> Result<()> {
        let failed = |error| Error::io(&self.directory, "list the directory of the output", error);
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                visit(&path, name)?;
            }
        }
        Ok(())
    }
}

impl Sink for FilesSink {
    fn resume(&mut self, _: u64) -> Result<()> {
        self.existing = Existing::Continue;
        Ok(())
    }

    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        // What the format cannot hold is better told now than after the first batch.
        (self.make_encoder)(Box::new(io::sink()), schema)?;
        fs::create_dir_all(&self.directory).map_err(|error| {
            Error::io(&self.directory, "create the directory of the output", error)
                .advice("name a directory, or a path at which this program may create one")
        })?;
        if !self.directory.is_dir() {
            let message = "the output is no directory";
            return Err(Error::new(ErrorKind::Connector, message).at(Place::file(&self.directory)));
        }
        let mut fresh_from = 0;
        for batch in manifest::batches(&self.directory)? {
            let path = self.directory.join(manifest::FOLDER).join(manifest::name_of(batch));
            match self.existing {
                Existing::Refuse => return Err(occupied(&path)),
                Existing::Remove => self.remove(&path)?,
                Existing::Continue => fresh_from = fresh_from.max(batch.saturating_add(1)),
            }
        }
        self.visit(|path, name| {
            if let Some(batch) = batch_of(name) {
                match self.existing {
                    Existing::Refuse => return Err(occupied(path)),
                    Existing::Remove => {
                        let failed = |error| Error::io(path, "remove a file of an earlier run", error);
                        fs::remove_file(path).map_err(failed)?;
                    }
                    Existing::Continue => fresh_from = fresh_from.max(batch.saturating_add(1)),
                }
            } else if name.ends_with(".tmp") && name.strip_prefix('.').and_then(batch_of).is_some() {
                fs::remove_file(path).map_err(|error| Error::io(path, "remove an unfinished file", error))?;
            }
            Ok(())
        })?;
        self.fresh_from = fresh_from;
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let drafts = self.drafts(batch)?;
        let was_tried = batch.batch_id < self.fresh_from;
        self.fresh_from = self.fresh_from.max(batch.batch_id.saturating_add(1));
        let written: Vec<PathBuf> = drafts.iter().map(|draft| draft.visible.clone()).collect();
        let manifest = BatchManifest::new(batch.batch_id, drafts.iter().map(|draft| draft.file.clone()).collect());
        if was_tried {
            self.forget_names(&manifest)?;
        }
        drafts.into_iter().try_for_each(|draft| {
            let renamed = self.step(FilesStep::Rename, &draft.visible);
            renamed.map_err(|error| Error::io(&draft.visible, "rename a complete file into place", error))?;
            draft.publish()
        })?;
        if was_tried {
            self.remove_leftovers(batch.batch_id, &written)?;
        }
        self.sync_folder(&self.directory)?;
        if self.manifest && !manifest.files.is_empty() {
            self.name_files(&manifest)?;
        }
        Ok(WriteReport { rows: manifest.rows, bytes: manifest.bytes })
    }

    fn repeat(&self) -> Repeat {
        Repeat::Replaces
    }
}

impl fmt::Debug for FilesSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSink").field("directory", &self.directory).field("extension", &self.extension).finish()
    }
}

/// A file that nobody sees yet. Dropping it removes it.
struct Draft {
    hidden: PathBuf,
    visible: PathBuf,
    file: NamedFile,
    published: bool,
}

impl Draft {
    fn publish(mut self) -> Result<()> {
        fs::rename(&self.hidden, &self.visible)
            .map_err(|error| Error::io(&self.visible, "rename a complete file into place", error))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // Nothing to be done about a failure here: the error that led here is the one to tell, and the next
            // `open` tries again.
            drop(fs::remove_file(&self.hidden));
        }
    }
}

fn occupied(file: &Path) -> Error {
    Error::new(ErrorKind::Connector, "the directory of the output holds files of an earlier run")
        .at(Place::file(file))
        .advice("name another directory, or say that existing files are to be removed or continued")
}

/// The batch id in the name of one of our files.
fn batch_of(name: &str) -> Option<u64> {
    let (batch, rest) = name.strip_prefix("part-")?.split_at_checked(20)?;
    let (partition, rest) = rest.strip_prefix('-')?.split_once('.')?;
    let is_ours = partition.len() >= 5 && partition.bytes().all(|byte| byte.is_ascii_digit()) && !rest.is_empty();
    if is_ours { batch.parse().ok() } else { None }
}

/// Makes the names of a directory survive a power failure.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere directories cannot be synced, and renames are durable by themselves.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
