//! Compressed text: the same rows, and typed errors wherever the data ends early or is damaged.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use pelton::columnar::DataType;
use pelton::error::ErrorKind;
use proptest::prelude::*;

use crate::support::{csv, named_file, read, read_bytes, read_cut, rows};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 0).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn options() -> pelton::formats::FormatOptions {
    csv(&[("n", DataType::Int64), ("t", DataType::Utf8)])
}

fn plain() -> Vec<u8> {
    let lines: String = (0..20_000).map(|n| format!("{n},\"text {}\"\n", n * 7919 % 1009)).collect();
    format!("n,t\n{lines}").into_bytes()
}

#[test]
fn compressed_files_read_as_what_they_hold() {
    let plain = plain();
    let (expected, _) = read_bytes(&options(), &plain).unwrap();
    for (name, bytes) in [(".csv.gz", gzip(&plain)), (".csv.zst", zstd(&plain)), ("", gzip(&plain)), ("", zstd(&plain))]
    {
        let file = named_file(name, &bytes);
        let (batch, report) = read_cut(&*options().build(None).unwrap(), file.path(), 1000).unwrap();
        assert_eq!(batch, expected, "{name}");
        assert_eq!(report.bytes, bytes.len() as u64, "bytes are counted before decompression");
    }
}

#[test]
fn several_members_are_one_file() {
    let plain = plain();
    let (head, tail) = plain.split_at(plain.len() / 3);
    for (name, compress) in [(".gz", gzip as fn(&[u8]) -> Vec<u8>), (".zst", zstd)] {
        let file = named_file(name, [compress(head), compress(b""), compress(tail)].concat());
        assert_eq!(read(&options(), file.path()).unwrap().0, read_bytes(&options(), &plain).unwrap().0, "{name}");
    }
}

#[test]
fn a_name_that_promises_too_much_is_a_typed_error() {
    for name in [".gz", ".zst"] {
        let file = named_file(name, "n,t\n1,x\n");
        let error = read(&options(), file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(error.place().byte, Some(0));
        assert_eq!(error.place().file.as_deref(), Some(file.path()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cut_off_data_is_corrupt_at_a_byte(at in 1usize..10_000, is_gzip: bool) {
        let plain = plain();
        let (name, bytes) = if is_gzip { (".gz", gzip(&plain)) } else { (".zst", zstd(&plain)) };
        let file = named_file(name, &bytes[..at % (bytes.len() - 1) + 1]);
        let error = read(&options(), file.path()).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error);
        prop_assert_eq!(error.place().file.as_deref(), Some(file.path()));
        prop_assert!(error.place().byte.unwrap() <= plain.len() as u64);
    }

    #[test]
    fn damaged_data_is_an_error_or_reads_as_before(at: prop::sample::Index, flip in 1u8.., is_gzip: bool) {
        let plain = plain();
        let (name, mut bytes) = if is_gzip { (".gz", gzip(&plain)) } else { (".zst", zstd(&plain)) };
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let file = named_file(name, &bytes);
        if let Ok((batch, _)) = read(&options(), file.path()) {
            // Bytes of a header that mean nothing, such as a time stamp.
            prop_assert_eq!(rows(&batch), rows(&read_bytes(&options(), &plain).unwrap().0));
        }
    }
}
