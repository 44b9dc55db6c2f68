//! Compiled shaders kept from run to run, beside the rates of devices (`calibration`): a file for each kind of adapter.
//!
//! Whether a file is whole is for the device's side to find out (`kernels::gpu::PipelineStore`); it may be gone at any time.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::calibration;
use crate::kernels::gpu::PipelineStore;

/// Bytes of a file at most: a damaged one is not read to its end.
const BYTES_MAX: u64 = 64 << 20;

/// Files in a folder.
#[derive(Debug)]
struct Folder(PathBuf);

/// The store in the user's folder for caches, if one is to be used and can be told.
pub(super) fn store() -> Option<Arc<dyn PipelineStore>> {
    calibration::folder().map(|folder| Arc::new(Folder(folder)) as Arc<dyn PipelineStore>)
}

impl Folder {
    fn file(&self, key: &str) -> PathBuf {
        let plain = key.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
        self.0.join(format!("shaders-{}.bin", plain.take(120).collect::<String>().to_lowercase()))
    }
}

impl PipelineStore for Folder {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.file(key);
        if fs::metadata(&path).ok()?.len() > BYTES_MAX {
            return None;
        }
        fs::read(path).ok()
    }

    fn store(&self, key: &str, data: &[u8]) {
        if data.len() as u64 > BYTES_MAX || fs::create_dir_all(&self.0).is_err() {
            return;
        }
        // Another process, or another device of this one, may read or write at the same moment: the file is there as a
        // whole or not at all.
        static DRAFTS: AtomicU64 = AtomicU64::new(0);
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let target = self.file(key);
        let draft = target.with_extension(format!("{}-{number}.draft", std::process::id()));
        if fs::write(&draft, data).and_then(|()| fs::rename(&draft, target)).is_err() {
            drop(fs::remove_file(draft));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_found_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder(folder.path().join("not/there/yet"));
        assert_eq!(store.load("vulkan_1_2"), None);
        store.store("vulkan_1_2", b"first");
        store.store("vulkan_1_2", b"second");
        assert_eq!(store.load("vulkan_1_2").as_deref(), Some(b"second".as_slice()));
        assert_eq!(store.load("vulkan_1_3"), None);
        assert_eq!(fs::read_dir(&store.0).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let store = Folder(file);
        store.store("key", b"data");
        assert_eq!(store.load("key"), None);
    }
}
