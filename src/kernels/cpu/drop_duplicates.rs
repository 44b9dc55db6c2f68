//! The CPU twin of [`crate::kernels::drop_duplicates`]: keys are looked up among those that are held.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, TimestampMicrosecondArray};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;

use super::held_keys::{Due, HeldKeys, KeepsKeys, Size, TakesBack};
use super::project::Program;
use super::step::evaluate;
use crate::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit};
use crate::error::{Error, Result};
use crate::kernels::drop_duplicates::micros_of;
use crate::kernels::keep::under;
use crate::kernels::map_state::micros;
use crate::kernels::spill::Room;
use crate::kernels::validate::{Broken, broken};
use crate::kernels::{Findings, Kept, Moment, Partial, Partitions, row_number, stored};
use crate::plan::keep::nanos_of;
use crate::plan::operator::{DropDuplicates, Memory};
use crate::plan::rules::Verdict;

/// The keys of rows that have come.
pub(super) struct KeptRows {
    drop: DropDuplicates,
    /// Of the rows.
    schema: SchemaRef,
    keys: Vec<Program>,
    /// When a row was, if that says when its key is forgotten.
    time: Option<Program>,
    held: HeldKeys<()>,
    findings: Findings,
    /// The keys that the latest batch changed.
    changed: Vec<u32>,
}

impl KeptRows {
    pub(super) fn new(drop: &DropDuplicates, schema: &SchemaRef) -> Result<Self> {
        let keys = drop.keys();
        let held = HeldKeys::new(keys.iter().map(|key| (key.name.as_str(), &key.expr.data_type)))?;
        let time = if let Memory::Watermark { time, .. } = &drop.memory { Some(&time.expr) } else { None };
        Ok(Self {
            drop: drop.clone(),
            schema: Arc::clone(schema),
            keys: keys.into_iter().map(|key| Program::prepare(&key.expr)).collect::<Result<_>>()?,
            time: time.map(Program::prepare).transpose()?,
            held,
            findings: Findings::default(),
            changed: Vec::new(),
        })
    }

    /// When the key of each row would be forgotten, if it is the first one.
    fn due(&self, rows: &RecordBatch, keys: &[ArrayRef], moment: &Moment) -> Result<Box<dyn Fn(usize) -> Due>> {
        Ok(match (&self.drop.memory, &self.time) {
            (Memory::Batches(ttl), _) => {
                let until = Some(micros(moment.time).saturating_add(micros(*ttl)));
                Box::new(move |_| Due { until, until_event: None })
            }
            (Memory::Watermark { unit, delay, .. }, Some(time)) => {
                let (delay, nanos) = (micros(*delay), nanos_of(*unit));
                let times = counts(&time.evaluate(rows)?)?;
                Box::new(move |row| Due {
                    until: None,
                    until_event: Some(micros_of(times.value(row), nanos).saturating_add(delay)),
                })
            }
            (Memory::Window { windows, .. }, _) => {
                let panes = keys.last().ok_or_else(|| Error::internal("a window without a number"))?;
                let (panes, windows) = (panes.as_primitive::<Int64Type>().clone(), windows.clone());
                Box::new(move |row| Due {
                    until: None,
                    until_event: Some(windows.micros(windows.end(panes.value(row)))),
                })
            }
            _ => Box::new(|_| Due::default()),
        })
    }

    /// The rows that go on, of those that are not the first of their key. Each goes the way of the rule, if there is one.
    fn judge(&mut self, rows: &RecordBatch, mut goes_on: Vec<bool>) -> Result<RecordBatch> {
        let again = goes_on.iter().filter(|is_first| !**is_first).count() as u64;
        if let (Some(rule), true) = (&self.drop.rule, again > 0) {
            *self.findings.broken.entry(rule.id).or_default() += again;
            match rule.verdict {
                Verdict::Keep => goes_on.fill(true),
                Verdict::Drop => self.findings.dropped += again,
                Verdict::Quarantine => {
                    self.findings.quarantined += again;
                    let left_out: BooleanArray = goes_on.iter().map(|goes_on| Some(!goes_on)).collect();
                    let rows = filter_record_batch(rows, &left_out)?;
                    let rules = vec![Arc::clone(&rule.name); rows.num_rows()];
                    self.findings.aside.push(Broken { rows, rules });
                }
                Verdict::Fail => {
                    let first = goes_on.iter().position(|goes_on| !goes_on).unwrap_or_default();
                    return Err(broken(rule, rows, first));
                }
            }
        }
        Ok(filter_record_batch(rows, &BooleanArray::from(goes_on))?)
    }

    fn stored_schema(&self) -> SchemaRef {
        stored::stamped(Schema::new(self.held.stored_fields()))
    }

    fn stored(&self, slots: &[u32]) -> Result<RecordBatch> {
        under(&self.stored_schema(), self.held.store(slots)?, slots.len())
    }
}

impl Kept for KeptRows {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let parts = partials.into_iter().map(Partial::into_rows).collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&self.schema, parts.iter().flatten())?;
        row_number(rows.num_rows())?;
        let keys = evaluate(&self.keys, &rows)?;
        let due = self.due(&rows, &keys, moment)?;
        self.bring(&keys, rows.num_rows(), moment)?;
        let grouped = self.held.group(&keys, rows.num_rows())?;
        let breaks_nothing = |row: usize| self.drop.rule.is_some() && keys.iter().any(|key| key.is_null(row));
        self.changed.clear();
        let now = micros(moment.time);
        let mut is_first = vec![false; rows.num_rows()];
        let mut known = vec![false; grouped.slots.len()];
        for (row, &group) in grouped.groups.iter().enumerate() {
            if breaks_nothing(row) {
                is_first[row] = true;
                continue;
            }
            if std::mem::replace(&mut known[group as usize], true) {
                continue;
            }
            let slot = grouped.slots[group as usize];
            // By the time of batches it may be over already, and no batch has run since.
            let is_over = self.held.get(slot).is_some_and(|held| held.due.until.is_some_and(|until| until <= now));
            if is_over {
                self.held.forget(slot);
            }
            is_first[row] = self.held.get(slot).is_none();
            if is_first[row] || matches!(self.drop.memory, Memory::Batches(_)) {
                self.held.put(slot, due(row), ());
                self.changed.push(slot);
            }
        }
        for slot in self.held.due(moment) {
            self.held.forget(slot);
            self.changed.push(slot);
        }
        self.settle(None)?;
        Ok(vec![vec![self.judge(&rows, is_first)?]])
    }

    fn take_findings(&mut self) -> Findings {
        std::mem::take(&mut self.findings)
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.changes_stored()?])
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.all_stored()?])
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let schema = self.stored_schema();
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        all.iter().try_for_each(|rows| stored::check(rows, &schema))?;
        self.restore_keys(&all, 0..self.drop.keys().len())?;
        self.settle(None)
    }

    fn can_spill(&self) -> bool {
        true
    }

    fn spill_to(&mut self, room: &Room) {
        self.held.spread(room, |()| Size::default());
    }

    fn groups(&self) -> u64 {
        self.held.len() as u64
    }

    /// The keys, and when they are forgotten.
    fn scan(&self) -> Result<RecordBatch> {
        let whole = self.whole()?;
        let held = &whole.as_ref().unwrap_or(self).held;
        let all = held.all();
        let until = all.iter().filter_map(|&slot| held.get(slot)).map(|held| held.due.until.or(held.due.until_event));
        let until: ArrayRef = Arc::new(until.collect::<TimestampMicrosecondArray>());
        let keys = self.drop.columns.iter().map(|key| Field::new(&key.name, key.expr.data_type.clone(), true));
        let time = Field::new("until", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        let schema = Arc::new(Schema::new(keys.chain([time]).collect::<Vec<_>>()));
        let mut columns = held.keys(&all)?;
        // Windows are told apart by when they end.
        columns.truncate(self.drop.columns.len());
        columns.push(until);
        under(&schema, columns, all.len())
    }
}

impl KeepsKeys for KeptRows {
    type Value = ();

    fn held(&self) -> &HeldKeys<()> {
        &self.held
    }

    fn held_mut(&mut self) -> &mut HeldKeys<()> {
        &mut self.held
    }

    fn schema_stored(&self) -> Result<SchemaRef> {
        Ok(self.stored_schema())
    }

    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        Ok((self.stored(slots)?, slots.to_vec()))
    }

    fn take_back(&mut self, rows: &RecordBatch, _: &[u64]) -> Result<()> {
        self.held.restore(rows, |_| ())?;
        Ok(())
    }

    fn restore_rows(&mut self, rows: &RecordBatch, _: &[u64]) -> Result<()> {
        self.take_back(rows, &[])
    }

    fn changed_rows(&mut self) -> Result<RecordBatch> {
        self.stored(&self.changed)
    }

    fn without_keys(&self) -> Result<Self> {
        Self::new(&self.drop, &self.schema)
    }

    fn with_keys_here(&self) -> Result<Self> {
        let mut copy = self.without_keys()?;
        copy.held.restore(&self.stored(&self.held.all())?, |_| ())?;
        Ok(copy)
    }
}

/// Times as whole numbers of their unit.
pub(super) fn counts(times: &ArrayRef) -> Result<Int64Array> {
    Ok(arrow_cast::cast(times, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}
