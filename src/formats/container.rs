//! What Parquet and Arrow IPC files share: they bring their own schema and batches.
//!
//! The columns of the wished schema are found in the file by name and must have the wished type; others are not given.
//! Batches are cut to the size that readers promise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal64Type, Decimal128Type, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, RecordBatchOptions, UInt32Array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::ArrowError;
use arrow_select::filter::{FilterBuilder, FilterPredicate};

use crate::columnar::data_type::coded_text;
use crate::columnar::{DataType, RecordBatch, Schema, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::bad_records::new_column;
use crate::formats::nulls::null_rows;
use crate::formats::untrusted;
use crate::formats::{BatchReader, Bound, ReadReport, Split};
use crate::limits::ROWS_PER_READ_MAX;
use crate::suggest;

/// Batches as the libraries of the formats give them.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// Where the columns of the wished schema are in a file.
#[derive(Debug)]
pub(super) struct Projection {
    schema: SchemaRef,
    /// For each wished column its place in the file; nothing for one that is null in every row.
    places: Vec<Option<usize>>,
    /// Nulls for wished columns that have no place, as many as a read has rows.
    nulls: Vec<Option<ArrayRef>>,
    /// The texts that codes stood for in the latest batch: as long as they are the same, whoever knows the codes need not
    /// look them up again.
    texts: Vec<Option<ArrayRef>>,
    /// Rows that do not keep all of these are left out.
    bounds: Vec<Bound>,
}

impl Projection {
    pub(super) fn new(wished: &SchemaRef, file: &Schema, allow_missing: bool) -> Result<Self> {
        Self::without(&BTreeSet::new(), wished, file, allow_missing)
    }

    /// Where the columns are of which some, by index, are not looked at. These may hold null.
    pub(super) fn without(
        unread: &BTreeSet<usize>,
        wished: &SchemaRef,
        file: &Schema,
        allow_missing: bool,
    ) -> Result<Self> {
        let mut places = Vec::with_capacity(wished.fields().len());
        for (index, field) in wished.fields().iter().enumerate() {
            if unread.contains(&index) {
                places.push(None);
                continue;
            }
            let name = field.name();
            let Some((place, found)) = file.column_with_name(name) else {
                if allow_missing && field.is_nullable() {
                    places.push(None);
                    continue;
                }
                let error = Error::new(ErrorKind::BadRecord, format!("the file has no column \"{name}\""));
                let names = file.fields().iter().map(|field| field.name().as_str());
                let otherwise = "mend the schema, or set allow_missing_columns to read it as null";
                let advice = suggest::meant(name, names, otherwise);
                return Err(error.at(Place::default().column(name)).advice(advice));
            };
            let (has, wants) = (found.data_type(), field.data_type());
            let is_text_for_codes = *wants == coded_text() && *has == DataType::Utf8;
            if !has.equals_datatype(wants) && !is_text_for_codes && !is_narrow_decimal(has, wants) {
                let message = format!("column \"{name}\" is {has} in the file where {wants} is expected");
                return Err(Error::new(ErrorKind::BadRecord, message)
                    .at(Place::default().column(name))
                    .advice("read it as the type it has and cast it in the query"));
            }
            places.push(Some(place));
        }
        let nulls = places.iter().zip(wished.fields()).map(|(place, field)| {
            let is_missing = place.is_none();
            is_missing.then(|| null_rows(field.data_type(), ROWS_PER_READ_MAX))
        });
        let texts = vec![None; places.len()];
        Ok(Self { schema: SchemaRef::clone(wished), nulls: nulls.collect(), places, texts, bounds: Vec::new() })
    }

    /// The same, of rows that keep these bounds of wished columns.
    #[cfg(feature = "parquet")]
    pub(super) fn keeping(mut self, bounds: &[Bound]) -> Self {
        self.bounds = bounds.to_vec();
        self
    }

    /// Which rows keep all bounds of columns that are there; nothing if all do.
    fn kept(&self, batch: &RecordBatch) -> Result<Option<FilterPredicate>, ArrowError> {
        let mut all: Option<BooleanBuffer> = None;
        for bound in &self.bounds {
            let Some(place) = self.places.get(bound.column).copied().flatten() else { continue };
            let kept = bound.kept(batch.column(place)).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            if let Some(kept) = kept {
                all = Some(all.map_or_else(|| kept.clone(), |all| &all & &kept));
            }
        }
        let some = all.filter(|all| all.count_set_bits() < all.len());
        Ok(some.map(|kept| FilterBuilder::new(&BooleanArray::new(kept, None)).optimize().build()))
    }

    /// The wished columns of the rows that are kept.
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let kept = self.kept(batch)?;
        let rows = kept.as_ref().map_or(batch.num_rows(), FilterPredicate::count);
        let column = |place: usize| match &kept {
            Some(kept) => kept.filter(batch.column(place)),
            None => Ok(ArrayRef::clone(batch.column(place))),
        };
        let places = self.places.iter().zip(&self.nulls).zip(&mut self.texts).zip(self.schema.fields());
        let columns = places.map(|(((place, nulls), texts), field)| match place {
            Some(place) => wished(column(*place)?, field.data_type(), texts),
            None => Ok(match nulls {
                Some(nulls) if rows <= nulls.len() => nulls.slice(0, rows),
                _ => null_rows(field.data_type(), rows),
            }),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
    }
}

/// Whether decimals are of the wished type but for the size of their numbers.
fn is_narrow_decimal(has: &DataType, wants: &DataType) -> bool {
    matches!((has, wants), (DataType::Decimal64(a, b), DataType::Decimal128(c, d)) if (a, b) == (c, d))
}

/// A column of a file as one of the wished type.
pub(super) fn wished(column: ArrayRef, wants: &DataType, texts: &mut Option<ArrayRef>) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), wants) {
        (_, wants) if *wants == coded_text() => codes(&column, texts),
        (has, wants) if has == wants => Ok(column),
        (DataType::Decimal64(..), DataType::Decimal128(precision, scale)) => {
            let wide = column.as_primitive::<Decimal64Type>().unary::<_, Decimal128Type>(i128::from);
            Ok(Arc::new(wide.with_precision_and_scale(*precision, *scale)?))
        }
        // The names of list items may differ between writers: the wished ones win.
        _ => arrow_cast::cast(&column, wants),
    }
}

/// A column of texts, or of codes for texts, as codes, which are looked at: nothing is believed of a file. `latest` has the
/// texts of the batch before.
fn codes(column: &ArrayRef, latest: &mut Option<ArrayRef>) -> Result<ArrayRef, ArrowError> {
    let Some(dictionary) = column.as_dictionary_opt::<UInt32Type>() else {
        let every = u32::try_from(column.len()).map_err(|_| ArrowError::DictionaryKeyOverflowError)?;
        let codes = UInt32Array::new((0..every).collect(), column.logical_nulls());
        return Ok(Arc::new(DictionaryArray::try_new(codes, Arc::clone(column))?));
    };
    let is_same = |known: &ArrayRef| known.to_data().ptr_eq(&dictionary.values().to_data());
    let texts = match latest.take().filter(is_same) {
        Some(known) => known,
        None => Arc::clone(dictionary.values()),
    };
    Ok(Arc::new(DictionaryArray::try_new(dictionary.keys().clone(), Arc::clone(latest.insert(texts)))?))
}

/// Reads the batches of a split.
pub(super) struct ContainerReader {
    path: PathBuf,
    batches: Option<(Batches, Projection)>,
    /// What is left of a batch that was larger than a read.
    rest: Option<RecordBatch>,
    bytes: u64,
    report: ReadReport,
}

impl ContainerReader {
    /// Nothing to read: an empty file, or no part of one.
    pub(super) fn empty(split: &Split) -> Self {
        Self { path: split.path.clone(), batches: None, rest: None, bytes: split.bytes, report: ReadReport::default() }
    }

    pub(super) fn new(split: &Split, batches: Batches, projection: Projection) -> Self {
        Self { batches: Some((batches, projection)), ..Self::empty(split) }
    }

    /// The same, of a split of which so many rows are not read.
    #[cfg(feature = "parquet")]
    pub(super) fn with_pruned(mut self, rows: u64) -> Self {
        self.report.pruned = rows;
        self
    }

    /// The same, with the notice that the file has a new column.
    pub(super) fn with_new_column(mut self, name: Option<&str>) -> Self {
        self.report.notices.extend(name.map(new_column));
        self
    }
}

/// The first column of a file that the wished schema does not have.
pub(super) fn first_new<'a>(wished: &Schema, file: &'a Schema) -> Option<&'a str> {
    let names = file.fields().iter().map(|field| field.name().as_str());
    names.into_iter().find(|name| wished.column_with_name(name).is_none())
}

impl BatchReader for ContainerReader {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.report.bytes += std::mem::take(&mut self.bytes);
        while self.rest.as_ref().is_none_or(|rest| rest.num_rows() == 0) {
            let Some((batches, projection)) = &mut self.batches else { return Ok(None) };
            let read = guarded(&self.path, "read the file", || {
                let Some(batch) = batches.next().transpose()? else { return Ok(None) };
                let kept = projection.apply(&batch)?;
                let left_out = batch.num_rows() - kept.num_rows();
                Ok::<_, ArrowError>(Some((kept, left_out)))
            })?;
            let Some((batch, left_out)) = read else {
                self.batches = None;
                return Ok(None);
            };
            self.report.pruned += left_out as u64;
            self.rest = Some(batch);
        }
        let Some(batch) = self.rest.take() else { return Ok(None) };
        let rows = batch.num_rows().min(ROWS_PER_READ_MAX);
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.report.rows += rows as u64;
        Ok(Some(batch.slice(0, rows)))
    }

    fn report(&self) -> ReadReport {
        self.report.clone()
    }
}

/// Calls a library that reads untrusted bytes. Its errors mean a damaged file, and so do its panics.
pub(super) fn guarded<T, E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    doing: &str,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    let advice = "bring the file again in full";
    match untrusted::call(call) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(Error::new(ErrorKind::Corrupt, format!("cannot {doing}: {error}"))
            .because(error)
            .at(Place::file(path))
            .advice(advice)),
        None => Err(Error::new(ErrorKind::Corrupt, format!("cannot {doing}: what it says of itself is not true"))
            .at(Place::file(path))
            .advice(advice)),
    }
}
