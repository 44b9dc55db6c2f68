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

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_checksum(true).block_checksums(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const ALL: [(&str, Compress); 4] = [(".gz", gzip), (".zst", zstd), (".lz4", lz4), (".sz", snappy)];

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
    // By the ending of the name, and by the first bytes.
    let named = ALL.map(|(name, compress)| (format!(".csv{name}"), compress(&plain)));
    let unnamed = ALL.map(|(_, compress)| (String::new(), compress(&plain)));
    for (name, bytes) in named.into_iter().chain(unnamed) {
        let file = named_file(&name, &bytes);
        let (batch, report) = read_cut(&*options().build(None).unwrap(), file.path(), 1000).unwrap();
        assert_eq!(batch, expected, "{name}");
        assert_eq!(report.bytes, bytes.len() as u64, "bytes are counted before decompression");
    }
}

#[test]
fn several_members_are_one_file() {
    let plain = plain();
    let (head, tail) = plain.split_at(plain.len() / 3);
    for (name, compress) in ALL {
        let file = named_file(name, [compress(head), compress(b""), compress(tail)].concat());
        assert_eq!(read(&options(), file.path()).unwrap().0, read_bytes(&options(), &plain).unwrap().0, "{name}");
    }
}

#[test]
fn a_name_that_promises_too_much_is_a_typed_error() {
    for (name, _) in ALL {
        let file = named_file(name, "n,t\n1,x\n");
        let error = read(&options(), file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(error.place().byte, Some(0));
        assert_eq!(error.place().file.as_deref(), Some(file.path()));
    }
}

#[test]
fn damaged_snappy_is_found_by_its_checksums() {
    let plain = plain();
    let whole = snappy(&plain);
    // Behind the head of the stream (10 bytes) and that of the first chunk (8 bytes) there are data only.
    for at in [18, 19, 100, 5000, 9000] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let file = named_file(".sz", &bytes);
        assert_eq!(read(&options(), file.path()).unwrap_err().kind(), ErrorKind::Corrupt, "{at}");
    }
    let file = named_file(".sz", &whole[..whole.len() - 1]);
    assert_eq!(read(&options(), file.path()).unwrap_err().kind(), ErrorKind::Corrupt);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cut_off_data_is_corrupt_at_a_byte(at in 1usize..10_000, which in 0usize..3) {
        let plain = plain();
        // Snappy does not say where it ends.
        let (name, compress) = ALL[which];
        let bytes = compress(&plain);
        let file = named_file(name, &bytes[..at % (bytes.len() - 1) + 1]);
        let error = read(&options(), file.path()).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error);
        prop_assert_eq!(error.place().file.as_deref(), Some(file.path()));
        prop_assert!(error.place().byte.unwrap() <= plain.len() as u64);
    }

    #[test]
    fn damaged_data_is_an_error_or_reads_as_before(at: prop::sample::Index, flip in 1u8.., which in 0usize..3) {
        let plain = plain();
        let (name, compress) = ALL[which];
        let mut bytes = compress(&plain);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let file = named_file(name, &bytes);
        if let Ok((batch, _)) = read(&options(), file.path()) {
            // Bytes of a header that mean nothing, such as a time stamp.
            prop_assert_eq!(rows(&batch), rows(&read_bytes(&options(), &plain).unwrap().0));
        }
    }
}
