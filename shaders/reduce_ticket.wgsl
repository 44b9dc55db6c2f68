// Keyed reduce by hashing: each row finds the slot of its group.
//
// Bindings: 2 `keys`: the words of each row's key (written by `reduce_keys`); 4 `table`: 0 for an empty slot, else 1 + the row
//           that took it; 5 `groups`: the number of the group in each slot; and of the rows
//           3 `tickets`: in: the hash of the row's key, NO_GROUP for rows that do not count; out: the slot of its group;
//           PARTED: 7 `order`: in: a row that counts and the hash of its key, part by part; out: the row and its slot;
//           8 `parts` (both written by `part_scatter`).
// Tier: all: compare-and-swap of one word.
// Algorithm: open addressing, linear probing, from the slot that the highest bits of the hash say, so that rows of one part
// meet in one stretch of the table. A key is compared through the row that took the slot, in a column that nobody writes any
// more, so that there is nothing to publish and nothing to wait for (as cuDF's streaming group-by does). A workgroup takes the
// numbers of all groups that it has found at once: one addition to a counter that all workgroups share. Too many probes or
// groups raise FULL: the host gives it more room, or another hash, and the batch starts anew.

@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
#if PARTED
@group(0) @binding(7) var<storage, read_write> order: array<vec2<u32>>;
@group(0) @binding(8) var<storage, read_write> parts: array<atomic<u32>, PARTS_WORDS>;
#else
@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;
#endif
@group(0) @binding(4) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;

// Groups that the workgroup has found, and the number of the first of them.
var<workgroup> found: atomic<u32>;
var<workgroup> first: u32;

fn is_same(a: u32, b: u32) -> bool {
    for (var word = 0u; word < KEY_WORDS; word++) {
        if keys[a * KEY_WORDS + word] != keys[b * KEY_WORDS + word] {
            return false;
        }
    }
    return true;
}

// The slot of a row's group, and whether the row was the first to come; NO_GROUP if there is no room.
fn find(row: u32, hash: u32) -> vec2<u32> {
    let slots = number(TABLE_SLOTS);
    var slot = hash >> countLeadingZeros(slots - 1u);
    for (var probes = 0u; probes <= PROBES_MAX; probes++) {
        var owner = atomicLoad(&table[slot]);
        if owner == 0u {
            let taken = atomicCompareExchangeWeak(&table[slot], 0u, row + 1u);
            if taken.exchanged {
                return vec2<u32>(slot, 1u);
            }
            owner = taken.old_value;
        }
        // A weak exchange may fail for no reason: then the slot is tried again.
        if owner != 0u {
            if is_same(owner - 1u, row) {
                return vec2<u32>(slot, 0u);
            }
            slot = (slot + 1u) & (slots - 1u);
        }
    }
    atomicStore(&status[FULL], 1u);
    return vec2<u32>(NO_GROUP, 0u);
}

@compute @workgroup_size(TILE)
fn main(@builtin(global_invocation_id) global: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var place = vec2<u32>(NO_GROUP, 0u);
#if PARTED
    if global.x < atomicLoad(&parts[PARTED_ROWS]) {
        let entry = order[global.x];
        place = find(entry.x, entry.y);
        order[global.x].y = place.x;
    }
#else
    if global.x < rows() {
        let hash = tickets[global.x];
        if hash != NO_GROUP {
            place = find(global.x, hash);
            tickets[global.x] = place.x;
        }
    }
#endif
    var number_here = 0u;
    if place.y == 1u {
        number_here = atomicAdd(&found, 1u);
    }
    // All invocations come by here.
    workgroupBarrier();
    if local == 0u {
        let all = atomicLoad(&found);
        first = atomicAdd(&status[GROUPS], all);
        if first + all > number(GROUPS_MAX) {
            atomicStore(&status[FULL], 1u);
        }
    }
    workgroupBarrier();
    if place.y == 1u {
        groups[place.x] = first + number_here;
    }
}
