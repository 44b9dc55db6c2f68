//! Limits and repartitions.

use arrow_select::concat::concat_batches;
use pelton::columnar::{DataType, RecordBatch};
use pelton::kernels::cpu::repartition::{limit, repartition};
use pelton::kernels::repartition::{reference, reference_limit};

use crate::random::{Random, cut};

fn whole(like: &RecordBatch, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&like.schema(), batches).unwrap()
}

#[test]
fn partitions_hold_the_rows_the_reference_gives_them() {
    let mut random = Random::new(5);
    for rows in [0, 1, 2, 63, 64, 65, 1000] {
        let batch = random.batch(&[DataType::Utf8], rows, 50, true);
        let parts = cut(&mut random, &batch);
        for partitions in [1, 2, 3, 64, 100] {
            let expected = reference(&parts, partitions);
            let got = repartition(&parts, partitions);
            assert_eq!(got.len(), partitions);
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!(whole(&batch, got), whole(&batch, expected));
            }
            assert!(got.iter().flatten().all(|batch| batch.num_rows() > 0));
        }
    }
}

#[test]
fn a_limit_keeps_the_first_rows() {
    let mut random = Random::new(6);
    let batch = random.batch(&[DataType::Float64], 200, 50, true);
    let parts = cut(&mut random, &batch);
    for rows in [0, 1, 63, 199, 200, 201] {
        assert_eq!(whole(&batch, &limit(&parts, rows)), whole(&batch, &reference_limit(&parts, rows)), "{rows} rows");
    }
}

#[test]
fn repartitioning_shares_the_values() {
    use arrow_array::Array;
    let batch = Random::new(1).batch(&[], 10, 5, false);
    let partitions = repartition(std::slice::from_ref(&batch), 2);
    let values = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
    assert_eq!(values(&partitions[0][0]), values(&batch));
}
