//! Texts of Parquet files as codes, as their dictionary pages have them. Feature `parquet`.
//!
//! A column whose data pages hold nothing but places in a small dictionary is read as these places. Of others the texts are
//! read, and each row brings its own value: the library would look every text up to give it a code.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::basic::Encoding;
use ::parquet::file::metadata::ColumnChunkMetaData;

use crate::columnar::data_type::with_coded;
use crate::columnar::{DataType, Schema};
use crate::limits::CODED_BYTES_MAX;

/// What a file says of itself, for a reader of some row groups: columns of a wished schema that are codes there are read as
/// codes where that costs less.
pub(super) fn with_codes(footer: ArrowReaderMetadata, wished: &Schema, groups: &[usize]) -> ArrowReaderMetadata {
    let wants = |name: &str| {
        let wished = wished.field_with_name(name);
        wished.is_ok_and(|field| matches!(field.data_type(), DataType::Dictionary(..)))
    };
    let of_file = footer.parquet_schema();
    let mut coded = BTreeSet::new();
    for (root, field) in footer.schema().fields().iter().enumerate() {
        if *field.data_type() == DataType::Utf8 && wants(field.name()) {
            let leaf = (0..of_file.num_columns()).find(|leaf| of_file.get_column_root_idx(*leaf) == root);
            let chunk = |group: &usize| footer.metadata().row_group(*group).columns().get(leaf?);
            if groups.iter().all(|group| chunk(group).is_some_and(has_small_dictionary)) {
                coded.insert(root);
            }
        }
    }
    if coded.is_empty() {
        return footer;
    }
    let options = ArrowReaderOptions::new().with_schema(with_coded(footer.schema(), &coded));
    // If the library does not read some other column as it said before, texts do as well.
    ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options).unwrap_or(footer)
}

/// Whether all data pages hold places in the dictionary, and that is small. Sizes are those in the file.
fn has_small_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    let size = chunk.dictionary_page_offset().and_then(|start| chunk.data_page_offset().checked_sub(start));
    let is_small = size.and_then(|size| usize::try_from(size).ok()).is_some_and(|size| size <= CODED_BYTES_MAX);
    let pages = chunk.page_encoding_stats_mask();
    let is_only = |encoding| pages.is_some_and(|pages| pages.is_only(encoding));
    is_small && (is_only(Encoding::RLE_DICTIONARY) || is_only(Encoding::PLAIN_DICTIONARY))
}
