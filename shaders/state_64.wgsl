// What groups hold, in slots of 64 bits: the twin of `state_32.wgsl`, with half as many additions and passes.
//
// Tier: 64-bit integers and atomics.

alias Slot = u64;

// Slots of a number of 64 bits.
const SLOTS_OF_64: u32 = 1u;

fn add_word(first: u32, end: u32, word: u64) {
    var add = word;
    for (var at = first; at < end && add != 0lu; at++) {
        let old = slot_add(at, add);
        add = select(0lu, 1lu, old + add < old);
    }
}

fn take_word(first: u32, end: u32, word: u64) {
    var less = word;
    for (var at = first; at < end && less != 0lu; at++) {
        let old = slot_take(at, less);
        less = select(0lu, 1lu, old < less);
    }
}

fn count(at: u32) {
    slot_add(at, 1lu);
}

fn keep_32(at: u32, rank: u32) {
    slot_max(at, u64(rank));
}

fn keep_64(at: u32, rank: vec2<u32>, pass_number: u32) {
    if pass_number == 0u {
        slot_max(at, wide(rank));
    }
}

fn keep_128(at: u32, rank: vec4<u32>, pass_number: u32) {
    if pass_number == 0u {
        slot_max(at, wide(rank.zw));
    } else if atomicLoad(&state[at]) == wide(rank.zw) {
        slot_max(at + 1u, wide(rank.xy));
    }
}

fn sum_wide(first: u32, end: u32, magnitude: u64, negative: bool) {
    if negative {
        take_word(first, end, magnitude);
    } else {
        add_word(first, end, magnitude);
    }
}

fn sum_32(first: u32, end: u32, magnitude: u32, negative: bool) {
    sum_wide(first, end, u64(magnitude), negative);
}

fn sum_64(first: u32, end: u32, magnitude: vec2<u32>, negative: bool) {
    sum_wide(first, end, wide(magnitude), negative);
}

fn sum_128(first: u32, end: u32, magnitude: vec4<u32>, negative: bool) {
    sum_64(first, end, magnitude.xy, negative);
    sum_64(first + 1u, end, magnitude.zw, negative);
}

// A magnitude times 2^shift.
fn sum_shifted(first: u32, end: u32, magnitude: vec2<u32>, shift: u32, negative: bool) {
    let at = first + shift / 64u;
    let bits = shift % 64u;
    let whole = wide(magnitude);
    sum_wide(at, end, whole << bits, negative);
    // Two shifts in a row, because a shift by all bits is none.
    sum_wide(at + 1u, end, (whole >> 1u) >> (63u - bits), negative);
}

fn flag(at: u32, bits: u32) {
    slot_or(at, u64(bits));
}
