//! The files of a source in several forms, which hold the same rows in the same order.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

/// Records in a piece.
const RECORDS_PER_PIECE: usize = 37;

/// A form of the same rows.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// The files as they are.
    Plain,
    /// One file with all rows.
    Joined,
    /// Many small files.
    Pieces,
    /// The files, compressed.
    Gzip,
}

/// A source of type `files` in a pipeline file.
pub(crate) struct Source {
    pub(crate) name: String,
    /// The line that opens each file.
    header: Option<String>,
    /// The records of each file, with their line ends.
    files: Vec<Vec<String>>,
}

impl Source {
    pub(crate) fn of(described: &toml::Value) -> Self {
        let text = |key: &str| described[key].as_str().unwrap();
        let says_header = described.get("header").is_none_or(|header| header.as_bool().unwrap());
        let has_header = text("format") == "csv" && says_header;
        let mut header = None;
        let mut paths: Vec<_> = glob::glob(text("path")).unwrap().map(Result::unwrap).collect();
        paths.sort();
        let files = paths.iter().map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let mut records = text.split_inclusive('\n').map(str::to_owned);
            if has_header {
                header = records.next();
            }
            records.collect()
        });
        let files = files.collect();
        Self { name: text("name").to_owned(), header, files }
    }

    /// Writes the files into a new folder. All bear the same time, so that their names alone order them.
    pub(crate) fn lay_out(&self, form: Form, folder: &Path) {
        fs::create_dir(folder).unwrap();
        let joined = [self.files.concat()];
        let pieces = || self.files.iter().flat_map(|records| records.chunks(RECORDS_PER_PIECE));
        let files: Vec<&[String]> = match form {
            Form::Plain | Form::Gzip => self.files.iter().map(Vec::as_slice).collect(),
            Form::Joined => vec![&joined[0]],
            Form::Pieces => pieces().collect(),
        };
        for (number, records) in files.into_iter().enumerate() {
            let text = format!("{}{}", self.header.as_deref().unwrap_or_default(), records.concat());
            let is_packed = matches!(form, Form::Gzip);
            let name = format!("part-{number:04}.{}", if is_packed { "data.gz" } else { "data" });
            let mut file = fs::File::create(folder.join(name)).unwrap();
            file.write_all(&if is_packed { gzip(&text) } else { text.into_bytes() }).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}
