//! Columns of sums and means, made of the totals of the groups and checked against the type of the result.

#![expect(clippy::cast_sign_loss, reason = "counts of rows")]

use arrow_array::ArrayRef;
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer};
use arrow_schema::DataType;

use super::lane_sum::{Total, Wide};
use super::state::Refusal;
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::exact_sum;
use crate::kernels::reduce;

/// The sum of each group; null where there is no value. Without counts each group has one.
pub(super) fn sums(
    groups: usize,
    total: impl Fn(usize) -> Total,
    counts: Option<&[i64]>,
    data_type: &DataType,
) -> Result<ArrayRef, Refusal> {
    let has_values = |group: usize| counts.is_none_or(|counts| counts[group] > 0);
    let nulls = counts.and_then(of_no_value);
    macro_rules! whole {
        ($native:ty, $limit:expr) => {{
            let mut sums = Vec::with_capacity(groups);
            for group in 0..groups {
                sums.push(match total(group) {
                    Total::Whole(total) => {
                        narrowed::<$native>(&total, $limit).ok_or_else(|| out_of_range(&total, group, data_type))?
                    }
                    Total::Scaled(..) | Total::Float(_) => <$native>::default(),
                });
            }
            Ok(native::column(data_type, sums, nulls)?)
        }};
    }
    match data_type {
        DataType::Float32 | DataType::Float64 => {
            let sum = |group| if has_values(group) { total(group).quotient(1) } else { 0.0 };
            Ok(native::column(&DataType::Float64, (0..groups).map(sum).collect(), nulls)?)
        }
        DataType::UInt64 => whole!(u64, i128::MAX),
        DataType::Decimal128(_, _) => whole!(i128, 10_i128.pow(38) - 1),
        _ => whole!(i64, i128::MAX),
    }
}

/// Whether sums of this type are signed numbers of 64 bits.
pub(super) fn is_whole_64(data_type: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, UInt64};
    !matches!(data_type, Float32 | Float64 | UInt64 | Decimal128(..))
}

/// The bitmap of groups with so many values each: null without any.
pub(super) fn of_no_value(counts: &[i64]) -> Option<NullBuffer> {
    let all = counts.iter().all(|&count| count > 0);
    (!all).then(|| NullBuffer::new(BooleanBuffer::collect_bool(counts.len(), |group| counts[group] > 0)))
}

/// The total as the native type of the result; `limit` bounds the digits of decimals.
fn narrowed<T: TryFrom<i128> + ArrowNativeType>(total: &Wide, limit: i128) -> Option<T> {
    let whole = total.to_i128().filter(|whole| (-limit..=limit).contains(whole))?;
    T::try_from(whole).ok()
}

fn out_of_range(total: &Wide, group: usize, data_type: &DataType) -> Refusal {
    let scale = if let DataType::Decimal128(_, scale) = data_type { *scale } else { 0 };
    let value = reduce::total_text(total, data_type, scale);
    Refusal::OutOfRange { group, value, data_type: data_type.clone() }
}

/// The mean of each group; null where there is no value. `scale` is the number of decimal digits after the point.
pub(super) fn means(groups: usize, total: impl Fn(usize) -> Total, counts: &[i64], scale: i8) -> Result<ArrayRef> {
    let mean = |group: usize| match (counts[group] as u64, total(group)) {
        (0, _) => 0.0,
        (count, Total::Whole(total)) => exact_sum::whole_mean(&total, count, scale),
        (count, total) => total.quotient(count),
    };
    let means: Vec<f64> = (0..groups).map(mean).collect();
    native::column(&DataType::Float64, means, of_no_value(counts))
}
