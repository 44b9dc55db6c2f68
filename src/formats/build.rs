//! From what a user says about files to the format that reads them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::columnar::data_type;
use crate::columnar::{Schema, SchemaRef};
use crate::error::Result;
use crate::formats::arrow_ipc::ArrowFormat;
use crate::formats::column::{BinaryText, Rows, first_not_nullable};
use crate::formats::csv::CsvFormat;
use crate::formats::infer::infer;
use crate::formats::json::JsonFormat;
use crate::formats::lines::LineFormat;
use crate::formats::options::{FormatKind, FormatOptions, invalid};
use crate::formats::text::TextFormat;
use crate::formats::{BadRecordPolicy, Format};
use crate::suggest;

impl FormatOptions {
    /// Checks the options and makes the format. Without a schema, the columns are those of the sample file.
    ///
    /// # Errors
    /// `InvalidOption` for options that contradict each other or the kind, `Unsupported` for what this program was built
    /// without, and what reading the sample file says.
    pub fn build(&self, sample_file: Option<&Path>) -> Result<Arc<dyn Format>> {
        match self.kind {
            FormatKind::Text | FormatKind::Csv | FormatKind::Ndjson => {
                let format: Arc<dyn Format> = self.build_lines(sample_file)?;
                Ok(format)
            }
            FormatKind::Arrow => {
                let schema = self.checked_schema(sample_file)?;
                let watches = self.is_sampled(sample_file);
                Ok(Arc::new(ArrowFormat::new(schema, self.allow_missing_columns.unwrap_or(false), watches)))
            }
            FormatKind::Parquet => self.build_parquet(sample_file),
        }
    }

    /// The same for the formats whose records can be read from any stream of bytes: text, CSV and NDJSON.
    ///
    /// # Errors
    /// As for [`FormatOptions::build`], and `InvalidOption` for the other kinds.
    pub fn build_lines(&self, sample_file: Option<&Path>) -> Result<Arc<dyn LineFormat>> {
        match self.kind {
            FormatKind::Text => {
                self.check()?;
                if self.schema.is_some() {
                    return Err(invalid("text has no schema: its only column is \"line\"")
                        .advice("leave the schema out, or read the file as csv or ndjson"));
                }
                Ok(Arc::new(TextFormat::new(self.policy())))
            }
            FormatKind::Csv => {
                let schema = self.checked_schema(sample_file)?;
                if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
                    let message =
                        format!("column \"{}\" is a {}, which CSV cannot hold", field.name(), field.data_type());
                    return Err(invalid(message).advice("read it as text"));
                }
                Rows::new(&schema, BinaryText::Hex, &BTreeSet::new())?;
                let mut options = self.csv_options()?;
                options.watches_columns = self.is_sampled(sample_file);
                Ok(Arc::new(CsvFormat::new(schema, options)))
            }
            FormatKind::Ndjson => {
                let schema = self.checked_schema(sample_file)?;
                Rows::new(&schema, BinaryText::Hex, &BTreeSet::new())?;
                let checked_rows = self.checked_rows.unwrap_or_default();
                Ok(Arc::new(JsonFormat::new(schema, self.policies(), self.is_sampled(sample_file), checked_rows)))
            }
            FormatKind::Parquet | FormatKind::Arrow => {
                let message = format!("{} files are not made of lines", self.kind.name());
                Err(invalid(message).advice("use text, csv or ndjson here"))
            }
        }
    }

    #[cfg(feature = "parquet")]
    fn build_parquet(&self, sample_file: Option<&Path>) -> Result<Arc<dyn Format>> {
        let schema = self.checked_schema(sample_file)?;
        let allow_missing = self.allow_missing_columns.unwrap_or(false);
        Ok(Arc::new(super::parquet::ParquetFormat::new(schema, allow_missing, self.is_sampled(sample_file))))
    }

    #[cfg(not(feature = "parquet"))]
    fn build_parquet(&self, _sample_file: Option<&Path>) -> Result<Arc<dyn Format>> {
        Err(crate::formats::options::without_parquet())
    }

    fn checked_schema(&self, sample_file: Option<&Path>) -> Result<SchemaRef> {
        self.check()?;
        let schema = match (&self.schema, sample_file) {
            (Some(schema), _) => Arc::clone(schema),
            (None, Some(file)) => infer(self, file)?,
            (None, None) => {
                let message = format!("nothing says which columns the {} files have", self.kind.name());
                return Err(invalid(message).advice("give a schema, or a file to look at"));
            }
        };
        for field in schema.fields() {
            data_type::check(field.name(), field.data_type())?;
            if schema.fields().iter().filter(|other| other.name() == field.name()).count() > 1 {
                return Err(invalid(format!("the schema names the column \"{}\" twice", field.name()))
                    .advice("give columns different names"));
            }
        }
        if self.policy() == BadRecordPolicy::Null
            && let Some(column) = first_not_nullable(&schema)
        {
            let message = format!("on_bad_record is \"null\", but column \"{column}\" must not be null");
            return Err(invalid(message).advice("make the column nullable, or set on_bad_record to \"drop\""));
        }
        for (name, policy) in &self.on_bad_value {
            let Some((_, field)) = schema.column_with_name(name) else {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let advice = suggest::advice(name, "columns", names);
                return Err(
                    invalid(format!("on_bad_value names the column \"{name}\", which is not read")).advice(advice)
                );
            };
            let alone = Schema::new(vec![field.clone()]);
            if *policy == BadRecordPolicy::Null
                && let Some(column) = first_not_nullable(&alone)
            {
                let message = format!("on_bad_value is \"null\" for column \"{column}\", which must not be null");
                return Err(invalid(message).advice("make the column nullable, or set its policy to \"drop\""));
            }
        }
        Ok(schema)
    }

    /// Whether the columns are those of a sample, so that others are new; of columns that were given, nobody knows.
    fn is_sampled(&self, sample_file: Option<&Path>) -> bool {
        self.schema.is_none() && sample_file.is_some()
    }
}
