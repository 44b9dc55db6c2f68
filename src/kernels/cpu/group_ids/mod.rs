//! The CPU twin of [`crate::kernels::group_ids`].
//!
//! Each key column gets ids of its own in the way that is cheapest for its type: `primitive`, `bytes`, `coded`.
//! Several columns are then put together pair by pair (`pairs`): the ids of the first two columns make one id, that
//! and the third make the next. Where a look at each text is enough, its id and that of the pair are found in one loop.

mod apart;
mod bytes;
mod coded;
mod letters;
mod lines;
pub(crate) mod method;
mod packed;
pub(crate) mod pairs;
mod places;
mod primitive;
mod seen;
mod table;

use std::fmt;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;

use self::bytes::BytesTicket;
use self::coded::{BooleanTicket, DictionaryTicket, NullTicket};
use self::method::Method;
use self::pairs::{Grid, Pairs};
use self::primitive::PrimitiveTicket;
use crate::columnar::data_type;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::native;
use crate::limits;
use crate::plan::stage::{End, Stage};

/// Ids of the values of one column.
pub(crate) trait Ticket: Send + Sync {
    /// Appends the id of each row; new values get the next ids in the order of their rows.
    fn assign(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()>;

    /// The bytes of the rows' texts, if each is one.
    fn letters<'a>(&self, _column: &'a ArrayRef) -> Option<&'a [u8]> {
        None
    }

    /// The text that has this id, if it is one byte.
    fn letter(&self, _id: u32) -> Option<u8> {
        None
    }

    /// Appends the id of each row; false if a value has none yet, or it takes more than a look at each.
    fn find(&self, _column: &ArrayRef, _ids: &mut Vec<u32>) -> bool {
        false
    }

    /// Replaces the first part of the pair of each row, whose second part is this column's, by the id of the pair; says for how many
    /// rows from the first one on: up to one that has none yet, or takes more than a look.
    fn find_pairs(&self, _column: &ArrayRef, _firsts: &mut [u32], _grid: Grid<'_>) -> usize {
        0
    }

    /// How many different values there are.
    fn len(&self) -> usize;

    /// The value of each id.
    fn keys(&self) -> Result<ArrayRef>;

    /// How ids are found at present.
    fn method(&self) -> Method;

    /// Forgets all values, but keeps the memory for about as many.
    fn clear(&mut self);

    /// Gives up tables as large as a range of values: the values are a few of many, anywhere in their range.
    fn scatter(&mut self) {}

    /// Gives each value another id if it could then be found faster from now on: its place in a range of integers of which
    /// enough have appeared. If so, says which one each id has become. Some ids may belong to no value then.
    fn renumber(&mut self) -> Option<Vec<u32>> {
        None
    }

    /// How many ids belong to no value.
    fn holes(&self) -> usize {
        0
    }

    /// The ids in the order of their values' first rows, if that is not their own.
    fn order(&self) -> Option<Vec<u32>> {
        None
    }

    /// If ids are places in a range: the least value of the range, and the ids that have appeared, in the order of their
    /// first rows.
    fn places(&self) -> Option<(i128, &[u32])> {
        None
    }

    /// Appends the id of each row, if ids are places in a range and each row has one. It is left to [`Ticket::note`] to take in which
    /// have appeared, before anything else is asked; false, and nothing changed, if there are no such ids, or nothing can be new.
    fn place(&mut self, _column: &ArrayRef, _ids: &mut Vec<u32>) -> bool {
        false
    }

    /// Takes in which places have appeared, in this order, after those that are here.
    fn note(&mut self, _places: &[u32]) {}

    /// As [`Ticket::note`], but they are all that have appeared.
    fn note_anew(&mut self, _places: &[u32]) {}

    /// Gives all values ids in the order of their first rows again, if they have others; says which ids there were, in
    /// the order of those that there are now.
    fn renumber_back(&mut self) -> Option<Vec<u32>> {
        None
    }
}

/// The ticket for columns of this type.
///
/// # Errors
/// `Unsupported` for lists and structs.
pub(crate) fn ticket(data_type: &DataType) -> Result<Box<dyn Ticket>> {
    native::with_native!(data_type, Native => Ok(Box::new(PrimitiveTicket::<Native>::new(data_type.clone()))), _ => {
        match data_type {
            DataType::Null => Ok(Box::new(NullTicket::default())),
            DataType::Boolean => Ok(Box::new(BooleanTicket::default())),
            DataType::Dictionary(_, values) => {
                Ok(Box::new(DictionaryTicket::new(data_type.clone(), ticket(values)?)))
            }
            other if data_type::is_text(other) || data_type::is_binary(other) => {
                Ok(Box::new(BytesTicket::new(data_type.clone())))
            }
            other => Err(Error::new(ErrorKind::Unsupported, format!("values of type {other} cannot be compared"))
                .advice("group by the fields or items of the value instead")),
        }
    })
}

/// How the groups of a stage's keyed reduce can be found, for `explain`; none if it has no keys.
pub fn possible(stage: &Stage) -> Option<String> {
    let End::Reduce { keys, .. } = &stage.end else { return None };
    method::possible(keys.iter().map(|key| (key.name.as_str(), &key.expr.data_type)))
}

/// The bitmap of `len` values of which at most one is null.
fn null_at(null_id: Option<u32>, len: usize) -> Option<NullBuffer> {
    null_id.map(|null| NullBuffer::new(BooleanBuffer::collect_bool(len, |id| id != null as usize)))
}

/// Group ids of rows: dense, from 0, in the order of each group's first row, and stable over batches.
///
/// ```
/// use std::sync::Arc;
/// use pelton::columnar::{ArrayRef, DataType};
/// use pelton::kernels::cpu::group_ids::GroupIds;
///
/// let cities: ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["Oslo", "Rome", "Oslo"]));
/// let mut group_ids = GroupIds::new([&DataType::Utf8])?;
/// let mut ids = Vec::new();
/// group_ids.assign(&[cities], &mut ids)?;
/// assert_eq!(ids, [0, 1, 0]);
/// # Ok::<(), pelton::error::Error>(())
/// ```
pub struct GroupIds {
    columns: Vec<Column>,
    /// Ids of the rows by one column; kept for its memory.
    seconds: Vec<u32>,
}

struct Column {
    ticket: Box<dyn Ticket>,
    /// Ids of the pairs of what comes before this column and this column; none for the first one.
    pairs: Option<Pairs>,
}

impl Column {
    /// How many groups there are by the columns up to this one.
    fn groups(&self) -> usize {
        self.pairs.as_ref().map_or_else(|| self.ticket.len(), Pairs::len)
    }
}

impl GroupIds {
    /// No groups yet, for keys of these types.
    ///
    /// # Errors
    /// `Unsupported` for a type that cannot be a key.
    pub fn new<'a>(data_types: impl IntoIterator<Item = &'a DataType>) -> Result<Self> {
        let columns = data_types
            .into_iter()
            .enumerate()
            .map(|(place, data_type)| Ok(Column { ticket: ticket(data_type)?, pairs: (place > 0).then(Pairs::new) }));
        Ok(Self { columns: columns.collect::<Result<_>>()?, seconds: Vec::new() })
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.columns.last().map_or(0, Column::groups)
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the id of each row into `ids`, whose content is replaced.
    ///
    /// # Errors
    /// `Unsupported` when there could be more groups than ids, `Internal` for columns of another type.
    pub fn assign(&mut self, keys: &[ArrayRef], ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        if keys.len() != self.columns.len() {
            return Err(Error::internal(format!("{} key columns instead of {}", keys.len(), self.columns.len())));
        }
        let mut firsts = 0;
        for (key, column) in keys.iter().zip(&mut self.columns) {
            if column.groups().saturating_add(key.len()) > limits::GROUPS_MAX {
                return Err(too_many());
            }
            ids.reserve(key.len());
            match &mut column.pairs {
                None => column.ticket.assign(key, ids)?,
                Some(pairs) => {
                    let grid = pairs.grid((firsts, column.ticket.len()));
                    let found = grid.map_or(0, |grid| column.ticket.find_pairs(key, ids, grid));
                    if found < ids.len() {
                        let rest = if found == 0 { key } else { &key.slice(found, ids.len() - found) };
                        self.seconds.clear();
                        column.ticket.assign(rest, &mut self.seconds)?;
                        pairs.assign(&mut ids[found..], &self.seconds, (firsts, column.ticket.len()));
                    }
                }
            }
            firsts = column.groups();
        }
        Ok(())
    }

    /// Puts the id of each row into `ids`, whose content is replaced; false, and anything there, if a row's key has none yet, or it
    /// takes more than a look at each. Nothing is remembered.
    pub(crate) fn find(&mut self, keys: &[ArrayRef], ids: &mut Vec<u32>) -> bool {
        ids.clear();
        if self.find_letters(keys, ids) {
            return true;
        }
        ids.clear();
        let mut firsts = 0;
        for (key, column) in keys.iter().zip(&self.columns) {
            let is_found = match &column.pairs {
                None => column.ticket.find(key, ids),
                Some(pairs) => {
                    self.seconds.clear();
                    column.ticket.find(key, &mut self.seconds)
                        && pairs.find(ids, &self.seconds, (firsts, column.ticket.len()))
                }
            };
            if !is_found {
                return false;
            }
            firsts = column.groups();
        }
        keys.len() == self.columns.len()
    }

    /// As [`GroupIds::find`], for one or two columns of single bytes and a few groups: each is compared with all rows.
    fn find_letters<'a>(&self, keys: &'a [ArrayRef], ids: &mut Vec<u32>) -> bool {
        let groups = self.len();
        let (first, last) = match (&self.columns[..], keys) {
            ([one], [key]) => ((one, key), (one, key)),
            ([one, other], [key, other_key]) => ((one, key), (other, other_key)),
            _ => return false,
        };
        let of_rows = |(column, key): (&Column, &'a ArrayRef)| column.ticket.letters(key);
        if groups > letters::GROUPS_MAX {
            return false;
        }
        let (Some(firsts), Some(lasts)) = (of_rows(first), of_rows(last)) else { return false };
        let pairs = last.0.pairs.as_ref().map(Pairs::pairs);
        let letters = |id: u32| {
            let (own, other) = pairs.map_or((id, id), |pairs| pairs[id as usize]);
            first.0.ticket.letter(own).zip(last.0.ticket.letter(other))
        };
        letters::find_pairs((firsts, lasts), (0..).take(groups).map(letters), ids)
    }

    /// How ids are found at present: for each key its own way, and the way of the pairs that it ends.
    pub(crate) fn methods(&self) -> impl Iterator<Item = (Method, Option<Method>)> {
        self.columns.iter().map(|column| (column.ticket.method(), column.pairs.as_ref().map(Pairs::method)))
    }

    /// Forgets all groups, but keeps the memory for about as many.
    pub fn clear(&mut self) {
        for column in &mut self.columns {
            column.ticket.clear();
            if let Some(pairs) = &mut column.pairs {
                pairs.clear();
            }
        }
    }

    /// As [`Ticket::scatter`]; no table is as large as all pairs that there could be, either. There are no groups yet.
    pub(crate) fn scatter(&mut self) {
        for column in &mut self.columns {
            column.ticket.scatter();
            column.pairs.iter_mut().for_each(Pairs::scatter);
        }
    }

    /// As [`Ticket::renumber`], for a single column.
    pub(crate) fn renumber(&mut self) -> Option<Vec<u32>> {
        if let [column] = &mut self.columns[..] { column.ticket.renumber() } else { None }
    }

    /// As [`Ticket::holes`].
    pub(crate) fn holes(&self) -> usize {
        if let [column] = &self.columns[..] { column.ticket.holes() } else { 0 }
    }

    /// As [`Ticket::order`].
    pub(crate) fn order(&self) -> Option<Vec<u32>> {
        if let [column] = &self.columns[..] { column.ticket.order() } else { None }
    }

    /// As [`Ticket::places`].
    pub(crate) fn places(&self) -> Option<(i128, &[u32])> {
        if let [column] = &self.columns[..] { column.ticket.places() } else { None }
    }

    /// As [`Ticket::place`], of the rows alone.
    pub(crate) fn place(&mut self, keys: &[ArrayRef], ids: &mut Vec<u32>) -> bool {
        ids.clear();
        match (&mut self.columns[..], keys) {
            ([column], [key]) => column.ticket.place(key, ids),
            _ => false,
        }
    }

    /// As [`Ticket::note`].
    pub(crate) fn note(&mut self, places: &[u32]) {
        if let [column] = &mut self.columns[..] {
            column.ticket.note(places);
        }
    }

    /// As [`Ticket::note_anew`].
    pub(crate) fn note_anew(&mut self, places: &[u32]) {
        if let [column] = &mut self.columns[..] {
            column.ticket.note_anew(places);
        }
    }

    /// As [`Ticket::renumber_back`].
    pub(crate) fn renumber_back(&mut self) -> Option<Vec<u32>> {
        if let [column] = &mut self.columns[..] { column.ticket.renumber_back() } else { None }
    }

    /// The keys of each group: a column for each key column, a row for each id.
    ///
    /// # Errors
    /// When a dictionary key has more values than codes, or texts are larger than their type can hold.
    pub fn keys(&self) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.columns.len());
        // From the last column to the first; `part` is the id, by the columns up to here, of each group.
        let mut part: Option<Vec<u32>> = None;
        for column in self.columns.iter().rev() {
            let keys = column.ticket.keys()?;
            let Some(pairs) = &column.pairs else {
                columns.push(match part.take() {
                    None => keys,
                    Some(part) => arrow_select::take::take(&keys, &UInt32Array::from(part), None)?,
                });
                continue;
            };
            let of_pair = |id: u32| pairs.pairs()[id as usize];
            let (before, own): (Vec<u32>, Vec<u32>) = match part.take() {
                None => pairs.pairs().iter().copied().unzip(),
                Some(part) => part.into_iter().map(of_pair).unzip(),
            };
            columns.push(arrow_select::take::take(&keys, &UInt32Array::from(own), None)?);
            part = Some(before);
        }
        columns.reverse();
        Ok(columns)
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Unsupported, format!("a keyed reduce has more than {} groups", limits::GROUPS_MAX))
        .advice("group by fewer or coarser keys, or reduce in windows")
}

impl fmt::Debug for GroupIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupIds").field("columns", &self.columns.len()).field("groups", &self.len()).finish()
    }
}
