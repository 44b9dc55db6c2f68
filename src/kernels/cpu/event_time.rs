//! Event time as a stage meets it: how far it has come, and which rows are too late.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_select::filter::filter_record_batch;

use crate::columnar::{DataType, RecordBatch, TimeUnit};
use crate::error::Result;
use crate::kernels::Sighting;
use crate::plan::keep::{WatermarkId, nanos_of};

/// Notes the newest time of a column.
pub(super) fn note_newest(
    times: &ArrayRef,
    unit: TimeUnit,
    watermark: WatermarkId,
    sighting: &mut Sighting,
) -> Result<()> {
    let counts = arrow_cast::cast(times, &DataType::Int64)?;
    let counts = counts.as_primitive::<Int64Type>();
    let newest = match counts.null_count() {
        0 => counts.values().iter().copied().max(),
        _ => counts.iter().flatten().max(),
    };
    let Some(newest) = newest else { return Ok(()) };
    let micros = (i128::from(newest) * i128::from(nanos_of(unit))).div_euclid(1_000);
    let micros = i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX });
    let known = sighting.newest.entry(watermark).or_insert(micros);
    *known = micros.max(*known);
    Ok(())
}

/// The rows whose pane still takes rows; none if these are all. The others are counted.
pub(super) fn in_time(
    batch: &RecordBatch,
    panes: &ArrayRef,
    first_open: Option<i64>,
    sighting: &mut Sighting,
) -> Result<Option<RecordBatch>> {
    let untimed = panes.null_count();
    let open = first_open.unwrap_or(i64::MIN);
    let panes = panes.as_primitive::<Int64Type>();
    if untimed == 0 && panes.values().iter().all(|&pane| pane >= open) {
        return Ok(None);
    }
    let is_in_time: BooleanArray = panes.iter().map(|pane| Some(pane.is_some_and(|pane| pane >= open))).collect();
    sighting.untimed += untimed as u64;
    sighting.late += (panes.len() - untimed - is_in_time.true_count()) as u64;
    Ok(Some(filter_record_batch(batch, &is_in_time)?))
}

/// The rows that [`in_time`] leaves out.
pub(super) fn late_rows(batch: &RecordBatch, panes: &ArrayRef, first_open: Option<i64>) -> Result<RecordBatch> {
    let open = first_open.unwrap_or(i64::MIN);
    let panes = panes.as_primitive::<Int64Type>();
    let is_late: BooleanArray = panes.iter().map(|pane| Some(pane.is_none_or(|pane| pane < open))).collect();
    Ok(filter_record_batch(batch, &is_late)?)
}
