//! Closures that make one value of two, over the batches of a window: Spark's `reduceByKeyAndWindow` and `reduceByWindow`.
//!
//! ```text
//! time      ┆ block 0          ┆ block 1          ┆       blocks are as long as the window
//! values      a   b   c   d      e   f   g
//! window          [ b‥d          e‥f ]                  of two neighbouring blocks: what is left of the first, each
//!                 b(c d)    +   (e f)                   value with those after it, and what has come of the second
//! ```
//!
//! Without an inverse, a window costs a call or two for each value that comes and for each key that goes out, however many
//! batches it has. Which calls are made follows from the times of the batches alone, so that a query that was started again
//! makes the same ones, and a sum of floats is the same bit for bit.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow_array::ArrayRef;

use super::cell::Row;
use crate::columnar::DataType;
use crate::error::{Error, Result};
use crate::plan::fold_function::{FoldFunction, FoldedKeys, Folds};

type Both<V> = Arc<dyn Fn(V, V) -> V + Send + Sync>;

/// Which keys stay: of keys in columns and their values.
type Keeps<V> = Arc<dyn Fn(&[ArrayRef], &[&V]) -> Vec<bool> + Send + Sync>;

/// How the values of a window become one.
///
/// ```
/// use pelton::prelude::*;
///
/// let longest = WindowReduce::by(|a: i64, b: i64| a.max(b));
/// // As the window moves, what comes is added, and what leaves is taken away; sums of nothing are not kept.
/// let sums = WindowReduce::by(|a: i64, b: i64| a + b).inverse(|sum, left| sum - left);
/// let sums = sums.keep_if(|_: &String, sum: &i64| *sum != 0);
/// # drop((longest, sums));
/// ```
#[derive(Clone)]
pub struct WindowReduce<V> {
    function: Both<V>,
    inverse: Option<Both<V>>,
    keeps: Option<(Vec<DataType>, Keeps<V>)>,
}

impl<V: Row + Clone> WindowReduce<V> {
    /// By a function that makes one value of two, the earlier and the later. It must be associative.
    pub fn by(function: impl Fn(V, V) -> V + Send + Sync + 'static) -> Self {
        Self { function: Arc::new(function), inverse: None, keeps: None }
    }

    /// With a function that takes the earlier value out of what the function has made of both: given that and the earlier
    /// one, it gives the later. A window is then made of the one before, at the cost of what comes and what leaves.
    ///
    /// A key stays when all of its rows have left, with the value that is then left over, as Spark has it, unless
    /// [`WindowReduce::keep_if`] says otherwise: without that, all keys that ever came are kept for good. Floats are not
    /// exact: what is left of a sum may be a little off.
    #[must_use]
    pub fn inverse(mut self, inverse: impl Fn(V, V) -> V + Send + Sync + 'static) -> Self {
        self.inverse = Some(Arc::new(inverse));
        self
    }

    /// Keys for which this is false are forgotten, each time the window slides, and begin anew when they come again. Spark's
    /// `filterFunc`; it goes with an inverse. Keys are cast to the closure's type; one that this cannot hold stays.
    #[must_use]
    pub fn keep_if<K: Row>(mut self, keeps: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        let types = K::fields().iter().map(|field| field.data_type().clone()).collect();
        let all = move |keys: &[ArrayRef], values: &[&V]| {
            let keys = K::read_rows(keys, values.len());
            keys.iter().zip(values).map(|(key, value)| key.as_ref().is_none_or(|key| keeps(key, value))).collect()
        };
        self.keeps = Some((types, Arc::new(all)));
        self
    }

    pub(super) fn has_inverse(&self) -> bool {
        self.inverse.is_some()
    }
}

impl<V> fmt::Debug for WindowReduce<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowReduce").field("has_inverse", &self.inverse.is_some()).finish_non_exhaustive()
    }
}

impl<V: Row + Clone> FoldFunction for WindowReduce<V> {
    fn fold(&self, values: &[ArrayRef], ends: &[usize]) -> Result<FoldedKeys> {
        let rows = ends.last().copied().unwrap_or(0);
        let mut values = V::read_rows(values, rows).into_iter();
        let (mut folded, mut keys, mut start) = (Vec::new(), Vec::new(), 0);
        for (key, &end) in (0_u32..).zip(ends) {
            let mine = values.by_ref().take(end - start).flatten();
            if let Some(value) = mine.reduce(|a, b| (self.function)(a, b)) {
                folded.push(value);
                keys.push(key);
            }
            start = end;
        }
        Ok(FoldedKeys { columns: V::columns(folded), keys })
    }

    fn begin(&self, size: i64) -> Box<dyn Folds> {
        let keeps = self.keeps.clone().map(|(_, keeps)| keeps);
        match &self.inverse {
            Some(inverse) => Box::new(Moved {
                function: Arc::clone(&self.function),
                inverse: Arc::clone(inverse),
                keeps,
                totals: Vec::new(),
            }),
            None => {
                Box::new(Stacked { function: Arc::clone(&self.function), keeps, size: size.max(1), stacks: Vec::new() })
            }
        }
    }

    fn asks(&self) -> Option<Vec<DataType>> {
        self.keeps.as_ref().map(|(types, _)| types.clone())
    }
}

fn place(slot: u32) -> usize {
    slot as usize
}

fn room<T: Default>(slots: &mut Vec<T>, slot: u32) -> &mut T {
    if slots.len() <= place(slot) {
        slots.resize_with(place(slot) + 1, T::default);
    }
    &mut slots[place(slot)]
}

/// The values of columns that the engine made of values of this type.
fn read<V: Row>(values: &[ArrayRef], rows: usize) -> Result<Vec<V>> {
    let values = V::read_rows(values, rows).into_iter().collect::<Option<Vec<V>>>();
    values.filter(|values| values.len() == rows).ok_or_else(|| Error::internal("values of a window are missing"))
}

fn nothing() -> Error {
    Error::internal("a key without values was asked for them")
}

fn kept<V>(keeps: Option<&Keeps<V>>, keys: &[ArrayRef], values: &[&V]) -> Vec<bool> {
    keeps.map_or_else(|| vec![true; values.len()], |keeps| keeps(keys, values))
}

/// The totals of keys, moved on by what comes and what leaves.
struct Moved<V> {
    function: Both<V>,
    inverse: Both<V>,
    keeps: Option<Keeps<V>>,
    totals: Vec<Option<V>>,
}

impl<V: Row + Clone> Folds for Moved<V> {
    fn add(&mut self, slots: &[u32], _: i64, values: &[ArrayRef]) -> Result<()> {
        for (&slot, value) in slots.iter().zip(read::<V>(values, slots.len())?) {
            let total = room(&mut self.totals, slot);
            *total = Some(match total.take() {
                Some(before) => (self.function)(before, value),
                None => value,
            });
        }
        Ok(())
    }

    fn leave(&mut self, slots: &[u32], _: i64, values: &[ArrayRef]) -> Result<()> {
        for (&slot, value) in slots.iter().zip(read::<V>(values, slots.len())?) {
            let total = room(&mut self.totals, slot);
            *total = Some((self.inverse)(total.take().ok_or_else(nothing)?, value));
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        slots.iter().for_each(|&slot| *room(&mut self.totals, slot) = None);
    }

    fn totals(&self, slots: &[u32], _: i64) -> Result<Vec<ArrayRef>> {
        let total = |&slot: &u32| self.totals.get(place(slot)).cloned().flatten().ok_or_else(nothing);
        Ok(V::columns(slots.iter().map(total).collect::<Result<_>>()?))
    }

    fn set(&mut self, slots: &[u32], totals: &[ArrayRef]) -> Result<()> {
        for (&slot, total) in slots.iter().zip(read::<V>(totals, slots.len())?) {
            *room(&mut self.totals, slot) = Some(total);
        }
        Ok(())
    }

    fn keeps(&self, keys: &[ArrayRef], slots: &[u32]) -> Result<Vec<bool>> {
        let total = |&slot: &u32| self.totals.get(place(slot)).and_then(Option::as_ref).ok_or_else(nothing);
        let totals = slots.iter().map(total).collect::<Result<Vec<_>>>()?;
        Ok(kept(self.keeps.as_ref(), keys, &totals))
    }
}

/// The values of keys, of two neighbouring blocks.
struct Stacked<V> {
    function: Both<V>,
    keeps: Option<Keeps<V>>,
    /// The length of a block, which is that of the window.
    size: i64,
    stacks: Vec<Stack<V>>,
}

/// The values of a key.
struct Stack<V> {
    /// Of the earlier block: each value with those after it, latest first.
    front: Vec<V>,
    /// Of the later block, as they came, and together.
    back: VecDeque<V>,
    together: Option<V>,
    block: i64,
}

impl<V> Default for Stack<V> {
    fn default() -> Self {
        Self { front: Vec::new(), back: VecDeque::new(), together: None, block: i64::MIN }
    }
}

impl<V: Clone> Stack<V> {
    /// Makes the later block the earlier one, if time has come to another.
    fn turn(&mut self, block: i64, function: &Both<V>) {
        if self.block >= block {
            return;
        }
        self.block = block;
        self.together = None;
        if self.back.is_empty() {
            return;
        }
        self.front.clear();
        while let Some(value) = self.back.pop_back() {
            let with_later = match self.front.last() {
                Some(later) => function(value, later.clone()),
                None => value,
            };
            self.front.push(with_later);
        }
    }

    fn total(&self, block: i64, function: &Both<V>) -> Option<V> {
        if self.block < block && !self.back.is_empty() {
            let later = self.back.iter().rev().cloned();
            return later.reduce(|later, value| function(value, later));
        }
        match (self.front.last(), &self.together) {
            (Some(front), Some(back)) => Some(function(front.clone(), back.clone())),
            (front, back) => front.or(back.as_ref()).cloned(),
        }
    }
}

impl<V: Row + Clone> Folds for Stacked<V> {
    fn add(&mut self, slots: &[u32], time: i64, values: &[ArrayRef]) -> Result<()> {
        let block = time.div_euclid(self.size);
        for (&slot, value) in slots.iter().zip(read::<V>(values, slots.len())?) {
            let stack = room(&mut self.stacks, slot);
            stack.turn(block, &self.function);
            stack.back.push_back(value.clone());
            stack.together = Some(match stack.together.take() {
                Some(before) => (self.function)(before, value),
                None => value,
            });
        }
        Ok(())
    }

    /// What leaves lies a window behind, and so in a block before that of now. Earlier values leave first: if time has leapt,
    /// those of the earlier block are still there, and the later one must not take their place before they have gone.
    fn leave(&mut self, slots: &[u32], now: i64, _: &[ArrayRef]) -> Result<()> {
        for &slot in slots {
            let stack = room(&mut self.stacks, slot);
            if stack.front.is_empty() {
                stack.turn(now.div_euclid(self.size), &self.function);
            }
            stack.front.pop().ok_or_else(nothing)?;
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        slots.iter().for_each(|&slot| *room(&mut self.stacks, slot) = Stack::default());
    }

    fn totals(&self, slots: &[u32], now: i64) -> Result<Vec<ArrayRef>> {
        let block = now.div_euclid(self.size);
        let total = |&slot: &u32| {
            let stack = self.stacks.get(place(slot)).ok_or_else(nothing)?;
            stack.total(block, &self.function).ok_or_else(nothing)
        };
        Ok(V::columns(slots.iter().map(total).collect::<Result<_>>()?))
    }

    fn set(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<()> {
        Err(Error::internal("what follows from the values of a window was to be set"))
    }

    fn keeps(&self, _: &[ArrayRef], slots: &[u32]) -> Result<Vec<bool>> {
        match self.keeps {
            None => Ok(vec![true; slots.len()]),
            Some(_) => Err(Error::internal("keys are let go of by a function without an inverse")),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;
    use arrow_array::cast::AsArray;

    use super::*;

    #[test]
    fn time_may_leap_while_an_earlier_block_is_still_there() {
        let value = |text: &str| -> Vec<ArrayRef> { vec![Arc::new(StringArray::from(vec![text]))] };
        let mut folds = WindowReduce::by(|a: String, b: String| a + &b).begin(10);
        for (time, text) in [(1, "a"), (11, "b"), (12, "c")] {
            folds.add(&[0], time, &value(text)).unwrap();
        }
        let now = 21;
        for text in ["a", "b"] {
            folds.leave(&[0], now, &value(text)).unwrap();
        }
        assert_eq!(folds.totals(&[0], now).unwrap()[0].as_string::<i32>().value(0), "c");
        folds.add(&[0], now, &value("d")).unwrap();
        assert_eq!(folds.totals(&[0], now).unwrap()[0].as_string::<i32>().value(0), "cd");
    }
}
