//! Keyed reduce whose groups outlive their batch: running aggregates, and windows over event time or over batches.
//!
//! What is kept is an object that the runtime owns ([`Kept`]): it takes in the partials of a batch and gives the rows that
//! the output mode asks for. Nothing is kept anywhere else.
//!
//! # Contract
//! 1. The answer of a batch depends on the rows of all batches so far and their [`Moment`]s, not on how the batches were
//!    cut into partitions, and not on whether the state has been stored and restored in between. *(tested)*
//! 2. A row whose pane belongs to closed windows only, or that has no time, is counted and left out. *(tested)*
//! 3. A window comes out of `append` exactly once, in the batch in which it is closed. *(tested)*
//! 4. Rows come window by window, earliest first; in a window, groups in the order of their first rows, where rows of
//!    earlier panes come first. Without windows: groups in the order of their first rows; with `update`, in the order of
//!    their first rows in the batch. *(tested)*

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatchOptions};
use arrow_ord::cmp::not_distinct;
use arrow_select::concat::concat_batches;
use arrow_select::filter::{filter, filter_record_batch};

use super::reduce::{self, ReduceInput};
use super::spill::Room;
use super::{Findings, Partial, Partitions, count_windows, group_ids, sessions};
use crate::columnar::{DataType, Field, RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::plan::keep::{Keep, OutputMode, Span, WatermarkId, Windows};

/// When a batch runs, in all senses of time. The same each time it is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// When the batch was cut, as time since the Unix epoch.
    pub time: Duration,
    /// When the batch before it was cut.
    pub previous: Option<Duration>,
    /// How far event time had come before the batch, in microseconds since the Unix epoch.
    pub horizon_before: Option<i64>,
    /// How far it has come with the batch. Known once all rows have been seen.
    pub horizon: Option<i64>,
}

/// What a task saw of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Rows left out because all their windows were closed.
    pub late: u64,
    /// Rows left out because they have no time.
    pub untimed: u64,
    /// The newest time that each watermark saw, in microseconds since the Unix epoch, rounded down.
    pub newest: BTreeMap<WatermarkId, i64>,
    /// The same of the parts of sources whose event times are told apart, by their names; nothing if there were no times.
    pub newest_of_parts: BTreeMap<(WatermarkId, String), Option<i64>>,
}

impl Sighting {
    /// Adds what another task saw.
    pub fn absorb(&mut self, other: &Self) {
        self.late += other.late;
        self.untimed += other.untimed;
        for (&id, &newest) in &other.newest {
            let known = self.newest.entry(id).or_insert(newest);
            *known = newest.max(*known);
        }
        for (part, &newest) in &other.newest_of_parts {
            let known = self.newest_of_parts.entry(part.clone()).or_default();
            *known = newest.max(*known);
        }
    }

    /// All that was seen of these watermarks was of this part of a source.
    pub fn belongs_to(&mut self, part: &str, watermarks: impl IntoIterator<Item = WatermarkId>) {
        for watermark in watermarks {
            let newest = self.newest.remove(&watermark);
            self.newest_of_parts.insert((watermark, part.to_owned()), newest);
        }
    }
}

/// What a stage keeps from batch to batch.
pub trait Kept: Send {
    /// Takes a batch in, given as the partials of its partitions in order, and gives its answer.
    ///
    /// # Errors
    /// Overflow of a total; the state is of no use afterwards.
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions>;

    /// What the rule that it is of, if it is, found in the latest batch, since the last call.
    fn take_findings(&mut self) -> Findings {
        Findings::default()
    }

    /// What the latest batch changed, in columns that can be stored; see [`Kept::restore`].
    ///
    /// # Errors
    /// None as a rule: what can be kept can be stored.
    fn changes(&mut self) -> Result<Vec<RecordBatch>>;

    /// All of it, in columns that can be stored.
    ///
    /// # Errors
    /// As for [`Kept::changes`].
    fn snapshot(&mut self) -> Result<Vec<RecordBatch>>;

    /// Becomes what was stored: all of it at some time, and then what each batch changed, in order.
    ///
    /// # Errors
    /// `InvalidOption` for columns of another stage, `Corrupt` for what nothing can have stored.
    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()>;

    /// Whether what has no room in memory may be put away.
    fn can_spill(&self) -> bool {
        false
    }

    /// Puts what has no room in memory away from now on. Nothing is kept yet.
    fn spill_to(&mut self, _: &Room) {}

    /// Whether what is done to it gains by the threads of a pool.
    fn uses_threads(&self) -> bool {
        false
    }

    /// The time of batches at which something is due even without rows, in microseconds since the Unix epoch.
    fn due(&self) -> Option<i64> {
        None
    }

    /// The event time at which all that is open would have been given, in microseconds since the Unix epoch; none if
    /// nothing waits for event time in order to be given.
    fn end(&self) -> Option<i64> {
        None
    }

    /// How many groups there are; those of each pane count.
    fn groups(&self) -> u64;

    /// All groups as they would come out now, in the schema of the stage.
    ///
    /// # Errors
    /// Overflow of a total.
    fn scan(&self) -> Result<RecordBatch>;

    /// Those rows of [`Kept::scan`] that have this key: a row for each of its first columns.
    ///
    /// # Errors
    /// As for [`Kept::scan`].
    fn get(&self, key: &[ArrayRef]) -> Result<RecordBatch> {
        let all = self.scan()?;
        Ok(filter_record_batch(&all, &has_key(all.columns(), key, all.num_rows())?)?)
    }
}

/// Which of so many rows, whose first columns are keys, have this one: null equals null. Keys are what stands for all equal
/// ones.
pub(crate) fn has_key(columns: &[ArrayRef], key: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
    let mut has = BooleanArray::from(vec![true; rows]);
    for (column, value) in columns.iter().zip(key) {
        let plain = |array: &ArrayRef| match array.data_type() {
            DataType::Dictionary(_, values) => arrow_cast::cast(array, values),
            _ => Ok(Arc::clone(array)),
        };
        let is_equal = not_distinct(&plain(column)?, &arrow_array::Scalar::new(plain(value)?))?;
        has = BooleanArray::new(has.values() & is_equal.values(), None);
    }
    Ok(has)
}

/// The answer to the last of several batches, by the book: the rows of all of them are looked at anew. `history` has the
/// evaluated columns of each batch, with its moment.
///
/// # Errors
/// Overflow of a total.
pub fn reference(keep: &Keep, schema: &SchemaRef, history: &[(ReduceInput, Moment)]) -> Result<RecordBatch> {
    let Some((_, now)) = history.last() else { return Ok(RecordBatch::new_empty(Arc::clone(schema))) };
    match &keep.span {
        Span::Always => {
            let inputs = alive(keep, history)?;
            let all = reduced(keep, &inputs)?;
            let rows = match keep.mode {
                OutputMode::Complete => all,
                _ => picked(keep, &all, &reduced(keep, &inputs[inputs.len() - 1..])?)?,
            };
            let mut columns = rows.columns().to_vec();
            if keep.ttl.is_some() {
                columns.remove(keep.keys.len() - 1);
            }
            under(schema, columns, rows.num_rows())
        }
        Span::Batches { size, slide } => {
            let fires = slide.is_none_or(|slide| has_slid(now, slide));
            let is_inside = |moment: &Moment| moment.time + *size > now.time;
            let inside = history.iter().filter(|(_, moment)| is_inside(moment)).map(|(input, _)| unpaned(input));
            let inside = inside.collect::<Vec<_>>();
            if !fires {
                return Ok(RecordBatch::new_empty(Arc::clone(schema)));
            }
            let fields = fields(keep);
            let rows = reduce::reference(&fields[..fields.len() - 1], &keep.aggregates, &inside)?;
            under(schema, rows.columns().to_vec(), rows.num_rows())
        }
        Span::Event(windows) => event(keep, windows, schema, history, now),
        Span::Rows(windows) => count_windows::reference(keep, windows, schema, history),
        Span::Sessions(windows) => sessions::reference(keep, windows, schema, history),
    }
}

/// The rows of groups that live: of those with a time to live, the rows since they were last forgotten.
fn alive(keep: &Keep, history: &[(ReduceInput, Moment)]) -> Result<Vec<ReduceInput>> {
    let Some(ttl) = keep.ttl else { return Ok(history.iter().map(|(input, _)| input.clone()).collect()) };
    let mut numbers = group_ids::Reference::default();
    // Of each key: the batch that it lives since, and when it is forgotten.
    let mut lives: BTreeMap<usize, (usize, Duration)> = BTreeMap::new();
    let mut ids = Vec::new();
    for (number, (input, moment)) in history.iter().enumerate() {
        ids.push(numbers.assign(&input.keys[..input.keys.len() - 1], input.rows)?);
        lives.retain(|_, (_, until)| *until > moment.time);
        for &id in &ids[number] {
            lives.entry(id).or_insert((number, Duration::ZERO)).1 = moment.time + ttl;
        }
    }
    let of_batch = |(number, (input, _)): (usize, &(ReduceInput, Moment))| {
        let lives = ids[number].iter().map(|id| Some(lives.get(id).is_some_and(|(since, _)| number >= *since)));
        chosen(input, &lives.collect())
    };
    history.iter().enumerate().map(of_batch).collect()
}

/// Whether a multiple of the slide lies between the batch before and this one.
pub(crate) fn has_slid(now: &Moment, slide: Duration) -> bool {
    let slides = |time: Duration| time.as_nanos() / slide.as_nanos().max(1);
    match now.previous {
        Some(previous) => slides(now.time) > slides(previous),
        None => now.time.as_nanos().is_multiple_of(slide.as_nanos().max(1)),
    }
}

/// The first pane that still takes rows; none if all do.
pub(crate) fn first_open_pane(keep: &Keep, horizon: Option<i64>) -> Option<i64> {
    match &keep.span {
        Span::Event(windows) | Span::Sessions(windows) if keep.mode != OutputMode::Complete => {
            Some(windows.first_open_pane(horizon?))
        }
        _ => None,
    }
}

fn event(
    keep: &Keep,
    windows: &Windows,
    schema: &SchemaRef,
    history: &[(ReduceInput, Moment)],
    now: &Moment,
) -> Result<RecordBatch> {
    let mut taken = Vec::new();
    for (input, moment) in history {
        let open = first_open_pane(keep, moment.horizon_before);
        taken.push(only(input, |pane| open.is_none_or(|open| pane >= open))?);
    }
    let closed = |horizon: Option<i64>| horizon.map_or(i64::MIN, |horizon| windows.last_closed(horizon));
    let wanted: BTreeSet<i64> = match keep.mode {
        OutputMode::Complete => taken.iter().flat_map(panes).flat_map(|pane| all_windows(windows, pane)).collect(),
        OutputMode::Append => {
            let all = taken.iter().flat_map(panes).flat_map(|pane| all_windows(windows, pane));
            all.filter(|&window| window > closed(now.horizon_before) && window <= closed(now.horizon)).collect()
        }
        OutputMode::Update => {
            let touched = taken.iter().next_back().into_iter().flat_map(panes);
            let touched = touched.flat_map(|pane| all_windows(windows, pane));
            touched.filter(|&window| window > closed(now.horizon_before)).collect()
        }
    };
    let mut answers = Vec::new();
    for window in wanted {
        let (first, last) = windows.panes_of(window);
        let inside = |input: &ReduceInput| -> Result<Vec<ReduceInput>> {
            (first..=last).map(|wanted| only(input, |pane| pane == wanted)).collect()
        };
        let by_batch = taken.iter().map(inside).collect::<Result<Vec<_>>>()?;
        let panes = usize::try_from(last - first + 1).unwrap_or(0);
        let in_order = (0..panes).flat_map(|pane| by_batch.iter().map(move |batch| batch[pane].clone()));
        let in_order = in_order.map(|input| in_window(input, window)).collect::<Vec<_>>();
        let mut rows = reduced(keep, &in_order)?;
        if keep.mode == OutputMode::Update {
            let latest = by_batch.last().cloned().unwrap_or_default();
            let latest = latest.into_iter().map(|input| in_window(input, window)).collect::<Vec<_>>();
            rows = picked(keep, &rows, &reduced(keep, &latest)?)?;
        }
        answers.push(windowed(&rows, keep.keys.len() - 1, windows, window, schema)?);
    }
    Ok(concat_batches(schema, &answers)?)
}

fn all_windows(windows: &Windows, pane: i64) -> impl Iterator<Item = i64> {
    let (first, last) = windows.windows_of(pane);
    first..=last
}

/// The answer of one window: the number of the pane, at `place`, becomes start and end of the window.
pub(crate) fn windowed(
    rows: &RecordBatch,
    place: usize,
    windows: &Windows,
    window: i64,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let moment = |at: i64| -> Result<ArrayRef> {
        let times: ArrayRef = Arc::new(Int64Array::from(vec![at; rows.num_rows()]));
        Ok(arrow_cast::cast(&times, &windows.time_type())?)
    };
    let mut columns = rows.columns()[..place].to_vec();
    columns.push(moment(windows.start(window))?);
    columns.push(moment(windows.end(window))?);
    columns.extend_from_slice(&rows.columns()[place + 1..]);
    under(schema, columns, rows.num_rows())
}

/// Columns as rows of a schema.
pub(crate) fn under(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The key columns.
pub(crate) fn fields(keep: &Keep) -> Vec<Field> {
    let field =
        |key: &crate::plan::stage::NamedExpr| Field::new(&key.name, key.expr.data_type.clone(), key.expr.nullable);
    keep.keys.iter().map(field).collect()
}

fn reduced(keep: &Keep, inputs: &[ReduceInput]) -> Result<RecordBatch> {
    reduce::reference(&fields(keep), &keep.aggregates, inputs)
}

fn panes(input: &ReduceInput) -> Vec<i64> {
    let panes = input.keys.last().map(|keys| keys.as_primitive::<Int64Type>().iter().flatten().collect());
    panes.unwrap_or_default()
}

/// The rows of some panes; rows without one are never among them.
fn only(input: &ReduceInput, wanted: impl Fn(i64) -> bool) -> Result<ReduceInput> {
    let Some(panes) = input.keys.last() else { return Err(Error::internal("windows without panes")) };
    chosen(input, &panes.as_primitive::<Int64Type>().iter().map(|pane| Some(pane.is_some_and(&wanted))).collect())
}

/// Some of the rows.
pub(super) fn chosen(input: &ReduceInput, keep: &BooleanArray) -> Result<ReduceInput> {
    let column = |column: &ArrayRef| filter(column, keep);
    let filters = input.filters.iter().map(|one| {
        let kept = one.as_ref().map(|one| filter(one, keep)).transpose();
        kept.map(|one| one.map(|one| one.as_boolean().clone()))
    });
    Ok(ReduceInput {
        keys: input.keys.iter().map(column).collect::<Result<_, _>>()?,
        inputs: input.inputs.iter().map(|one| one.as_ref().map(column).transpose()).collect::<Result<_, _>>()?,
        filters: filters.collect::<Result<_, _>>()?,
        rows: keep.true_count(),
    })
}

/// The rows under the number of their window instead of that of their pane.
fn in_window(mut input: ReduceInput, window: i64) -> ReduceInput {
    if let Some(last) = input.keys.last_mut() {
        *last = Arc::new(Int64Array::from(vec![window; input.rows]));
    }
    input
}

/// The rows without the pane.
fn unpaned(input: &ReduceInput) -> ReduceInput {
    let mut input = input.clone();
    input.keys.pop();
    input
}

/// Those groups of `all` that are in `touched`, in the order of `touched`.
fn picked(keep: &Keep, all: &RecordBatch, touched: &RecordBatch) -> Result<RecordBatch> {
    let keys = keep.keys.len();
    if keys == 0 {
        return Ok(all.clone());
    }
    let mut groups = group_ids::Reference::default();
    let wanted = groups.assign(&touched.columns()[..keys], touched.num_rows())?;
    let ids = groups.assign(&all.columns()[..keys], all.num_rows())?;
    let one = |id: &usize| {
        let is_it: BooleanArray = ids.iter().map(|other| Some(other == id)).collect();
        filter_record_batch(all, &is_it)
    };
    let rows = wanted.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(all.schema_ref(), &rows)?)
}
