//! What a device has taken in since the host's copy of its groups was last brought up to date: if the device is lost, the CPU
//! takes it in again.

use arrow_array::RecordBatch;

use super::on_cpu;
use super::part::{LEFT_BYTES_MAX, Part, Parts};
use crate::error::Result;
use crate::kernels::Kept;
use crate::kernels::gpu::stage::Shared;
use crate::kernels::gpu::task::gathered_bytes;

/// Bytes that a batch counts as at least: what it takes to run it again is not only its rows.
const BATCH_BYTES_MIN: u64 = 64 << 10;

/// Batches in their order.
#[derive(Default)]
pub(super) struct Held {
    batches: Vec<Parts>,
    bytes: u64,
}

impl Held {
    /// Whether a batch can be held beside the others; groups of the CPU's have so many bytes each.
    pub(super) fn has_room(&self, shared: &Shared, parts: &Parts, group_bytes: usize) -> bool {
        let most = shared.holder.wish().left_bytes.unwrap_or(LEFT_BYTES_MAX);
        self.bytes + bytes_of(parts, group_bytes) <= most
    }

    /// Holds a batch that has been taken in; buffers on the device are of no more use.
    pub(super) fn push(&mut self, shared: &Shared, mut parts: Parts, group_bytes: usize) {
        self.bytes += bytes_of(&parts, group_bytes);
        let hold = |part: Part| match part {
            Part::Left(left) => {
                shared.keep_slots(left.slots);
                Part::Rows(left.pieces)
            }
            other => other,
        };
        parts.parts = parts.parts.into_iter().map(hold).collect();
        self.batches.push(parts);
    }

    /// Has the CPU take all of them in.
    pub(super) fn run_again(self, shared: &Shared, cpu: &mut dyn Kept) -> Result<()> {
        for Parts { parts, moment } in self.batches {
            let partials = parts.into_iter().map(|part| on_cpu(shared, part, &moment));
            cpu.absorb(partials.collect::<Result<_>>()?, &moment)?;
        }
        Ok(())
    }
}

fn bytes_of(parts: &Parts, group_bytes: usize) -> u64 {
    let of_rows = |pieces: &[RecordBatch]| pieces.iter().map(gathered_bytes).sum::<usize>();
    let bytes = parts.parts.iter().map(|part| match part {
        Part::Left(left) => of_rows(&left.pieces),
        Part::Rows(pieces) => of_rows(pieces),
        Part::Here(groups) => groups.len() * group_bytes,
    });
    (bytes.sum::<usize>() as u64).max(BATCH_BYTES_MIN)
}
