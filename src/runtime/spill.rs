//! The folder in which a query puts what it keeps and has no room for in memory.
//!
//! Each query has a folder of its own, locked while it is in use, below one that all share. What a process that died left
//! there is removed when a query takes the folder again, and all of it when the query ends: nothing of it outlives the
//! query, whose checkpoint is another matter. Files are those of checkpoints: Arrow in blocks with checksums.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::checkpoint::{FolderStore, Store, open_rows, seal_rows};
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::spill::{Room, Shelf};

/// The folder below the system's temporary one that is used unless another one is given.
pub(super) const FOLDER: &str = "pelton-spill";

/// Folders for queries at the same time, below one folder.
const FOLDERS_MAX: usize = 4_096;

/// The kind of the files, in their first line.
const KIND: &str = "spilled state";

/// Room for so many bytes, with a folder of its own below this one for what is more.
///
/// # Errors
/// A folder that cannot be made or emptied.
pub(super) fn room(bytes: u64, root: &Path) -> Result<Room> {
    Ok(Room::new(bytes, Box::new(SpillFolder::take(root)?)))
}

/// A folder that is this query's as long as it lives.
struct SpillFolder {
    path: PathBuf,
    store: FolderStore,
    /// Whether the folder is gone: then one of this name may belong to another query.
    has_ended: AtomicBool,
    _lock: Box<dyn Send + Sync>,
}

impl SpillFolder {
    fn take(root: &Path) -> Result<Self> {
        for number in 0..FOLDERS_MAX {
            let path = root.join(number.to_string());
            let store = FolderStore::new(&path).sync(false);
            match store.try_lock() {
                Ok(Some(lock)) => {
                    let folder = Self { path, store, has_ended: AtomicBool::new(false), _lock: lock };
                    folder.empty()?;
                    return Ok(folder);
                }
                Ok(None) => {}
                Err(error) => {
                    return Err(advised(error, "cannot take the folder for state that has no room in memory"));
                }
            }
        }
        let message = format!("{FOLDERS_MAX} queries have folders for state in \"{}\"", root.display());
        Err(Error::new(ErrorKind::Connector, message).advice("give this query a folder of its own with `spill`"))
    }

    /// Removes what a process that died left behind.
    fn empty(&self) -> Result<()> {
        self.store.list("")?.iter().filter(|name| name.ends_with(ENDING)).try_for_each(|name| self.store.delete(name))
    }
}

/// The ending of the files.
const ENDING: &str = ".spilled";

fn file(number: u64) -> String {
    format!("{number}{ENDING}")
}

/// Trouble with spilling is not tried again: half of a batch may have been taken in.
fn advised(error: Error, what: &str) -> Error {
    Error::new(error.kind(), format!("{what}: {}", error.message()))
        .at(error.place().clone())
        .advice(
            "make room on the disk, give a larger `memory`, or another folder with `spill`; then start the query again",
        )
        .because(error)
}

impl Shelf for SpillFolder {
    fn put(&self, number: u64, rows: &RecordBatch) -> Result<u64> {
        let file_of_rows = seal_rows(KIND, std::slice::from_ref(rows))?;
        let failed = |error| advised(error, "state that has no room in memory cannot be written");
        self.store.write(&file(number), &file_of_rows).map_err(failed)?;
        Ok(file_of_rows.len() as u64)
    }

    fn get(&self, number: u64) -> Result<RecordBatch> {
        if self.has_ended.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, "what the query kept on disk is gone with the query")
                .advice("look while it runs, or at its checkpoint"));
        }
        let name = file(number);
        let failed = |error| advised(error, "state that has no room in memory cannot be read back");
        let bytes = self.store.read(&name).map_err(failed)?;
        let mut rows = open_rows(KIND, &self.store.place(&name), bytes).map_err(failed)?;
        rows.pop().ok_or_else(|| Error::internal("a part of what is kept was put away without rows"))
    }

    fn remove(&self, number: u64) {
        if !self.has_ended.load(Ordering::SeqCst) {
            // What stays behind is removed with the folder, or by whoever takes it next.
            drop(self.store.delete(&file(number)));
        }
    }

    fn end(&self) {
        if !self.has_ended.swap(true, Ordering::SeqCst) {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for SpillFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillFolder").field("path", &self.path).finish_non_exhaustive()
    }
}
