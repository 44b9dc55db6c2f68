//! Ids of primitive keys: a plain table over the range of integers while that is small, else a hash table. Once enough
//! integers of the range have appeared, their `places` in it can be the ids.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    trivial_numeric_casts,
    reason = "distances inside a checked range, and one macro for all widths"
)]

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_schema::DataType;
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::Ticket;
use super::method::Method;
use super::places::Places;
use super::table::{AT_ONCE, NONE, Table, Word, list_none};
use crate::error::{Error, Result};
use crate::kernels::cpu::native;
use crate::kernels::cpu::prefetch::prefetch_rows;
use crate::kernels::cpu::simd;

/// Ranges up to this many integers always get a table of their own: it is as large as a second-level cache.
const RANGE_ALWAYS: i128 = 1 << 16;
/// Ranges above this never do: a table of 16 MiB is no faster than hashing.
const RANGE_MAX: i128 = 1 << 22;
/// In between, a range may be this many times the rows seen.
const RANGE_PER_ROW: i128 = 8;

/// A native type whose values can be keys.
pub(super) trait KeyNative: ArrowNativeType {
    /// What is hashed.
    type Word: Word;
    /// The value that stands for all values equal to this one.
    fn canonical(self) -> Self;
    fn word(self) -> Self::Word;
    /// Whether values lie on a range of integers that a table can cover.
    const IS_RANGE: bool;
    fn widen(self) -> i128;
    /// The nearest value of the type.
    fn narrow(value: i128) -> Self;
    /// How far the value lies above `low`; senseless if it does not.
    fn distance(self, low: Self) -> usize;
}

macro_rules! integer_key {
    ($($native:ty, $unsigned:ty, $word:ty;)*) => {$(
        impl KeyNative for $native {
            type Word = $word;
            const IS_RANGE: bool = true;
            #[inline]
            fn canonical(self) -> Self {
                self
            }
            #[inline]
            fn word(self) -> $word {
                self as $unsigned as $word
            }
            #[inline]
            fn widen(self) -> i128 {
                self as i128
            }
            fn narrow(value: i128) -> Self {
                value.clamp(<$native>::MIN as i128, <$native>::MAX as i128) as Self
            }
            #[inline]
            fn distance(self, low: Self) -> usize {
                self.wrapping_sub(low) as $unsigned as usize
            }
        }
    )*};
}

integer_key! {
    i8, u8, u32; i16, u16, u32; i32, u32, u32; i64, u64, u64;
    u8, u8, u32; u16, u16, u32; u32, u32, u32; u64, u64, u64;
}

macro_rules! hashed_key {
    ($native:ty, $word:ty, |$value:ident| $canonical:expr, $bits:expr) => {
        impl KeyNative for $native {
            type Word = $word;
            const IS_RANGE: bool = false;
            #[inline]
            fn canonical(self) -> Self {
                let $value = self;
                $canonical
            }
            #[inline]
            fn word(self) -> $word {
                let $value = self;
                $bits
            }
            fn widen(self) -> i128 {
                0
            }
            fn narrow(_: i128) -> Self {
                Self::default()
            }
            fn distance(self, _: Self) -> usize {
                0
            }
        }
    };
}

// Adding 0.0 turns -0.0 into 0.0 and leaves the rest alone.
hashed_key!(f32, u32, |value| if value.is_nan() { f32::NAN } else { value + 0.0 }, value.to_bits());
hashed_key!(f64, u64, |value| if value.is_nan() { f64::NAN } else { value + 0.0 }, value.to_bits());
hashed_key!(i128, [u64; 2], |value| value, [value as u64, (value >> 64) as u64]);

/// Rows from which on new ids pay for the move of what lies at the old ones.
const ROWS_WORTH_RENUMBERING: usize = 1 << 17;

/// Keys that are looked up before some of those to come are asked for: few, since memory that is asked for all at once has to wait.
pub(super) const LOOKED_UP: usize = 64;

/// Keys between those that are looked up and those that are asked for.
pub(super) const AHEAD: usize = 512;

/// Keys, or pairs of them, that are looked up one by one if there is a new one among them.
pub(super) const PIECE: usize = 2048;

/// Ids of the values of one primitive column.
pub(super) struct PrimitiveTicket<N: KeyNative> {
    data_type: DataType,
    /// The key of each id; anything for the null.
    keys: Vec<N>,
    null_id: Option<u32>,
    index: Index<N>,
    /// After [`Ticket::renumber`]: the places that are the first ids. If the index is another by now, those that had not
    /// appeared before stay unused.
    places: Option<Places<N>>,
    rows_seen: usize,
    /// The least and the greatest key seen, while ranges are thought of.
    bounds: Option<(i128, i128)>,
    /// Whether keys lie too far apart for a range, for good.
    is_sparse: bool,
    /// The values of a batch with a key in the place of each null; kept for its memory.
    filled: Vec<N>,
}

enum Index<N: KeyNative> {
    /// The places are the ids.
    Places,
    /// The ids of `low`, `low + 1` and so on.
    Range {
        low: N,
        ids: Vec<u32>,
    },
    Hash(Table<N::Word>),
}

impl<N: KeyNative> PrimitiveTicket<N> {
    pub(super) fn new(data_type: DataType) -> Self {
        let index = Index::Hash(Table::new());
        Self {
            data_type,
            keys: Vec::new(),
            null_id: None,
            index,
            places: None,
            rows_seen: 0,
            bounds: None,
            is_sparse: !N::IS_RANGE,
            filled: Vec::new(),
        }
    }

    /// Chooses the index for the keys seen so far and those of this batch, and makes a range cover them.
    fn cover(&mut self, values: &[N], nulls: Option<&NullBuffer>) {
        if self.is_sparse {
            return;
        }
        let Some((least, most)) = bounds(values, nulls) else { return };
        let (mut from, mut to) = (least.widen(), most.widen());
        self.widen_bounds();
        if let Some((least, most)) = self.bounds {
            (from, to) = (from.min(least), to.max(most));
        }
        let before = self.bounds.replace((from, to));
        let span = to - from + 1;
        let allowed = (self.rows_seen as i128 * RANGE_PER_ROW).clamp(RANGE_ALWAYS, RANGE_MAX);
        self.is_sparse = span > RANGE_MAX;
        match &self.index {
            Index::Range { .. } if span > allowed => self.hash(),
            Index::Range { low, ids }
                if !ids.is_empty() && from >= low.widen() && to < low.widen() + ids.len() as i128 - 1 => {}
            Index::Hash(_) if span > allowed => {}
            Index::Places if span > allowed => self.hash(),
            _ => self.range(from, to, before),
        }
    }

    /// Makes the bounds those of the places, too, which are not told of each batch.
    fn widen_bounds(&mut self) {
        if let (Some(bounds), Some(places)) = (&mut self.bounds, &self.places) {
            let (least, most) = places.bounds();
            *bounds = (bounds.0.min(least), bounds.1.max(most));
        }
    }

    /// Ids and keys of all groups but the null.
    fn groups(&self) -> impl Iterator<Item = (u32, N)> {
        let is_hole = |id| self.places.as_ref().is_some_and(|places| id < places.slots() && !places.has_appeared(id));
        let ids = (0..).zip(self.keys.iter().copied());
        ids.filter(move |&(id, _)| Some(id) != self.null_id && !is_hole(id))
    }

    fn hash(&mut self) {
        let mut table = Table::for_keys(self.keys.len());
        for (id, key) in self.groups() {
            table.find_or_insert(key.word(), id);
        }
        self.index = Index::Hash(table);
    }

    /// A table over `from..=to`, with room on the side that has grown since `before`: keys that rise or fall steadily
    /// shall not move the table with every batch.
    fn range(&mut self, from: i128, to: i128, before: Option<(i128, i128)>) {
        let (least, most) = before.unwrap_or((from, to));
        let slack = (to - from).min(RANGE_MAX - (to - from));
        let low = N::narrow(if from < least { from - slack } else { from });
        let high = N::narrow(if to > most { to + slack } else { to });
        // One more, for what lies beyond.
        let mut ids = vec![NONE; high.distance(low) + 2];
        self.groups().for_each(|(id, key)| ids[key.distance(low)] = id);
        self.index = Index::Range { low, ids };
    }
}

/// The least and the greatest value that is not null.
fn bounds<N: KeyNative>(values: &[N], nulls: Option<&NullBuffer>) -> Option<(N, N)> {
    let first = match nulls {
        None => *values.first()?,
        Some(nulls) => values[nulls.valid_indices().next()?],
    };
    let wider = |(least, most): (N, N), &value: &N| {
        (if value < least { value } else { least }, if value > most { value } else { most })
    };
    Some(match nulls {
        None => dispatch!(simd::level(), simd => bounds_of_all(simd, values, first)),
        Some(nulls) => nulls.valid_indices().map(|row| &values[row]).fold((first, first), wider),
    })
}

#[simd]
fn bounds_of_all<S: Simd, N: KeyNative>(_: S, values: &[N], first: N) -> (N, N) {
    // Two loops: compilers see a minimum and a maximum in them, not in one.
    let least = values.iter().fold(first, |least, &value| if value < least { value } else { least });
    let most = values.iter().fold(first, |most, &value| if value > most { value } else { most });
    (least, most)
}

impl<N: KeyNative> Index<N> {
    /// Appends the id of each value, or that of the null; false, and nothing appended, if that takes more than a look at a
    /// range.
    fn look_up(&self, values: &[N], (nulls, null_id): (&NullBuffer, u32), ids: &mut Vec<u32>) -> bool {
        let Self::Range { low, ids: range } = self else { return false };
        let before = ids.len();
        ids.resize(before + values.len(), 0);
        let found = &mut ids[before..];
        // What lies under a null may be found or not.
        let _ = dispatch!(simd::level(), simd => look_up_all(simd, values, *low, range, found));
        each_null(nulls, |row| found[row] = null_id);
        let all = found.iter().max().is_none_or(|&id| id != NONE);
        if !all {
            ids.truncate(before);
        }
        all
    }
}

/// Appends the ids of the values in front that a range has ids for, in whole pieces; says how many.
fn look_up_pieces<N: KeyNative>(values: &[N], low: N, range: &[u32], ids: &mut Vec<u32>) -> usize {
    let before = ids.len();
    for piece in values.chunks(PIECE) {
        let known = ids.len();
        ids.resize(known + piece.len(), 0);
        let found = &mut ids[known..];
        if !dispatch!(simd::level(), simd => look_up_all(simd, piece, low, range, found)) {
            ids.truncate(known);
            break;
        }
    }
    ids.len() - before
}

/// Runs `with` on each row that is null, in order.
pub(super) fn each_null(nulls: &NullBuffer, mut with: impl FnMut(usize)) {
    for (chunk, word) in nulls.inner().bit_chunks().iter_padded().enumerate() {
        let mut left = !word;
        while left != 0 {
            let row = 64 * chunk + left.trailing_zeros() as usize;
            if row >= nulls.len() {
                return;
            }
            with(row);
            left &= left - 1;
        }
    }
}

#[simd]
fn look_up_all<S: Simd, N: KeyNative>(_: S, values: &[N], low: N, range: &[u32], ids: &mut [u32]) -> bool {
    // The last entry stands for everything beyond the range: no branch is needed.
    let Some(last) = range.len().checked_sub(1) else { return false };
    let mut largest = 0;
    for (chunk, (ids, some)) in ids.chunks_mut(LOOKED_UP).zip(values.chunks(LOOKED_UP)).enumerate() {
        prefetch_rows(values, chunk * LOOKED_UP + AHEAD, LOOKED_UP);
        for (slot, value) in ids.iter_mut().zip(some) {
            let id = range[value.distance(low).min(last)];
            largest = largest.max(id);
            *slot = id;
        }
    }
    largest != NONE
}

/// Appends the id of each value by a hash table, some rows at a time: all are looked up without a branch that hangs on
/// the data. What is new or lies elsewhere in the table comes last, in the order of the rows.
fn hash_ids<N: KeyNative>(values: &[N], table: &mut Table<N::Word>, keys: &mut Vec<N>, ids: &mut Vec<u32>) {
    let before = ids.len();
    ids.resize(before + values.len(), 0);
    let (mut words, mut rows) = ([N::Word::default(); AT_ONCE], [0; AT_ONCE]);
    for (values, ids) in values.chunks(AT_ONCE).zip(ids[before..].chunks_mut(AT_ONCE)) {
        words.iter_mut().zip(values).for_each(|(word, value)| *word = value.canonical().word());
        if table.find_all(&words[..values.len()], ids) {
            let count = list_none(ids, &mut rows);
            let rows = &rows[..count];
            table.find_or_insert_all(&words, rows, ids, keys.len() as u32);
            for row in rows.iter().copied().map(usize::from) {
                if ids[row] == keys.len() as u32 {
                    keys.push(values[row].canonical());
                }
            }
        }
    }
    table.looked(values.len());
}

/// Runs `id_of` on each value that is not null; nulls get an id of their own.
#[inline]
fn assign<N: KeyNative>(
    values: &[N],
    nulls: Option<&NullBuffer>,
    keys: &mut Vec<N>,
    null_id: &mut Option<u32>,
    ids: &mut Vec<u32>,
    mut id_of: impl FnMut(N, u32) -> u32,
) {
    let mut id_or_new = |keys: &mut Vec<N>, value: N| {
        let value = value.canonical();
        let next = keys.len() as u32;
        let id = id_of(value, next);
        if id == next {
            keys.push(value);
        }
        id
    };
    match nulls {
        None => ids.extend(values.iter().map(|&value| id_or_new(keys, value))),
        Some(nulls) => ids.extend(values.iter().zip(nulls.iter()).map(|(&value, is_valid)| {
            if is_valid {
                return id_or_new(keys, value);
            }
            *null_id.get_or_insert_with(|| {
                keys.push(N::default());
                keys.len() as u32 - 1
            })
        })),
    }
}

impl<N: KeyNative> Ticket for PrimitiveTicket<N> {
    fn assign(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        let values = native::values::<N>(column)?;
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        self.rows_seen += values.len();
        let known_nulls = nulls.zip(self.null_id);
        let mut values = &values[..];
        if let (Index::Range { low, ids: range }, None) = (&self.index, nulls) {
            let found = look_up_pieces(values, *low, range, ids);
            values = &values[found..];
            if values.is_empty() {
                return Ok(());
            }
        }
        let is_found = match (&self.index, &mut self.places) {
            (Index::Places, Some(places)) => match nulls {
                None => places.find(values, ids),
                Some(nulls) if places.find_with_nulls(values, nulls, ids) => {
                    self.null_id = Some(places.null());
                    true
                }
                Some(_) => false,
            },
            (index, _) => known_nulls.is_some_and(|nulls| index.look_up(values, nulls, ids)),
        };
        if is_found {
            return Ok(());
        }
        self.cover(values, nulls);
        if let (Index::Places, Some((least, most))) = (&self.index, self.bounds) {
            self.range(least, most, None);
        }
        let Self { keys, null_id, index, filled, .. } = self;
        match index {
            Index::Places => return Err(Error::internal("a range of keys was not known")),
            Index::Range { low, ids: range } => {
                let low = *low;
                let id_of = |range: &mut [u32], value: N, next| {
                    let slot = &mut range[value.distance(low)];
                    if *slot == NONE {
                        *slot = next;
                    }
                    *slot
                };
                if nulls.is_some() {
                    assign(values, nulls, keys, null_id, ids, |value, next| id_of(range, value, next));
                }
                while nulls.is_none() && !values.is_empty() {
                    let (piece, rest) = values.split_at(PIECE.min(values.len()));
                    assign(piece, None, keys, null_id, ids, |value, next| id_of(range, value, next));
                    values = &rest[look_up_pieces(rest, low, range, ids)..];
                }
            }
            Index::Hash(table) if nulls.is_none() => hash_ids(values, table, keys, ids),
            Index::Hash(table)
                if let Some((nulls, null_id)) = known_nulls
                    && let Some(first) = nulls.valid_indices().next() =>
            {
                // The first key stands in for nulls: rows before it bring no other, so that keys keep their order.
                filled.clear();
                filled.extend_from_slice(values);
                each_null(nulls, |row| filled[row] = values[first]);
                let before = ids.len();
                hash_ids(filled, table, keys, ids);
                each_null(nulls, |row| ids[before + row] = null_id);
            }
            Index::Hash(table) => {
                assign(values, nulls, keys, null_id, ids, |value, next| table.find_or_insert(value.word(), next));
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn keys(&self) -> Result<ArrayRef> {
        let nulls = super::null_at(self.null_id, self.keys.len());
        native::column(&self.data_type, self.keys.clone(), nulls)
    }

    fn scatter(&mut self) {
        self.is_sparse = true;
    }

    fn method(&self) -> Method {
        match &self.index {
            Index::Range { ids, .. } => Method::Range(ids.len() - 1),
            Index::Places => Method::RangePlace(self.keys.len() - 1),
            Index::Hash(_) => Method::Table,
        }
    }

    fn clear(&mut self) {
        let mut index = std::mem::replace(&mut self.index, Index::Places);
        match &mut index {
            Index::Range { low, ids } => self.groups().for_each(|(_, key)| ids[key.distance(*low)] = NONE),
            Index::Hash(table) => table.clear(),
            Index::Places => index = Index::Hash(Table::new()),
        }
        self.index = index;
        self.keys.clear();
        self.places = None;
        (self.null_id, self.rows_seen, self.bounds, self.is_sparse) = (None, 0, None, !N::IS_RANGE);
    }

    /// Places need no look at a table: measured with 100 keys, an eighth of the time. The rows of a single key need no ids.
    fn renumber(&mut self) -> Option<Vec<u32>> {
        let may = self.rows_seen >= ROWS_WORTH_RENUMBERING && self.places.is_none() && self.keys.len() > 1;
        let (least, most) = self.bounds.filter(|_| may && matches!(self.index, Index::Range { .. }))?;
        let places = Places::for_keys(&self.keys, self.null_id, least, most)?;
        let to = places.appeared().to_vec();
        self.null_id = self.null_id.map(|_| places.null());
        self.index = Index::Places;
        self.keys = places.keys();
        self.places = Some(places);
        Some(to)
    }

    fn holes(&self) -> usize {
        self.places.as_ref().map_or(0, |places| places.slots() as usize - places.appeared().len())
    }

    fn order(&self) -> Option<Vec<u32>> {
        let places = self.places.as_ref()?;
        let mut order = places.appeared().to_vec();
        order.extend(places.slots()..self.keys.len() as u32);
        Some(order)
    }

    fn places(&self) -> Option<(i128, &[u32])> {
        let places = self.places.as_ref().filter(|_| matches!(self.index, Index::Places))?;
        Some((places.low().widen(), places.appeared()))
    }

    fn place(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> bool {
        let (Index::Places, Some(places), Ok(values)) = (&self.index, &self.places, native::values::<N>(column)) else {
            return false;
        };
        let is_placed = column.null_count() == 0 && !places.is_full() && places.place(&values, ids);
        if is_placed {
            self.rows_seen += values.len();
        }
        is_placed
    }

    fn note(&mut self, places: &[u32]) {
        if let Some(own) = &mut self.places {
            own.note(places);
            if own.has_appeared(own.null()) {
                self.null_id = Some(own.null());
            }
        }
    }

    fn note_anew(&mut self, places: &[u32]) {
        if let Some(own) = &mut self.places {
            own.forget();
        }
        self.note(places);
    }

    fn renumber_back(&mut self) -> Option<Vec<u32>> {
        self.widen_bounds();
        let order = self.order()?;
        self.places = None;
        let null_id = self.null_id.and_then(|null| order.iter().position(|&id| id == null));
        self.null_id = null_id.map(|id| id as u32);
        self.keys = order.iter().map(|&id| self.keys[id as usize]).collect();
        match (&self.index, self.bounds) {
            (Index::Hash(_), _) | (_, None) => self.hash(),
            (_, Some((least, most))) => self.range(least, most, None),
        }
        Some(order)
    }
}
