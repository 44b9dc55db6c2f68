// Keyed reduce by hashing, first step: the words of each row's key, and which rows count.
//
// Bindings: 2 `keys`: the words of each row's key, row by row; 3 `tickets`: NO_GROUP for a row that is filtered out.
// Tier: all.

@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;

@compute @workgroup_size(TILE)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let row = global.x;
    if row >= rows() {
        return;
    }
    tickets[row] = select(NO_GROUP, 0u, write_key(row));
    if failed {
        atomicAdd(&status[FAILED], 1u);
    }
}
