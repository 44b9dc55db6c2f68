// What groups hold, in slots of 32 bits: sums as limbs with carries, and the largest number met.
//
// Tier: those without 64-bit atomics.
// Algorithm: each limb is added by itself; what wraps is carried on, so that the limbs together are the sum modulo a
// power of two, in whatever order the rows come. Minima are kept as the largest complement. A number of more than one
// word needs one pass a word over all rows: the largest high word first, then the largest of the next one beside it.

alias Slot = u32;

// Slots of a number of 64 bits.
const SLOTS_OF_64: u32 = 2u;

// Adds a word to the limbs from `first` on, and what wraps to those above.
fn add_word(first: u32, end: u32, word: u32) {
    var add = word;
    for (var at = first; at < end && add != 0u; at++) {
        let old = slot_add(at, add);
        add = select(0u, 1u, old + add < old);
    }
}

fn take_word(first: u32, end: u32, word: u32) {
    var less = word;
    for (var at = first; at < end && less != 0u; at++) {
        let old = slot_take(at, less);
        less = select(0u, 1u, old < less);
    }
}

fn count(at: u32) {
    slot_add(at, 1u);
}

// The largest of numbers of one word.
fn keep_32(at: u32, rank: u32) {
    slot_max(at, rank);
}

// The same for more words, the highest one in the first slot: each pass knows those of the passes before.
fn keep_64(at: u32, rank: vec2<u32>, pass_number: u32) {
    if pass_number == 0u {
        slot_max(at, rank.y);
    } else if atomicLoad(&state[at]) == rank.y {
        slot_max(at + 1u, rank.x);
    }
}

fn keep_128(at: u32, rank: vec4<u32>, pass_number: u32) {
    if pass_number < 2u {
        keep_64(at, rank.zw, pass_number);
    } else if atomicLoad(&state[at]) == rank.w && atomicLoad(&state[at + 1u]) == rank.z {
        keep_64(at + 2u, rank.xy, pass_number - 2u);
    }
}

fn sum_32(first: u32, end: u32, magnitude: u32, negative: bool) {
    if negative {
        take_word(first, end, magnitude);
    } else {
        add_word(first, end, magnitude);
    }
}

fn sum_64(first: u32, end: u32, magnitude: vec2<u32>, negative: bool) {
    sum_32(first, end, magnitude.x, negative);
    sum_32(first + 1u, end, magnitude.y, negative);
}

fn sum_128(first: u32, end: u32, magnitude: vec4<u32>, negative: bool) {
    sum_64(first, end, magnitude.xy, negative);
    sum_64(first + 2u, end, magnitude.zw, negative);
}

// A magnitude times 2^shift.
fn sum_shifted(first: u32, end: u32, magnitude: vec2<u32>, shift: u32, negative: bool) {
    let at = first + shift / 32u;
    let bits = shift % 32u;
    let low = shift_left_64(vec2<u32>(magnitude.x, 0u), bits);
    let high = shift_left_64(vec2<u32>(magnitude.y, 0u), bits);
    sum_32(at, end, low.x, negative);
    sum_32(at + 1u, end, low.y | high.x, negative);
    sum_32(at + 2u, end, high.y, negative);
}

fn flag(at: u32, bits: u32) {
    slot_or(at, bits);
}
