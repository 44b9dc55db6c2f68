//! Files that were removed and are written again under other names.
//!
//! A checkpoint that forgets old batches removes about as many small files as it makes. Some file systems make a new
//! file the slower the more were removed in the last minutes: ext4 does not take the number of one that is gone so shortly,
//! and asks each of these first (`recently_deleted` in its `ialloc.c`), up to a third of a millisecond for a file. A file that
//! gets another name is no new one. Not done where files are brought to the disk: that takes longer by far, and a power failure could
//! leave a file under its old name with what was written over it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the names of spare files begin with. They are hidden, so that nobody takes them for a part of the checkpoint.
const PREFIX: &str = ".spare-";

/// Files that may wait: what a checkpoint of a few operators forgets at once.
const FILES_MAX: usize = 64;

/// Larger files are removed, so that what waits takes no room to speak of.
const BYTES_MAX: u64 = 1 << 16;

/// The spare files of a folder that its holder alone writes to.
#[derive(Debug)]
pub(super) struct SpareFiles {
    folder: PathBuf,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The one that waits longest first: it is the least likely that somebody still reads it.
    files: VecDeque<PathBuf>,
    /// The number of the next one.
    next: u64,
}

impl SpareFiles {
    /// None yet; those that a killed holder left behind are removed.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder: folder.to_owned(), waiting: Mutex::default() })
    }

    /// Takes a file away from its name; removes it if there is no use for it.
    pub(super) fn put(&self, file: &Path) -> io::Result<()> {
        let mut waiting = self.lock();
        if waiting.files.len() >= FILES_MAX || fs::symlink_metadata(file)?.len() > BYTES_MAX {
            return fs::remove_file(file);
        }
        let spare = self.folder.join(format!("{PREFIX}{}", waiting.next));
        fs::rename(file, &spare)?;
        waiting.next += 1;
        waiting.files.push_back(spare);
        Ok(())
    }

    /// Gives a spare file this name, if there is one; its content is still the old one.
    pub(super) fn take(&self, name: &Path) -> bool {
        let mut waiting = self.lock();
        let Some(spare) = waiting.files.pop_front() else { return false };
        let is_taken = fs::rename(&spare, name).is_ok();
        // It stays if the folder of the name is not there yet.
        if !is_taken && spare.exists() {
            waiting.files.push_front(spare);
        }
        is_taken
    }

    /// Removes all that wait.
    pub(super) fn clear(&self) {
        // What cannot be removed is hidden, and removed by the next holder.
        self.lock().files.drain(..).for_each(|file| drop(fs::remove_file(file)));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{FolderStore, Store};

    fn hidden(folder: &Path) -> usize {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(PREFIX)).count()
    }

    #[test]
    fn what_was_removed_is_written_again_and_nothing_of_it_shows() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::new(folder.path()).sync(false);
        let lock = store.lock().unwrap();
        store.write("offsets/1", b"a long content").unwrap();
        store.write("state/1", &vec![7; 1 << 17]).unwrap();
        store.delete("offsets/1").unwrap();
        store.delete("state/1").unwrap();
        store.delete("state/0").unwrap();
        assert_eq!(hidden(folder.path()), 1, "the larger one is gone");
        assert!(store.list("").unwrap().iter().all(|name| name == "lock"));
        assert!(store.list("offsets").unwrap().is_empty());
        // Also into a folder that is made for it.
        store.write("commits/1", b"short").unwrap();
        assert_eq!(hidden(folder.path()), 0);
        assert_eq!(store.read("commits/1").unwrap(), b"short");
        store.write("commits/2", b"a new one").unwrap();
        store.delete("commits/2").unwrap();
        drop(lock);
        assert_eq!(hidden(folder.path()), 0, "they go with their holder");
        assert_eq!(store.read("commits/1").unwrap(), b"short");
    }

    #[test]
    fn only_some_wait() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::new(folder.path()).sync(false);
        let _lock = store.lock().unwrap();
        for batch in 0..2 * FILES_MAX {
            store.write(&format!("offsets/{batch}"), b"x").unwrap();
        }
        for batch in 0..2 * FILES_MAX {
            store.delete(&format!("offsets/{batch}")).unwrap();
        }
        assert_eq!(hidden(folder.path()), FILES_MAX);
    }

    #[test]
    fn those_of_a_killed_holder_are_removed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".spare-0"), b"old").unwrap();
        let store = FolderStore::new(folder.path()).sync(false);
        let _lock = store.lock().unwrap();
        assert_eq!(hidden(folder.path()), 0);
    }

    #[test]
    fn without_one_that_can_be_had_a_new_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::new(folder.path()).sync(false);
        let _lock = store.lock().unwrap();
        store.write("offsets/1", b"one").unwrap();
        store.delete("offsets/1").unwrap();
        fs::remove_file(folder.path().join(".spare-0")).unwrap();
        store.write("offsets/2", b"two").unwrap();
        assert_eq!(store.read("offsets/2").unwrap(), b"two");
    }
}
