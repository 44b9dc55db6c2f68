// Where what groups hold is added up: in `state`, or near by at first, so that few groups are not fought over.
//
// Bindings: 6 `state`: all zero before the first row; the slots of a group lie side by side.
// Tier: all; `Slot` is that of the tier.
// Algorithm: LOCAL: the first groups have a table in the memory of each workgroup, in several copies if they are few, and
// the table is added to `state` when the workgroup has seen all its rows. COPIED: `state` has several copies, one for every
// so many workgroups, and `reduce_fold` adds the others to the first one. Both are what cuDF found best for few groups.
// Sums are limbs modulo a power of two, and all else is the greatest of numbers, so it never matters what is added where.

@group(0) @binding(6) var<storage, read_write> state: array<atomic<Slot>>;

#if LOCAL
var<workgroup> table: array<atomic<Slot>, TABLE_MAX>;

// Whether the group of the row at hand is in the table.
var<private> is_local: bool;
#endif
#if SPREAD
// Where the copy that the invocation adds to begins.
var<private> copy_at: u32;
#endif

fn place_of(at: u32) -> u32 {
#if COPIED
    return copy_at + at;
#else
    return at;
#endif
}

fn slot_add(at: u32, number: Slot) -> Slot {
#if LOCAL
    if is_local {
        return atomicAdd(&table[copy_at + at], number);
    }
#endif
    return atomicAdd(&state[place_of(at)], number);
}

fn slot_take(at: u32, number: Slot) -> Slot {
#if LOCAL
    if is_local {
        return atomicSub(&table[copy_at + at], number);
    }
#endif
    return atomicSub(&state[place_of(at)], number);
}

fn slot_max(at: u32, number: Slot) {
#if LOCAL
    if is_local {
        atomicMax(&table[copy_at + at], number);
        return;
    }
#endif
    atomicMax(&state[place_of(at)], number);
}

fn slot_or(at: u32, bits: Slot) {
#if LOCAL
    if is_local {
        atomicOr(&table[copy_at + at], bits);
        return;
    }
#endif
    atomicOr(&state[place_of(at)], bits);
}

#if SPREAD
// What a copy has of a slot, and has no more.
fn slot_of_copy(copy: u32, at: u32) -> Slot {
    let place = copy * number(TABLE_SIZE) + at;
#if LOCAL
    return atomicLoad(&table[place]);
#else
    return atomicExchange(&state[place], Slot(0u));
#endif
}

// Adds the copies of a sum to `state`. All that is added to lies there by then.
fn gather_sum(first: u32, end: u32) {
    for (var copy = FIRST_COPY; copy < number(COPIES); copy++) {
        for (var at = first; at < end; at++) {
            add_word(at, end, slot_of_copy(copy, at));
        }
    }
}

fn gather_greatest(at: u32) {
    for (var copy = FIRST_COPY; copy < number(COPIES); copy++) {
        slot_max(at, slot_of_copy(copy, at));
    }
}

fn gather_flags(at: u32) {
    for (var copy = FIRST_COPY; copy < number(COPIES); copy++) {
        slot_or(at, slot_of_copy(copy, at));
    }
}
#endif
