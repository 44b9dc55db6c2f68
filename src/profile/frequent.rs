//! The most frequent values, by the counters of Misra and Gries: where a new value finds no room, all counts fall, and
//! values without a count are forgotten. What counts have fallen by bounds every error, and summaries of parts are put
//! together with the same bound (Agarwal et al., "Mergeable summaries", 2012). Space-Saving keeps the same counters in
//! another dress; this form says the least count and the greatest without a second number for each value.

use hashbrown::HashTable;

use super::value::Value;

/// How many values are counted at most. The counts of all others together have fallen by no more than a 257th of the rows.
pub(super) const COUNTERS: usize = 256;

#[derive(Debug, Clone)]
struct Counter {
    hash: u64,
    value: Value,
    count: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct MostFrequent {
    counters: HashTable<Counter>,
    /// What each count may have fallen by.
    pub(super) fallen: u64,
}

impl MostFrequent {
    #[inline]
    pub(super) fn push(&mut self, hash: u64, value: Value, count: u64) {
        self.add(hash, value, count);
        if self.counters.len() > COUNTERS {
            self.make_room();
        }
    }

    fn add(&mut self, hash: u64, value: Value, count: u64) {
        match self.counters.find_mut(hash, |counter| counter.hash == hash && counter.value == value) {
            Some(counter) => counter.count += count,
            None => {
                self.counters.insert_unique(hash, Counter { hash, value, count }, |counter| counter.hash);
            }
        }
    }

    /// Lets all counts fall until there is room.
    #[cold]
    fn make_room(&mut self) {
        let mut counts: Vec<u64> = self.counters.iter().map(|counter| counter.count).collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let Some(fall) = counts.get(COUNTERS).copied() else { return };
        self.fallen += fall;
        self.counters.retain(|counter| {
            counter.count = counter.count.saturating_sub(fall);
            counter.count > 0
        });
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.fallen += other.fallen;
        other.counters.iter().for_each(|counter| self.add(counter.hash, counter.value.clone(), counter.count));
        self.make_room();
    }

    /// How many values there are, if none was ever forgotten.
    pub(super) fn exact_len(&self) -> Option<usize> {
        (self.fallen == 0).then(|| self.counters.len())
    }

    /// The most frequent values with their least counts; of equally frequent ones the least values.
    pub(super) fn first(&self, count: usize) -> Vec<(&Value, u64)> {
        let mut all: Vec<_> = self.counters.iter().map(|counter| (&counter.value, counter.count)).collect();
        all.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::BuildHasher;

    use super::*;

    /// Values of which few are frequent, from a small generator of numbers.
    fn skewed(rows: u64) -> Vec<i128> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        (0..rows).map(|_| if next() % 3 == 0 { i128::from(next() % 5) } else { i128::from(next() % 5000) }).collect()
    }

    #[test]
    fn counts_are_bounded_whatever_the_cut() {
        let rows = skewed(50_000);
        let mut truth = BTreeMap::new();
        rows.iter().for_each(|value| *truth.entry(*value).or_insert(0u64) += 1);
        let state = foldhash::quality::FixedState::default();
        for part in [1, 100, 7000, 50_000] {
            let mut whole = MostFrequent::default();
            for rows in rows.chunks(part) {
                let mut sketch = MostFrequent::default();
                rows.iter().for_each(|row| sketch.push(state.hash_one(row), Value::Whole(*row), 1));
                whole.absorb(&sketch);
                assert!(whole.counters.len() <= COUNTERS);
            }
            assert!(whole.fallen <= 50_000 / 257, "{} in parts of {part}", whole.fallen);
            let found: BTreeMap<_, _> =
                whole.first(usize::MAX).into_iter().map(|(value, count)| (value.clone(), count)).collect();
            for (value, count) in &truth {
                let least = found.get(&Value::Whole(*value)).copied().unwrap_or(0);
                assert!(least <= *count && *count <= least + whole.fallen, "{value}: {least} of {count}");
            }
            assert_eq!(whole.exact_len(), None);
        }
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let state = foldhash::quality::FixedState::default();
        let mut sketch = MostFrequent::default();
        for row in 0..100_000i128 {
            let value = row % 256;
            sketch.push(state.hash_one(value), Value::Whole(value), 1);
        }
        assert_eq!((sketch.exact_len(), sketch.fallen), (Some(256), 0));
        assert_eq!(sketch.first(1), [(&Value::Whole(0), 391)]);
        sketch.push(state.hash_one(256i128), Value::Whole(256), 1);
        assert_eq!(sketch.exact_len(), None);
    }
}
