// State in device memory: the best groups by their ranks. How many ranks there are of each next digit, the highest first,
// among those that begin with the digits that are known.
//
// Bindings: 0 `batch`: what is asked, see `best_rank`; 3 `ranks`; 5 `found`, see `best`.
// Tier: all.
// Algorithm: radix select. A workgroup counts in its own memory and adds that to `found`; `best_bound` chooses the digit.

@group(0) @binding(3) var<storage, read_write> ranks: array<u32>;
@group(0) @binding(5) var<storage, read_write> found: array<atomic<u32>>;

var<workgroup> bins: array<atomic<u32>, TILE>;

// The bits of a word that so many of its digits take, from the highest on.
fn known_bits(digits: u32) -> u32 {
    if digits >= 4u {
        return 0xffffffffu;
    }
    return ~(0xffffffffu >> (8u * digits));
}

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let known = atomicLoad(&found[PASS]);
    let high_mask = known_bits(known);
    let low_mask = known_bits(max(known, 4u) - 4u);
    let high = atomicLoad(&found[PREFIX_HIGH]);
    let low = atomicLoad(&found[PREFIX_LOW]);
    let items = select(batch[0], 0u, atomicLoad(&found[DONE]) == 1u);
    atomicStore(&bins[local], 0u);
    workgroupBarrier();
    for (var item = global.x; item < items; item += workgroups.x * TILE) {
        let rank = vec2<u32>(ranks[2u * item], ranks[2u * item + 1u]);
        if ((rank.y ^ high) & high_mask) == 0u && ((rank.x ^ low) & low_mask) == 0u {
            let word = select(rank.x, rank.y, known < 4u);
            atomicAdd(&bins[extractBits(word, 24u - 8u * (known % 4u), 8u)], 1u);
        }
    }
    workgroupBarrier();
    let count = atomicLoad(&bins[local]);
    if count > 0u {
        atomicAdd(&found[BINS + local], count);
    }
}
