// Where what groups hold is added up: in `state`, or near by at first, so that few groups are not fought over.
//
// Bindings: 6 `state`: all zero before the first row; the slots of a group lie side by side.
// Tier: all; `Slot` is that of the tier.
// Algorithm: LOCAL: groups have a table in the memory of each workgroup, in several copies if they are few, and the table is
// added to `state` when the workgroup has seen all its rows. COPIED: `state` has several copies, one for every so many
// workgroups, and `reduce_fold` adds the others to the first one. Both are what cuDF found best for few groups. Sums are limbs
// modulo a power of two, and all else is the greatest of numbers, so it never matters what is added where.

@group(0) @binding(6) var<storage, read_write> state: array<atomic<Slot>>;

#if LOCAL
var<workgroup> table: array<atomic<Slot>, TABLE_MAX>;
#endif
#if SPREAD
// Where the copy that the invocation adds to begins.
var<private> copy_at: u32;

// What becomes of slots when copies are added together, as `gathers` says it: what, the first slot, and how many. Of sums of
// floats the last two are places in the header.
const SUM: u32 = 0u;
const FLOAT_SUM: u32 = 1u;
const MOST: u32 = 2u;
#endif

fn slot_add(at: u32, number: Slot) -> Slot {
#if LOCAL
    return atomicAdd(&table[copy_at + at], number);
#else
    return atomicAdd(&state[place_of(at)], number);
#endif
}

fn slot_take(at: u32, number: Slot) -> Slot {
#if LOCAL
    return atomicSub(&table[copy_at + at], number);
#else
    return atomicSub(&state[place_of(at)], number);
#endif
}

fn slot_max(at: u32, number: Slot) {
#if LOCAL
    atomicMax(&table[copy_at + at], number);
#else
    atomicMax(&state[place_of(at)], number);
#endif
}

fn slot_or(at: u32, bits: Slot) {
#if LOCAL
    atomicOr(&table[copy_at + at], bits);
#else
    atomicOr(&state[place_of(at)], bits);
#endif
}

fn place_of(at: u32) -> u32 {
#if COPIED
    return copy_at + at;
#else
    return at;
#endif
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

fn give_word(first: u32, end: u32, word: Slot) {
    var add = word;
    for (var at = first; at < end && add != Slot(0u); at++) {
        let old = atomicAdd(&state[at], add);
        add = select(Slot(0u), Slot(1u), old + add < old);
    }
}

// Adds the copies of the group whose slots begin here to it.
fn gather(at: u32) {
    for (var entry = 0u; entry < GATHERS; entry++) {
        let what = gathers[entry].x;
        var first = at + gathers[entry].y;
        var end = first + gathers[entry].z;
        if what == FLOAT_SUM {
            first = at + number(gathers[entry].y);
            end = first + number(gathers[entry].z);
        }
        for (var copy = FIRST_COPY; copy < number(COPIES); copy++) {
            for (var slot = first; slot < end; slot++) {
                let part = slot_of_copy(copy, slot);
                switch what {
                    case SUM, FLOAT_SUM: { give_word(slot, end, part); }
                    case MOST: { atomicMax(&state[slot], part); }
                    default: { atomicOr(&state[slot], part); }
                }
            }
        }
    }
}
#endif
