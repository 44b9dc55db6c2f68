// Rows in parts, first step: how many rows each part has. A part is a range of hashes, by their highest bits.
//
// Bindings: 3 `tickets`: the hash of each row's key, NO_GROUP for rows that do not count (written by `reduce_keys`);
//           8 `parts`: the rows of each part, then the places that have been taken in each, then all rows; zero at first.
// Tier: all. A workgroup looks at PART_ROWS rows.
// Algorithm: a histogram in workgroup memory, added to that of all (one pass of a radix sort that need not be stable: what
// groups hold is exact, so that the order of rows inside a part never matters).

@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;
@group(0) @binding(8) var<storage, read_write> parts: array<atomic<u32>, PARTS_WORDS>;

var<workgroup> counts: array<atomic<u32>, TILE>;

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
    workgroupBarrier();
    let count = atomicLoad(&counts[local]);
    if count > 0u {
        atomicAdd(&parts[local], count);
    }
}
