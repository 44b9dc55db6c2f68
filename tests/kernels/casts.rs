//! Every cast between plain types, checked and lossy.

use pelton::columnar::{DataType, TimeUnit};
use pelton::expr::col;

use crate::{agree, batches, is_typed, numbers, plain, schema, texts, times};

#[test]
fn casts_equal_the_reference() {
    for from in plain() {
        let batches = batches(&schema(&from));
        let targets = [numbers(), times(), texts(), vec![DataType::Boolean, DataType::Decimal128(30, 8)]].concat();
        for to in targets {
            for expr in [col("a").cast(to.clone()), col("a").cast_lossy(to.clone())] {
                if is_typed(&expr, &batches) {
                    agree(&expr, &batches);
                }
            }
        }
    }
}

#[test]
fn clocks_that_skip_and_repeat_hours_are_read_as_documented() {
    // Berlin skipped 2:00 to 3:00 on 1970s' and later spring nights and repeated it in autumn: every half hour of 1996.
    let berlin = DataType::Timestamp(TimeUnit::Second, Some("Europe/Berlin".into()));
    let half_hours: Vec<i64> = (0..17_568).map(|step| 820_454_400 + step * 1_800).collect();
    let naive = DataType::Timestamp(TimeUnit::Second, None);
    for (from, to) in [(naive.clone(), berlin.clone()), (berlin, naive)] {
        let values: Vec<_> = half_hours
            .iter()
            .map(|second| match &from {
                DataType::Timestamp(unit, zone) => pelton::columnar::Scalar::Timestamp(*second, *unit, zone.clone()),
                _ => unreachable!(),
            })
            .collect();
        let column = pelton::columnar::Scalar::to_array(&values, &from).unwrap();
        let batch = pelton::columnar::RecordBatch::try_from_iter([("a", column)]).unwrap();
        agree(&col("a").cast(to), std::slice::from_ref(&batch));
        agree(&col("a").truncate(std::time::Duration::from_secs(86_400)), &[batch]);
    }
}
