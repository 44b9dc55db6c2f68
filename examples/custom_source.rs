//! A source of one's own: the Fibonacci numbers, ten a batch. Run it with `cargo run --example custom_source`.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::UInt64Array;
use pelton::connectors::{Available, OffsetRange, ReadLimits, Replay, Source, read_batches};
use pelton::formats::BatchReader;
use pelton::prelude::*;

/// How many Fibonacci numbers fit in 64 bits.
const COUNT: u64 = 94;

#[derive(Default)]
struct Fibonacci {
    next: u64,
}

impl Source for Fibonacci {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("number", DataType::UInt64, false)]))
    }

    fn replay(&self) -> Replay {
        Replay::Always // the numbers follow from the range alone
    }

    fn next_range(&mut self, limits: &ReadLimits) -> Result<Available> {
        if self.next == COUNT {
            return Ok(Available::Ended);
        }
        let start = self.next;
        self.next = COUNT.min(start + limits.rows_max.unwrap_or(10).clamp(1, 10));
        Ok(Available::Range(OffsetRange::write(&(start..self.next))?))
    }

    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        let Range { start, end } = range.parse::<Range<usize>>()?;
        let all = std::iter::successors(Some((0_u64, 1_u64)), |(a, b)| Some((*b, a.wrapping_add(*b))));
        let numbers = UInt64Array::from_iter_values(all.map(|(number, _)| number).take(end).skip(start));
        Ok(read_batches(&[RecordBatch::try_new(self.schema(), vec![Arc::new(numbers)])?], partitions))
    }

    fn commit(&mut self, _: &OffsetRange) -> Result<()> {
        Ok(()) // nothing is kept, so nothing can be let go
    }

    fn resume(&mut self, committed: &[OffsetRange]) -> Result<()> {
        committed.iter().try_for_each(|range| range.parse::<Range<u64>>().map(|range| self.next = range.end))
    }
}

fn main() -> Result<()> {
    let context = StreamingContext::builder("fibonacci").trigger(Trigger::AvailableNow).build()?;
    context.source("fibonacci", Fibonacci::default())?.filter((col("number") % lit(2)).eq(lit(0))).print(10)?;
    context.start()?.await_termination().map(drop)
}
