//! Event time as a stage meets it: how far it has come, and which rows are too late.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_select::filter::filter_record_batch;

use super::project::Program;
use crate::columnar::{DataType, RecordBatch, TimeUnit};
#[cfg(feature = "gpu")]
use crate::error::Error;
use crate::error::Result;
use crate::kernels::Sighting;
use crate::kernels::drop_duplicates::micros_of;
use crate::plan::keep::{WatermarkId, Windows, nanos_of};

/// Which rows are too late to be told from duplicates.
pub(super) enum TooLate {
    /// None.
    Never,
    /// Those whose time is behind the horizon.
    ByTime(Program, TimeUnit),
    /// Those of windows that are closed, by the number of the window.
    ByWindow(Program, Windows),
}

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
    let micros = micros_of(newest, nanos_of(unit));
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

/// As [`in_time`], of groups that were made elsewhere, each of so many rows: those whose pane still takes rows.
#[cfg(feature = "gpu")]
pub(super) fn groups_in_time(
    panes: &ArrayRef,
    rows: &[i64],
    first_open: Option<i64>,
    sighting: &mut Sighting,
) -> Result<Option<BooleanArray>> {
    let panes = panes.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal("a pane that is no number"))?;
    let open = first_open.unwrap_or(i64::MIN);
    let is_in_time: BooleanArray = panes.iter().map(|pane| Some(pane.is_some_and(|pane| pane >= open))).collect();
    if is_in_time.true_count() == panes.len() {
        return Ok(None);
    }
    for ((pane, rows), is_in_time) in panes.iter().zip(rows).zip(is_in_time.values()) {
        match pane {
            _ if is_in_time => {}
            None => sighting.untimed += rows.unsigned_abs(),
            Some(_) => sighting.late += rows.unsigned_abs(),
        }
    }
    Ok(Some(is_in_time))
}

/// The rows whose time is not behind the horizon; none if these are all. The others are counted.
pub(super) fn not_behind(
    batch: &RecordBatch,
    times: &ArrayRef,
    unit: TimeUnit,
    horizon: Option<i64>,
    sighting: &mut Sighting,
) -> Result<Option<RecordBatch>> {
    let horizon = horizon.unwrap_or(i64::MIN);
    let times = arrow_cast::cast(times, &DataType::Int64)?;
    let times = times.as_primitive::<Int64Type>();
    let untimed = times.null_count();
    let is_in_time: BooleanArray =
        times.iter().map(|time| Some(time.is_some_and(|time| micros_of(time, nanos_of(unit)) >= horizon))).collect();
    let kept = is_in_time.true_count();
    sighting.untimed += untimed as u64;
    sighting.late += (times.len() - untimed - kept) as u64;
    if kept == times.len() { Ok(None) } else { Ok(Some(filter_record_batch(batch, &is_in_time)?)) }
}

/// The rows that [`in_time`] leaves out.
pub(super) fn late_rows(batch: &RecordBatch, panes: &ArrayRef, first_open: Option<i64>) -> Result<RecordBatch> {
    let open = first_open.unwrap_or(i64::MIN);
    let panes = panes.as_primitive::<Int64Type>();
    let is_late: BooleanArray = panes.iter().map(|pane| Some(pane.is_none_or(|pane| pane < open))).collect();
    Ok(filter_record_batch(batch, &is_late)?)
}
