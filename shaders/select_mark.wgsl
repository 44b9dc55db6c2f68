// Filter, first step: a bit a row that stays, and how many stay in each tile.
//
// Bindings: 2 `mask`: a bit a row, in words; 3 `tiles`: rows kept, one number a tile.
// Tier: all; with subgroups one addition a subgroup replaces one a word.
// Algorithm: reduce, then scan, then scatter (Merrill and Garland, "Single-pass Parallel Prefix Scan with Decoupled
// Look-back", 2016, section 3.2): three dispatches, in order, without any promise of forward progress.

@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
@group(0) @binding(3) var<storage, read_write> tiles: array<u32>;

var<workgroup> tile_mask: array<atomic<u32>, TILE_WORDS>;
var<workgroup> tile_total: atomic<u32>;

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) tile: vec3<u32>,
#if SUBGROUPS
    @builtin(subgroup_invocation_id) lane: u32,
#endif
) {
    let row = global.x;
    var kept = false;
    if row < rows() {
        kept = keeps(row);
        if failed {
            atomicAdd(&status[FAILED], 1u);
        }
    }
    if kept {
        atomicOr(&tile_mask[local.x / 32u], 1u << (local.x % 32u));
    }
#if SUBGROUPS
    let together = subgroupAdd(select(0u, 1u, kept));
    if lane == 0u {
        atomicAdd(&tile_total, together);
    }
#endif
    workgroupBarrier();
    if local.x < TILE_WORDS {
        let word = atomicLoad(&tile_mask[local.x]);
        mask[tile.x * TILE_WORDS + local.x] = word;
#if !SUBGROUPS
        atomicAdd(&tile_total, countOneBits(word));
#endif
    }
    workgroupBarrier();
    if local.x == 0u {
        tiles[tile.x] = atomicLoad(&tile_total);
    }
}
