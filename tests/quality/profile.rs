//! What columns hold, found in the pass that reads them: the same for every cut into partitions and batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pelton::columnar::RecordBatch;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::error::ErrorKind;
use pelton::prelude::*;
use pelton::profile::{ColumnProfile, DISTINCT_ERROR, Profile, QUANTILE_ERROR, places};

const ROWS: i64 = 20_000;

fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("city", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("cost", DataType::Decimal128(10, 2), true),
        Field::new("day", DataType::Date32, true),
    ]);
    let numbers = || rows.clone();
    let city = |n: i64| (n % 10 != 3).then(|| if n % 2 == 0 { "Oslo".to_owned() } else { format!("city {}", n % 100) });
    let price = |n: i64| if n % 1000 == 7 { f64::NAN } else { (n * 7919 % ROWS) as f64 / 8.0 - 100.0 };
    let cost = Decimal128Array::from_iter_values(numbers().map(|n| i128::from(n % 500)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers())),
        Arc::new(StringArray::from_iter(numbers().map(city))),
        Arc::new(Float64Array::from_iter_values(numbers().map(price))),
        Arc::new(cost.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(Date32Array::from_iter_values(numbers().map(|n| i32::try_from(n % 31).unwrap()))),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// The profile of all rows, cut into parts of so many that are put together.
fn profile(part: i64) -> Vec<ColumnProfile> {
    let schema = batch(0..0).schema();
    let all = places(&schema, None).unwrap();
    let mut whole = Profile::new(&schema, &all).unwrap();
    for start in (0..ROWS).step_by(usize::try_from(part).unwrap()) {
        let mut one = Profile::new(&schema, &all).unwrap();
        one.push(&batch(start..(start + part).min(ROWS))).unwrap();
        whole.absorb(&one);
    }
    whole.columns().unwrap()
}

#[test]
fn what_is_exact_is_exact_and_the_rest_within_its_bound() {
    let columns = profile(ROWS);
    let column = |name: &str| columns.iter().find(|column| column.column == name).unwrap();
    let (id, city, price) = (column("id"), column("city"), column("price"));
    assert_eq!((id.rows, id.nulls, city.nulls), (20_000, 0, 2000));
    assert_eq!((id.min.as_deref(), id.max.as_deref()), (Some("0"), Some("19999")));
    assert!(!id.distinct_is_exact && (id.distinct as f64 / 20_000.0 - 1.0).abs() < 4.0 * DISTINCT_ERROR);
    assert_eq!((city.distinct, city.distinct_is_exact), (41, true));
    assert_eq!((city.min.as_deref(), city.max.as_deref()), (Some("Oslo"), Some("city 99")));
    assert_eq!(
        (city.frequent[0].value.as_str(), city.frequent[0].count, city.frequent[0].count_max),
        ("Oslo", 10_000, 10_000)
    );
    assert!(city.quantiles.is_empty());
    assert_eq!((price.min.as_deref(), price.max.as_deref()), (Some("-100.0"), Some("2399.875")), "NaN is no extreme");
    let exact = |share: f64| ((share * f64::from(u32::try_from(ROWS).unwrap())).ceil() - 1.0).max(0.0);
    for quantile in &id.quantiles {
        let found: f64 = quantile.value.parse().unwrap();
        assert!((found - exact(quantile.share)).abs() <= QUANTILE_ERROR * exact(quantile.share) + 0.5, "{quantile:?}");
    }
    assert_eq!((column("cost").min.as_deref(), column("cost").max.as_deref()), (Some("0.00"), Some("4.99")));
    assert_eq!((column("day").max.as_deref(), column("day").distinct), (Some("1970-01-31"), 31));
    for frequent in &id.frequent {
        assert!(
            frequent.count <= 1 && frequent.count_max >= 1 && frequent.count_max <= 1 + 20_000 / 256,
            "{frequent:?}"
        );
    }
}

#[test]
fn the_cut_changes_nothing_but_counts_of_rare_values() {
    let whole = profile(ROWS);
    for part in [1000, 777, 16_384] {
        for (found, expected) in profile(part).into_iter().zip(&whole) {
            let is_rare = found.column == "id" || found.column == "price" || found.column == "cost";
            let frequent = if is_rare { expected.frequent.clone() } else { found.frequent.clone() };
            assert_eq!(&ColumnProfile { frequent, ..found }, expected, "parts of {part}");
        }
    }
}

#[test]
fn a_query_tells_profiles_by_batch_and_over_all_and_reads_the_columns_for_it() {
    for partitions in [1, 4] {
        let records = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&records);
        let context = StreamingContext::builder("profile")
            .trigger(Trigger::AvailableNow)
            .partitions(partitions)
            .on_progress(move |progress| heard.lock().unwrap().push(progress.clone()))
            .build()
            .unwrap();
        let source = QueueSource::of(batch(0..0).schema(), [batch(0..15_000), batch(15_000..ROWS)]).unwrap();
        let rows = context.source("rows", source).unwrap();
        let names = ["city".to_owned(), "cost".to_owned()];
        context.profile("rows", Some(&names)).unwrap();
        let error = context.profile("row", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.to_string().contains("did you mean \"rows\"?"), "{error}");
        let error = context.profile("rows", Some(&["town".to_owned()])).unwrap_err();
        assert!(error.to_string().contains("\"town\""), "{error}");
        rows.count().write(MemorySink::new()).unwrap();
        let query = context.start().unwrap();
        query.await_termination().unwrap();
        let all = query.profiles().unwrap();
        assert_eq!((all.len(), all[0].source.as_str()), (1, "rows"));
        let expected: BTreeMap<String, ColumnProfile> =
            profile(ROWS).into_iter().map(|column| (column.column.clone(), column)).collect();
        let found: Vec<&str> = all[0].columns.iter().map(|column| column.column.as_str()).collect();
        assert_eq!(found, ["city", "cost"]);
        assert_eq!(all[0].columns[0], expected["city"]);
        let records = records.lock().unwrap();
        let of_batches: Vec<u64> = records.iter().map(|record| record.profiles[0].columns[0].rows).collect();
        assert_eq!(of_batches, [15_000, 5000]);
        drop(records);
    }
}
