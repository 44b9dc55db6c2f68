//! Times of engines that run in turn, so that what disturbs the machine disturbs all of them.

use std::any::Any;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};

/// Computes the answer once. What it gives is let go of after the clock was stopped.
pub(super) type Run<'a> = Box<dyn FnMut() -> Result<Box<dyn Any>> + 'a>;

/// The times of one engine, shortest first. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    /// The times of some runs.
    pub(super) fn of(mut times: Vec<Duration>) -> Result<Self> {
        times.sort_unstable();
        if times.is_empty() { Err(Error::internal("nothing was measured")) } else { Ok(Self(times)) }
    }

    pub(super) fn best(&self) -> Duration {
        self.0[0]
    }

    /// The time in the middle; of an even number, the mean of the two in the middle.
    pub(super) fn median(&self) -> Duration {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) { (self.0[middle - 1] + self.0[middle]) / 2 } else { self.0[middle] }
    }
}

/// Runs each engine so many times, one after the other.
pub(super) fn in_turn(engines: &mut [Run<'_>], runs: usize) -> Result<Vec<Times>> {
    let clock = SystemClock::new();
    let mut times = vec![Vec::with_capacity(runs); engines.len()];
    for _ in 0..runs {
        for (engine, times) in engines.iter_mut().zip(&mut times) {
            let started = clock.now();
            let answer = engine()?;
            times.push(clock.now().saturating_sub(started));
            drop(answer);
        }
    }
    times.into_iter().map(Times::of).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn times(millis: &[u64]) -> Times {
        Times::of(millis.iter().map(|millis| Duration::from_millis(*millis)).collect()).unwrap()
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(times(&[9, 1, 5]).median(), Duration::from_millis(5));
        assert_eq!(times(&[9, 1, 5, 7]).median(), Duration::from_millis(6));
        assert_eq!(times(&[4]).median(), Duration::from_millis(4));
        assert_eq!(times(&[9, 1, 5]).best(), Duration::from_millis(1));
        assert!(Times::of(Vec::new()).is_err());
    }

    #[test]
    fn engines_run_in_turn() {
        let order = RefCell::new(String::new());
        let run = |name: char| -> Run<'_> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                Ok(Box::new(()))
            })
        };
        assert_eq!(in_turn(&mut [run('a'), run('b')], 3).unwrap().len(), 2);
        assert_eq!(order.into_inner(), "ababab");
    }
}
