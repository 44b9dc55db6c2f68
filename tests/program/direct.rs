//! Sums that are made straight from columns: tiles on the short way, on the general one, and on both give the answer of the
//! reference, on every level of vector instructions, and the errors, too.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, StringArray, UInt8Array,
};
use pelton::expr::parse::parse_expr;
use pelton::kernels::cpu::simd;
use pelton::prelude::*;

/// Numbers that jump about.
fn word(row: usize, column: u64) -> u64 {
    (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(column).wrapping_mul(0xD134_2543_DE82_EF95) >> 17
}

fn below(row: usize, column: u64, bound: u64) -> i64 {
    i64::try_from(word(row, column) % bound).unwrap()
}

fn decimals(precision: u8, values: impl Iterator<Item = i128>) -> ArrayRef {
    Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(precision, 2).unwrap())
}

/// Rows like those of `lineitem`, and some more columns.
fn rows(count: usize) -> RecordBatch {
    let letter = |row: usize| ["A", "N", "R"][usize::try_from(below(row, 5, 3)).unwrap()];
    let status = |row: usize| ["F", "O", "F", ""][usize::try_from(below(row, 6, 4)).unwrap()];
    let money = |column, bound| (0..count).map(move |row| i128::from(below(row, column, bound)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("quantity", decimals(15, money(1, 5_000))),
        ("price", decimals(15, money(2, 10_494_950))),
        ("discount", decimals(15, money(3, 11))),
        ("tax", decimals(15, money(4, 9))),
        ("letter", Arc::new((0..count).map(|row| Some(letter(row))).collect::<StringArray>())),
        ("status", Arc::new((0..count).map(|row| Some(status(row))).collect::<StringArray>())),
        ("day", Arc::new((0..count).map(|row| i32::try_from(below(row, 7, 2526)).ok()).collect::<Date32Array>())),
        ("i", Arc::new((0..count).map(|row| Some(below(row, 8, 101_000) - 1_000)).collect::<Int64Array>())),
        ("n", Arc::new((0..count).map(|row| i32::try_from(below(row, 9, 200) - 100).ok()).collect::<Int32Array>())),
        ("u", Arc::new((0..count).map(|row| u8::try_from(below(row, 10, 256)).ok()).collect::<UInt8Array>())),
        (
            "f",
            Arc::new((0..count).map(|row| Some(below(row, 11, 1 << 40) as f64 / 1e9 - 50.0)).collect::<Float64Array>()),
        ),
        ("g", Arc::new((0..count).map(|row| Some(below(row, 12, 1 << 20) as f32 / 1e6)).collect::<Float32Array>())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The rows with another column.
fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let all = schema.fields().iter().zip(rows.columns()).map(|(field, old)| {
        let column = if field.name() == name { &column } else { old };
        (field.name().clone(), ArrayRef::clone(column), true)
    });
    RecordBatch::try_from_iter_with_nullable(all.collect::<Vec<_>>()).unwrap()
}

fn chain(filter: &str, keys: &[&str], aggregates: &[&str]) -> Chain {
    let mut chain = Chain::new();
    if !filter.is_empty() {
        chain = chain.filter(parse_expr(filter).unwrap());
    }
    let aggregate = |(place, text): (usize, &&str)| {
        let (function, input) = text.split_once(' ').unwrap_or((text, ""));
        let input = || parse_expr(input).unwrap();
        match function {
            "count" => len(),
            "sum" => input().sum(),
            "mean" => input().mean(),
            "ordered_sum" => input().ordered_sum(),
            other => panic!("{other}"),
        }
        .alias(format!("{function}{place}"))
    };
    chain.key_by(keys.iter().map(|key| col(*key))).aggregate(aggregates.iter().enumerate().map(aggregate))
}

const Q1: [&str; 8] = [
    "sum quantity",
    "sum price",
    "sum price * (1 - discount)",
    "sum price * (1 - discount) * (1 + tax)",
    "mean quantity",
    "mean price",
    "mean discount",
    "count",
];

const Q6: &str =
    "day >= date '1972-01-01' and day < date '1973-01-01' and discount between 0.05 and 0.07 and quantity < 24";

/// Filters, keys and aggregates that can go the short way.
fn chains() -> Vec<(&'static str, Vec<&'static str>, Vec<&'static str>)> {
    let floats = || vec!["sum f * g", "mean f", "sum f / (g + 1) - f", "ordered_sum f * g", "count", "sum i"];
    let wholes = || vec!["sum i + n", "sum i - i", "sum n * n", "mean u", "sum i * 1000000", "count"];
    let few = vec!["letter", "status"];
    vec![
        (Q6, vec![], vec!["sum price * discount"]),
        (Q6, few.clone(), vec!["sum price * discount"]),
        ("day <= date '1976-09-02'", few.clone(), Q1.to_vec()),
        ("", few.clone(), Q1.to_vec()),
        ("", vec![], Q1.to_vec()),
        ("i between 10000 and 60000", vec![], floats()),
        ("i between 10000 and 60000", vec!["letter"], floats()),
        ("", vec!["status"], floats()),
        ("g > 0.5 and f <= 100", vec![], floats()),
        ("f > 1e9 or f < -1e9", vec![], floats()),
        ("n >= 0 and 90 > n and u = 7", vec![], wholes()),
        ("u < 200 and n <> 3", few.clone(), wholes()),
        ("n < -99", vec![], wholes()),
        ("n > 1000", vec![], wholes()),
        ("n > 1000", few.clone(), wholes()),
        ("i >= -1000", few, wholes()),
        ("i <= 11625", vec![], wholes()),
    ]
}

fn compiled(batch: &RecordBatch, chain: &Chain, device: Device) -> Program {
    Program::compile(&batch.schema(), chain, device).unwrap()
}

/// Both answers, or both errors, on every level.
fn check(batch: &RecordBatch, chain: &Chain, what: &str) {
    let slow = compiled(batch, chain, Device::Reference).run(batch).map_err(|error| error.to_string());
    let program = compiled(batch, chain, Device::Cpu);
    for level in simd::available() {
        let fast = simd::with_level(level, || program.run(batch)).map_err(|error| error.to_string());
        assert_eq!(fast, slow, "{what}, {}", simd::name_of(level));
    }
}

#[test]
fn every_chain_gives_the_answer_of_the_reference() {
    for (filter, keys, aggregates) in chains() {
        let chain = chain(filter, &keys, &aggregates);
        for count in [0, 1, 63, 64, 65, 511, 512, 513, 4095, 4096, 4097] {
            check(&rows(count), &chain, &format!("{filter}, by {keys:?}, {count} rows"));
        }
    }
}

/// The first tile brings the keys; only later ones can go the short way.
#[test]
fn several_tiles_in_one_batch_and_in_many_give_the_answer_of_the_reference() {
    let all = rows(35_000);
    for (filter, keys, aggregates) in chains() {
        let chain = chain(filter, &keys, &aggregates);
        let slow = compiled(&all, &chain, Device::Reference).run(&all).unwrap();
        let program = compiled(&all, &chain, Device::Cpu);
        assert_eq!(program.run(&all).unwrap(), slow, "{filter}, by {keys:?}");
        for step in [777, 16_384, 16_385] {
            let mut partial = program.begin();
            for from in (0..all.num_rows()).step_by(step) {
                partial.push(&all.slice(from, step.min(all.num_rows() - from))).unwrap();
            }
            assert_eq!(partial.finish().unwrap(), slow, "{filter}, by {keys:?}, in batches of {step}");
        }
    }
}

#[test]
fn keys_that_come_late_are_many_null_or_long() {
    let count = 20_000;
    let plain = rows(count);
    let new = |row: usize, from: usize| row >= from && row % 1000 == 7;
    let late: StringArray = (0..count).map(|row| Some(if new(row, 17_000) { "z" } else { "a" })).collect();
    let long: StringArray = (0..count).map(|row| Some(if new(row, 18_000) { "zz" } else { "a" })).collect();
    let null: StringArray = (0..count).map(|row| (!new(row, 18_000)).then_some("a")).collect();
    let nine: StringArray = (0..count).map(|row| Some(&"abcdefghi"[row % 9..][..1])).collect();
    let seven: StringArray = (0..count).map(|row| Some(&"abcdefg"[row % 7..][..1])).collect();
    for keys in [late, long, null, nine, seven] {
        let batch = with(&plain, "letter", Arc::new(keys));
        for filter in ["", "i < 90000", "i < 20000", "i < 100"] {
            for aggregates in [&Q1[..], &["sum f * g", "ordered_sum f", "count"]] {
                check(&batch, &chain(filter, &["letter"], aggregates), filter);
            }
        }
    }
}

#[test]
fn nulls_in_some_tiles_change_nothing_but_the_way() {
    let count = 20_000;
    let plain = rows(count);
    let is_null = |row: usize| (17_000..17_500).contains(&row) && row.is_multiple_of(3);
    let price = (0..count).map(|row| (!is_null(row)).then(|| i128::from(below(row, 2, 10_494_950))));
    let price: Decimal128Array = price.collect::<Decimal128Array>().with_precision_and_scale(15, 2).unwrap();
    let day = |row: usize| (!is_null(row)).then(|| i32::try_from(below(row, 7, 2526)).unwrap());
    let day: Date32Array = (0..count).map(day).collect();
    for batch in [with(&plain, "price", Arc::new(price)), with(&plain, "day", Arc::new(day))] {
        for (filter, keys) in
            [("day <= date '1976-09-02'", vec!["letter", "status"]), (Q6, vec![]), ("", vec!["letter"])]
        {
            check(&batch, &chain(filter, &keys, &Q1), filter);
        }
    }
}

/// Values about the bounds of 31, 52, 63 and 64 bits, of 18 and 19 digits, and of the precision; some fit, some do not.
#[test]
fn decimals_and_whole_numbers_at_their_bounds_fit_or_overflow_as_in_the_reference() {
    let count = 1_200;
    let plain = rows(count);
    let digits = |digits: u32| 10_i128.pow(digits) - 1;
    let sizes = [
        (1 << 31) - 1,
        1 << 31,
        1 << 51,
        1 << 52,
        i64::MAX.into(),
        1 << 63,
        1 << 64,
        digits(15),
        digits(18),
        digits(19),
    ];
    for size in sizes.into_iter().chain([digits(20), digits(37), digits(38)]) {
        for sign in [1, -1] {
            for (place, filter) in [(700, ""), (1_199, "i >= -1000"), (600, "i between 0 and 50000")] {
                let price = |row: usize| if row == place { sign * size } else { i128::from(below(row, 2, 1_000)) };
                let batch = with(&plain, "price", decimals(38, (0..count).map(price)));
                for aggregates in [&["sum price", "mean price", "count"][..], &Q1[..], &["sum price * price"]] {
                    check(&batch, &chain(filter, &[], aggregates), &format!("{size} at {place}, {aggregates:?}"));
                    check(&batch, &chain(filter, &["letter"], aggregates), &format!("{size} at {place}, by letter"));
                }
                let range = format!("price >= {} and price <= {size}.00", if sign < 0 { "-1" } else { "1" });
                if size < digits(16) {
                    check(&batch, &chain(&range, &[], &["sum quantity", "count"]), &range);
                }
            }
        }
    }
    for size in [1 << 31, 1 << 52, 1 << 53, i64::MAX / 2, i64::MAX] {
        for sign in [1, -1] {
            let i = |row: usize| if row == 700 { sign * size } else { below(row, 8, 100) };
            let batch = with(&plain, "i", Arc::new((0..count).map(|row| Some(i(row))).collect::<Int64Array>()));
            for aggregate in ["sum i", "sum i + 1", "sum i - 1", "sum i * 2", "sum i * i", "mean i"] {
                check(&batch, &chain("", &[], &[aggregate]), &format!("{aggregate} of {size}"));
                check(&batch, &chain("n > 0", &["letter"], &[aggregate]), &format!("{aggregate} of {size}"));
            }
            for filter in ["i < 50", "i > 9223372036854775806", "i >= -9223372036854775807", "i = 7"] {
                check(&batch, &chain(filter, &[], &["sum n", "count"]), filter);
            }
        }
    }
}

/// An overflow in a later tile is told with its column and row as if the tile had gone the general way from its first row on.
#[test]
fn an_overflow_behind_rows_that_were_taken_in_names_its_row() {
    let count = 16_000;
    let plain = rows(count);
    let n = |row: usize| if row == 15_999 { i32::MAX } else { 1 };
    let batch = with(&plain, "n", Arc::new((0..count).map(|row| Some(n(row))).collect::<Int32Array>()));
    for (filter, keys) in [("", vec![]), ("i < 90000", vec![]), ("i > 99990", vec![]), ("", vec!["letter"])] {
        check(&batch, &chain(filter, &keys, &["sum n + 1", "count"]), filter);
    }
    let error = compiled(&batch, &chain("", &[], &["sum n + 1"]), Device::Cpu).run(&batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert!(error.to_string().contains("in row 15999") && error.to_string().contains("column \"n\""), "{error}");
}

/// A float that no grid holds, one that is not finite, zeros with signs: in a sum, in a filter, and where a filter drops them.
#[test]
fn floats_of_all_kinds_are_summed_and_filtered_as_in_the_reference() {
    let count = 1_500;
    let plain = rows(count);
    let odd =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 5e-324, -0.0, f64::MAX, f64::MIN_POSITIVE, 1e-200];
    for value in odd {
        let f = |row: usize| if row % 700 == 699 { value } else { below(row, 11, 1 << 40) as f64 / 1e9 - 50.0 };
        let batch = with(&plain, "f", Arc::new((0..count).map(|row| Some(f(row))).collect::<Float64Array>()));
        for filter in ["", "f > 1", "f >= 1", "f < 1", "f <= 1", "f = 0", "f > -1e308 and f < 1e308", "0 < f", "n > 0"]
        {
            for aggregates in [&["sum f", "mean f", "count"][..], &["sum f * g", "ordered_sum f"], &["sum n", "count"]]
            {
                for keys in [&[][..], &["letter"]] {
                    check(&batch, &chain(filter, keys, aggregates), &format!("{value:e}, {filter}, {aggregates:?}"));
                }
            }
        }
    }
    let zeros = with(&plain, "f", Arc::new((0..count).map(|row| Some([0.0, -0.0][row % 2])).collect::<Float64Array>()));
    for filter in ["", "f = 0", "f < 0", "f >= 0", "f <= -0.0"] {
        check(&zeros, &chain(filter, &[], &["sum f", "ordered_sum f", "count"]), filter);
    }
}
