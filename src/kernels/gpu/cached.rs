//! Compiled shaders of earlier runs, so that a driver need not compile them again, where it can keep them (Vulkan).
//!
//! What a driver gives is bytes that only it understands; where they are kept is the business of whoever hands over a
//! [`PipelineStore`]. Some drivers trust them, so they are sealed: with what they are, of which adapter, and a checksum. What
//! is damaged, or of another release, is as good as none and is replaced. A device that replaces a lost one begins without
//! them: they could be why it was lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use wgpu::{ErrorFilter, Features, PipelineCacheDescriptor};

/// Where compiled shaders are kept from run to run, by the name of an adapter's kind and driver.
pub trait PipelineStore: fmt::Debug + Send + Sync {
    /// What was stored last, if it is still there; it may be damaged.
    fn load(&self, key: &str) -> Option<Vec<u8>>;

    /// Keeps these bytes. That they cannot be kept is no trouble.
    fn store(&self, key: &str, data: &[u8]);
}

/// What sealed bytes begin with; the number rises when their form changes.
const MARK: &[u8; 16] = b"pelton-shaders-1";

/// Of the key and the bytes: those of another adapter are not taken for its own.
fn checksum(key: &str, data: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(key.as_bytes());
    checksum.update(data);
    checksum.finalize()
}

fn sealed(key: &str, data: &[u8]) -> Vec<u8> {
    let (len, sum) = ((data.len() as u64).to_le_bytes(), checksum(key, data).to_le_bytes());
    [MARK.as_slice(), &len, &sum, data].concat()
}

/// The bytes that were sealed, if they are whole and of this key.
fn unsealed<'a>(key: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.strip_prefix(MARK)?.split_first_chunk::<8>()?;
    let (sum, data) = rest.split_first_chunk::<4>()?;
    let is_whole = u64::from_le_bytes(*len) == data.len() as u64;
    (is_whole && u32::from_le_bytes(*sum) == checksum(key, data)).then_some(data)
}

/// The compiled shaders of one device.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) cache: wgpu::PipelineCache,
    key: String,
    store: Arc<dyn PipelineStore>,
    /// How many pipelines were made, and how many of them are stored.
    made: AtomicUsize,
    stored: AtomicUsize,
    /// Of the bytes that the store has: another stage may compile what is there already.
    latest: AtomicU32,
}

impl Cached {
    /// What must be asked of a device for it.
    pub(super) fn features(adapter: &wgpu::Adapter, store: Option<&Arc<dyn PipelineStore>>) -> Features {
        if store.is_some() { adapter.features() & Features::PIPELINE_CACHE } else { Features::empty() }
    }

    /// For a device, if it can keep shaders and somebody stores them.
    pub(super) fn open(
        device: &wgpu::Device,
        adapter: &wgpu::Adapter,
        store: Option<&Arc<dyn PipelineStore>>,
    ) -> Option<Self> {
        let (store, key) = (Arc::clone(store?), wgpu::util::pipeline_cache_key(&adapter.get_info())?);
        if !device.features().contains(Features::PIPELINE_CACHE) {
            return None;
        }
        let bytes = store.load(&key).unwrap_or_default();
        let data = unsealed(&key, &bytes);
        let scope = device.push_error_scope(ErrorFilter::Validation);
        let descriptor = PipelineCacheDescriptor { label: None, data, fallback: true };
        // SAFETY: these bytes came from `get_data`, for an adapter of this key: they were sealed then, and are whole by
        // their checksum. wgpu compares adapter and driver once more.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        let latest = AtomicU32::new(checksum(&key, data.unwrap_or_default()));
        let (made, stored) = (AtomicUsize::new(0), AtomicUsize::new(0));
        pollster::block_on(scope.pop()).is_none().then_some(Self { cache, key, store, made, stored, latest })
    }

    /// A pipeline has been made.
    pub(super) fn note(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Stores all that was made, if some of it is new. Drivers compile when a shader first runs, so this comes after.
    pub(super) fn keep(&self) {
        let made = self.made.load(Ordering::Relaxed);
        if self.stored.swap(made, Ordering::Relaxed) < made
            && let Some(data) = self.cache.get_data()
            && let sum = checksum(&self.key, &data)
            && self.latest.swap(sum, Ordering::Relaxed) != sum
        {
            self.store.store(&self.key, &sealed(&self.key, &data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_whole_is_unsealed() {
        let data = (0..=255).collect::<Vec<u8>>();
        let whole = sealed("vulkan_1_2", &data);
        assert_eq!(unsealed("vulkan_1_2", &whole), Some(data.as_slice()));
        assert_eq!(unsealed("vulkan_1_3", &whole), None);
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 0x10;
            assert_eq!(unsealed("vulkan_1_2", &wrong), None, "byte {at}");
            assert_eq!(unsealed("vulkan_1_2", &whole[..at]), None, "cut at {at}");
        }
        assert_eq!(unsealed("vulkan_1_2", &[whole.as_slice(), b"more"].concat()), None);
        assert_eq!(unsealed("key", &sealed("key", b"")), Some(b"".as_slice()));
    }
}
