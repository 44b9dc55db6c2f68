//! A sink of one's own: a page of Markdown for each batch. Run it with `cargo run --example custom_sink`, then look into
//! `target/pages`.

use std::fs;
use std::path::PathBuf;

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use pelton::generate::{Options, generator};
use pelton::prelude::*;

struct MarkdownPages {
    folder: PathBuf,
}

impl Sink for MarkdownPages {
    fn open(&mut self, _: &SchemaRef) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|error| Error::io(&self.folder, "create a folder", error))
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let names: Vec<&str> = batch.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut page = format!("| {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len()));
        let mut rows = 0;
        for part in batch.partitions.iter().flatten() {
            let options = FormatOptions::new();
            let columns = part.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            for row in 0..part.num_rows() {
                columns.iter().for_each(|column| page.push_str(&format!("| {} ", column.value(row))));
                page.push_str("|\n");
                rows += 1;
            }
        }
        // Written beside and renamed: readers see all of a page or nothing, and a repeated batch replaces its page.
        let path = self.folder.join(format!("{:06}.md", batch.batch_id));
        let hidden = path.with_extension("tmp");
        let written = fs::write(&hidden, &page).and_then(|()| fs::rename(&hidden, &path));
        written.map_err(|error| Error::io(&path, "write a page", error))?;
        Ok(WriteReport { rows, bytes: page.len() as u64 })
    }

    fn repeat(&self) -> Repeat {
        Repeat::Replaces
    }
}

fn main() -> Result<()> {
    let people = GeneratorSource::new(generator("people", 1, &Options::default())?, Pace::PerBatch(20)).rows_total(60);
    let context = StreamingContext::builder("pages").trigger(Trigger::AvailableNow).build()?;
    let adults = context.source("people", people)?.filter(col("age").gt_eq(lit(18)));
    adults.write(MarkdownPages { folder: PathBuf::from("target/pages") })?;
    context.start()?.await_termination().map(drop)
}
