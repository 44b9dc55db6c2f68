//! How the columns of a Parquet file are asked for: as what they are there. Feature `parquet`.
//!
//! Decimals that are 64-bit numbers in the file are read as such and widened where their rows are kept. Texts are read as
//! codes, as their dictionary pages have them: a column whose data pages hold nothing but places in a small dictionary is read as these places. Of others the texts are
//! read, and each row brings its own value: the library would look every text up to give it a code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::basic::{Encoding, Type};
use ::parquet::file::metadata::ColumnChunkMetaData;

use crate::columnar::data_type::with_coded;
use crate::columnar::{DataType, Field, Schema};
use crate::limits::CODED_BYTES_MAX;

/// What a file says of itself, for a reader of some row groups: columns of a wished schema are read as what they are there
/// if that costs less.
pub(super) fn as_stored(footer: ArrowReaderMetadata, wished: &Schema, groups: &[usize]) -> ArrowReaderMetadata {
    let of_file = footer.parquet_schema();
    let (mut coded, mut narrow) = (BTreeSet::new(), BTreeMap::new());
    for (root, field) in footer.schema().fields().iter().enumerate() {
        let Ok(wants) = wished.field_with_name(field.name()) else { continue };
        let leaf = (0..of_file.num_columns()).find(|leaf| of_file.get_column_root_idx(*leaf) == root);
        match (field.data_type(), wants.data_type(), leaf) {
            (DataType::Utf8, DataType::Dictionary(..), Some(leaf)) => {
                let chunk = |group: &usize| footer.metadata().row_group(*group).columns().get(leaf);
                if groups.iter().all(|group| chunk(group).is_some_and(has_small_dictionary)) {
                    coded.insert(root);
                }
            }
            (DataType::Decimal128(precision, scale), DataType::Decimal128(..), Some(leaf))
                if matches!(of_file.column(leaf).physical_type(), Type::INT32 | Type::INT64) =>
            {
                narrow.insert(root, DataType::Decimal64(*precision, *scale));
            }
            _ => {}
        }
    }
    if coded.is_empty() && narrow.is_empty() {
        return footer;
    }
    let with_codes = with_coded(footer.schema(), &coded);
    let field = |(root, field): (usize, &Arc<Field>)| match narrow.remove(&root) {
        Some(narrow) => Arc::new(field.as_ref().clone().with_data_type(narrow)),
        None => Arc::clone(field),
    };
    let fields: Vec<_> = with_codes.fields().iter().enumerate().map(field).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, with_codes.metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    // If the library does not read some other column as it said before, texts and wide numbers do as well.
    ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options).unwrap_or(footer)
}

/// Whether all data pages hold places in the dictionary, and that is small. Sizes are those in the file.
pub(super) fn has_small_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    let size = chunk.dictionary_page_offset().and_then(|start| chunk.data_page_offset().checked_sub(start));
    let is_small = size.and_then(|size| usize::try_from(size).ok()).is_some_and(|size| size <= CODED_BYTES_MAX);
    let pages = chunk.page_encoding_stats_mask();
    let is_only = |encoding| pages.is_some_and(|pages| pages.is_only(encoding));
    is_small && (is_only(Encoding::RLE_DICTIONARY) || is_only(Encoding::PLAIN_DICTIONARY))
}
