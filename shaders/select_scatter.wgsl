// Filter, last step, and projection: the computed columns of the rows that stay, close together and in order.
//
// Bindings: 2 `mask`, 3 `tiles` of the steps before (only if there is a filter); 4 `output`: the computed columns.
// Tier: all.

#if FILTERED
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
@group(0) @binding(3) var<storage, read_write> tiles: array<u32>;
#endif
@group(0) @binding(4) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) tile: vec3<u32>,
) {
    let row = global.x;
    if row >= rows() {
        return;
    }
    var place = row;
#if FILTERED
    let first = tile.x * TILE_WORDS;
    let word = mask[first + local.x / 32u];
    let bit = 1u << (local.x % 32u);
    if (word & bit) == 0u {
        return;
    }
    place = tiles[tile.x] + countOneBits(word & (bit - 1u));
    for (var earlier = 0u; earlier < local.x / 32u; earlier++) {
        place += countOneBits(mask[first + earlier]);
    }
#endif
    write(row, place);
    if failed {
        atomicAdd(&status[FAILED], 1u);
    }
}
