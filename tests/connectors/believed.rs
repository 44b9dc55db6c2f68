//! CSV files that are cut at line ends which may be in quotes: either all is as if they were cut between records, or it is
//! found out.

use std::fs;
use std::sync::Arc;

use pelton::columnar::{DataType, Field, Schema};
use pelton::connectors::directory::DirectorySource;
use pelton::connectors::{OffsetRange, Source};
use pelton::error::ErrorKind;
use pelton::formats::{BadRecordPolicy, BatchReader, Format, FormatKind, FormatOptions};
use tempfile::TempDir;

use crate::common::Random;
use crate::tables::next;

fn options(policy: BadRecordPolicy, header: bool) -> FormatOptions {
    let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)];
    let mut options = FormatOptions::new(FormatKind::Csv).with_schema(Schema::new(fields).into()).with_policy(policy);
    options.header = Some(header);
    options.comment = Some("#".into());
    options
}

/// What all readers of a range gave, or what is wrong with the first that failed, but for lines, which only the reader of a
/// file's first part knows.
fn read_all(readers: Vec<Box<dyn BatchReader>>) -> Result<String, (ErrorKind, String)> {
    let (mut rows, mut aside, mut whole) = (Vec::new(), Vec::new(), pelton::formats::ReadReport::default());
    let mut first_error = None;
    for mut reader in readers {
        let mut read = || -> pelton::error::Result<()> {
            while let Some(batch) = reader.next_batch()? {
                let text = |column, row| arrow_cast::display::array_value_to_string(batch.column(column), row);
                rows.extend((0..batch.num_rows()).map(|row| format!("{:?} {:?}", text(0, row), text(1, row))));
            }
            Ok(())
        };
        if let Err(error) = read() {
            let place = error.place();
            first_error
                .get_or_insert((error.kind(), format!("{} {:?} {:?}", error.message(), place.byte, place.column)));
        }
        aside.extend(
            reader.take_aside().into_iter().map(|aside| (aside.record.place.byte, aside.record.reason, aside.bytes)),
        );
        whole.absorb(reader.report());
    }
    whole.examples.iter_mut().for_each(|bad| bad.place.line = None);
    first_error.map_or_else(|| Ok(format!("{rows:?} {aside:?} {whole:?}")), Err)
}

/// Reads a file in each number of parts, cut in both ways, and counts in how many of them a belief was false.
fn check(text: &[u8], format: &Arc<dyn Format>, split_bytes: u64) -> (usize, usize) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.csv"), text).unwrap();
    let mut source = DirectorySource::new(folder.path(), Arc::clone(format)).unwrap().split_bytes(split_bytes);
    let range: OffsetRange = next(&mut source);
    let (mut held, mut false_ones) = (0, 0);
    for partitions in [1, 2, 3, 4, 5, 8, 100] {
        let known = read_all(source.read(&range, partitions).unwrap());
        let (readers, believes) = source.read_believing(&range, partitions).unwrap();
        assert!(readers.len() <= partitions);
        let believed = read_all(readers);
        let about = format!("{partitions} of {split_bytes} in {:?}", String::from_utf8_lossy(text));
        if let Err((ErrorKind::Corrupt, message)) = &believed {
            assert!(believes && message.contains("inside of a record"), "{message} {about}");
            assert!(text.contains(&b'"'), "without quotes every line end is a border: {about}");
            false_ones += 1;
            continue;
        }
        assert_eq!(believed, known, "{about}");
        held += usize::from(believes && partitions > 1);
    }
    (held, false_ones)
}

/// Records of two fields: good and bad ones, with quotes of each kind.
fn text(random: &mut Random, quotes: bool) -> Vec<u8> {
    let plain = ["1,x", "22,yy", "x,3", "4", "5,z,6", "", "7,", ",", "8,5\" disk", "\u{e4},\u{f6}"];
    let quoted = [
        "1,\"x\ny\"",
        "2,\"\n\n\n\"",
        "3,\"a \"\"b\"\"\n c\"",
        "\"4\",\"z\"",
        "5,\"\r\n\"",
        "6,\"1,2\n3,4\n5,6\n7,8\n\"",
        "7,\"x\"y",
        "x,\"\n9,9\n\"",
        "8,\"\"",
        "9,\"\"\"\n\"\"\"",
        "# \"comment",
        "1,\"not closed",
    ];
    let mut text = Vec::new();
    for _ in 0..random.below(30) {
        // What is not closed is rare: it makes the rest of the file one record that does not end.
        let not_closed = usize::from(random.below(20) == 0);
        let picked = match quotes && random.below(3) > 0 {
            true => quoted[random.below(quoted.len() - 1 + not_closed)],
            false => plain[random.below(plain.len() - 2 * usize::from(!quotes))],
        };
        text.extend_from_slice(picked.as_bytes());
        text.extend_from_slice(random.pick(&["\n", "\n", "\r\n"]).as_bytes());
    }
    if random.below(2) == 0 && text.last() == Some(&b'\n') {
        text.pop();
    }
    text
}

#[test]
fn what_is_believed_holds_or_is_found_out() {
    let mut random = Random::new(7);
    let (mut held, mut false_ones) = (0, 0);
    for case in 0..120 {
        let quotes = case % 4 > 0;
        let policy = [BadRecordPolicy::Fail, BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine]
            [random.below(4)];
        let header = random.below(2) == 0;
        let mut bytes = [&b""[..], b"\xef\xbb\xbf"][random.below(2)].to_vec();
        if header {
            bytes.extend_from_slice(random.pick(&["a,b\n", "# \"\n\nb,a\r\n", "\"a\",\"b\"\n"]).as_bytes());
        }
        bytes.extend(text(&mut random, quotes));
        if bytes.is_empty() {
            continue;
        }
        let format = options(policy, header).build(None).unwrap();
        for split_bytes in [1, 2, 3, 7, 20, 50] {
            let (some_held, some_false) = check(&bytes, &format, split_bytes);
            held += some_held;
            false_ones += some_false;
        }
    }
    assert!(held > 500 && false_ones > 500, "{held} held, {false_ones} were false");
}

#[test]
fn any_bytes_are_read_as_if_cut_between_records() {
    let mut random = Random::new(8);
    let format = options(BadRecordPolicy::Quarantine, false).build(None).unwrap();
    for _ in 0..150 {
        let bytes: Vec<u8> = (0..1 + random.below(120)).map(|_| random.pick(b"a1,,\"\"\n\n\r\xff#")).collect();
        for split_bytes in [1, 3, 20] {
            check(&bytes, &format, split_bytes);
        }
    }
}

/// The first split is looked at before anything is believed.
#[test]
fn nothing_is_believed_of_a_file_that_begins_with_line_ends_in_quotes() {
    let believes = |text: &str, quote: Option<&str>| {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a.csv"), text).unwrap();
        let mut options = options(BadRecordPolicy::Drop, false);
        options.quote = quote.map(str::to_owned);
        let source = DirectorySource::new(folder.path(), options.build(None).unwrap());
        let mut source = source.unwrap().split_bytes(40);
        let range = next(&mut source);
        source.read_believing(&range, 2).unwrap().1
    };
    let plain = "1,x\n".repeat(50);
    assert!(believes(&plain, None));
    assert!(!believes(&plain, Some("")), "without quotes there is nothing to believe");
    assert!(believes(&("1,\"x\"\n".repeat(50)), None));
    assert!(!believes(&format!("1,x\n1,\"x\ny\"\n{plain}"), None));
    assert!(!believes(&format!("1,x\n1,\"{plain}\"\n{plain}"), None), "the split ends in quotes");
    assert!(believes(&format!("{plain}1,\"x\ny\"\n"), None), "too far behind to be seen");
    assert!(!believes("1,x\n", None), "one part");
}
