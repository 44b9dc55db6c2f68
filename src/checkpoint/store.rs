//! Where a checkpoint lies: named files that are there as a whole or not at all.
//!
//! [`Store`] is all that the engine asks of storage. [`FolderStore`] is a folder of the local file system; a store of
//! objects can take its place, as it knows no more than whole objects either.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::spare_files::SpareFiles;
use crate::error::{Error, ErrorKind, Place, Result};

/// The file that is locked while a query uses a folder.
const LOCK: &str = "lock";

/// How often, and how long apart, a lock is tried that somebody holds.
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(5);

/// Named files that are there as a whole or not at all. Names are relative, with `/` between folder and file.
///
/// # Contract
/// 1. When `write` returns, the file is there with this content, also after a crash. When it fails or the process is
///    killed, the file is as it was before, or as it should be. *(tested)*
/// 2. `list` gives the files right below a folder, sorted; of a folder that is not there, none. Files that are being
///    written are not among them. *(tested)*
/// 3. Only one holder at a time gets the lock; it is freed when its holder ends, however it ends. *(tested)*
pub trait Store: Send + Sync + fmt::Debug {
    /// The names of the files right below a folder, without the folder.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// The names of the folders right below a folder.
    ///
    /// # Errors
    /// As for [`Store::list`].
    fn folders(&self, folder: &str) -> Result<Vec<String>>;

    /// The content of a file.
    ///
    /// # Errors
    /// `NotFound` if it is not there.
    fn read(&self, name: &str) -> Result<Vec<u8>>;

    /// Writes a file, or replaces it.
    ///
    /// # Errors
    /// A full disk, a folder that is gone or may not be written to.
    fn write(&self, name: &str, content: &[u8]) -> Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// A file that cannot be removed.
    fn delete(&self, name: &str) -> Result<()>;

    /// Takes the lock; it is held until the answer is dropped.
    ///
    /// # Errors
    /// `Connector` if somebody else holds it.
    fn lock(&self) -> Result<Box<dyn Send + Sync>>;

    /// Where a file lies, for messages.
    fn place(&self, name: &str) -> Place;
}

/// What a [`FolderStore`] is about to do to its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreStep {
    /// Make a file under a hidden name.
    Create,
    /// Write its second half.
    Write,
    /// Bring it to the disk, if that is asked for.
    Sync,
    /// Give it its name.
    Rename,
    /// Bring the name to the disk, if that is asked for.
    SyncFolder,
    /// Remove a file.
    Delete,
}

/// Called before each step; an error takes the place of the step.
type OnStep = dyn Fn(StoreStep, &Path) -> io::Result<()> + Send + Sync;

/// A folder of the local file system. Files are written beside under a hidden name, brought to the disk, and renamed.
#[derive(Clone)]
pub struct FolderStore {
    root: PathBuf,
    sync: bool,
    on_step: Option<Arc<OnStep>>,
    /// Since the lock was taken; from then on the folder must be there.
    spare_files: Arc<OnceLock<SpareFiles>>,
}

impl FolderStore {
    /// The store in this folder, which is made when first written to.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), sync: true, on_step: None, spare_files: Arc::default() }
    }

    /// Whether files are brought to the disk itself, and not only to the system's caches, before their write is
    /// done. Without it a checkpoint survives the death of the process, but not that of the machine. Default: yes.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Calls a closure before each step that changes the folder; its error takes the place of the step. For tests of
    /// what a crash or a full disk leaves behind.
    #[must_use]
    pub fn on_step(mut self, hook: impl Fn(StoreStep, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.on_step = Some(Arc::new(hook));
        self
    }

    /// The lock, if nobody holds it at this moment.
    pub(crate) fn try_lock(&self) -> Result<Option<Box<dyn Send + Sync>>> {
        let path = self.root.join(LOCK);
        let failed = |error| Error::io(&path, "lock a folder", error);
        fs::create_dir_all(&self.root).map_err(failed)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn step(&self, step: StoreStep, path: &Path) -> io::Result<()> {
        self.on_step.as_ref().map_or(Ok(()), |hook| hook(step, path))
    }

    fn write_hidden(&self, hidden: &Path, content: &[u8]) -> io::Result<()> {
        self.step(StoreStep::Create, hidden)?;
        let is_spare = self.spare_files.get().is_some_and(|spare_files| spare_files.take(hidden));
        // An old content is written over: to cut it off first would cost a new place on the disk.
        let mut file = File::options().write(true).create(true).truncate(!is_spare).open(hidden)?;
        // A hook sees the file when half of it is there; without one it is written at once.
        let first = if self.on_step.is_some() { content.len() / 2 } else { 0 };
        let (first, second) = content.split_at(first);
        file.write_all(first)?;
        self.step(StoreStep::Write, hidden)?;
        file.write_all(second)?;
        if is_spare {
            file.set_len(content.len() as u64)?;
        }
        self.step(StoreStep::Sync, hidden)?;
        if self.sync {
            file.sync_all()?;
        }
        Ok(())
    }

    fn publish(&self, hidden: &Path, path: &Path, folder: &Path) -> io::Result<()> {
        self.step(StoreStep::Rename, path)?;
        fs::rename(hidden, path)?;
        self.step(StoreStep::SyncFolder, path)?;
        if self.sync {
            sync_folder(folder)?;
        }
        Ok(())
    }

    fn entries(&self, folder: &str, wanted: fn(&fs::FileType) -> bool) -> Result<Vec<String>> {
        let path = self.root.join(folder);
        let failed = |error| Error::io(&path, "list a folder of the checkpoint", error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let is_wanted = wanted(&entry.file_type().map_err(failed)?);
            if let Some(name) = entry.file_name().to_str().filter(|name| is_wanted && !name.starts_with('.')) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Store for FolderStore {
    fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.entries(folder, fs::FileType::is_file)
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.entries(folder, fs::FileType::is_dir)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.root.join(name);
        fs::read(&path).map_err(|error| Error::io(&path, "read a file of the checkpoint", error))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        let failed = |error| Error::io(&path, "write a file of the checkpoint", error);
        let (Some(folder), Some(file)) = (path.parent(), path.file_name().and_then(|file| file.to_str())) else {
            return Err(Error::internal(format!("\"{name}\" is no name of a file of a checkpoint")));
        };
        let hidden = folder.join(format!(".{file}.tmp"));
        let written = self.write_hidden(&hidden, content).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            if self.spare_files.get().is_some() && !self.root.join(LOCK).exists() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the folder of the checkpoint is gone"));
            }
            // The first file of its folder.
            fs::create_dir_all(folder)?;
            self.write_hidden(&hidden, content)
        });
        written.and_then(|()| self.publish(&hidden, &path, folder)).map_err(|error| {
            // The hidden file is overwritten by the next attempt: nothing is lost if it cannot be removed.
            drop(fs::remove_file(&hidden));
            failed(error)
        })
    }

    fn delete(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        // After a power failure a name whose removal is not on the disk would hold what was written over it.
        let spare_files = self.spare_files.get().filter(|_| !self.sync);
        let removed = self.step(StoreStep::Delete, &path).and_then(|()| match spare_files {
            Some(spare_files) => spare_files.put(&path),
            None => fs::remove_file(&path),
        });
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(&path, "remove a file of the checkpoint", error))
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        let path = self.root.join(LOCK);
        let failed = |error| Error::io(&path, "lock the checkpoint", error);
        fs::create_dir_all(&self.root).map_err(failed)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        // A process that is being started holds copies of all open files for a moment, also that of a freed lock.
        let mut tries = 0;
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => tries += 1,
                locked => break locked,
            }
            std::thread::sleep(LOCK_WAIT);
        };
        match locked {
            Ok(()) => {
                if self.spare_files.get().is_none() {
                    let spare_files = SpareFiles::new(&self.root).map_err(failed)?;
                    // Another holder of this process may have been faster, which has then ended.
                    drop(self.spare_files.set(spare_files));
                }
                Ok(Box::new(Lock { spare_files: Arc::clone(&self.spare_files), _file: file }))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Connector, "the checkpoint is in use by another query or process")
                    .at(Place::file(&self.root))
                    .advice("wait until that one has ended, or give this query a checkpoint of its own"))
            }
        }
    }

    fn place(&self, name: &str) -> Place {
        Place::file(self.root.join(name))
    }
}

/// The lock of a folder, while it is held.
struct Lock {
    spare_files: Arc<OnceLock<SpareFiles>>,
    /// Frees the folder when it is closed, last.
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.spare_files.get().into_iter().for_each(SpareFiles::clear);
    }
}

impl fmt::Debug for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderStore").field("root", &self.root).field("sync", &self.sync).finish_non_exhaustive()
    }
}

/// Makes the names of a folder survive a power failure.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere folders cannot be synced, and renames are durable by themselves.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
