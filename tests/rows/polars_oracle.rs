//! The same rows through Polars, where both sides mean the same. Rows carry a number, so comparing numbers compares rows.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_schema::SortOptions;
use pelton::columnar::{ArrayRef, DataType, RecordBatch};
use pelton::kernels::cpu::join::PreparedJoin;
use pelton::kernels::cpu::sort::sort;
use pelton::plan::stage::JoinKind;
use polars::prelude::{
    Column, DataFrame, DataFrameJoinOps, ExplodeOptions, IntoLazy, JoinArgs, JoinType, MaintainOrderJoin, NamedFrom,
    Series, SortMultipleOptions, col,
};

use crate::join::{KINDS, join};
use crate::random::Random;

const TYPES: [DataType; 3] = [DataType::Int64, DataType::Float64, DataType::Utf8];

fn frame(batch: &RecordBatch) -> DataFrame {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, values)| {
        let name = field.name().as_str().into();
        let series = match values.data_type() {
            DataType::Int64 => Series::new(name, values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()),
            DataType::Float64 => Series::new(name, values.as_primitive::<Float64Type>().iter().collect::<Vec<_>>()),
            _ => Series::new(name, values.as_string::<i32>().iter().collect::<Vec<_>>()),
        };
        Column::from(series)
    });
    DataFrame::new(batch.num_rows(), columns.collect()).unwrap()
}

fn their_numbers(frame: &DataFrame, column: &str) -> Vec<Option<i64>> {
    frame.column(column).unwrap().i64().unwrap().iter().collect()
}

fn our_numbers(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn joins_equal_those_of_polars() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let keys: Vec<DataType> = (0..1 + random.below(2)).map(|_| TYPES[random.below(3)].clone()).collect();
        let table = random.batch(&keys, 80, 12, true);
        let stream = random.batch(&keys, 120, 15, true);
        let by: Vec<String> = (0..keys.len()).map(|index| format!("c{index}")).collect();
        for kind in KINDS {
            let ours = PreparedJoin::prepare(&join(kind, &stream, &table), &table).unwrap().probe(&stream).unwrap();
            let mut args = JoinArgs::new(match kind {
                JoinKind::Inner => JoinType::Inner,
                JoinKind::Left => JoinType::Left,
                JoinKind::Semi => JoinType::Semi,
                JoinKind::Anti => JoinType::Anti,
            });
            if matches!(kind, JoinKind::Inner | JoinKind::Left) {
                args.maintain_order = MaintainOrderJoin::LeftRight;
            }
            let theirs = frame(&stream).join(&frame(&table), &by, &by, args, None).unwrap();
            assert_eq!(our_numbers(&ours, "row"), their_numbers(&theirs, "row"), "{kind:?} by {keys:?}, seed {seed}");
            if matches!(kind, JoinKind::Inner | JoinKind::Left) {
                assert_eq!(our_numbers(&ours, "matched"), their_numbers(&theirs, "row_right"), "{kind:?} by {keys:?}");
            }
        }
    }
}

#[test]
fn sorts_and_top_n_equal_those_of_polars() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let types: Vec<DataType> = (0..1 + random.below(2)).map(|_| TYPES[random.below(3)].clone()).collect();
        let batch = random.batch(&types, 200, 30, true);
        let options: Vec<SortOptions> = types
            .iter()
            .map(|_| SortOptions { descending: random.below(2) == 0, nulls_first: random.below(2) == 0 })
            .collect();
        let keys: Vec<ArrayRef> = batch.columns()[..types.len()].to_vec();
        let order = SortMultipleOptions::default()
            .with_order_descending_multi(options.iter().map(|options| options.descending))
            .with_nulls_last_multi(options.iter().map(|options| !options.nulls_first))
            .with_maintain_order(true);
        let by: Vec<_> = (0..types.len()).map(|index| col(format!("c{index}"))).collect();
        let theirs = frame(&batch).lazy().sort_by_exprs(by, order).collect().unwrap();
        for limit in [None, Some(20)] {
            let ours =
                sort(&batch.schema(), std::slice::from_ref(&batch), std::slice::from_ref(&keys), &options, limit);
            let expected = theirs.head(limit);
            let expected = if limit.is_none() { &theirs } else { &expected };
            let what = format!("{types:?} {options:?} seed {seed}");
            assert_eq!(our_numbers(&ours.unwrap(), "row"), their_numbers(expected, "row"), "{what}");
        }
    }
}

#[test]
fn explodes_equal_those_of_polars() {
    let mut random = Random::new(4);
    let batch = crate::explode::batch::<i32>(&mut random, 300, &DataType::Int64);
    let lists = batch.column(1).as_list::<i32>().iter().map(|list| {
        list.map(|items| Series::new("".into(), items.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()))
    });
    let lists = Column::from(Series::new("list".into(), lists.collect::<Vec<_>>()));
    let theirs = DataFrame::new(300, vec![frame(&batch.project(&[0]).unwrap()).columns()[0].clone(), lists]).unwrap();
    let theirs = theirs.explode(["list"], ExplodeOptions { empty_as_null: false, keep_nulls: false }).unwrap();
    let schema = crate::explode::exploded_schema(&batch, &DataType::Int64);
    let ours = pelton::kernels::cpu::explode::explode(&batch, 1, &schema).unwrap();
    assert_eq!(our_numbers(&ours, "row"), their_numbers(&theirs, "row"));
    assert_eq!(our_numbers(&ours, "list"), their_numbers(&theirs, "list"));
}
