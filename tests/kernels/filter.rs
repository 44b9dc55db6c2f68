//! Filters keep what the reference keeps.

use std::sync::Arc;

use pelton::columnar::{DataType, Field, Scalar, Schema};
use pelton::expr::{Expr, col, lit};
use pelton::kernels::cpu::filter::Filter;
use pelton::kernels::filter::reference;

use crate::common::{assert_batches_equal, random_batch};
use crate::{SIZES, list, plain};

#[test]
fn filters_keep_what_the_reference_keeps() {
    let mut types = plain();
    types.push(list(DataType::Int64));
    let mut fields: Vec<Field> =
        types.into_iter().enumerate().map(|(index, t)| Field::new(format!("c{index}"), t, true)).collect();
    fields.push(Field::new("keep", DataType::Boolean, true));
    fields.push(Field::new("n", DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields));
    let never: Expr = lit(Scalar::Null);
    for (seed, rows) in SIZES.into_iter().chain([4096, 4097]).enumerate() {
        let batch = random_batch(seed as u64, rows, &schema, 0.1);
        for predicate in [col("keep"), col("n").gt(lit(90)), col("n").is_null(), lit(true), lit(false), never.clone()] {
            let Ok(typed) = predicate.typed(&schema) else { continue };
            if typed.data_type != DataType::Boolean {
                continue;
            }
            let found = Filter::prepare(&typed).unwrap().apply(&batch).unwrap();
            assert_batches_equal(&found, &reference(&batch, &typed).unwrap());
        }
    }
}
