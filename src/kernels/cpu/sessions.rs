//! Sessions: the part of [`crate::kernels::keep`] in which rows say how long a window is.
//!
//! A batch comes reduced by key and time. What lies close together is a run; runs and the sessions that are open are put
//! together where they are closer than the gap. Groups are known by their key and the number of their session, so that
//! sessions grow and merge like any groups, and a batch costs the keys it touches.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_select::filter::{filter, filter_record_batch};
use arrow_select::take::take;

use super::held_keys::{Due, HeldKeys, KeepsKeys, Size, TakesBack, least_numbers};
use super::keep::latest_rows;
use super::reduce::{Groups, KeyedReduce};
use super::reduce_tasks::combined;
use crate::columnar::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::AggregateFunction;
use crate::kernels::keep::{fields, first_open_pane, under};
use crate::kernels::spill::Room;
use crate::kernels::{Kept, Moment, Partial, Partitions, stored};
use crate::plan::keep::{Keep, OutputMode, Windows};

/// Below this many groups that are over, clearing them away costs more than it gains.
const OVER_WORTH_CLEARING: u64 = 1_024;

/// A session of a key: the times of its first and last rows, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    first: i64,
    last: i64,
    number: i64,
}

/// What a session is put together from: one that is open, or rows of the batch (their groups, by time).
#[derive(Debug)]
struct Piece {
    first: i64,
    last: i64,
    open: Option<i64>,
    groups: Vec<u32>,
}

/// The open sessions of all keys.
pub(super) struct KeptSessions {
    keep: Keep,
    windows: Windows,
    reduce: KeyedReduce,
    schema: SchemaRef,
    /// By key and number; what is left of sessions that are over is cleared away now and then.
    groups: Groups,
    /// The sessions of each key, by their first rows.
    held: HeldKeys<Vec<Session>>,
    next_number: i64,
    /// Sessions that are open.
    count: usize,
    /// What the latest batch made of sessions: the slot of the key, the session, and whether it is still there.
    changed: Vec<(u32, Session, bool)>,
    /// Whether an aggregate depends on the order of rows.
    is_ordered: bool,
}

impl KeptSessions {
    pub(super) fn new(keep: &Keep, windows: &Windows, schema: &SchemaRef) -> Result<Self> {
        let reduce = KeyedReduce::prepare(&fields(keep), &keep.aggregates)?;
        let keys = keep.keys.iter().take(keep.keys.len().saturating_sub(1));
        let ordered = |function: &AggregateFunction| {
            matches!(function, AggregateFunction::First | AggregateFunction::Last | AggregateFunction::Concat(_))
        };
        Ok(Self {
            keep: keep.clone(),
            windows: windows.clone(),
            groups: reduce.begin()?.settled()?,
            reduce,
            schema: Arc::clone(schema),
            held: HeldKeys::new(keys.map(|key| (key.name.as_str(), &key.expr.data_type)))?,
            next_number: 0,
            count: 0,
            changed: Vec::new(),
            is_ordered: keep.aggregates.iter().any(|one| ordered(&one.function)),
        })
    }

    /// Takes the groups of a batch in, by key and time.
    fn take_in(&mut self, batch: &mut Groups, moment: &Moment) -> Result<RecordBatch> {
        // Not after the batch: what it closed must still be there for those who ask what has changed.
        self.clear_away()?;
        batch.settle()?;
        let mut keys = batch.keys()?;
        let Some(times) = keys.pop() else { return Err(Error::internal("sessions without a time")) };
        let times = times.as_primitive::<Int64Type>();
        self.bring(&keys, batch.len(), moment)?;
        if self.keep.mode == OutputMode::Complete {
            self.bring_all()?;
        }
        let grouped = self.held.group(&keys, batch.len())?;
        let mut of_key: Vec<Vec<(i64, u32)>> = vec![Vec::new(); grouped.slots.len()];
        for (group, (&key, &time)) in (0_u32..).zip(grouped.groups.iter().zip(times.values())) {
            of_key[key as usize].push((time, group));
        }
        self.changed.clear();
        let mut puzzles: Vec<(u32, Session, Vec<Piece>)> = Vec::new();
        for (&slot, mut rows) in grouped.slots.iter().zip(of_key) {
            rows.sort_unstable();
            let open = self.held.get(slot).map(|held| held.value.clone()).unwrap_or_default();
            let mut sessions = Vec::new();
            for pieces in put_together(&open, &rows, self.windows.size) {
                let (first, last) = span_of(&pieces);
                let kept = pieces.first().and_then(|piece| piece.open);
                let number = kept.unwrap_or_else(|| {
                    self.next_number += 1;
                    self.next_number - 1
                });
                let session = Session { first, last, number };
                sessions.push(session);
                if pieces.iter().any(|piece| piece.open.is_none()) {
                    self.changed.push((slot, session, true));
                    let gone = pieces.iter().filter_map(|piece| piece.open).filter(|&open| open != number);
                    self.changed.extend(gone.map(|number| (slot, Session { first, last, number }, false)));
                    puzzles.push((slot, session, pieces));
                }
            }
            self.hold(slot, sessions);
        }
        self.assemble(batch, puzzles)?;
        let answer = self.answer(moment)?;
        self.settle_groups()?;
        Ok(answer)
    }

    /// Merges the groups of the pieces of each session, round by round.
    fn assemble(&mut self, batch: &Groups, puzzles: Vec<(u32, Session, Vec<Piece>)>) -> Result<()> {
        let mut rounds: Vec<(Vec<Target>, Vec<Target>)> = Vec::new();
        for (slot, session, pieces) in puzzles {
            let mut round = 0;
            for piece in pieces {
                let mut put = |round: usize, from: u32, old: Option<i64>| {
                    if rounds.len() == round {
                        rounds.push((Vec::new(), Vec::new()));
                    }
                    let target = Target { slot, to: session.number, from, old };
                    if old.is_some() { rounds[round].0.push(target) } else { rounds[round].1.push(target) }
                };
                match piece.open {
                    // It is there already.
                    Some(number) if number == session.number => continue,
                    Some(number) => put(round, 0, Some(number)),
                    None if self.is_ordered => {
                        for group in piece.groups {
                            put(round, group, None);
                            round += 1;
                        }
                        continue;
                    }
                    None => piece.groups.iter().for_each(|&group| put(round, group, None)),
                }
                round += 1;
            }
        }
        // In a round, each session takes in one piece: of those that were open, or of the batch.
        for (open, new) in rounds {
            if !open.is_empty() {
                let of = |targets: &[Target], number: fn(&Target) -> i64| self.keys_of(targets, number);
                let (from, to) = (of(&open, |one| one.old.unwrap_or(one.to))?, of(&open, |one| one.to)?);
                let ids = self.groups.ids_of(&from)?;
                let taken = self.reduce.select(&self.groups, &ids, &from)?;
                self.groups.take_groups(&taken, &(0_u32..).take(ids.len()).collect::<Vec<_>>(), &to)?;
            }
            if !new.is_empty() {
                let to = self.keys_of(&new, |one| one.to)?;
                self.groups.take_groups(batch, &new.iter().map(|one| one.from).collect::<Vec<_>>(), &to)?;
            }
        }
        Ok(())
    }

    fn keys_of(&self, targets: &[Target], number: fn(&Target) -> i64) -> Result<Vec<ArrayRef>> {
        self.numbered(targets.iter().map(|one| (one.slot, number(one))))
    }

    /// Keys with the numbers of sessions.
    fn numbered(&self, sessions: impl Iterator<Item = (u32, i64)>) -> Result<Vec<ArrayRef>> {
        let (slots, numbers): (Vec<u32>, Vec<i64>) = sessions.unzip();
        let mut keys = self.held.keys(&slots)?;
        keys.push(Arc::new(Int64Array::from(numbers)));
        Ok(keys)
    }

    /// Holds the sessions of a key; none is as good as forgetting it.
    fn hold(&mut self, slot: u32, sessions: Vec<Session>) {
        let before = self.held.get(slot).map_or(0, |held| held.value.len());
        self.count = self.count + sessions.len() - before;
        match self.due_of(&sessions) {
            None => self.held.forget(slot),
            Some(due) => self.held.put(slot, due, sessions),
        }
    }

    /// When the first of these sessions is over; none if there are none.
    fn due_of(&self, sessions: &[Session]) -> Option<Due> {
        let earliest = sessions.iter().map(|session| session.last).min()?;
        let until_event = (self.keep.mode != OutputMode::Complete).then(|| self.end_in_micros(earliest));
        Some(Due { until: None, until_event })
    }

    /// When event time has come far enough for a session whose last row is this, in microseconds, rounded up.
    fn end_in_micros(&self, last: i64) -> i64 {
        self.windows.micros(last.saturating_add(self.windows.size))
    }

    /// Closes sessions, and gives the rows that the mode asks for.
    fn answer(&mut self, moment: &Moment) -> Result<RecordBatch> {
        let touched = self.changed.iter().filter(|one| one.2).map(|one| (one.0, one.1)).collect::<Vec<_>>();
        let mut closed = Vec::new();
        if let Some(open) = first_open_pane(&self.keep, moment.horizon) {
            for slot in self.held.due(&Moment { time: std::time::Duration::ZERO, ..*moment }) {
                let sessions = self.held.get(slot).map(|held| held.value.clone()).unwrap_or_default();
                let (over, stay): (Vec<Session>, Vec<Session>) = sessions.into_iter().partition(|one| one.last < open);
                closed.extend(over.into_iter().map(|session| (slot, session)));
                self.hold(slot, stay);
            }
        }
        self.changed.extend(closed.iter().map(|&(slot, session)| (slot, session, false)));
        match self.keep.mode {
            OutputMode::Append => self.rows(closed),
            OutputMode::Update => self.rows(touched),
            OutputMode::Complete => self.rows(self.open()),
        }
    }

    /// The open sessions of all keys in memory.
    fn open(&self) -> Vec<(u32, Session)> {
        self.open_of(&self.held.all())
    }

    fn open_of(&self, slots: &[u32]) -> Vec<(u32, Session)> {
        let of = |&slot: &u32| {
            self.held.get(slot).into_iter().flat_map(move |held| held.value.iter().map(move |one| (slot, *one)))
        };
        slots.iter().flat_map(of).collect()
    }

    fn chosen(&mut self, sessions: &[(u32, Session)]) -> Result<Groups> {
        let keys = self.numbered(sessions.iter().map(|(slot, session)| (*slot, session.number)))?;
        let ids = self.groups.ids_of(&keys)?;
        self.reduce.select(&self.groups, &ids, &keys)
    }

    /// The answers of sessions, earliest first.
    fn rows(&mut self, mut sessions: Vec<(u32, Session)>) -> Result<RecordBatch> {
        sessions.sort_unstable_by_key(|(_, session)| (session.first, session.number));
        let rows = self.chosen(&sessions)?.finish()?;
        let time = |at: &dyn Fn(&Session) -> i64| -> Result<ArrayRef> {
            let times: ArrayRef = Arc::new(sessions.iter().map(|(_, one)| Some(at(one))).collect::<Int64Array>());
            Ok(arrow_cast::cast(&times, &self.windows.time_type())?)
        };
        let place = self.keep.keys.len() - 1;
        let mut columns = rows.columns()[..place].to_vec();
        columns.push(time(&|session| session.first)?);
        columns.push(time(&|session| session.last.saturating_add(self.windows.size))?);
        columns.extend_from_slice(&rows.columns()[place + 1..]);
        under(&self.schema, columns, rows.num_rows())
    }

    fn clear_away(&mut self) -> Result<()> {
        let open = self.count as u64 - self.held.groups_away();
        if self.groups.len() as u64 > 2 * open + OVER_WORTH_CLEARING {
            self.clear_left()?;
        }
        Ok(())
    }

    /// The sessions in stored rows, all of them open: the slot of each key, the least number of its rows, and its sessions.
    fn sessions_in(&mut self, rows: &RecordBatch, numbers: &[u64]) -> Result<Vec<(u32, u64, Vec<Session>)>> {
        let keys = self.keep.keys.len();
        let times = |back: usize| rows.column(rows.num_columns() - back).as_primitive::<Int64Type>();
        let (first, last, number) = (times(2), times(1), rows.column(keys - 1).as_primitive::<Int64Type>());
        let grouped = self.held.group(&rows.columns()[..keys - 1], rows.num_rows())?;
        let mut of_key = vec![Vec::new(); grouped.slots.len()];
        let least = least_numbers(&grouped, numbers);
        for (row, &key) in grouped.groups.iter().enumerate() {
            let session = Session { first: first.value(row), last: last.value(row), number: number.value(row) };
            self.next_number = self.next_number.max(session.number + 1);
            of_key[key as usize].push(session);
        }
        of_key.iter_mut().for_each(|sessions| sessions.sort_unstable_by_key(|session| session.first));
        Ok(grouped
            .slots
            .into_iter()
            .zip(least)
            .zip(of_key)
            .map(|((slot, least), sessions)| (slot, least, sessions))
            .collect())
    }

    /// The groups in stored rows.
    fn groups_in(&self, rows: &RecordBatch) -> Result<Groups> {
        let columns = rows.columns()[..rows.num_columns() - 2].to_vec();
        let stored = under(&self.reduce.stored_schema()?, columns, rows.num_rows())?;
        self.reduce.restore(&stored)?.settled()
    }

    fn stored_schema(&self) -> Result<SchemaRef> {
        let schema = self.reduce.stored_schema()?;
        let mut fields = schema.fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
        fields.push(Field::new("first time", DataType::Int64, true));
        fields.push(Field::new("last time", DataType::Int64, true));
        Ok(stored::stamped(Schema::new(fields)))
    }

    /// Sessions as columns; those that are over without times.
    fn stored(&mut self, sessions: &[(u32, Session, bool)]) -> Result<RecordBatch> {
        let chosen = sessions.iter().map(|&(slot, session, _)| (slot, session)).collect::<Vec<_>>();
        // A session may be there twice: touched, and then closed. Its groups are there once.
        let keys = self.numbered(chosen.iter().map(|(slot, session)| (*slot, session.number)))?;
        let mut met = BTreeSet::new();
        let once =
            chosen.iter().filter(|(slot, session)| met.insert((*slot, session.number))).copied().collect::<Vec<_>>();
        let mut groups = self.chosen(&once)?;
        let ids = UInt32Array::from(groups.ids_of(&keys)?);
        let rows = groups.store()?;
        let mut columns =
            rows.columns().iter().map(|column| take(column, &ids, None)).collect::<Result<Vec<_>, _>>()?;
        let times = |at: fn(&Session) -> i64| -> ArrayRef {
            Arc::new(sessions.iter().map(|(_, one, is_open)| is_open.then(|| at(one))).collect::<Int64Array>())
        };
        columns.push(times(|session| session.first));
        columns.push(times(|session| session.last));
        under(&self.stored_schema()?, columns, sessions.len())
    }
}

/// A piece that a session takes in.
struct Target {
    /// The key.
    slot: u32,
    /// The session.
    to: i64,
    /// The group of the batch.
    from: u32,
    /// Or the session that was open.
    old: Option<i64>,
}

/// The sessions that come of those that are open and of rows, by rising time: each as its pieces, by their first times.
fn put_together(open: &[Session], rows: &[(i64, u32)], gap: i64) -> Vec<Vec<Piece>> {
    let is_close = |last: i64, next: i64| next < last.saturating_add(gap);
    let mut pieces = Vec::new();
    for session in open {
        let Session { first, last, number } = *session;
        pieces.push(Piece { first, last, open: Some(number), groups: Vec::new() });
    }
    let mut run: Option<Piece> = None;
    for &(time, group) in rows {
        match &mut run {
            Some(run) if is_close(run.last, time) => {
                run.last = time;
                run.groups.push(group);
            }
            _ => pieces.extend(run.replace(Piece { first: time, last: time, open: None, groups: vec![group] })),
        }
    }
    pieces.extend(run);
    pieces.sort_by_key(|piece| (piece.first, piece.open.is_none()));
    let mut sessions: Vec<Vec<Piece>> = Vec::new();
    let mut last = i64::MIN;
    for piece in pieces {
        match sessions.last_mut() {
            Some(session) if is_close(last, piece.first) => {
                last = last.max(piece.last);
                session.push(piece);
            }
            _ => {
                last = piece.last;
                sessions.push(vec![piece]);
            }
        }
    }
    sessions
}

fn span_of(pieces: &[Piece]) -> (i64, i64) {
    let first = pieces.iter().map(|piece| piece.first).min().unwrap_or(0);
    (first, pieces.iter().map(|piece| piece.last).max().unwrap_or(0))
}

impl Kept for KeptSessions {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let answer = match combined(partials, drop)? {
            Some(mut all) => self.take_in(all.groups()?, moment)?,
            None => self.take_in(&mut self.reduce.begin()?, moment)?,
        };
        Ok(vec![vec![answer]])
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.changes_stored()?])
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.all_stored()?])
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let schema = self.stored_schema()?;
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        all.iter().try_for_each(|rows| stored::check(rows, &schema))?;
        self.restore_keys(&all, 0..self.keep.keys.len() - 1)?;
        self.changed.clear();
        self.settle(None)
    }

    fn can_spill(&self) -> bool {
        true
    }

    fn spill_to(&mut self, room: &Room) {
        self.held.spread(room, |sessions| {
            let count = sessions.len() as u64;
            Size { bytes: count * size_of::<Session>() as u64, groups: count }
        });
    }

    fn end(&self) -> Option<i64> {
        self.end_of(&self.held.all()).max(self.held.end_away())
    }

    fn groups(&self) -> u64 {
        self.count as u64
    }

    fn scan(&self) -> Result<RecordBatch> {
        // Ids are looked up in a copy: looking may make groups.
        let mut copy = match self.whole()? {
            Some(whole) => whole,
            None => self.with_keys_here()?,
        };
        copy.rows(copy.open())
    }
}

impl KeepsKeys for KeptSessions {
    type Value = Vec<Session>;

    fn held(&self) -> &HeldKeys<Vec<Session>> {
        &self.held
    }

    fn held_mut(&mut self) -> &mut HeldKeys<Vec<Session>> {
        &mut self.held
    }

    fn schema_stored(&self) -> Result<SchemaRef> {
        self.stored_schema()
    }

    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        let open = self.open_of(slots).into_iter().map(|(slot, session)| (slot, session, true)).collect::<Vec<_>>();
        Ok((self.stored(&open)?, open.iter().map(|(slot, ..)| *slot).collect()))
    }

    fn take_back(&mut self, rows: &RecordBatch, since: &[u64]) -> Result<()> {
        for (slot, since, sessions) in self.sessions_in(rows, since)? {
            if let Some(due) = self.due_of(&sessions) {
                self.held.put_back(slot, since, due, sessions);
            }
        }
        let back = self.groups_in(rows)?;
        if self.groups.is_empty() {
            self.groups = back;
            return Ok(());
        }
        self.groups.take_all(&back)
    }

    fn restore_rows(&mut self, rows: &RecordBatch, numbers: &[u64]) -> Result<()> {
        let (rows, numbers) = latest_rows(rows, self.keep.keys.len(), numbers)?;
        let last = rows.column(rows.num_columns() - 1).as_primitive::<Int64Type>();
        let is_open = last.iter().map(|last| Some(last.is_some())).collect::<BooleanArray>();
        let numbers = filter(&UInt64Array::from(numbers), &is_open)?;
        let rows = filter_record_batch(&rows, &is_open)?;
        self.count += rows.num_rows();
        self.take_back(&rows, numbers.as_primitive::<UInt64Type>().values())
    }

    fn changed_rows(&mut self) -> Result<RecordBatch> {
        let changed = std::mem::take(&mut self.changed);
        let rows = self.stored(&changed);
        self.changed = changed;
        rows
    }

    fn without_keys(&self) -> Result<Self> {
        Self::new(&self.keep, &self.windows, &self.schema)
    }

    fn with_keys_here(&self) -> Result<Self> {
        let mut copy = self.without_keys()?;
        copy.groups = self.groups.copied()?;
        self.held.copy_to(&mut copy.held)?;
        Ok(copy)
    }

    fn end_of(&self, slots: &[u32]) -> Option<i64> {
        let open = if self.keep.mode == OutputMode::Append { self.open_of(slots) } else { Vec::new() };
        open.iter().map(|(_, session)| self.end_in_micros(session.last)).max()
    }

    fn clear_left(&mut self) -> Result<()> {
        self.groups = self.chosen(&self.open())?;
        Ok(())
    }
}
