// Keyed reduce by hashing: each row finds the slot of its group.
//
// Bindings: 2 `keys`: the words of each row's key (written by `reduce_keys`); 3 `tickets`: in: NO_GROUP for rows that
//           do not count; out: the slot of the row's group; 4 `table`: 0 for an empty slot, else 1 + the row that took
//           it; 5 `groups`: the number of the group in each slot.
// Tier: all: compare-and-swap of one word.
// Algorithm: open addressing, linear probing. A key is compared through the row that took the slot, in a column that
// nobody writes any more, so that there is nothing to publish and nothing to wait for (as cuDF's streaming group-by
// does). Too many probes or groups raise FULL: the host doubles and the batch starts anew.

@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;
@group(0) @binding(4) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;

fn is_same(a: u32, b: u32) -> bool {
    for (var word = 0u; word < KEY_WORDS; word++) {
        if keys[a * KEY_WORDS + word] != keys[b * KEY_WORDS + word] {
            return false;
        }
    }
    return true;
}

// Any function will do, as long as equal keys get equal numbers (the finish is murmur3's).
fn hash(row: u32) -> u32 {
    var sum = 0x9e3779b9u;
    for (var word = 0u; word < KEY_WORDS; word++) {
        sum = (sum ^ keys[row * KEY_WORDS + word]) * 0x85ebca6bu;
        sum = sum ^ (sum >> 13u);
    }
    sum = (sum ^ (sum >> 16u)) * 0xc2b2ae35u;
    return sum ^ (sum >> 16u);
}

@compute @workgroup_size(TILE)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let row = global.x;
    if row >= rows() {
        return;
    }
    if tickets[row] == NO_GROUP {
        return;
    }
    let slots = number(TABLE_SLOTS);
    var slot = hash(row) & (slots - 1u);
    var probes = 0u;
    loop {
        var owner = atomicLoad(&table[slot]);
        if owner == 0u {
            let taken = atomicCompareExchangeWeak(&table[slot], 0u, row + 1u);
            if taken.exchanged {
                let group = atomicAdd(&status[GROUPS], 1u);
                groups[slot] = group;
                if group >= number(GROUPS_MAX) {
                    atomicStore(&status[FULL], 1u);
                }
                owner = row + 1u;
            } else {
                owner = taken.old_value;
            }
        }
        // A weak exchange may fail for no reason: then the slot is tried again.
        if owner != 0u {
            if is_same(owner - 1u, row) {
                tickets[row] = slot;
                return;
            }
            slot = (slot + 1u) & (slots - 1u);
        }
        probes++;
        if probes > PROBES_MAX {
            atomicStore(&status[FULL], 1u);
            return;
        }
    }
}
