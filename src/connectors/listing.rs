//! Which files a path stands for: a file, a directory, or a glob pattern.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::connectors::manifest;
use crate::error::{Error, ErrorKind, Place, Result};

/// A path that stands for files.
#[derive(Debug)]
pub(crate) enum Listing {
    /// This one file.
    File(PathBuf),
    /// The files in a directory, and in those below it if asked for.
    Directory {
        /// The directory.
        root: PathBuf,
        /// Whether directories below are listed too.
        recursive: bool,
    },
    /// The files that manifests in a directory name.
    Manifest {
        /// The directory.
        root: PathBuf,
        /// The files of the batches whose manifests have been read.
        known: RefCell<BTreeMap<u64, Vec<PathBuf>>>,
    },
    /// The files that match a pattern.
    Pattern {
        /// The longest part of the pattern without wild cards.
        root: PathBuf,
        /// All of it.
        pattern: String,
    },
}

impl Listing {
    /// Looks at what `path` is. A name with wild cards that exists as it stands is taken as it stands.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                return Ok(Self::Directory { root: path.to_owned(), recursive: false });
            }
            Ok(_) => return Ok(Self::File(path.to_owned())),
            Err(_) => {}
        }
        let is_wild = |part: &std::ffi::OsStr| part.to_string_lossy().contains(['*', '?', '[']);
        let root: PathBuf = path.iter().take_while(|part| !is_wild(part)).collect();
        if root.as_path() == path {
            return Err(missing(path));
        }
        let pattern = path.to_string_lossy().into_owned();
        glob::Pattern::new(&pattern).map_err(|error| {
            Error::new(ErrorKind::InvalidOption, format!("\"{pattern}\" is no glob pattern: {error}")).because(error)
        })?;
        let folder = if root.as_os_str().is_empty() { Path::new(".") } else { &root };
        if !folder.is_dir() {
            return Err(missing(folder));
        }
        Ok(Self::Pattern { root, pattern })
    }

    /// What the names of files are relative to.
    pub(crate) fn root(&self) -> &Path {
        match self {
            Self::File(path) => path.parent().unwrap_or(Path::new("")),
            Self::Directory { root, .. } | Self::Pattern { root, .. } | Self::Manifest { root, .. } => root,
        }
    }

    /// Calls `visit` for each file, in no particular order, with its name relative to the root. What is called a file
    /// may be a link or, for patterns, a directory: looking closer is left to the caller, who may know the name already.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
        match self {
            Self::File(path) => path.file_name().map_or(Ok(()), |name| visit(Path::new(name))),
            Self::Directory { root, recursive } => {
                let mut folders = vec![PathBuf::new()];
                while let Some(folder) = folders.pop() {
                    list(root, &folder, if *recursive { Some(&mut folders) } else { None }, visit)?;
                }
                Ok(())
            }
            Self::Manifest { root, known } => {
                let mut known = known.borrow_mut();
                for batch in manifest::batches(root)? {
                    if let (false, Some(named)) = (known.contains_key(&batch), manifest::read(root, batch)?) {
                        known.insert(batch, named.files.into_iter().map(|file| file.name.into()).collect());
                    }
                }
                known.values().flatten().try_for_each(|name| visit(name))
            }
            Self::Pattern { root, pattern } => {
                let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
                let paths = glob::glob_with(pattern, options)
                    .map_err(|error| Error::internal(format!("a checked glob pattern was refused: {error}")))?;
                for path in paths {
                    let path = path.map_err(|error| {
                        let at = error.path().to_owned();
                        Error::io(at, "list the files of a pattern", error.into())
                    })?;
                    if path.file_name().is_some_and(|name| !is_ignored(name)) {
                        visit(path.strip_prefix(root).unwrap_or(&path))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Visits the files of one folder, and notes the folders in it.
fn list(
    root: &Path,
    folder: &Path,
    mut below: Option<&mut Vec<PathBuf>>,
    visit: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<()> {
    let path = root.join(folder);
    let failed = |error| Error::io(&path, "list a directory", error);
    let is_root = folder.as_os_str().is_empty();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        // A folder below may have been removed since it was found.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_root => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if is_ignored(&name) {
            continue;
        }
        let file = folder.join(&name);
        if entry.file_type().map_err(failed)?.is_dir() {
            if let Some(folders) = &mut below {
                folders.push(file);
            }
        } else {
            visit(&file)?;
        }
    }
    Ok(())
}

/// Names that say "not yet" or "not data".
fn is_ignored(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") || name.starts_with(b"_") || name.ends_with(b".tmp")
}

fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, "no such file or directory")
        .at(Place::file(path))
        .advice("create the directory before the query starts, or mend the path")
}
