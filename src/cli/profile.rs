//! What the columns of a source hold, as a table for people.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};

use super::figures::grouped;
use crate::columnar::pretty::{Layout, table_with};
use crate::columnar::{DataType, Field, RecordBatch, Schema};
use crate::error::Result;
use crate::profile::ColumnProfile;
use crate::runtime::progress::SourceProfile;

/// How many of the most frequent values a table shows.
const FREQUENT_SHOWN: usize = 3;

/// A row for each column, under a line with the name of the source.
pub(super) fn table(profile: &SourceProfile) -> Result<String> {
    let shares = profile.columns.iter().flat_map(|column| &column.quantiles).map(|quantile| quantile.share);
    let mut shares: Vec<f64> = shares.collect();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    let mut columns: Vec<(String, Vec<Option<String>>)> = Vec::new();
    let mut add = |name: String, of: &dyn Fn(&ColumnProfile) -> Option<String>| {
        columns.push((name, profile.columns.iter().map(of).collect()));
    };
    add("column".to_owned(), &|column| Some(column.column.clone()));
    add("rows".to_owned(), &|column| Some(grouped(column.rows)));
    add("nulls".to_owned(), &|column| Some(grouped(column.nulls)));
    add("distinct".to_owned(), &|column| {
        let about = if column.distinct_is_exact { "" } else { "≈ " };
        Some(format!("{about}{}", grouped(column.distinct)))
    });
    add("min".to_owned(), &|column| column.min.clone());
    for share in shares {
        add(format!("{}%", share * 100.0), &|column| {
            let quantile = column.quantiles.iter().find(|quantile| quantile.share.total_cmp(&share).is_eq());
            quantile.map(|quantile| quantile.value.clone())
        });
    }
    add("max".to_owned(), &|column| column.max.clone());
    add("most frequent".to_owned(), &|column| {
        let shown = column.frequent.iter().take(FREQUENT_SHOWN);
        let shown = shown.map(|frequent| match frequent.count == frequent.count_max {
            true => format!("{} ({})", frequent.value, grouped(frequent.count)),
            false => format!("{} (≥ {})", frequent.value, grouped(frequent.count)),
        });
        Some(shown.collect::<Vec<_>>().join(", "))
    });
    let fields: Vec<Field> = columns.iter().map(|(name, _)| Field::new(name, DataType::Utf8, true)).collect();
    let arrays = columns.into_iter().map(|(_, values)| Arc::new(StringArray::from(values)) as ArrayRef);
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())?;
    let layout = Layout { rows_max: usize::MAX, width_max: 48, types: false };
    Ok(format!("\nprofile of \"{}\"\n{}", profile.source, table_with(&schema, [&batch], &layout).trim_end()))
}
