//! Random bytes for every decoder, for as long as somebody likes: each must end, without a panic, in bounded memory, and
//! give the same rows however a file is cut.
//!
//! ```sh
//! cargo run --release --example fuzz -- ndjson 3600      # a decoder, seconds, and perhaps a seed
//! ```
//!
//! Inputs are documents with bytes changed, taken out, put in, doubled and swapped: these reach deeper than noise. An
//! input that breaks a promise is written to a file, whose name comes with the message. It does not watch which code runs,
//! as an instrumented fuzzer would.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]
#![expect(clippy::disallowed_methods, reason = "how long it runs is a matter of real time")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Int32Array, StringArray};
use pelton::columnar::{DataType, Field, Schema, TimeUnit, data_type};
use pelton::formats::{
    BadRecordPolicy, Bound, CheckedRows, Format, FormatKind, FormatOptions, Keeps, ReadReport, encoder, infer,
    json_objects, panic_becomes_error,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const JSON: &str = "{\"i\":1,\"f\":-2.5e3,\"t\":\"a\\u00e9\\n\",\"b\":true,\"d\":\"1.25\",\"at\":\"2026-03-01T09:30:00.5Z\",\
                    \"day\":\"2026-03-01\",\"l\":[1,null,3],\"s\":{\"x\":4,\"y\":\"z\"},\"other\":[{}]}\n\n{\"i\":null}\r\n\
                    {\"t\":\"plain\",\"i\":-7}\n{\"t\":\"plain\",\"i\":12345678}\n{\"t\":\"more than sixteen bytes\",\"i\":0}\n";
const CSV: &str = "i,f,t,b,d,at,day\n1,-2.5e3,\"a\n\"\"b\"\"\",true,1.25,2026-03-01 09:30:00.5,2026-03-01\r\n,,,,,,\n\
                   -12345678,12.5,plain,false,-0.25,2026-03-01,0001-01-01\n7,.5,more than sixteen bytes,true,1,,\n";
const LINES: &str = "a line\n\nanother, with \u{e9}\r\nthe last one";

/// What decoders look for.
const TOKENS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\n",
    b"\r\n",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"null",
    b"true",
    b"1e400",
    b"-0",
    b"NaN",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"99999999999999999999",
    b"\"\"",
    b"{\"i\":1}\n",
    b"1,2,x,true,1,,\n",
    b"        ",
];

/// Numbers that look random, the same for the same seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // Xorshift64*, by Vigna.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % bound.max(1)
    }
}

/// A document, changed in some places.
fn worn(document: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = document.repeat(1 + random.below(4));
    for _ in 0..random.below(12) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap_or_default(),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => bytes.truncate(at),
            5 => {
                let token = TOKENS[random.below(TOKENS.len())].repeat(1 + random.below(3));
                bytes.splice(at..at, token);
            }
            _ => bytes[at..end].reverse(),
        }
    }
    bytes
}

fn schema(nested: bool) -> Schema {
    let inner = vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)];
    let flat = [
        ("i", DataType::Int32),
        ("f", DataType::Float64),
        ("t", DataType::Utf8),
        ("b", DataType::Boolean),
        ("d", DataType::Decimal128(10, 2)),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("day", DataType::Date32),
    ];
    let deep = [("l", DataType::new_list(DataType::Int64, true)), ("s", DataType::Struct(inner.into()))];
    let deep = deep.into_iter().filter(|_| nested);
    Schema::new(flat.into_iter().chain(deep).map(|(name, kind)| Field::new(name, kind, true)).collect::<Vec<_>>())
}

/// Rows as text, records put aside, and the report, of a file under a cut.
type Read = (Vec<Vec<u8>>, Vec<Vec<u8>>, ReadReport);

fn read(options: &FormatOptions, path: &Path, target: u64) -> Outcome<Read> {
    read_by(&*options.build(None)?, path, target)
}

fn read_by(format: &dyn Format, path: &Path, target: u64) -> Outcome<Read> {
    let (mut all, mut aside, mut report) = (Vec::new(), Vec::new(), ReadReport::default());
    for split in format.splits(path, std::fs::metadata(path)?.len(), target)? {
        let mut reader = format.open(&split)?;
        while let Some(batch) = reader.next_batch()? {
            all.extend(json_objects(&batch)?);
        }
        aside.extend(reader.take_aside().into_iter().map(|record| record.bytes));
        report.absorb(reader.report());
    }
    Ok((all, aside, report))
}

fn promise(kept: bool, what: &str) -> Outcome<()> {
    if kept { Ok(()) } else { Err(what.into()) }
}

/// What filters ask of the texts of a row, and then of its whole numbers.
fn bounds(seed: u64) -> Vec<Bound> {
    let keeps = [Keeps::AtMost, Keeps::Equal, Keeps::AtLeast];
    let of = |column, value, keeps| Bound { column, keeps, value };
    let text = of(2, Arc::new(StringArray::from(vec!["plain"])), keeps[usize::from(seed & 1 == 0)]);
    let number = of(0, Arc::new(Int32Array::from(vec![1])), keeps[usize::try_from(seed >> 1 & 1).unwrap_or_default()]);
    [text, number].into_iter().take(1 + usize::try_from(seed >> 2 & 1).unwrap_or_default()).collect()
}

/// The promises of a decoder that leaves rows out: the same ones whatever the cut, none that a filter would keep, and all
/// are counted.
fn left_out(options: &FormatOptions, path: &Path, target: u64, all: &Read) -> Outcome<()> {
    let mut options = options.clone();
    options.checked_rows = Some(CheckedRows::Kept);
    let bounds = bounds(target);
    let bounded = options.build(None)?.bounded(&bounds).ok_or("no rows are left out although that is asked for")?;
    let (whole, cut) = (read_by(&*bounded, path, u64::MAX)?, read_by(&*bounded, path, target)?);
    let counts = |report: &ReadReport| {
        (report.rows, report.pruned, report.dropped, report.nulled, report.quarantined, report.repeated)
    };
    promise((&whole.0, &whole.1) == (&cut.0, &cut.1), "rows that are left out depend on the cut")?;
    promise(counts(&whole.2) == counts(&cut.2), "how many are left out depends on the cut")?;
    let records = |report: &ReadReport| report.rows + report.pruned + report.dropped + report.quarantined;
    promise(records(&whole.2) == records(&all.2), "records are lost where rows are left out")?;
    // Every choice of bounds keeps a row with these two values.
    let is_kept = |row: &&Vec<u8>| holds(row, b"\"t\":\"plain\"") && holds(row, b"\"i\":1,");
    let kept = |rows: &[Vec<u8>]| rows.iter().filter(is_kept).count();
    promise(kept(&whole.0) == kept(&all.0), "a row is left out that every bound keeps")
}

fn holds(row: &[u8], text: &[u8]) -> bool {
    row.windows(text.len()).any(|window| window == text)
}

/// The promises of a decoder of records, under every policy.
fn records(options: &FormatOptions, path: &Path, target: u64) -> Outcome<()> {
    for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine, BadRecordPolicy::Fail] {
        let options = options.clone().with_policy(policy);
        let (whole, cut) = (read(&options, path, u64::MAX), read(&options, path, target));
        promise(whole.is_ok() == cut.is_ok(), "a file can be read in one cut and not in another")?;
        let (Ok(whole), Ok(cut)) = (whole, cut) else {
            let may_fail = policy == BadRecordPolicy::Fail || options.kind == FormatKind::Csv;
            promise(may_fail, "a reader failed where its policy says otherwise")?;
            continue;
        };
        let counts =
            |report: &ReadReport| (report.rows, report.dropped, report.nulled, report.quarantined, report.checksum);
        promise((&whole.0, &whole.1) == (&cut.0, &cut.1), "rows depend on the cut")?;
        promise(counts(&whole.2) == counts(&cut.2), "counts depend on the cut")?;
        promise(whole.2.rows == whole.0.len() as u64, "rows were counted wrong")?;
        let schema = options.schema.as_ref().filter(|_| options.kind != FormatKind::Text);
        if let Some(schema) = schema {
            let mut codes = options.clone();
            codes.schema = Some(data_type::with_coded(schema, &[2].into()));
            let codes = read(&codes, path, target)?;
            promise((&whole.0, &whole.1) == (&codes.0, &codes.1), "texts read as codes are other texts")?;
            if policy != BadRecordPolicy::Fail {
                left_out(&options, path, target, &whole)?;
            }
        }
    }
    Ok(())
}

/// A container of the rows of the CSV document.
fn container(kind: FormatKind, folder: &Path) -> Outcome<(Vec<u8>, FormatOptions)> {
    let path = folder.join("rows.csv");
    std::fs::write(&path, CSV)?;
    let schema = Arc::new(schema(false));
    let format = FormatOptions::new(FormatKind::Csv).with_schema(schema).build(None)?;
    let whole = format.splits(&path, CSV.len() as u64, u64::MAX)?.remove(0);
    let batch = format.open(&whole)?.next_batch()?.ok_or("the document has no rows")?;
    let path = folder.join("container");
    let mut encoder = encoder(&FormatOptions::new(kind), &batch.schema(), Box::new(std::fs::File::create(&path)?))?;
    encoder.write(&batch)?;
    drop(encoder.finish()?);
    Ok((std::fs::read(&path)?, FormatOptions::new(kind).with_schema(batch.schema())))
}

/// One input for a decoder.
fn once(
    decoder: &str,
    random: &mut Random,
    folder: &Path,
    container: Option<&(Vec<u8>, FormatOptions)>,
) -> Outcome<()> {
    let target = 1 + random.next() % 64;
    let input = folder.join("input");
    let lines = |kind, nested| FormatOptions::new(kind).with_schema(Arc::new(schema(nested)));
    match (decoder, container) {
        ("ndjson", _) => {
            std::fs::write(&input, worn(JSON.as_bytes(), random))?;
            records(&lines(FormatKind::Ndjson, true), &input, target)
        }
        ("csv", _) => {
            std::fs::write(&input, worn(CSV.as_bytes(), random))?;
            let mut options = lines(FormatKind::Csv, false);
            options.header = Some(random.below(2) == 0);
            options.allow_missing_columns = Some(true);
            records(&options, &input, target)
        }
        ("text", _) => {
            std::fs::write(&input, worn(LINES.as_bytes(), random))?;
            records(&FormatOptions::new(FormatKind::Text), &input, target)
        }
        ("infer", _) => {
            std::fs::write(&input, worn([JSON, CSV][random.below(2)].as_bytes(), random))?;
            for kind in [FormatKind::Csv, FormatKind::Ndjson, FormatKind::Parquet, FormatKind::Arrow] {
                if let Ok(schema) = infer(&FormatOptions::new(kind), &input) {
                    // What was inferred can be read, or is refused for a reason.
                    drop(read(&FormatOptions::new(kind).with_schema(schema), &input, u64::MAX));
                }
            }
            Ok(())
        }
        (_, Some((bytes, options))) => {
            let mut bytes = bytes.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = u8::try_from(random.below(256)).unwrap_or_default();
            }
            std::fs::write(&input, bytes)?;
            match read(options, &input, 1) {
                Ok((rows, _, report)) => promise(report.rows == rows.len() as u64, "rows were counted wrong"),
                Err(_) => Ok(()),
            }
        }
        _ => Err(format!("there is no decoder \"{decoder}\": csv, ndjson, text, infer, parquet, arrow").into()),
    }
}

/// One input, and how many seconds it took.
fn timed(
    decoder: &str,
    random: &mut Random,
    folder: &Path,
    container: Option<&(Vec<u8>, FormatOptions)>,
) -> Outcome<u64> {
    let begun = Instant::now();
    once(decoder, random, folder, container)?;
    Ok(begun.elapsed().as_secs())
}

/// Megabytes that the process has held at most, where the system tells.
fn most_megabytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// More than this for inputs of a few kilobytes is a fault.
const MEGABYTES_MAX: u64 = 4096;

/// Longer than this for one of them as well.
const SECONDS_MAX: u64 = 20;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(decoder), Some(seconds)) = (arguments.next(), arguments.next()) else {
        return Err("fuzz DECODER SECONDS [SEED]".into());
    };
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic_becomes_error() {
            usual(panic);
        }
    }));
    let until = Instant::now() + Duration::from_secs(seconds.parse()?);
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse::<u64>())?;
    let mut random = Random(seed.max(1));
    let folder = std::env::temp_dir().join(format!("pelton-fuzz-{decoder}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let container = match decoder.as_str() {
        "parquet" => Some(container(FormatKind::Parquet, &folder)?),
        "arrow" => Some(container(FormatKind::Arrow, &folder)?),
        _ => None,
    };
    let mut inputs = 0_u64;
    while Instant::now() < until {
        let mut again = random.clone();
        // A panic ends the program; the input lies in the folder then.
        timed(&decoder, &mut random, &folder, container.as_ref())
            .and_then(|seconds| match seconds < SECONDS_MAX {
                true => Ok(seconds),
                // The machine may have stood still: it is slow if it is twice.
                false => timed(&decoder, &mut again, &folder, container.as_ref()),
            })
            .and_then(|seconds| promise(seconds < SECONDS_MAX, "an input took too long"))
            .and_then(|()| promise(most_megabytes().is_none_or(|most| most < MEGABYTES_MAX), "too much memory"))
            .inspect_err(|_| eprintln!("input {inputs} of seed {seed} is in {}", folder.join("input").display()))?;
        inputs += 1;
    }
    std::fs::remove_dir_all(&folder)?;
    println!("{decoder}: {inputs} inputs, {seconds} s, {} MB at most", most_megabytes().unwrap_or_default());
    Ok(())
}
