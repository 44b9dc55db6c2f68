// State in device memory: the best groups by one of their values. First, a rank for each group: the greater, the better.
//
// Bindings: 0 `batch`: not a batch, but what is asked; 3 `ranks`: two words a group, the low one first; 5 `found`: see
//           `best_digit`; 6 `kept`: what is kept.
// Tier: all.
//
// `batch`, in words: [0] how many groups; [1] words of a group; [2] where the list of their numbers begins, 0: the first
// ones; [3] how many are wanted; [4] how many there is room for; [5] what the value is; [6] its first word and [7] how many
// words it has; [8] the first of two words that count its values, NEVER_NULL: it is never null; [9] and [10]: of a sum of
// floats the word of its flags and the bit of what is infinite, of an extreme whether it is a least one and which float it
// is; [11] whether the least comes first; [12] whether null comes first; [13] what ranks may be too low by; [14] how many
// sums must fit their types; from [15] on for each of these its first word, how many words, and the bits of its type.
//
// A rank never rises where the value that comes out falls; groups whose ranks are equal, or nearly so where values are
// rounded, are told apart by the host. Numbers of more than 64 bits are cut to the nearest of 64.

@group(0) @binding(3) var<storage, read_write> ranks: array<u32>;
@group(0) @binding(5) var<storage, read_write> found: array<atomic<u32>>;
@group(0) @binding(6) var<storage, read_write> kept: array<u32>;

const NEVER_NULL: u32 = 0xffffffffu;

// What a value is.
const COUNT: u32 = 0u;
const WHOLE: u32 = 1u;
const FLOAT: u32 = 2u;
const EXTREME: u32 = 3u;

// What floats an extreme is one of.
const F32: u32 = 1u;
const F64: u32 = 2u;

// Of NaN, and where it comes first of null.
const GREATEST: vec2<u32> = vec2<u32>(0xffffffffu, 0xffffffffu);

// What lies above a number in two's complement.
fn sign_of(at: u32, words: u32) -> u32 {
    return select(0u, 0xffffffffu, words > 0u && (kept[at + words - 1u] >> 31u) == 1u);
}

// Whether a number in two's complement fits so many bits.
fn fits(at: u32, words: u32, bits: u32) -> bool {
    let sign = sign_of(at, words);
    let last = (bits - 1u) / 32u;
    var is_same = last >= words || ((kept[at + last] ^ sign) >> ((bits - 1u) % 32u)) == 0u;
    for (var word = last + 1u; word < words; word++) {
        is_same = is_same && kept[at + word] == sign;
    }
    return is_same;
}

fn rank_of_whole(low: vec2<u32>, is_negative: bool, has_room: bool) -> vec2<u32> {
    let most = select(vec2<u32>(0xffffffffu, 0x7fffffffu), vec2<u32>(0u, 0x80000000u), is_negative);
    return select(most, low, has_room) ^ vec2<u32>(0u, 0x80000000u);
}

fn rank_whole(at: u32, words: u32) -> vec2<u32> {
    let is_negative = sign_of(at, words) != 0u;
    return rank_of_whole(vec2<u32>(kept[at], kept[at + 1u]), is_negative, fits(at, words, 64u));
}

// The place of the highest bit, then the forty bits below it. Of a negative sum the complement is looked at, which is less
// by one of the lowest bits; and what is infinite follows on the greatest number.
fn rank_float(at: u32, words: u32, flags: u32, infinite: u32) -> vec2<u32> {
    if (flags & 1u) != 0u || (flags & 6u) == 6u {
        return GREATEST;
    }
    let sign = sign_of(at, words);
    var high = 0u;
    var low = 0u;
    for (var word = words; word > 0u; word--) {
        let bits = kept[at + word - 1u] ^ sign;
        if bits == 0u {
            continue;
        }
        var next = 0u;
        var last = 0u;
        if word > 1u {
            next = kept[at + word - 2u] ^ sign;
        }
        if word > 2u {
            last = kept[at + word - 3u] ^ sign;
        }
        let zeros = countLeadingZeros(bits);
        let top = (bits << zeros) | ((next >> 1u) >> (31u - zeros));
        let below = (next << zeros) | ((last >> 1u) >> (31u - zeros));
        let place = 32u * (word - 1u) + 32u - zeros;
        high = (place << 8u) | ((top & 0x7fffffffu) >> 23u);
        low = ((top & 0x7fffffu) << 9u) | (below >> 23u);
        break;
    }
    let is_infinite = (flags & 6u) != 0u || high >= ((infinite + 1u) << 8u);
    let magnitude = select(vec2<u32>(low, high), vec2<u32>(0u, (infinite + 1u) << 8u), is_infinite);
    let is_negative = select(sign != 0u, (flags & 4u) != 0u, (flags & 6u) != 0u);
    let rank = vec2<u32>(magnitude.x, magnitude.y | 0x80000000u);
    return select(rank, ~rank, is_negative);
}

// An extreme is kept as a rank, the highest of several slots first; of nothing but NaN, none is.
fn rank_extreme(at: u32, words: u32, is_least: u32, float: u32) -> vec2<u32> {
    let turn = select(0u, 0xffffffffu, is_least == 1u);
    if words == 4u {
        let low = vec2<u32>(kept[at + 2u], kept[at + 3u]) ^ vec2<u32>(turn);
        let high = vec2<u32>(kept[at], kept[at + 1u]) ^ vec2<u32>(turn, turn ^ 0x80000000u);
        let sign = select(0u, 0xffffffffu, (high.y >> 31u) == 1u);
        let has_room = all(high == vec2<u32>(sign)) && (low.y >> 31u) == (sign & 1u);
        return rank_of_whole(low, sign != 0u, has_room);
    }
    let kept_low = kept[at];
    let kept_high = select(0u, kept[at + words - 1u], words == 2u);
    if float != 0u && kept_low == 0u && kept_high == 0u {
        return GREATEST;
    }
    var rank = vec2<u32>(kept_low ^ turn, 0u);
    if words == 2u {
        rank.y = kept_high ^ turn;
    }
    // Both zeros are one.
    if float == F32 && rank.x == 0x7fffffffu {
        rank.x = 0x80000000u;
    }
    if float == F64 && rank.x == 0xffffffffu && rank.y == 0x7fffffffu {
        rank = vec2<u32>(0u, 0x80000000u);
    }
    return rank;
}

fn rank_of(group: u32) -> vec2<u32> {
    let start = group * batch[1];
    let null_first = batch[12] == 1u;
    if batch[8] != NEVER_NULL {
        let seen = start + batch[8];
        if (kept[seen] | kept[seen + 1u]) == 0u {
            return select(vec2<u32>(), GREATEST, null_first);
        }
    }
    let at = start + batch[6];
    var rank = vec2<u32>(kept[at], kept[at + 1u]);
    switch batch[5] {
        case WHOLE: { rank = rank_whole(at, batch[7]); }
        case FLOAT: { rank = rank_float(at, batch[7], kept[start + batch[9]], batch[10]); }
        case EXTREME: { rank = rank_extreme(at, batch[7], batch[9], batch[10]); }
        default: {}
    }
    if batch[11] == 1u {
        rank = ~rank;
    }
    // The first and the last rank are those of null.
    if all(rank == vec2<u32>()) {
        rank.x = 1u;
    }
    if all(rank == GREATEST) {
        rank.x = 0xfffffffeu;
    }
    return rank;
}

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    for (var item = global.x; item < batch[0]; item += workgroups.x * TILE) {
        let group = best_group(item);
        let rank = rank_of(group);
        ranks[2u * item] = rank.x;
        ranks[2u * item + 1u] = rank.y;
        for (var sum = 0u; sum < batch[14]; sum++) {
            let place = 15u + 3u * sum;
            if !fits(group * batch[1] + batch[place], batch[place + 1u], batch[place + 2u]) {
                atomicStore(&found[UNSURE], 1u);
            }
        }
    }
}
