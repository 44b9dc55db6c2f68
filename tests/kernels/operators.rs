//! Every operator on every type it takes.

use pelton::columnar::{DataType, RecordBatch, Scalar};
use pelton::expr::{BinaryOp, Expr, UnaryOp, col, lit, when};

use crate::common::{Random, Range, random_scalar, ranged_batch};
use crate::{agree, batches, is_typed, numbers, plain, schema, times};

const ARITHMETIC: [BinaryOp; 6] =
    [BinaryOp::Add, BinaryOp::Subtract, BinaryOp::Multiply, BinaryOp::Divide, BinaryOp::FloorDivide, BinaryOp::Modulo];
const COMPARISONS: [BinaryOp; 6] =
    [BinaryOp::Eq, BinaryOp::NotEq, BinaryOp::Lt, BinaryOp::LtEq, BinaryOp::Gt, BinaryOp::GtEq];

fn binary(left: Expr, op: BinaryOp, right: Expr) -> Expr {
    Expr::Binary(Box::new(left), op, Box::new(right))
}

fn literal(data_type: &DataType, seed: u64) -> Expr {
    let leaf = match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    lit(random_scalar(&mut Random::new(seed), leaf, Range::Tame))
}

#[test]
fn arithmetic_equals_the_reference() {
    for data_type in [numbers(), times()].concat() {
        let batches = batches(&schema(&data_type));
        for op in ARITHMETIC {
            for (left, right) in [
                (col("a"), col("b")),
                (col("a"), literal(&data_type, 3)),
                (literal(&data_type, 4), col("b")),
                (col("a"), lit(Scalar::Null)),
            ] {
                let expr = binary(left, op, right);
                if is_typed(&expr, &batches) {
                    agree(&expr, &batches);
                }
            }
        }
    }
}

#[test]
fn spans_move_times() {
    for data_type in times() {
        let batches = batches(&schema(&data_type));
        let span = lit(Scalar::Duration(90, pelton::columnar::TimeUnit::Second));
        for op in [BinaryOp::Add, BinaryOp::Subtract] {
            agree(&binary(col("a"), op, span.clone()), &batches);
        }
    }
}

#[test]
fn comparisons_equal_the_reference() {
    for data_type in plain() {
        let batches = batches(&schema(&data_type));
        for op in COMPARISONS {
            agree(&binary(col("a"), op, col("b")), &batches);
            agree(&binary(col("a"), op, literal(&data_type, 7)), &batches);
            agree(&binary(literal(&data_type, 8), op, col("b")), &batches);
            agree(&binary(literal(&data_type, 8), op, literal(&data_type, 9)), &batches);
        }
    }
}

#[test]
fn nan_and_zeros_compare_as_documented() {
    let batches = batches(&schema(&DataType::Float64));
    for value in [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY] {
        for op in COMPARISONS {
            agree(&binary(col("a"), op, lit(value)), &batches);
        }
    }
}

#[test]
fn logic_has_three_values() {
    let batches = batches(&schema(&DataType::Boolean));
    for op in [BinaryOp::And, BinaryOp::Or] {
        for right in [col("b"), lit(true), lit(false), lit(Scalar::Null)] {
            agree(&binary(col("a"), op, right.clone()), &batches);
            agree(&binary(right, op, col("a")), &batches);
        }
    }
    agree(&!col("a"), &batches);
}

#[test]
fn unary_operators_equal_the_reference() {
    for data_type in plain() {
        let batches = batches(&schema(&data_type));
        for op in [UnaryOp::Negate, UnaryOp::IsNull, UnaryOp::IsNotNull, UnaryOp::IsNan] {
            let expr = Expr::Unary(op, Box::new(col("a")));
            if is_typed(&expr, &batches) {
                agree(&expr, &batches);
            }
        }
    }
}

#[test]
fn choices_equal_the_reference() {
    for data_type in plain() {
        let batches = batches(&schema(&data_type));
        agree(&when(col("c")).then(col("a")).otherwise(col("b")), &batches);
        agree(&when(col("c")).then(col("a")).otherwise_null(), &batches);
        agree(&when(col("c")).then(literal(&data_type, 5)).otherwise(col("b")), &batches);
        agree(&when(col("i").gt(lit(5))).then(col("a")).when(col("c")).then(col("b")).otherwise(col("a")), &batches);
    }
}

#[test]
fn what_nobody_chose_raises_no_error() {
    let batches = batches(&schema(&DataType::Int8));
    let small = col("a").lt(lit(60)).and(col("a").gt(lit(-60)));
    agree(&when(small.clone()).then(col("a") + col("a")).otherwise(lit(0)), &batches);
    agree(&when(small).then(col("a")).when(col("c")).then(col("b") * col("a")).otherwise_null(), &batches);
}

#[test]
fn membership_equals_the_reference() {
    for data_type in plain() {
        let batches = batches(&schema(&data_type));
        let leaf = match &data_type {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        for count in [0, 1, 3, 40] {
            for null in [false, true] {
                let mut random = Random::new(count);
                let mut members: Vec<Scalar> =
                    (0..count).map(|_| random_scalar(&mut random, leaf, Range::Wild)).collect();
                members.extend(null.then_some(Scalar::Null));
                let expr = Expr::IsIn(Box::new(col("a")), members);
                if is_typed(&expr, &batches) {
                    agree(&expr, &batches);
                }
            }
        }
    }
}

#[test]
fn long_columns_are_compared_and_chosen_as_the_reference_does_it() {
    let types = [DataType::Int64, DataType::Float32, DataType::UInt8, DataType::Decimal128(12, 2), DataType::Utf8];
    for (seed, data_type) in types.into_iter().enumerate() {
        let rows = [65_537, 4095, 4096, 4097, 4097][seed];
        let whole = ranged_batch(seed as u64, rows + 5, &schema(&data_type), 0.1, Range::Wild);
        let batches = [whole.slice(5, rows)];
        for op in COMPARISONS {
            agree(&binary(col("a"), op, col("b")), &batches);
            agree(&binary(literal(&data_type, 8), op, col("b")), &batches);
        }
        let (one, other) = (literal(&data_type, 5), literal(&data_type, 6));
        for (yes, no) in [(col("a"), col("b")), (one.clone(), col("b")), (col("a"), one.clone()), (one, other)] {
            agree(&when(col("c")).then(yes).otherwise(no), &batches);
        }
    }
}

#[test]
fn texts_of_every_length_are_chosen() {
    let schema = schema(&DataType::Utf8);
    let texts = |from: usize| -> Vec<Scalar> {
        (0..200).map(|row| Scalar::Utf8("\u{e9}x".repeat((row + from) % 40))).collect()
    };
    let mut columns = ranged_batch(3, 200, &schema, 0.1, Range::Tame).columns().to_vec();
    columns[0] = Scalar::to_array(&texts(0), &DataType::Utf8).unwrap();
    columns[1] = Scalar::to_array(&texts(31), &DataType::Utf8).unwrap();
    let whole = RecordBatch::try_new(schema, columns).unwrap();
    let batches = [whole.slice(7, 130), whole.slice(199, 1), whole];
    agree(&when(col("c")).then(col("a")).otherwise(col("b")), &batches);
    agree(&when(col("c")).then(lit("")).otherwise(col("b")), &batches);
    agree(&when(col("c")).then(col("a")).otherwise(lit("longer than what is copied at once, by some bytes")), &batches);
}
