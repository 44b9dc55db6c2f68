//! Seeded random columns of every plain type, with nulls and the values that kernels trip over.

use std::sync::Arc;

use pelton::columnar::{ArrayRef, DataType, Field, RecordBatch, Scalar, Schema, TimeUnit};

/// A small generator (xorshift64*), so that a seed means the same columns for ever.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }

    /// A value of this type out of about `distinct` different ones, or null.
    fn scalar(&mut self, data_type: &DataType, distinct: usize, nulls: bool) -> Scalar {
        if nulls && self.below(8) == 0 {
            return Scalar::Null;
        }
        let number = i64::try_from(self.below(distinct)).unwrap();
        let extreme = self.below(16) == 0;
        match data_type {
            DataType::Boolean => Scalar::Boolean(number % 2 == 0),
            DataType::Int8 => Scalar::Int64(if extreme { self.pick(&[-128, 127]) } else { number % 100 - 50 }),
            DataType::Int32 => Scalar::Int64(if extreme { i64::from(i32::MIN) } else { number - 20 }),
            DataType::Int64 => Scalar::Int64(if extreme { self.pick(&[i64::MIN, i64::MAX]) } else { number - 20 }),
            DataType::UInt16 => Scalar::UInt64(if extreme { 65_535 } else { number.unsigned_abs() % 60_000 }),
            DataType::UInt64 => Scalar::UInt64(if extreme { u64::MAX } else { number.unsigned_abs() << 30 }),
            DataType::Float32 | DataType::Float64 if extreme => {
                Scalar::Float64(self.pick(&[f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY]))
            }
            DataType::Float32 | DataType::Float64 => Scalar::Float64((number as f64 - 20.0) * 0.5),
            DataType::Decimal128(precision, scale) => {
                Scalar::Decimal128 { unscaled: (i128::from(number) - 20) << 64, precision: *precision, scale: *scale }
            }
            DataType::Date32 => Scalar::Date32(i32::try_from(number).unwrap() - 20),
            DataType::Timestamp(unit, zone) => Scalar::Timestamp(number - 20, *unit, zone.clone()),
            DataType::Duration(unit) => Scalar::Duration(number - 20, *unit),
            DataType::Binary | DataType::LargeBinary => Scalar::Binary(self.text(number).into_bytes()),
            DataType::Dictionary(_, values) => self.scalar(values, distinct, nulls),
            DataType::Null => Scalar::Null,
            _ => Scalar::Utf8(self.text(number)),
        }
    }

    /// Texts that share a prefix of every length, end early, or are not ASCII.
    fn text(&mut self, number: i64) -> String {
        match number % 5 {
            0 => String::new(),
            1 => format!("{number}"),
            2 => format!("a rather long common prefix {number:05}"),
            3 => format!("a rather long common prefix {number:05}\0"),
            _ => format!("ø{number}"),
        }
    }

    pub(crate) fn array(&mut self, data_type: &DataType, rows: usize, distinct: usize, nulls: bool) -> ArrayRef {
        let values: Vec<Scalar> = (0..rows).map(|_| self.scalar(data_type, distinct, nulls)).collect();
        Scalar::to_array(&values, data_type).unwrap()
    }

    /// Columns `c0`, `c1` … of these types and a last column `row` that numbers the rows.
    pub(crate) fn batch(&mut self, types: &[DataType], rows: usize, distinct: usize, nulls: bool) -> RecordBatch {
        let fields = types.iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t.clone(), true));
        let fields: Vec<Field> = fields.chain([Field::new("row", DataType::Int64, true)]).collect();
        let columns = types.iter().map(|data_type| self.array(data_type, rows, distinct, nulls));
        let numbers = (0..i64::try_from(rows).unwrap()).collect::<arrow_array::Int64Array>();
        let columns: Vec<ArrayRef> = columns.chain([Arc::new(numbers) as ArrayRef]).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }
}

pub(crate) fn plain_types() -> Vec<DataType> {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
    vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt16,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(38, 3),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, Some("+01:00".into())),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Duration(TimeUnit::Nanosecond),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        dictionary,
        DataType::Null,
    ]
}

/// The batch cut into several at random places; some are empty.
pub(crate) fn cut(random: &mut Random, batch: &RecordBatch) -> Vec<RecordBatch> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let rows = random.below(batch.num_rows() + 1).min(batch.num_rows() - start);
        parts.push(batch.slice(start, rows));
        start += rows;
    }
    parts
}
