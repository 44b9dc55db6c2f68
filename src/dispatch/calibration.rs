//! Rates of devices kept from run to run, so that only the first one has to measure.
//!
//! A small file for each adapter and driver in the user's folder for caches. It may be gone at any time, and whatever is
//! wrong with it (cut short, of another release, of another driver) only means that the device is measured anew.
//! `PELTON_CACHE` names another folder; `PELTON_CACHE=off`, or `Placement::without_cache`, keeps nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kernels::gpu::{AdapterInfo, Rates};

/// Rises when a figure changes its meaning.
const FORMAT: u32 = 1;

/// The variable that names the folder, or says `off`.
const VARIABLE: &str = "PELTON_CACHE";

/// What a device, the way to it and one thread of the CPU can do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The device and the way to it.
    #[serde(flatten)]
    pub rates: Rates,
    /// Bytes a second that one thread of the CPU adds up.
    pub cpu: f64,
}

/// What the file holds: which device these are the rates of, and the rates.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    adapter: String,
    interface: String,
    driver: String,
    /// Whether the program was optimised: the speed of the CPU is another one without.
    optimised: bool,
    #[serde(flatten)]
    calibration: Calibration,
}

const OPTIMISED: bool = !cfg!(debug_assertions);

impl Calibration {
    fn is_sound(&self) -> bool {
        self.rates.are_sound() && self.cpu.is_finite() && self.cpu > 0.0
    }

    /// What is kept of an adapter, if there is something that can be trusted.
    pub(super) fn load(folder: &Path, adapter: &AdapterInfo) -> Option<Self> {
        let text = fs::read_to_string(file(folder, adapter)).ok()?;
        let kept: Kept = serde_json::from_str(&text).ok()?;
        let is_meant = kept.format == FORMAT
            && kept.optimised == OPTIMISED
            && (&kept.adapter, &kept.interface, &kept.driver) == (&adapter.name, &adapter.interface, &adapter.driver);
        Some(kept.calibration).filter(|calibration| is_meant && calibration.is_sound())
    }

    /// Keeps it. That it cannot be kept is no trouble: it is measured anew then.
    pub(super) fn store(self, folder: &Path, adapter: &AdapterInfo) {
        let kept = Kept {
            format: FORMAT,
            adapter: adapter.name.clone(),
            interface: adapter.interface.clone(),
            driver: adapter.driver.clone(),
            optimised: OPTIMISED,
            calibration: self,
        };
        let (Ok(text), Ok(())) = (serde_json::to_string_pretty(&kept), fs::create_dir_all(folder)) else { return };
        let target = file(folder, adapter);
        // Another process may read at the same moment: the file is there as a whole or not at all.
        let draft = target.with_extension(format!("{}.draft", std::process::id()));
        let written = fs::write(&draft, text + "\n").and_then(|()| fs::rename(&draft, target));
        if written.is_err() {
            drop(fs::remove_file(draft));
        }
    }
}

/// Names of adapters and drivers may hold anything; what is lost of them here is compared inside.
fn file(folder: &Path, adapter: &AdapterInfo) -> PathBuf {
    let letters = format!("{} {} {}", adapter.name, adapter.interface, adapter.driver);
    let plain = letters.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    folder.join(format!("gpu-{}.json", plain.take(120).collect::<String>().to_lowercase()))
}

/// The folder, if one is to be used and can be told.
pub(super) fn folder() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set(VARIABLE) {
        return (folder.as_os_str() != "off").then_some(folder);
    }
    let home = |rest: &str| set("HOME").map(|home| home.join(rest));
    let caches = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else {
        set("XDG_CACHE_HOME").filter(|folder| folder.is_absolute()).or_else(|| home(".cache"))
    };
    caches.map(|caches| caches.join("pelton"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gpu::Tier;

    fn adapter(driver: &str) -> AdapterInfo {
        AdapterInfo {
            name: "Some/GPU: \"5\"".to_owned(),
            interface: "Vulkan".to_owned(),
            class: "discrete",
            driver: driver.to_owned(),
            tier: Tier::Wide,
            binding_bytes_max: 1 << 30,
            buffer_bytes_max: 1 << 30,
            shares_memory: false,
        }
    }

    fn calibration() -> Calibration {
        Calibration { rates: Rates { up: 2e10, down: 1.5e10, copy: 8e11, round_trip: 6e-5 }, cpu: 1.1e10 }
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("not/there/yet");
        assert_eq!(Calibration::load(&below, &adapter("1.0")), None);
        calibration().store(&below, &adapter("1.0"));
        assert_eq!(Calibration::load(&below, &adapter("1.0")), Some(calibration()));
        assert_eq!(fs::read_dir(&below).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn another_driver_is_measured_anew() {
        let folder = tempfile::tempdir().unwrap();
        calibration().store(folder.path(), &adapter("1.0"));
        assert_eq!(Calibration::load(folder.path(), &adapter("1.1")), None);
        // The names of the files are the same here.
        assert_eq!(Calibration::load(folder.path(), &adapter("1-0")), None);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let (adapter, path) = (adapter("1.0"), file(folder.path(), &adapter("1.0")));
        calibration().store(folder.path(), &adapter);
        let whole = fs::read_to_string(&path).unwrap();
        let wrong = [
            String::new(),
            whole[..whole.len() / 2].to_owned(),
            whole.replace("\"format\": 1", "\"format\": 2"),
            whole.replace("\"up\": 20000000000.0", "\"up\": -1.0"),
            whole.replace("\"cpu\": 11000000000.0", "\"cpu\": 0.0"),
            whole.replace("\"round_trip\"", "\"other\""),
            whole.replace(&format!("\"optimised\": {OPTIMISED}"), &format!("\"optimised\": {}", !OPTIMISED)),
            "[]".to_owned(),
        ];
        for text in wrong {
            assert_ne!(text, whole);
            fs::write(&path, &text).unwrap();
            assert_eq!(Calibration::load(folder.path(), &adapter), None, "{text}");
        }
        calibration().store(folder.path(), &adapter);
        assert_eq!(Calibration::load(folder.path(), &adapter), Some(calibration()));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        calibration().store(&file, &adapter("1.0"));
        assert_eq!(Calibration::load(&file, &adapter("1.0")), None);
    }
}
