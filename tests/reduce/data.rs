//! Seeded columns of every plain type, with nulls, NaN, zeros of both signs, extremes and skew.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, make_array};
use arrow_buffer::NullBuffer;
use pelton::columnar::{DataType, Field, RecordBatch, Scalar, TimeUnit};
use pelton::error::Result;
use pelton::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode};
use pelton::kernels::cpu::reduce::{Groups, KeyedReduce};
use pelton::kernels::reduce::ReduceInput;

/// A small generator of random numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A float of any size, now and then a special one.
    pub(crate) fn float(&mut self) -> f64 {
        match self.below(24) {
            0 => f64::NAN,
            1 => -0.0,
            2 => 0.0,
            3 => f64::from_bits(self.below(1 << 52)),
            4 => f64::from_bits(self.next() & !(0x7ff << 52) | self.below(0x7ff) << 52),
            5 => f64::from_bits(0x7ff8_0000_0000_1234 | self.below(2) << 63),
            _ => (self.next() as i64 >> self.below(60)) as f64 / 1024.0,
        }
    }
}

/// Every plain type.
pub(crate) fn plain_types() -> Vec<DataType> {
    use DataType::*;
    let dictionary = |codes, values| Dictionary(Box::new(codes), Box::new(values));
    vec![
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float32,
        Float64,
        Null,
        Decimal128(38, 4),
        Decimal128(9, -2),
        Date32,
        Timestamp(TimeUnit::Second, None),
        Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Duration(TimeUnit::Millisecond),
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        dictionary(Int32, Utf8),
        dictionary(UInt8, Int64),
    ]
}

/// One of about `different` values of the type. Text and bytes cross the border between short and long keys.
pub(crate) fn value(random: &mut Random, data_type: &DataType, different: u64) -> Scalar {
    let pick = random.below(different);
    let mut spread = Random(pick);
    let wide = spread.next() >> spread.below(64);
    let text = || {
        let length = pick % 23;
        format!("{pick:0>width$}", width = length as usize)
    };
    match data_type {
        DataType::Null => Scalar::Null,
        DataType::Boolean => pick.is_multiple_of(2).into(),
        DataType::Int8 => i64::from(wide as i8).into(),
        DataType::Int16 => i64::from(wide as i16).into(),
        DataType::Int32 => i64::from(wide as i32).into(),
        DataType::Int64 => (wide as i64).into(),
        DataType::UInt8 => u64::from(wide as u8).into(),
        DataType::UInt16 => u64::from(wide as u16).into(),
        DataType::UInt32 => u64::from(wide as u32).into(),
        DataType::UInt64 => wide.into(),
        DataType::Float32 => f64::from(spread.float() as f32).into(),
        DataType::Float64 => spread.float().into(),
        DataType::Decimal128(precision, scale) => {
            let digits = i128::from(wide as i64) * i128::from(spread.next() as u32);
            Scalar::Decimal128 {
                unscaled: digits % 10_i128.pow(u32::from(*precision)),
                precision: *precision,
                scale: *scale,
            }
        }
        DataType::Date32 => Scalar::Date32(wide as i32),
        DataType::Timestamp(unit, zone) => Scalar::Timestamp(wide as i64 >> 1, *unit, zone.clone()),
        DataType::Duration(unit) => Scalar::Duration(wide as i64 >> 1, *unit),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text().into(),
        DataType::Binary | DataType::LargeBinary => text().into_bytes().into(),
        DataType::Dictionary(_, values) => value(&mut Random(pick), values, different.min(100)),
        other => panic!("no values of type {other}"),
    }
}

/// A column of this type; about one value in eight is null, if there are any.
pub(crate) fn column(
    random: &mut Random,
    data_type: &DataType,
    rows: usize,
    different: u64,
    has_nulls: bool,
) -> ArrayRef {
    let values: Vec<Scalar> = (0..rows)
        .map(|_| {
            // Half of the rows take one of few values: skew.
            let different = if random.below(2) == 0 { different } else { different.min(3) };
            if has_nulls && random.below(8) == 0 { Scalar::Null } else { value(random, data_type, different) }
        })
        .collect();
    Scalar::to_array(&values, data_type).unwrap()
}

pub(crate) fn filter(random: &mut Random, rows: usize) -> BooleanArray {
    (0..rows).map(|_| [Some(true), Some(false), Some(true), None][random.below(4) as usize]).collect()
}

pub(crate) fn aggregate(function: AggregateFunction, input: Option<&DataType>, data_type: DataType) -> TypedAggregate {
    let node = TypedNode::Column(0, "x".to_owned());
    let input = input.map(|input| TypedExpr { node, data_type: input.clone(), nullable: true });
    TypedAggregate { name: format!("{}_x", function.name()), function, input, filter: None, data_type }
}

/// Every aggregate that the type of the input allows.
pub(crate) fn aggregates_of(input: &DataType) -> Vec<TypedAggregate> {
    use AggregateFunction::*;
    use DataType as Type;
    let plain = if let Type::Dictionary(_, values) = input { values } else { input };
    let any = Some(input);
    let mut all = vec![
        aggregate(Len, None, Type::Int64),
        aggregate(Count, any, Type::Int64),
        aggregate(First, any, input.clone()),
        aggregate(Last, any, input.clone()),
        aggregate(NUnique, any, Type::Int64),
        aggregate(Min, any, input.clone()),
        aggregate(Max, any, input.clone()),
    ];
    if pelton::columnar::data_type::is_number(plain) {
        for function in [Mean, Variance(0), Variance(1), StdDev(1), Quantile(0.5), Quantile(0.1), Quantile(1.0)] {
            all.push(aggregate(function, any, Type::Float64));
        }
    }
    let sum = match plain {
        plain if plain.is_floating() => Some(Type::Float64),
        plain if plain.is_unsigned_integer() => Some(Type::UInt64),
        plain if plain.is_signed_integer() => Some(Type::Int64),
        Type::Decimal128(_, scale) => Some(Type::Decimal128(38, *scale)),
        Type::Duration(_) => Some(plain.clone()),
        _ => None,
    };
    all.extend(sum.map(|sum| aggregate(Sum, any, sum)));
    if *plain == Type::Boolean {
        all.push(aggregate(Any, any, Type::Boolean));
        all.push(aggregate(All, any, Type::Boolean));
    }
    if pelton::columnar::data_type::is_text(plain) {
        all.push(aggregate(Concat(", ".to_owned()), any, plain.clone()));
    }
    all
}

/// Each second aggregate gets a filter of its own.
pub(crate) fn filtered(mut aggregates: Vec<TypedAggregate>) -> Vec<TypedAggregate> {
    for (place, aggregate) in aggregates.iter_mut().enumerate().filter(|(place, _)| place % 2 == 1) {
        let node = TypedNode::Column(1 + place, format!("keep_{place}"));
        aggregate.filter = Some(TypedExpr { node, data_type: DataType::Boolean, nullable: true });
    }
    aggregates
}

/// A batch for these keys and for aggregates that all have the same input.
pub(crate) fn batch(
    random: &mut Random,
    keys: &[Field],
    aggregates: &[TypedAggregate],
    rows: usize,
    different: u64,
    has_nulls: bool,
) -> ReduceInput {
    let input = aggregates.iter().find_map(|aggregate| aggregate.input.as_ref());
    let values = input.map(|input| column(random, &input.data_type, rows, 1000, has_nulls));
    ReduceInput {
        keys: keys.iter().map(|key| column(random, key.data_type(), rows, different, has_nulls)).collect(),
        inputs: aggregates.iter().map(|aggregate| aggregate.input.as_ref().and_then(|_| values.clone())).collect(),
        filters: aggregates.iter().map(|one| one.filter.as_ref().map(|_| filter(random, rows))).collect(),
        rows,
    }
}

pub(crate) fn slice(batch: &ReduceInput, from: usize, rows: usize) -> ReduceInput {
    ReduceInput {
        keys: batch.keys.iter().map(|key| key.slice(from, rows)).collect(),
        inputs: batch.inputs.iter().map(|input| input.as_ref().map(|input| input.slice(from, rows))).collect(),
        filters: batch.filters.iter().map(|filter| filter.as_ref().map(|filter| filter.slice(from, rows))).collect(),
        rows,
    }
}

/// The batch, of whose values every third in these rows is null, and no other.
pub(crate) fn with_nulls_in(batch: ReduceInput, rows: Range<usize>) -> ReduceInput {
    let nulls: NullBuffer = (0..batch.rows).map(|row| !(rows.contains(&row) && row % 3 == 0)).collect();
    let with_nulls = |input: ArrayRef| {
        let input = input.to_data().into_builder().nulls(Some(nulls.clone()));
        make_array(input.build().unwrap())
    };
    ReduceInput { inputs: batch.inputs.into_iter().map(|input| input.map(with_nulls)).collect(), ..batch }
}

pub(crate) fn update(groups: &mut Groups, batch: &ReduceInput) -> Result<()> {
    groups.update(&batch.keys, &batch.inputs, &batch.filters, batch.rows)
}

/// The answer of the fast kernel with the batch cut into pieces of `rows`, dealt to `partitions` one after another.
pub(crate) fn fast(reduce: &KeyedReduce, batch: &ReduceInput, rows: usize, partitions: usize) -> Result<RecordBatch> {
    let pieces: Vec<_> =
        (0..batch.rows).step_by(rows).map(|from| slice(batch, from, rows.min(batch.rows - from))).collect();
    let per_partition = pieces.len().div_ceil(partitions).max(1);
    let partials = pieces.chunks(per_partition).map(|pieces| {
        let mut groups = reduce.begin()?;
        pieces.iter().try_for_each(|piece| update(&mut groups, piece))?;
        Ok(groups)
    });
    let partials = partials.collect::<Result<Vec<_>>>()?;
    reduce.finish_all(partials)
}

/// Asserts equality bit by bit: floats are compared as their bits.
pub(crate) fn assert_same(fast: &RecordBatch, slow: &RecordBatch, what: &str) {
    assert_eq!(fast.schema(), slow.schema(), "{what}");
    assert_eq!(fast.num_rows(), slow.num_rows(), "{what}: number of groups");
    for (place, field) in fast.schema().fields().iter().enumerate() {
        for row in 0..fast.num_rows() {
            let bits = |batch: &RecordBatch| match Scalar::from_array(batch.column(place), row).unwrap() {
                Scalar::Float64(float) => Scalar::UInt64(float.to_bits()),
                other => other,
            };
            assert_eq!(bits(fast), bits(slow), "{what}: column {} row {row}\n{:?}", field.name(), slow.slice(row, 1));
        }
    }
}

pub(crate) fn array(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(arrow_array::Float64Array::from_iter_values(values))
}
