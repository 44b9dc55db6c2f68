//! Row groups read tile by tile: columns that lie in pages as plain values or codes by [`Chunk`] and [`Lane`], the others
//! by the library, both row by row the same.
//!
//! What filters ask of columns is asked first, of each entry of a dictionary once; of rows that do not keep it nothing
//! else is made, and what no row is left of is not unpacked.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use ::parquet::errors::ParquetError;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatchOptions};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::ArrowError;
use arrow_select::filter::filter;

use super::chunk::{Chunk, Stored, is_readable};
use super::hybrid::damage;
use super::lane::Lane;
use super::pruning::KeptGroup;
use super::source::{Source, Spare};
use super::stored_types::{as_stored, has_small_dictionary};
use crate::columnar::{DataType, Field, RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::bad_records::new_column;
use crate::formats::container::wished;
use crate::formats::nulls::null_rows;
use crate::formats::{BatchReader, Bound, ReadReport, Split, untrusted};
use crate::limits::ROWS_PER_READ_MAX;

/// Rows that are looked at together: their codes stay in a first-level cache. Several tiles are put together to a batch.
const TILE_ROWS: usize = 4096;

const ADVICE: &str = "bring the file again in full";

/// What is wrong, and with which of the wished columns.
type Fault = (Option<usize>, ParquetError);

/// What is read of a file, and as what.
pub(super) struct Wishes {
    pub(super) schema: SchemaRef,
    /// Columns, by index, that are null in every row.
    pub(super) unread: BTreeSet<usize>,
    /// Rows that do not keep all of these are left out.
    pub(super) bounds: Vec<Bound>,
    pub(super) spare: Spare,
}

/// Where a wished column lies, and how, if it can be read here.
struct Found {
    root: usize,
    /// The leaf, and how its values lie.
    here: Option<(usize, Stored)>,
}

/// Reads the row groups of a split.
pub(super) struct TileReader {
    path: PathBuf,
    file: File,
    footer: ArrowReaderMetadata,
    wishes: Wishes,
    /// For each wished column, where it is.
    found: Vec<Option<Found>>,
    groups: VecDeque<KeptGroup>,
    group: Option<Group>,
    /// Which rows of a tile are kept.
    rows: Vec<u32>,
    /// Columns that are null in every row.
    nulls: Vec<Option<ArrayRef>>,
    bytes: u64,
    report: ReadReport,
}

/// The row group in work.
struct Group {
    index: usize,
    ranges: VecDeque<Range<usize>>,
    /// The next row of all.
    next: usize,
    columns: Vec<Column>,
    others: Option<Others>,
    tile_rows: usize,
    /// Rows that wait to be given.
    kept: usize,
}

/// A column that is read here.
struct Column {
    /// Which of the wished ones.
    index: usize,
    bounds: Vec<Bound>,
    chunk: Chunk,
    lane: Lane,
    /// Of how many rows its bounds were asked, and how many of these kept them.
    asked: usize,
    passed: usize,
}

impl Column {
    /// Reads the next tile of so many rows, of which these are asked for, and takes those out of them that do not keep the bounds.
    fn next_tile(&mut self, rows: usize, kept: &mut Vec<u32>) -> Result<(), ParquetError> {
        let (lane, bounds) = (&mut self.lane, &self.bounds);
        self.chunk.next_tile(rows, kept, &mut |page| lane.set_dictionary(&page, bounds))?;
        if !bounds.is_empty() {
            self.asked += kept.len();
            lane.retain(&self.chunk, bounds, kept)?;
            self.passed += kept.len();
        }
        Ok(())
    }

    /// The part of the rows that keeps its bounds; a guess while few were asked.
    #[expect(clippy::cast_precision_loss, reason = "about is enough")]
    fn kept_part(&self) -> f64 {
        (self.passed + 1) as f64 / (self.asked + 2) as f64
    }
}

/// Columns that the library reads.
struct Others {
    reader: ParquetRecordBatchReader,
    /// What is left of its latest batch.
    rest: RecordBatch,
    /// For each of its columns which wished one it is, what was kept of that, and the texts that its codes stood for.
    columns: Vec<(usize, Option<ArrayRef>, Option<ArrayRef>)>,
    bounds: Vec<(usize, Bound)>,
}

impl TileReader {
    /// Nothing if no column of the split can be read here.
    pub(super) fn new(
        split: &Split,
        file: File,
        footer: &ArrowReaderMetadata,
        wishes: Wishes,
        groups: &[KeptGroup],
    ) -> Option<Self> {
        let find = |(index, field): (usize, &Arc<Field>)| {
            let place = footer.schema().fields().iter().position(|other| other.name() == field.name());
            let root = place.filter(|_| !wishes.unread.contains(&index))?;
            let has = footer.schema().field(root).data_type();
            Some(Found { root, here: readable_leaf(footer, root, has, field.data_type()) })
        };
        let found: Vec<Option<Found>> = wishes.schema.fields().iter().enumerate().map(find).collect();
        let is_here = |found: &Found| groups.iter().any(|group| is_here(footer, group.index, found).is_some());
        if !found.iter().flatten().any(is_here) {
            return None;
        }
        let nulls = found.iter().zip(wishes.schema.fields());
        let nulls =
            nulls.map(|(found, field)| found.is_none().then(|| null_rows(field.data_type(), ROWS_PER_READ_MAX)));
        Some(Self {
            path: split.path.clone(),
            file,
            footer: footer.clone(),
            nulls: nulls.collect(),
            wishes,
            found,
            groups: groups.iter().cloned().collect(),
            group: None,
            rows: Vec::new(),
            bytes: split.bytes,
            report: ReadReport::default(),
        })
    }

    /// The same, of a split of which so many rows are not read.
    pub(super) fn with_pruned(mut self, rows: u64) -> Self {
        self.report.pruned = rows;
        self
    }

    /// The same, with the notice that the file has a new column.
    pub(super) fn with_new_column(mut self, name: Option<&str>) -> Self {
        self.report.notices.extend(name.map(new_column));
        self
    }

    fn open(&self, kept: KeptGroup) -> Result<Group> {
        let fault = |index: Option<usize>, error| self.fault(kept.index, (index, error));
        let (mut columns, mut others) = (Vec::new(), Vec::new());
        for (index, found) in self.found.iter().enumerate() {
            let Some(found) = found else { continue };
            match is_here(&self.footer, kept.index, found) {
                Some((leaf, stored)) => {
                    let column = self.open_column(&kept, (index, found.root), leaf, stored);
                    columns.push(column.map_err(|error| fault(Some(index), error))?);
                }
                None => others.push((index, found.root)),
            }
        }
        sort_by_kept(&mut columns);
        let others = if others.is_empty() {
            None
        } else {
            Some(self.open_others(&kept, &others).map_err(|error| fault(None, error))?)
        };
        let tile_rows = if others.is_some() { ROWS_PER_READ_MAX } else { TILE_ROWS };
        let ranges = kept.ranges.into();
        Ok(Group { index: kept.index, ranges, next: 0, columns, others, tile_rows, kept: 0 })
    }

    fn open_column(
        &self,
        kept: &KeptGroup,
        (index, root): (usize, usize),
        leaf: usize,
        stored: Stored,
    ) -> Result<Column, ParquetError> {
        let metadata = self.footer.metadata();
        let chunk = metadata.row_group(kept.index).column(leaf);
        let places =
            metadata.offset_index().and_then(|groups| groups.get(kept.index)).and_then(|group| group.get(leaf));
        let places = places.map(|places| places.page_locations().clone()).filter(|places| !places.is_empty());
        let (has, wants) = (self.footer.schema().field(root).data_type(), self.wishes.schema.field(index).data_type());
        let (start, length) = chunk.byte_range();
        let source = Source::new(self.file.try_clone()?, start.saturating_add(length), &self.wishes.spare);
        let lane = Lane::new(has, wants, stored).ok_or_else(|| damage("its type is not known"))?;
        Ok(Column {
            index,
            bounds: self.wishes.bounds.iter().filter(|bound| bound.column == index).cloned().collect(),
            chunk: Chunk::new(source, chunk, stored, kept.rows, places)?,
            lane: lane.with_room(kept.rows.min(ROWS_PER_READ_MAX)),
            asked: 0,
            passed: 0,
        })
    }

    fn open_others(&self, kept: &KeptGroup, wanted: &[(usize, usize)]) -> Result<Others, ParquetError> {
        let footer = as_stored(self.footer.clone(), &self.wishes.schema, &[kept.index]);
        let mask = ProjectionMask::roots(footer.parquet_schema(), wanted.iter().map(|(_, root)| *root));
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, footer)
            .with_row_groups(vec![kept.index])
            .with_projection(mask)
            .with_batch_size(ROWS_PER_READ_MAX);
        let selection = RowSelection::from_consecutive_ranges(kept.ranges.iter().cloned(), kept.rows);
        let reader = builder.with_row_selection(selection).build()?;
        let schema = arrow_array::RecordBatchReader::schema(&reader);
        // Columns come in the order of the file.
        let mut columns: Vec<(usize, usize)> = wanted.to_vec();
        columns.sort_by_key(|(_, root)| *root);
        let place = |bound: &Bound| columns.iter().position(|(index, _)| *index == bound.column);
        let bounds = self.wishes.bounds.iter().filter_map(|bound| Some((place(bound)?, bound.clone()))).collect();
        let columns = columns.into_iter().map(|(index, _)| (index, None, None)).collect();
        Ok(Others { reader, rest: RecordBatch::new_empty(schema), columns, bounds })
    }

    /// The next batch of the row group in work; nothing if it has no more rows.
    fn next_of_group(&mut self, group: &mut Group) -> Result<Option<RecordBatch>> {
        while group.kept + group.tile_rows <= ROWS_PER_READ_MAX {
            let tile = group.next_tile(&mut self.rows);
            let Some(rows) = tile.map_err(|fault| self.fault(group.index, fault))? else { break };
            self.report.pruned += (rows - self.rows.len()) as u64;
            group.kept += self.rows.len();
        }
        if group.kept == 0 {
            return Ok(None);
        }
        let rows = std::mem::take(&mut group.kept);
        let mut columns: Vec<Option<ArrayRef>> =
            self.nulls.iter().map(|nulls| nulls.as_ref().map(|nulls| nulls.slice(0, rows))).collect();
        for column in &mut group.columns {
            let values = column.lane.finish(ROWS_PER_READ_MAX);
            let values = values.map_err(|error| self.fault(group.index, (Some(column.index), error)))?;
            columns[column.index] = Some(values);
        }
        if let Some(others) = &mut group.others {
            for (index, values, texts) in &mut others.columns {
                let wants = self.wishes.schema.field(*index).data_type();
                let values = values.take().map(|values| wished(values, wants, texts)).transpose();
                columns[*index] = values.map_err(|error| self.fault(group.index, (Some(*index), error.into())))?;
            }
        }
        let columns = columns.into_iter().flatten().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&self.wishes.schema), columns, &options);
        batch.map(Some).map_err(|error| self.fault(group.index, (None, error.into())))
    }

    fn fault(&self, group: usize, (column, error): Fault) -> Error {
        let column = column.map(|index| self.wishes.schema.field(index).name());
        let place = column.map_or_else(Place::default, |name| Place::default().column(name));
        Error::new(ErrorKind::Corrupt, format!("cannot read row group {group}: {error}"))
            .because(error)
            .at(place)
            .at(Place::file(&self.path))
            .advice(ADVICE)
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut group = match self.group.take() {
                Some(group) => group,
                None => match self.groups.pop_front() {
                    Some(kept) => self.open(kept)?,
                    None => return Ok(None),
                },
            };
            if let Some(batch) = self.next_of_group(&mut group)? {
                self.group = Some(group);
                return Ok(Some(batch));
            }
        }
    }
}

impl BatchReader for TileReader {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.report.bytes += std::mem::take(&mut self.bytes);
        let group =
            self.group.as_ref().map_or_else(|| self.groups.front().map(|kept| kept.index), |group| Some(group.index));
        let Some(read) = untrusted::call(|| self.step()) else {
            let message = "what it says of itself is not true".to_owned();
            return Err(self.fault(group.unwrap_or_default(), (None, ParquetError::General(message))));
        };
        let batch = read?;
        self.report.rows += batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
        Ok(batch)
    }

    fn report(&self) -> ReadReport {
        self.report.clone()
    }
}

impl Group {
    /// Reads the next tile, of which `kept` will have the rows that keep all bounds, and says how many rows it has; nothing
    /// if there is none.
    fn next_tile(&mut self, kept: &mut Vec<u32>) -> Result<Option<usize>, Fault> {
        while self.ranges.front().is_some_and(|range| range.is_empty()) {
            self.ranges.pop_front();
        }
        let Some(range) = self.ranges.front_mut() else { return Ok(None) };
        let mut rows = range.len().min(self.tile_rows);
        if let Some(others) = &mut self.others {
            rows = rows.min(others.ready().map_err(|error| (None, error))?);
        }
        let gap = range.start - self.next;
        range.start += rows;
        self.next = range.start;
        kept.clear();
        kept.extend((0..).take(rows));
        let others = match &mut self.others {
            Some(others) => Some(others.take(rows, kept).map_err(|error| (None, error))?),
            None => None,
        };
        for column in &mut self.columns {
            column.chunk.skip(gap);
            if kept.is_empty() {
                column.chunk.skip(rows);
                continue;
            }
            column.next_tile(rows, kept).map_err(|error| (Some(column.index), error))?;
        }
        if !kept.is_empty() {
            for column in &mut self.columns {
                column.lane.push(&column.chunk, kept).map_err(|error| (Some(column.index), error))?;
            }
            if let (Some(others), Some(tile)) = (&mut self.others, others) {
                others.push(&tile, kept).map_err(|error| (None, error.into()))?;
            }
        }
        sort_by_kept(&mut self.columns);
        Ok(Some(rows))
    }
}

/// Columns that leave out rows come first, and of these those that leave out most: the others are asked of fewer rows then.
fn sort_by_kept(columns: &mut [Column]) {
    let place = |column: &Column| (column.bounds.is_empty(), column.kept_part());
    columns.sort_by(|a, b| {
        let ((a_is_whole, a_part), (b_is_whole, b_part)) = (place(a), place(b));
        a_is_whole.cmp(&b_is_whole).then(a_part.total_cmp(&b_part))
    });
}

impl Others {
    /// How many rows can be taken, which is not none.
    fn ready(&mut self) -> Result<usize, ParquetError> {
        while self.rest.num_rows() == 0 {
            self.rest = self.reader.next().ok_or_else(|| damage("there are fewer rows than it says"))??;
        }
        Ok(self.rest.num_rows())
    }

    /// Takes so many rows, and out of `kept` what does not keep the bounds.
    fn take(&mut self, rows: usize, kept: &mut Vec<u32>) -> Result<RecordBatch, ParquetError> {
        let tile = self.rest.slice(0, rows);
        self.rest = self.rest.slice(rows, self.rest.num_rows() - rows);
        for (place, bound) in &self.bounds {
            let bits = bound.kept(tile.column(*place)).map_err(|error| damage(error.message()))?;
            if let Some(bits) = bits {
                kept.retain(|row| bits.value(*row as usize));
            }
        }
        Ok(tile)
    }

    fn push(&mut self, tile: &RecordBatch, kept: &[u32]) -> Result<(), ArrowError> {
        let mut bits = BooleanBufferBuilder::new(tile.num_rows());
        bits.append_n(tile.num_rows(), false);
        kept.iter().for_each(|row| bits.set_bit(*row as usize, true));
        let mask = BooleanArray::new(bits.finish(), None);
        for ((_, values, _), column) in self.columns.iter_mut().zip(tile.columns()) {
            let is_all = kept.len() == tile.num_rows();
            *values = Some(if is_all { ArrayRef::clone(column) } else { filter(column, &mask)? });
        }
        Ok(())
    }
}

/// The leaf of a column that lies flat, and how its values lie, if they can be read here as the wished type.
fn readable_leaf(
    footer: &ArrowReaderMetadata,
    root: usize,
    has: &DataType,
    wants: &DataType,
) -> Option<(usize, Stored)> {
    let schema = footer.parquet_schema();
    let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root)?;
    let column = schema.column(leaf);
    let stored = Stored::of(column.physical_type(), column.type_length())?;
    Lane::new(has, wants, stored).map(|_| (leaf, stored))
}

/// The leaf of a column in a row group, if its pages are written in ways that are read here.
fn is_here(footer: &ArrowReaderMetadata, group: usize, found: &Found) -> Option<(usize, Stored)> {
    let (leaf, stored) = found.here?;
    let chunk = footer.metadata().row_group(group).columns().get(leaf)?;
    let has_texts_elsewhere = stored == Stored::Text && !has_small_dictionary(chunk);
    (is_readable(chunk) && !has_texts_elsewhere).then_some((leaf, stored))
}
