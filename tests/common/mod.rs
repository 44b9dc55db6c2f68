//! Random batches, the same for the same seed, and their comparison. For every test program.

#![allow(dead_code, reason = "each test program uses a part of this")]
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test that cannot go on should stop, and small numbers are made of random bits"
)]

pub(crate) mod leap_clock;

use std::sync::Arc;

use pelton::columnar::{DataType, RecordBatch, Scalar, SchemaRef};

/// A small generator of random numbers (`SplitMix64`).
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Between 0 and 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of these.
    pub(crate) fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }
}

/// Which values a random column holds.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Range {
    /// Small numbers, with which arithmetic stays in range.
    Tame,
    /// Also extremes, infinities, NaN and odd texts.
    Wild,
}

/// A batch with nulls, extremes, NaN, -0.0, and texts of many kinds.
pub(crate) fn random_batch(seed: u64, rows: usize, schema: &SchemaRef, null_share: f64) -> RecordBatch {
    ranged_batch(seed, rows, schema, null_share, Range::Wild)
}

/// A batch of values of one range.
pub(crate) fn ranged_batch(seed: u64, rows: usize, schema: &SchemaRef, null_share: f64, range: Range) -> RecordBatch {
    let mut random = Random::new(seed);
    let columns = schema.fields().iter().map(|field| {
        let value = |random: &mut Random| match field.is_nullable() && random.share() < null_share {
            true => Scalar::Null,
            false => random_scalar(random, field.data_type(), range),
        };
        let values: Vec<Scalar> = (0..rows).map(|_| value(&mut random)).collect();
        Scalar::to_array(&values, field.data_type()).unwrap()
    });
    let columns = columns.collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).unwrap()
}

/// A value of this type.
pub(crate) fn random_scalar(random: &mut Random, data_type: &DataType, range: Range) -> Scalar {
    let edge = range == Range::Wild && random.below(8) == 0;
    let small = random.below(200) as i64 - 100;
    match data_type {
        DataType::Null => Scalar::Null,
        DataType::Boolean => Scalar::Boolean(random.below(2) == 0),
        signed if signed.is_signed_integer() => {
            let bits = 8 * signed.primitive_width().unwrap() as u32;
            let (min, max) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
            let edges = [min, min + 1, max, max - 1, 0, -1];
            Scalar::Int64(if edge { random.pick(&edges) } else { small.clamp(min / 12, max / 12) })
        }
        unsigned if unsigned.is_integer() => {
            let bits = 8 * unsigned.primitive_width().unwrap() as u32;
            let max = u64::MAX >> (64 - bits);
            Scalar::UInt64(if edge { random.pick(&[0, max, max - 1]) } else { small.unsigned_abs() % 12 })
        }
        DataType::Float32 => Scalar::Float64(f64::from(random_float(random, edge) as f32)),
        DataType::Float64 => Scalar::Float64(random_float(random, edge)),
        DataType::Decimal128(precision, scale) => {
            let max = 10_i128.pow((*precision).into()) - 1;
            let unscaled = if edge { random.pick(&[max, -max, max / 2, 0]) } else { i128::from(small) * 37 };
            Scalar::Decimal128 { unscaled, precision: *precision, scale: *scale }
        }
        DataType::Date32 => {
            Scalar::Date32(if edge { random.pick(&[-719_162, 0, -1, 2_932_896]) } else { small as i32 * 97 })
        }
        DataType::Timestamp(unit, zone) => Scalar::Timestamp(random_count(random, edge), *unit, zone.clone()),
        DataType::Duration(unit) => Scalar::Duration(random_count(random, edge), *unit),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Scalar::Utf8(random_text(random, range)),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Scalar::Binary((0..random.below(20)).map(|_| random.bits() as u8).collect())
        }
        DataType::Dictionary(_, values) => random_scalar(random, values, range),
        DataType::List(item) => {
            let length = random.below(5);
            let mut item = || match random.below(6) {
                0 => Scalar::Null,
                _ => random_scalar(random, item.data_type(), range),
            };
            Scalar::List((0..length).map(|_| item()).collect())
        }
        DataType::Struct(fields) => {
            Scalar::Struct(fields.iter().map(|field| random_scalar(random, field.data_type(), range)).collect())
        }
        other => panic!("no random values of type {other}"),
    }
}

fn random_float(random: &mut Random, edge: bool) -> f64 {
    let edges = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MIN_POSITIVE, 1e300, 0.5, -2.5];
    if edge { random.pick(&edges) } else { (random.below(4000) as f64 - 2000.0) / 16.0 }
}

/// Units since the epoch: within 1970 to 2000 in seconds; beyond the calendar at the edges.
fn random_count(random: &mut Random, edge: bool) -> i64 {
    let edges = [i64::MIN, i64::MAX, 0, -1, 1, 86_399, -86_400];
    if edge { random.pick(&edges) } else { random.below(1_000_000_000) as i64 - 100_000_000 }
}

fn random_text(random: &mut Random, range: Range) -> String {
    let words = ["spark", "Pelton", "error", "a", "", "The quick brown fox", "12", "-7", "3.25", "true", "2024-02-29"];
    let odd = [
        "  padded\t",
        "straße",
        "ΑΣ ΟΔΟΣ",
        "日本語テキスト",
        "🦀 crab",
        "e\u{301}",
        "İ",
        "1e5",
        "NaN",
        "inf",
        "+5",
        " 5",
        "0x1f",
        "99999999999999999999",
        "2024-02-30",
        "2024-02-29T12:34:56.789Z",
        "2023-07-01 00:00:00",
        "29/Feb/2024:13:55:36 +0130",
        "a,b,,c",
        ",",
        "FALSE",
        ".5",
        "-0",
        "1.005",
    ];
    match random.below(4) {
        0 if range == Range::Wild => random.pick(&odd).to_owned(),
        1 => format!("{}-{}", random.pick(&words), random.below(50)),
        _ => random.pick(&words).to_owned(),
    }
}

/// Equal schemas, rows and values, bit by bit; NaN is itself.
#[track_caller]
pub(crate) fn assert_batches_equal(left: &RecordBatch, right: &RecordBatch) {
    assert_eq!(left.schema(), right.schema());
    assert_eq!(left.num_rows(), right.num_rows());
    for (left, right) in left.columns().iter().zip(right.columns()) {
        assert_eq!(left, right);
    }
}
