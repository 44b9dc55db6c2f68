// Rows in parts, second step: the rows that count, part by part.
//
// Bindings: 3 `tickets`: as in `part_count`; 7 `order`: each row that counts, and the hash of its key; 8 `parts`: as
//           `part_count` left it.
// Tier: all. A workgroup looks at PART_ROWS rows.
// Algorithm: a scan over the rows of all parts says where each begins (Hillis and Steele); a workgroup counts its rows of each
// part again, takes places for all of them at once, and then hands these out in its own memory.

@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;
@group(0) @binding(7) var<storage, read_write> order: array<vec2<u32>>;
@group(0) @binding(8) var<storage, read_write> parts: array<atomic<u32>, PARTS_WORDS>;

var<workgroup> counts: array<atomic<u32>, TILE>;
// First the rows of parts, then the next place in each.
var<workgroup> places: array<atomic<u32>, TILE>;

@compute @workgroup_size(TILE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let start = workgroup.x * PART_ROWS;
    let end = min(rows(), start + PART_ROWS);
    for (var row = start + local; row < end; row += TILE) {
        let hash = tickets[row];
        if hash != NO_GROUP {
            atomicAdd(&counts[part_of(hash)], 1u);
        }
    }
    let own = atomicLoad(&parts[local]);
    atomicStore(&places[local], own);
    workgroupBarrier();
    for (var step = 1u; step < TILE; step *= 2u) {
        var left = 0u;
        if local >= step {
            left = atomicLoad(&places[local - step]);
        }
        workgroupBarrier();
        atomicAdd(&places[local], left);
        workgroupBarrier();
    }
    let until = atomicLoad(&places[local]);
    if workgroup.x == 0u && local == TILE - 1u {
        atomicStore(&parts[PARTED_ROWS], until);
    }
    let count = atomicLoad(&counts[local]);
    if count > 0u {
        atomicStore(&places[local], until - own + atomicAdd(&parts[TILE + local], count));
    }
    workgroupBarrier();
    for (var row = start + local; row < end; row += TILE) {
        let hash = tickets[row];
        if hash != NO_GROUP {
            let place = atomicAdd(&places[part_of(hash)], 1u);
            order[place] = vec2<u32>(row, hash);
        }
    }
}
