//! A stream whose rows are grouped by keys.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::ArrayRef;

use super::cell::Cell;
use super::dstream::DStream;
use crate::columnar::{RecordBatch, Schema};
use crate::error::Result;
use crate::expr::{Aggregate, Expr, len};
use crate::plan::LogicalPlan;
use crate::plan::keep::OutputMode;
use crate::plan::logical::Over;

/// A stream grouped by keys, waiting to be told what to make of each group. Made by [`DStream::key_by`].
#[derive(Debug, Clone)]
pub struct KeyedDStream {
    stream: DStream,
    keys: Vec<Expr>,
    mode: Option<OutputMode>,
    name: Option<String>,
}

impl KeyedDStream {
    pub(super) fn new(stream: DStream, keys: Vec<Expr>) -> Self {
        Self { stream, keys, mode: None, name: None }
    }

    /// Which rows come out with each batch, of groups that outlive it. Without it: of windows those that are final, if
    /// there is a watermark; otherwise the groups that the batch changed.
    #[must_use]
    pub fn output_mode(mut self, mode: OutputMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// What a checkpoint calls the groups that outlive a batch; without it a number is given, which may change when the
    /// query does.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// One row a group of each batch: the keys, then the aggregates.
    ///
    /// With a [`window`](crate::expr::window) among the keys, one row a group of each window, whichever batches its rows
    /// come in: the other keys, start and end of the window, then the aggregates.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(ads: DStream) -> DStream {
    /// let seconds = Duration::from_secs;
    /// ads.with_watermark("event_time", seconds(10))
    ///     .key_by([col("campaign"), window(col("event_time"), seconds(10))])
    ///     .aggregate([len().alias("views")])
    /// # }
    /// ```
    #[must_use]
    pub fn aggregate(self, aggregates: impl IntoIterator<Item = Aggregate>) -> DStream {
        if self.keys.iter().any(Expr::is_window) {
            return self.keep(aggregates, Over::Event);
        }
        let aggregates = aggregates.into_iter().collect();
        self.stream.with(|input| LogicalPlan::Reduce { input, keys: self.keys, aggregates })
    }

    /// One row a group of all batches so far: `O(t) = R(t) + O(t - 1)`. The state is the aggregates' partials, in columns,
    /// and a batch costs what it touches of them.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # fn example(visits: DStream) -> DStream {
    /// visits.key_by([col("city")]).running([len().alias("visits"), col("age").mean().alias("age")])
    /// # }
    /// ```
    #[must_use]
    pub fn running(self, aggregates: impl IntoIterator<Item = Aggregate>) -> DStream {
        self.keep(aggregates, Over::Always)
    }

    /// One row a group of the latest batches: those cut not longer than `size` before the present one. The answer comes
    /// every `slide`; without it, with each batch.
    #[must_use]
    pub fn over_batches(
        self,
        size: Duration,
        slide: Option<Duration>,
        aggregates: impl IntoIterator<Item = Aggregate>,
    ) -> DStream {
        self.keep(aggregates, Over::Batches { size, slide })
    }

    fn keep(self, aggregates: impl IntoIterator<Item = Aggregate>, over: Over) -> DStream {
        let Self { stream, keys, mode, name } = self;
        let aggregates = aggregates.into_iter().collect();
        stream.with(|input| LogicalPlan::Keep { input, name, keys, aggregates, over, mode })
    }

    /// The number of rows of each group, as `count`.
    #[must_use]
    pub fn count(self) -> DStream {
        self.aggregate([len().alias("count")])
    }

    /// One row a group: the keys, then the group's values put together two by two by an associative function.
    ///
    /// Any Rust closure will do, at the price of speed: it sees one value at a time, on the CPU. The values are cast to
    /// the closure's type; nulls are left out (take an `Option` to see them); a group without values has a null.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # fn example(people: DStream) -> DStream {
    /// people.key_by([col("city")]).reduce(col("age"), |a: i64, b: i64| a.max(b))
    /// # }
    /// ```
    #[must_use]
    pub fn reduce<T: Cell>(self, value: Expr, function: impl Fn(T, T) -> T + Send + Sync + 'static) -> DStream {
        let name = value.output_name();
        let value = value.cast(T::data_type()).alias(name);
        let fold = move |rows: &RecordBatch| fold(rows, &function);
        let function = self.stream.register_group_function("closure", Arc::new(fold));
        let name = "closure".to_owned();
        self.stream.with(|input| LogicalPlan::ReduceWith {
            input,
            keys: self.keys,
            values: vec![value],
            function,
            name,
        })
    }
}

/// One row: the keys of the first row, and all values of the last column put together.
fn fold<T: Cell>(rows: &RecordBatch, function: &impl Fn(T, T) -> T) -> Result<RecordBatch> {
    let value_column = rows.num_columns() - 1;
    let mut values = T::read(rows.column(value_column)).into_iter();
    let folded: ArrayRef = match values.next() {
        Some(first) => T::write(vec![values.fold(first, function)]),
        None => arrow_array::new_null_array(&T::data_type(), 1),
    };
    let mut columns = rows.columns().iter().map(|column| column.slice(0, 1)).collect::<Vec<_>>();
    columns[value_column] = folded;
    let mut fields = rows.schema().fields().to_vec();
    let field = fields[value_column].as_ref().clone();
    fields[value_column] = Arc::new(field.with_nullable(true));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
