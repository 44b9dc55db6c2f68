//! Where the tree lies that a test belongs to.

use std::path::PathBuf;

/// The folder of `Cargo.toml`: as cargo names it now, not as it was when the test was built. Two clones that share a folder
/// of build output share binaries too, and one must not look at the other's files.
pub(crate) fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}
