// State in device memory: the best groups by their ranks. Those whose ranks are not below the bound, in any order, with all
// that they hold.
//
// Bindings: 0 `batch`: what is asked, see `best_rank`; 3 `ranks`; 5 `found`, see `best`; 6 `kept`: what is kept.
// Tier: all.

@group(0) @binding(3) var<storage, read_write> ranks: array<u32>;
@group(0) @binding(5) var<storage, read_write> found: array<atomic<u32>>;
@group(0) @binding(6) var<storage, read_write> kept: array<u32>;

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let words = batch[1];
    // A rank may be too low by a little, and so may the bound be too high.
    var low = atomicLoad(&found[PREFIX_LOW]);
    var high = atomicLoad(&found[PREFIX_HIGH]);
    let lower = low - batch[13];
    if lower > low && high == 0u {
        low = 0u;
    } else {
        high -= select(0u, 1u, lower > low);
        low = lower;
    }
    for (var item = global.x; item < batch[0]; item += workgroups.x * TILE) {
        let rank_high = ranks[2u * item + 1u];
        if rank_high < high || (rank_high == high && ranks[2u * item] < low) {
            continue;
        }
        let place = atomicAdd(&found[PICKED], 1u);
        if place >= batch[4] {
            continue;
        }
        let to = ROWS_OUT + place * (words + 1u);
        let start = best_group(item) * words;
        atomicStore(&found[to], item);
        for (var word = 0u; word < words; word++) {
            atomicStore(&found[to + 1u + word], kept[start + word]);
        }
    }
}
