// Keyed reduce by hashing, first step: the words of each row's key, their hash, and which rows count.
//
// Bindings: 2 `keys`: the words of each row's key, row by row; 3 `tickets`: the hash of the row's key, NO_GROUP for a row that
//           is filtered out.
// Tier: all.

@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;

// Any function will do, as long as equal keys get equal numbers and the highest bits are as good as any: they say which slot,
// and which part (the finish is murmur3's). Never NO_GROUP. It can be turned round, so there are keys whose hashes are all the
// same; the host has it begin with another number then.
fn hash(row: u32) -> u32 {
    var sum = 0x9e3779b9u ^ number(SALT);
    for (var word = 0u; word < KEY_WORDS; word++) {
        sum = (sum ^ keys[row * KEY_WORDS + word]) * 0x85ebca6bu;
        sum = sum ^ (sum >> 13u);
    }
    sum = (sum ^ (sum >> 16u)) * 0xc2b2ae35u;
    return min(sum ^ (sum >> 16u), NO_GROUP - 1u);
}

@compute @workgroup_size(TILE)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let row = global.x;
    if row >= rows() {
        return;
    }
    var ticket = NO_GROUP;
    if write_key(row) {
        ticket = hash(row);
    }
    tickets[row] = ticket;
    if failed {
        atomicAdd(&status[FAILED], 1u);
    }
}
