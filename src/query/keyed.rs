//! A stream whose rows are grouped by keys.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::ArrayRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cell::{Cell, Row};
use super::dstream::DStream;
use super::fold::WindowReduce;
use super::initial::initial_pairs;
use super::state::{MapFunction, State, UpdateFunction, short_name};
use super::table::StaticTable;
use crate::columnar::{Field, RecordBatch, Schema};
use crate::error::Result;
use crate::expr::{Aggregate, Expr, len};
use crate::plan::LogicalPlan;
use crate::plan::fold_function::FoldFunction;
use crate::plan::initial::InitialState;
use crate::plan::keep::OutputMode;
use crate::plan::logical::{FoldWindowsDescribed, MapStateDescribed, Over};
use crate::plan::state_function::StateFunction;

/// A stream grouped by keys, waiting to be told what to make of each group. Made by [`DStream::key_by`].
#[derive(Debug, Clone)]
pub struct KeyedDStream {
    stream: DStream,
    keys: Vec<Expr>,
    mode: Option<OutputMode>,
    name: Option<String>,
    ttl: Option<Duration>,
    initial: Option<InitialState>,
}

impl KeyedDStream {
    pub(super) fn new(stream: DStream, keys: Vec<Expr>) -> Self {
        Self { stream, keys, mode: None, name: None, ttl: None, initial: None }
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

    /// How long what is kept of a key outlives its rows, by the time of batches: of groups that are [`running`](Self::running)
    /// and of what closures remember. A closure sees the key once more when its time is over.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What state begins with: of groups that are [`running`](Self::running) and of what closures remember. Spark's
    /// `initialState` and `initialRDD`. The table is taken in once, before the first batch. A query that goes on from a
    /// checkpoint has what it kept, and the table is not looked at.
    ///
    /// The table has a column for each key, by its name. For aggregates it has a column for each answer, by its name; these
    /// must be of those that an answer says all of (counts, sums, least, greatest, first and last values, `any`, `all`). For
    /// closures all other columns are the state: a single column its value, several the fields of a struct or a tuple. A key
    /// may come once. With a [`ttl`](Self::ttl), time is counted from the first batch.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # fn example(visits: DStream, yesterday: RecordBatch) -> DStream {
    /// visits.key_by([col("city")]).initial_state(yesterday).running([len().alias("visits"), col("age").max().alias("oldest")])
    /// # }
    /// ```
    #[must_use]
    pub fn initial_state(mut self, table: impl Into<StaticTable>) -> Self {
        self.initial = Some(self.stream.register_initial_state(table.into(), None));
        self
    }

    /// As [`KeyedDStream::initial_state`], of pairs of a key and what a closure remembers of it, in the closure's own types.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # fn example(visits: DStream) -> Result<DStream> {
    /// let known = [("Oslo".to_owned(), 41_i64), ("Rome".to_owned(), 7)];
    /// let visits = visits.key_by([col("city")]).initial_pairs(known)?;
    /// Ok(visits.update_state_by_key([col("age")], |_: &String, ages: Vec<i64>, oldest: Option<i64>| {
    ///     ages.into_iter().chain(oldest).max()
    /// }))
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Function` for a state that cannot be written down.
    pub fn initial_pairs<K: Row, S: Serialize>(mut self, pairs: impl IntoIterator<Item = (K, S)>) -> Result<Self> {
        let table = StaticTable::new("pairs", initial_pairs(pairs)?);
        self.initial = Some(self.stream.register_initial_state(table, Some(short_name::<S>())));
        Ok(self)
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
        let says_more = self.ttl.is_some() || self.initial.is_some() || self.mode.is_some();
        if says_more || self.keys.iter().any(Expr::is_window) {
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

    /// One row a key of the latest batches, those cut not longer than `size` before the present one: the keys, then one value,
    /// which a closure makes of all values of their rows, two by two. The answer comes every `slide`; without it, with each
    /// batch. Spark's `reduceByKeyAndWindow`, with and without an inverse function.
    ///
    /// The values are cast to the closure's type, a [`Row`]; rows with a null that this cannot hold are left out, and so are
    /// keys without any value. The value comes out as the column `value`, a tuple as `_1`, `_2`, …
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(trips: DStream) -> DStream {
    /// // The longest trip of each city in the last minute, with who made it.
    /// let longest = WindowReduce::by(|a: (f64, String), b: (f64, String)| if b.0 > a.0 { b } else { a });
    /// trips.key_by([col("city")]).reduce_over_batches([col("km"), col("rider")], Duration::from_secs(60), None, longest)
    /// # }
    /// ```
    #[must_use]
    pub fn reduce_over_batches<V: Row + Clone>(
        self,
        values: impl IntoIterator<Item = Expr>,
        size: Duration,
        slide: Option<Duration>,
        reduce: WindowReduce<V>,
    ) -> DStream {
        let (has_inverse, asks) = (reduce.has_inverse(), reduce.asks());
        let function = self.stream.register_fold_function(Arc::new(reduce));
        let Self { stream, keys, mode, name, ttl, initial } = self;
        let refused = [
            (mode.is_some_and(|mode| mode != OutputMode::Complete), "this output mode"),
            (ttl.is_some(), "a ttl"),
            (initial.is_some(), "an initial state"),
        ];
        stream.with(|input| {
            LogicalPlan::FoldWindows(FoldWindowsDescribed {
                input,
                name,
                keys,
                values: values.into_iter().collect(),
                gives: V::fields(),
                function,
                value_type: short_name::<V>(),
                size,
                slide,
                has_inverse,
                asks,
                refused: refused.into_iter().find(|(is_said, _)| *is_said).map(|(_, what)| what),
            })
        })
    }

    /// One row for every `rows` rows of a key: the keys, then the aggregates of these rows. What is left of a key waits for
    /// rows to come. Rows are counted in their order, so that how a batch was cut changes nothing. Flink's `countWindow`;
    /// without keys, its `countWindowAll`.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # fn example(visits: DStream) -> DStream {
    /// // The average of each hundred visits of a city.
    /// visits.key_by([col("city")]).count_window(100, [col("seconds").mean().alias("mean")])
    /// # }
    /// ```
    #[must_use]
    pub fn count_window(self, rows: u64, aggregates: impl IntoIterator<Item = Aggregate>) -> DStream {
        self.count_window_sliding(rows, rows, aggregates)
    }

    /// As [`KeyedDStream::count_window`], of windows that overlap: with every `slide` rows of a key the aggregates of its
    /// latest `rows`, at first of all there are.
    #[must_use]
    pub fn count_window_sliding(
        self,
        rows: u64,
        slide: u64,
        aggregates: impl IntoIterator<Item = Aggregate>,
    ) -> DStream {
        self.keep(aggregates, Over::Rows { size: rows, slide })
    }

    fn keep(self, aggregates: impl IntoIterator<Item = Aggregate>, over: Over) -> DStream {
        let Self { stream, keys, mode, name, ttl, initial } = self;
        let aggregates = aggregates.into_iter().collect();
        stream.with(|input| LogicalPlan::Keep { input, name, keys, aggregates, over, ttl, initial, mode })
    }

    /// A row for each row: the keys, then what a closure makes of the values of the row and of what it remembers of the key.
    /// Spark's `mapWithState`.
    ///
    /// The closure is called for each row in turn with the key, the values, and a [`State`] in which it keeps what it wants;
    /// for a key that has had no rows for its [`ttl`](Self::ttl), or whose time is over by its own word, once more without
    /// values. It touches the keys of a batch only. Keys and values are cast to the closure's types; rows with a null that
    /// these cannot hold are left out (take an `Option` to see them).
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # fn example(visits: DStream) -> DStream {
    /// // The length of each visit and of all visits of its city so far.
    /// visits.key_by([col("city")]).map_with_state([col("seconds")], |_: &String, seconds: Option<i64>, all: &mut State<i64>| {
    ///     let seconds = seconds.unwrap_or(0);
    ///     all.set(all.get().unwrap_or(&0) + seconds);
    ///     (seconds, *all.get().unwrap_or(&0))
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn map_with_state<K: Row, V: Row, S: Serialize + DeserializeOwned + 'static, R: Row>(
        self,
        values: impl IntoIterator<Item = Expr>,
        function: impl Fn(&K, Option<V>, &mut State<S>) -> R + Send + Sync + 'static,
    ) -> DStream {
        let one = move |key: &K, value: Option<V>, state: &mut State<S>| [function(key, value, state)];
        self.map_state("key_by.map_with_state", values, one)
    }

    /// As [`KeyedDStream::map_with_state`], with any number of rows from each call: an `Option`, or a `Vec`.
    #[must_use]
    pub fn flat_map_with_state<K, V, S, R, I>(
        self,
        values: impl IntoIterator<Item = Expr>,
        function: impl Fn(&K, Option<V>, &mut State<S>) -> I + Send + Sync + 'static,
    ) -> DStream
    where
        K: Row,
        V: Row,
        S: Serialize + DeserializeOwned + 'static,
        R: Row,
        I: IntoIterator<Item = R> + 'static,
    {
        self.map_state("key_by.flat_map_with_state", values, function)
    }

    fn map_state<K, V, S, R, I>(
        self,
        operation: &'static str,
        values: impl IntoIterator<Item = Expr>,
        function: impl Fn(&K, Option<V>, &mut State<S>) -> I + Send + Sync + 'static,
    ) -> DStream
    where
        K: Row,
        V: Row,
        S: Serialize + DeserializeOwned + 'static,
        R: Row,
        I: IntoIterator<Item = R> + 'static,
    {
        let types = PhantomData::<fn(K, V, S) -> R>;
        let function = MapFunction { function, ttl: self.ttl, types };
        self.remembering::<K, V, S, R>(operation, values, Arc::new(function), false)
    }

    /// One row a key of the batch: the keys, then what is remembered of the key, made by a closure of the values of its rows
    /// and of what was remembered before; `None` forgets the key. Spark's `updateStateByKey`, but that keys without rows are
    /// not touched, unless their [`ttl`](Self::ttl) is over: then the closure sees no values.
    ///
    /// With `complete` output, one row for each key that is remembered. The state comes out as the column `value`, a tuple
    /// as `_1`, `_2`, …
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # fn example(visits: DStream) -> DStream {
    /// visits.key_by([col("city")]).update_state_by_key([col("age")], |_: &String, ages: Vec<i64>, oldest: Option<i64>| {
    ///     ages.into_iter().chain(oldest).max()
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn update_state_by_key<K: Row, V: Row, S: Row + Clone + Serialize + DeserializeOwned>(
        self,
        values: impl IntoIterator<Item = Expr>,
        function: impl Fn(&K, Vec<V>, Option<S>) -> Option<S> + Send + Sync + 'static,
    ) -> DStream {
        let types = PhantomData::<fn(K, V) -> S>;
        let function = UpdateFunction { function, ttl: self.ttl, types };
        self.remembering::<K, V, S, S>("key_by.update_state_by_key", values, Arc::new(function), true)
    }

    fn remembering<K: Row, V: Row, S, R: Row>(
        self,
        operation: &'static str,
        values: impl IntoIterator<Item = Expr>,
        function: Arc<dyn StateFunction>,
        shows_all: bool,
    ) -> DStream {
        let types = |fields: Vec<Field>| fields.iter().map(|field| field.data_type().clone()).collect();
        let function = self.stream.register_state_function(function);
        let Self { stream, keys, mode, name, ttl, initial } = self;
        stream.with(|input| {
            LogicalPlan::MapState(MapStateDescribed {
                input,
                name,
                keys,
                key_types: types(K::fields()),
                values: values.into_iter().collect(),
                value_types: types(V::fields()),
                function,
                operation,
                state_type: short_name::<S>(),
                ttl,
                initial,
                gives: R::fields(),
                mode,
                shows_all,
            })
        })
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
        if self.initial.is_some() {
            // Refused there, as for aggregates of a batch.
            return self.keep([len()], Over::Event);
        }
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
