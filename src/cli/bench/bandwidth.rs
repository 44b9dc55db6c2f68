//! How fast this machine reads its memory: what every other number is held against.
//!
//! Each thread adds up its own piece of a buffer much larger than the caches; the best of several times counts. Nothing
//! that reads its input once can be faster.

use std::hint::black_box;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// Bytes read in one go: several times the caches of today's processors. Without optimisation the number means nothing
/// anyway and should not take seconds.
const BYTES: usize = if cfg!(debug_assertions) { 16 << 20 } else { 512 << 20 };
const TIMES: usize = 5;

/// Bytes a second that the threads of the current pool read together.
#[expect(clippy::cast_precision_loss, reason = "a measured number has few digits")]
pub(super) fn measure() -> f64 {
    let words = BYTES / size_of::<u64>();
    let threads = rayon::current_num_threads().max(1);
    // Each piece is made by the thread that reads it, as the system places memory where it is first used.
    let pieces = rayon::broadcast(|_| vec![1_u64; words / threads]);
    let clock = SystemClock::new();
    let time = || -> Duration {
        let started = clock.now();
        black_box(rayon::broadcast(|thread| sum(black_box(&pieces[thread.index()]))));
        clock.now().saturating_sub(started)
    };
    let best = (0..TIMES).map(|_| time()).min().unwrap_or_default();
    let bytes = pieces.iter().map(|piece| size_of_val(piece.as_slice())).sum::<usize>();
    bytes as f64 / best.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// In several sums at once, so that additions do not wait for each other.
fn sum(words: &[u64]) -> u64 {
    const LANES: usize = 32;
    let mut sums = [0_u64; LANES];
    let mut chunks = words.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    let rest = chunks.remainder().iter().copied().fold(0, u64::wrapping_add);
    sums.into_iter().fold(rest, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn every_word_is_read() {
        for words in [0, 1, 31, 32, 33, 1000] {
            assert_eq!(sum(&(0..words).collect::<Vec<u64>>()), (0..words).sum::<u64>());
        }
    }
}
