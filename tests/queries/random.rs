//! Random chains of operations, as data: the same chain can be described of any stream.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use pelton::prelude::*;

use crate::common::{Random, Range, ranged_batch};

/// Columns of small numbers, so that sums and products stay in range, and of everything that floats can be.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("n", DataType::Int32, true),
        Field::new("f", DataType::Float64, true),
        Field::new("t", DataType::Utf8, true),
        Field::new("b", DataType::Boolean, true),
        Field::new("d", DataType::Decimal128(9, 2), true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

/// Rows of [`schema`]: tame, but for the floats.
pub(crate) fn rows(seed: u64, rows: usize) -> RecordBatch {
    let tame = ranged_batch(seed, rows, &schema(), 0.15, Range::Tame);
    let wild = ranged_batch(seed, rows, &schema(), 0.15, Range::Wild);
    let mut columns = tame.columns().to_vec();
    columns[0] = Arc::new(columns[0].as_primitive::<Int64Type>().unary::<_, Int64Type>(|value| value % 12));
    columns[2] = Arc::clone(wild.column(2));
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A trunk of random operations with two branches.
pub(crate) fn tree(random: &mut Random, source: &DStream) -> [DStream; 2] {
    let trunk = chain(random, source, 0);
    let trunk = if random.below(2) == 0 { trunk.cache() } else { trunk };
    [10, 20].map(|first| chain(random, &trunk, first))
}

/// A stream with up to four random operations, whose new columns are numbered from `first` on.
fn chain(random: &mut Random, source: &DStream, first: usize) -> DStream {
    let mut stream = source.clone();
    for number in first..first + 1 + random.below(4) {
        stream = operation(random, &stream, number);
        stream.schema().unwrap_or_else(|error| panic!("{error}\n{}", stream.explain()));
    }
    stream
}

fn operation(random: &mut Random, stream: &DStream, number: usize) -> DStream {
    let fields = fields(stream);
    match random.below(17) {
        0 | 1 => stream.filter(condition(random, &fields)),
        2 => {
            let kept = fields.iter().filter(|_| random.below(3) > 0).map(|(name, _)| col(name)).collect::<Vec<_>>();
            stream.select(kept.into_iter().chain([value(random, &fields).alias(format!("s{number}"))]))
        }
        3 | 4 => stream.with_columns([value(random, &fields).alias(format!("w{number}"))]),
        5 | 6 => {
            let keys = some_fields(random, &fields, 2);
            let keys = keys.iter().enumerate().map(|(place, (name, _))| col(name).alias(format!("g{number}_{place}")));
            let keys = keys.collect::<Vec<_>>();
            stream.key_by(keys).aggregate(aggregates(random, &fields, number))
        }
        7 => {
            let by = orders(random, &fields);
            stream.sort(by)
        }
        8 => stream.top_n(random.below(40), orders(random, &fields)),
        9 => stream.limit(random.below(200)),
        10 => match random.below(2) {
            0 => stream.distinct(),
            _ => stream.distinct_by(some_fields(random, &fields, 2).into_iter().map(|(name, _)| name)),
        },
        11 => {
            let other = stream.filter(condition(random, &fields));
            if random.below(2) == 0 { other.cache().union(stream) } else { other.union(stream) }
        }
        12 => stream.repartition(1 + random.below(6)),
        13 => stream.map_batches(stream.schema().unwrap(), |batch| Ok(batch.clone())),
        14 => greatest_of_groups(random, stream, &fields, number),
        15 => match fields.iter().find(|(_, data_type)| *data_type == DataType::Utf8) {
            Some((name, _)) => stream.flat_map(col(name).split("-").alias(format!("part{number}"))),
            None => stream.limit(100),
        },
        _ => join(random, stream, &fields, number),
    }
}

type Fields = Vec<(String, DataType)>;

fn fields(stream: &DStream) -> Fields {
    let schema = stream.schema().unwrap();
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

fn some_fields(random: &mut Random, fields: &Fields, most: usize) -> Fields {
    let mut chosen = Fields::new();
    for _ in 0..=random.below(most) {
        let field = random.pick(fields);
        if !chosen.contains(&field) {
            chosen.push(field);
        }
    }
    chosen
}

/// Groups put together by a closure.
fn greatest_of_groups(random: &mut Random, stream: &DStream, fields: &Fields, number: usize) -> DStream {
    let Some((name, _)) = fields.iter().find(|(_, data_type)| data_type.is_signed_integer()) else {
        return stream.clone();
    };
    let (key, _) = random.pick(fields);
    let value = col(name).alias(format!("greatest{number}"));
    stream.key_by([col(key).alias(format!("g{number}"))]).reduce(value, |a: i64, b: i64| a.max(b))
}

/// The stream beside a table, if it has a column that the table's keys can equal.
fn join(random: &mut Random, stream: &DStream, fields: &Fields, number: usize) -> DStream {
    let keys = fields.iter().filter(|(_, data_type)| *data_type == DataType::Int64).cloned().collect::<Vec<_>>();
    if keys.is_empty() {
        return stream.clone();
    }
    let (key, _) = random.pick(&keys);
    let kind = random.pick(&[JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti]);
    stream.join_static(table(number), [(key, format!("j{number}"))], kind).unwrap()
}

/// A table to join with on its column `j`: some keys twice, some never, one null.
fn table(number: usize) -> RecordBatch {
    let keys = [Some(0), Some(3), Some(3), None, Some(-5), Some(7), Some(99)];
    let keys: ArrayRef = Arc::new(keys.into_iter().collect::<Int64Array>());
    let names = ["zero", "three", "third", "null", "minus five", "seven", "never"];
    let names: ArrayRef = Arc::new(names.into_iter().map(Some).collect::<StringArray>());
    let columns = [(format!("j{number}"), keys, true), (format!("name{number}"), names, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn condition(random: &mut Random, fields: &Fields) -> Expr {
    let (name, data_type) = random.pick(fields);
    let column = col(name);
    let some = match data_type {
        DataType::Boolean => column,
        DataType::Utf8 if random.below(2) == 0 => column.contains(lit("a")),
        DataType::Utf8 => column.gt(lit("b")),
        DataType::Timestamp(..) => column.part(DatePart::Hour).lt(12),
        _ if random.below(3) == 0 => column.is_null(),
        _ => column.gt(random.pick(&[-10_i64, -3, 0, 2, 5, 9])),
    };
    match random.below(4) {
        0 => some.and(condition(random, fields)),
        1 => some.or(condition(random, fields)),
        2 => !some,
        _ => some,
    }
}

fn value(random: &mut Random, fields: &Fields) -> Expr {
    let (name, data_type) = random.pick(fields);
    let column = || col(&name);
    match data_type {
        DataType::Boolean => when(column()).then(lit(1)).otherwise_null(),
        DataType::Utf8 => random.pick(&[
            column().upper(),
            column().length(),
            column().cast_lossy(DataType::Int64) % 100,
            coalesce([column(), lit("none")]),
            column().extract("[a-z]+", 0),
        ]),
        DataType::Timestamp(..) => random.pick(&[
            column().truncate(std::time::Duration::from_secs(86_400)),
            column().part(DatePart::DayOfWeek).cast(DataType::Int64),
        ]),
        DataType::Float64 => random.pick(&[
            column() * 0.5,
            column() / 3,
            column().abs().sqrt(),
            column().round(1),
            when(column().gt(0)).then(column()).otherwise(lit(-0.0)),
            least([column(), lit(f64::NAN)]),
        ]),
        _ => random.pick(&[
            column() % 7,
            -column(),
            column() / 4,
            column() * 3 - 1,
            column().fill_null(0),
            column().cast(DataType::Float64),
            column().is_in([1, 2, 3]),
            column().hash() % 1000,
        ]),
    }
}

fn aggregates(random: &mut Random, fields: &Fields, number: usize) -> Vec<Aggregate> {
    let mut aggregates = vec![len().alias(format!("len{number}"))];
    for place in 0..=random.below(3) {
        let (name, data_type) = random.pick(fields);
        let column = || col(&name);
        let any =
            [column().count(), column().n_unique(), column().min(), column().max(), column().first(), column().last()];
        let special = match data_type {
            DataType::Boolean => vec![column().any(), column().all()],
            DataType::Utf8 => vec![column().concat("|")],
            DataType::Timestamp(..) => vec![column().max()],
            _ => vec![
                column().sum(),
                column().mean(),
                column().var(1),
                column().std(0),
                column().quantile(random.share()),
            ],
        };
        let mut aggregate = if random.below(3) == 0 { random.pick(&any) } else { random.pick(&special) };
        if random.below(4) == 0 {
            aggregate = aggregate.filter(condition(random, fields));
        }
        aggregates.push(aggregate.alias(format!("a{number}_{place}")));
    }
    aggregates
}

fn orders(random: &mut Random, fields: &Fields) -> Vec<SortBy> {
    let mut by = Vec::new();
    for (name, _) in some_fields(random, fields, 3) {
        let mut order = SortBy::from(name.as_str());
        order.descending = random.below(2) == 0;
        order.nulls_first = random.below(2) == 0;
        by.push(order);
    }
    by
}
