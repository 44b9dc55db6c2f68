//! Input that means harm, or that nobody thought of: what it takes of memory is bounded, and the error says the limit.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton::columnar::DataType;
use pelton::error::{ErrorKind, Place};
use pelton::formats::{BadRecordPolicy, FormatKind, FormatOptions, infer};
use pelton::limits::{FIELDS_MAX, RECORD_BYTES_MAX};

use crate::support::{csv, drain, file, ndjson, read_bytes, rows, text};

/// Notes the largest buffer that it was asked to fill: that is how much of a record a reader holds.
struct Noted<R>(R, Arc<AtomicUsize>);

impl<R: Read> Read for Noted<R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.1.fetch_max(to.len(), Ordering::Relaxed);
        self.0.read(to)
    }
}

/// A record for which a reader has room, at most twice over.
const HELD_MAX: usize = 2 * RECORD_BYTES_MAX + (1 << 20);

/// Eight times what a record may have; more of it changes nothing but the time that a test takes.
const LINE_BYTES: u64 = 8 * RECORD_BYTES_MAX as u64;

#[test]
fn a_line_without_end_is_one_bad_record() {
    for (options, start, good) in [
        (text(), "", "good\n"),
        (ndjson(&[("a", DataType::Int64)]), "{\"a\":\"", "{\"a\":1}\n"),
        (csv(&[("a", DataType::Int64)]), "a\n\"", "1\n"),
    ] {
        let held = Arc::new(AtomicUsize::new(0));
        let input =
            Cursor::new(start).chain(std::io::repeat(b'x').take(LINE_BYTES)).chain(Cursor::new(format!("\n{good}")));
        let lines = options.clone().with_policy(BadRecordPolicy::Drop).build_lines(None).unwrap();
        let reader = lines.reader_of(Box::new(Noted(input, Arc::clone(&held))), Place::default());
        let (batch, report) = drain(&lines.schema(), reader).unwrap();
        assert_eq!((batch.num_rows(), report.dropped), (1, 1), "{:?}", options.kind);
        assert!(report.bytes > LINE_BYTES);
        assert!(held.load(Ordering::Relaxed) <= HELD_MAX, "{} bytes held", held.load(Ordering::Relaxed));
        assert_eq!(report.examples[0].reason, format!("the record is longer than {RECORD_BYTES_MAX} bytes"));
    }
}

#[test]
fn a_header_of_millions_of_columns_is_refused() {
    let options = csv(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    // Ten million columns are longer than a record may be; fewer are more than it may have.
    let header = format!("{}b\n1,2\n", "a,".repeat(10_000_000));
    let error = read_bytes(&options, &header).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRecord);
    assert!(error.message().contains("the record is longer than 16777216 bytes"), "{error}");
    let header = format!("{}b\n1,2\n", "a,".repeat(FIELDS_MAX));
    let error = read_bytes(&options, &header).unwrap_err();
    assert!(error.message().contains("the header has more than 1048576 fields"), "{error}");
    let error = infer(&FormatOptions::new(FormatKind::Csv), file(&header).path()).unwrap_err();
    assert!(error.message().contains("the header has more than 1048576 fields"), "{error}");
    let wide = format!("{}b,z\n1{}2\n", "x,".repeat(FIELDS_MAX - 2), ",".repeat(FIELDS_MAX - 2));
    let options = csv(&[("b", DataType::Utf8)]);
    let error = read_bytes(&options, &wide).unwrap_err();
    assert!(error.message().contains("the record has 1048575 fields where 1048576 are expected"), "{error}");
}

#[test]
fn a_record_of_millions_of_fields_is_one_bad_record() {
    let options = csv(&[("a", DataType::Int64), ("b", DataType::Utf8)]).with_policy(BadRecordPolicy::Drop);
    let (batch, report) = read_bytes(&options, format!("a,b\n1,x\n{}\n2,y\n", ",".repeat(8_000_000))).unwrap();
    assert_eq!(rows(&batch), [r#"{"a":1,"b":"x"}"#, r#"{"a":2,"b":"y"}"#]);
    assert!(report.examples[0].reason.contains("at least 1048577 fields where 2 are expected"), "{report:?}");
}

#[test]
fn an_object_of_half_a_million_fields_is_read_for_the_one_that_is_wished() {
    let fields: String = (0..500_000).map(|n| format!("\"f{n}\":{n},")).collect();
    let (batch, _) = read_bytes(&ndjson(&[("a", DataType::Int64)]), format!("{{{fields}\"a\":7}}\n")).unwrap();
    assert_eq!(rows(&batch), [r#"{"a":7}"#]);
}

#[test]
fn deep_values_are_refused_wherever_they_stand() {
    let deep = "[".repeat(1_000_000);
    let options = ndjson(&[("a", DataType::Int64), ("l", DataType::new_list(DataType::Int64, true))]);
    for text in [
        format!("{{\"x\":{deep}"),
        format!("{{\"a\":{deep}"),
        format!("{{\"l\":{deep}"),
        // Behind records that were taken many at once.
        format!("{}{{\"a\":1,\"x\":{deep}\n", "{\"a\":1,\"x\":[]}\n".repeat(50)),
    ] {
        let error = read_bytes(&options, &text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRecord, "{error}");
        let (_, report) = read_bytes(&options.clone().with_policy(BadRecordPolicy::Drop), &text).unwrap();
        assert_eq!(report.dropped, 1);
    }
    let error = infer(&FormatOptions::new(FormatKind::Ndjson), file(format!("{{\"a\":{deep}\n")).path()).unwrap_err();
    assert!(!error.message().is_empty());
}

#[cfg(feature = "compression")]
#[test]
fn what_grows_a_thousandfold_when_it_is_unpacked_is_read_block_by_block() {
    use std::io::Write;
    // A quarter of a gigabyte in one line is about a megabyte of gzip.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = vec![b'0'; 1 << 20];
    (0..256).for_each(|_| encoder.write_all(&block).unwrap());
    encoder.write_all(b"\nlast\n").unwrap();
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 2 << 20, "{}", packed.len());
    let file = crate::support::named_file(".gz", packed);
    let error = crate::support::read(&text(), file.path()).unwrap_err();
    assert!(error.message().contains("the record is longer than 16777216 bytes"), "{error}");
    let (batch, report) = crate::support::read(&text().with_policy(BadRecordPolicy::Drop), file.path()).unwrap();
    assert_eq!((rows(&batch), report.dropped), (vec![r#"{"line":"last"}"#.to_owned()], 1));
}

#[cfg(feature = "compression")]
#[test]
fn a_zstd_frame_that_asks_for_gigabytes_is_refused() {
    // Magic number, a frame without a size, and a window of 2^41 bytes; the library takes 2^27 at most.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
    let error = crate::support::read(&text(), crate::support::named_file(".zst", frame).path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("memory"), "{error}");
}
