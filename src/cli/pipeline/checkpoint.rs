//! `checkpoint`: where the query writes down how far it has come.

use std::path::PathBuf;
use std::sync::Arc;

use super::document::{Node, Value};
use super::keys::Keys;
use crate::checkpoint::{CheckpointOptions, FolderStore};
use crate::error::Result;
use crate::runtime::CheckpointPlace;

pub(super) const KEYS: &[&str] = &["path", "sync", "snapshot_every", "retain"];

/// A folder, or a table with the folder and options.
pub(super) fn place(node: &Node) -> Result<CheckpointPlace> {
    let mut options = CheckpointOptions::default();
    let Value::Table(_) = &node.value else {
        let folder = node.text().map_err(|_| node.expected("the path of a folder"))?;
        return Ok(CheckpointPlace { store: Arc::new(FolderStore::new(PathBuf::from(folder))), options });
    };
    let keys = Keys::of(node, "a checkpoint")?;
    keys.only(&[KEYS])?;
    let folder = PathBuf::from(keys.required("path")?.text()?);
    options.snapshot_every = keys.whole("snapshot_every", 1)?.unwrap_or(options.snapshot_every);
    options.retain = keys.whole("retain", 0)?.unwrap_or(options.retain);
    let store = FolderStore::new(folder).sync(keys.boolean("sync")?.unwrap_or(true));
    Ok(CheckpointPlace { store: Arc::new(store), options })
}
