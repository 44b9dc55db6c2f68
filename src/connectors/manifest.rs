//! Which files of an output belong to which micro-batch, with their sizes and checksums: what a reader can trust.
//!
//! Beside the files, in the folder `_manifest`, lies a small file for each micro-batch that has files. It appears, as a whole
//! or not at all, when all files of its batch are in their places, and it names them:
//!
//! ```text
//! {"pelton_manifest":1,"batch":7,"rows":2,"bytes":24,"files":[{"name":"part-…-00000.csv","rows":2,"bytes":24,"crc32":"1c291ca3"}]}⏎
//! crc32 8f0a2c11⏎                            of the line above
//! ```
//!
//! Files that no manifest names are of a batch that is being written, or of an attempt that died: a reader that takes only
//! what is named sees each batch as a whole and each row once. [`verify`] compares a folder with its manifests.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Place, Result};

/// The folder of the manifests, in that of the output.
pub const FOLDER: &str = "_manifest";

/// The form that is written and read.
const FORM: u32 = 1;

/// The files of a micro-batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchManifest {
    /// The form.
    pelton_manifest: u32,
    /// The batch.
    pub batch: u64,
    /// Rows of all files together.
    pub rows: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// The files, in the order of their rows.
    pub files: Vec<NamedFile>,
}

/// A file that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    /// Its name in the folder of the output.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The CRC-32 of its bytes, as eight hexadecimal digits.
    pub crc32: String,
}

impl BatchManifest {
    /// The manifest of a batch with these files.
    pub fn new(batch: u64, files: Vec<NamedFile>) -> Self {
        let (rows, bytes) = files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
        Self { pelton_manifest: FORM, batch, rows, bytes, files }
    }

    /// As it is written.
    ///
    /// # Errors
    /// None as a rule: names of files are texts.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("a manifest cannot be written down: {error}")).because(error))?;
        let checksum = hexadecimal(crc32fast::hash(text.as_bytes()));
        text.push_str(&format!("\ncrc32 {checksum}\n"));
        Ok(text.into_bytes())
    }

    /// As it was written; `place` is where it lies.
    ///
    /// # Errors
    /// `Corrupt` for what nobody wrote so, `Unsupported` for another form.
    pub fn from_bytes(bytes: &[u8], place: &Path) -> Result<Self> {
        let corrupt = |message: String| {
            Error::new(ErrorKind::Corrupt, format!("a manifest is damaged: {message}"))
                .at(Place::file(place))
                .advice("write the batch again, for example by `pelton checkpoint rollback`")
        };
        let text = std::str::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))?;
        let (line, checksum) = text
            .strip_suffix('\n')
            .and_then(|text| text.rsplit_once("\ncrc32 "))
            .ok_or_else(|| corrupt("its checksum is missing".to_owned()))?;
        if hexadecimal(crc32fast::hash(line.as_bytes())) != checksum {
            return Err(corrupt("its checksum does not fit".to_owned()));
        }
        let form = serde_json::from_str::<Form>(line).map_err(|error| corrupt(error.to_string()))?;
        if form.pelton_manifest != FORM {
            let message = format!("a manifest has form {}; this release reads form {FORM}", form.pelton_manifest);
            return Err(Error::new(ErrorKind::Unsupported, message).at(Place::file(place)));
        }
        serde_json::from_str(line).map_err(|error| corrupt(error.to_string()))
    }
}

#[derive(Deserialize)]
struct Form {
    pelton_manifest: u32,
}

/// The name of the manifest of a batch.
pub(super) fn name_of(batch: u64) -> String {
    format!("{batch:020}.json")
}

/// The batch of a manifest of this name.
fn batch_of(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok().filter(|&batch| name_of(batch) == name)
}

/// The batches that have a manifest in the folder of an output, rising.
///
/// # Errors
/// A folder that cannot be listed.
pub fn batches(output: &Path) -> Result<Vec<u64>> {
    let folder = output.join(FOLDER);
    let failed = |error| Error::io(&folder, "list the manifests of an output", error);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut batches = Vec::new();
    for entry in entries {
        batches.extend(entry.map_err(failed)?.file_name().to_str().and_then(batch_of));
    }
    batches.sort_unstable();
    Ok(batches)
}

/// The manifest of a batch; none if it has none.
///
/// # Errors
/// `Corrupt` for one that is damaged.
pub fn read(output: &Path, batch: u64) -> Result<Option<BatchManifest>> {
    let path = output.join(FOLDER).join(name_of(batch));
    match fs::read(&path) {
        Ok(bytes) => BatchManifest::from_bytes(&bytes, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(&path, "read a manifest", error)),
    }
}

/// All manifests of an output, by rising batch.
///
/// # Errors
/// As for [`read`].
pub fn read_all(output: &Path) -> Result<Vec<BatchManifest>> {
    let all = batches(output)?.into_iter().map(|batch| read(output, batch));
    Ok(all.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// What comparing an output with its manifests has found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Batches that have a manifest.
    pub batches: u64,
    /// Files that they name.
    pub files: u64,
    /// Rows of these.
    pub rows: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is missing or is not what was written: each file, and what is wrong.
    pub damages: Vec<(PathBuf, String)>,
    /// Files that no manifest names: of a batch that is being written, or of an attempt that died.
    pub unnamed: Vec<PathBuf>,
}

/// Reads all files that the manifests of an output name, and compares them. Changes nothing.
///
/// # Errors
/// A folder that is not there or has no manifests, and files that cannot be read.
pub fn verify(output: &Path) -> Result<Report> {
    let failed = |error| Error::io(output, "list the folder of an output", error);
    let mut present: Vec<String> = Vec::new();
    for entry in fs::read_dir(output).map_err(failed)? {
        present.extend(
            entry.map_err(failed)?.file_name().to_str().filter(|name| name.starts_with("part-")).map(str::to_owned),
        );
    }
    let batches = batches(output)?;
    if batches.is_empty() {
        let error = Error::new(ErrorKind::NotFound, "there are no manifests here").at(Place::file(output));
        return Err(error.advice("name a folder that a sink of type \"files\" has written to"));
    }
    let mut report = Report { batches: batches.len() as u64, ..Report::default() };
    for batch in batches {
        let path = output.join(FOLDER).join(name_of(batch));
        let manifest = match read(output, batch) {
            Ok(Some(manifest)) => manifest,
            // Removed meanwhile.
            Ok(None) => continue,
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                report.damages.push((path, error.message().to_owned()));
                continue;
            }
            Err(error) => return Err(error),
        };
        for file in &manifest.files {
            present.retain(|name| *name != file.name);
            report.files += 1;
            report.rows += file.rows;
            let path = output.join(&file.name);
            match summed(&path) {
                Ok((bytes, crc32)) => {
                    report.bytes += bytes;
                    if bytes != file.bytes {
                        report.damages.push((path, format!("it has {bytes} bytes; {} were written", file.bytes)));
                    } else if crc32 != file.crc32 {
                        let message = format!("its checksum is {crc32}; it was {} when it was written", file.crc32);
                        report.damages.push((path, message));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    report.damages.push((path, "it is missing".to_owned()));
                }
                Err(error) => return Err(Error::io(&path, "read a file", error)),
            }
        }
    }
    present.sort();
    report.unnamed = present.into_iter().map(|name| output.join(name)).collect();
    Ok(report)
}

/// Bytes and checksum of a file.
fn summed(path: &Path) -> io::Result<(u64, String)> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut bytes, mut hasher, mut block) = (0, crc32fast::Hasher::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((bytes, hexadecimal(hasher.finalize())));
        }
        bytes += read as u64;
        hasher.update(&block[..read]);
    }
}

fn hexadecimal(checksum: u32) -> String {
    format!("{checksum:08x}")
}

/// A writer that counts and sums what goes through it; others hold what it knows.
#[derive(Debug)]
pub(super) struct Summing<W> {
    to: W,
    sum: Sum,
}

/// Bytes and checksum of what has been written so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum(Arc<Mutex<(u64, crc32fast::Hasher)>>);

impl Sum {
    /// Bytes, and the checksum as manifests have it.
    pub(super) fn told(&self) -> (u64, String) {
        let sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (sum.0, hexadecimal(sum.1.clone().finalize()))
    }
}

impl<W: Write> Summing<W> {
    pub(super) fn new(to: W, sum: Sum) -> Self {
        Self { to, sum }
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        let mut sum = self.sum.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0 += written as u64;
        sum.1.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_and_every_damaged_byte_is_found() {
        let file = NamedFile { name: "part-x.csv".to_owned(), rows: 3, bytes: 7, crc32: hexadecimal(7) };
        let manifest = BatchManifest::new(5, vec![file.clone(), file]);
        assert_eq!((manifest.rows, manifest.bytes), (6, 14));
        let bytes = manifest.to_bytes().unwrap();
        let read = |bytes: &[u8]| BatchManifest::from_bytes(bytes, Path::new("m"));
        assert_eq!(read(&bytes).unwrap(), manifest);
        for byte in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 1;
            assert!(read(&damaged).is_err(), "byte {byte}");
            assert!(read(&bytes[..byte]).is_err(), "cut at {byte}");
        }
        let newer = r#"{"pelton_manifest":2}"#;
        let newer = format!("{newer}\ncrc32 {}\n", hexadecimal(crc32fast::hash(newer.as_bytes())));
        assert_eq!(read(newer.as_bytes()).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
