// State in device memory: groups of a batch are taken into those that are kept, field by field.
//
// Bindings: 0 `batch`: not a batch, but what is to be merged: [0] how many groups; [1] how many fields; [2] words of a group
//           in `given`; [3] words of a group that is kept; [4] where the pairs begin: for each group its number in `given`
//           and its number among those that are kept; from [5] on the fields, FIELD words each;
//           2 `given`: what groups of a batch hold, or what the host has sent; 6 `kept`: what is kept.
// Tier: all. Kept numbers lie the same on each: in slots of 64 bits as two words, the low one first.
// Algorithm: one invocation a group, and no group twice in one run, so that nothing is atomic. Sums are limbs in two's
// complement that are wider here than in a batch: what is missing above is the sign.

@group(0) @binding(2) var<storage, read_write> given: array<u32>;
@group(0) @binding(6) var<storage, read_write> kept: array<u32>;

// A field: [0] what becomes of it, [1] its first word in `given`, [2] how many words it has there, [3] its first word in
// what is kept, [4] how many it has there, [5] sums: whether it has a sign; extremes: words of a slot in `given`.
const FIELD: u32 = 6u;

// What becomes of a field.
const ADD: u32 = 0u;
const GREATEST: u32 = 1u;
const FLAGS: u32 = 2u;

fn add(field: u32, at: u32, to: u32) {
    let words = batch[field + 2u];
    let has_sign = batch[field + 5u] == 1u && (given[at + words - 1u] >> 31u) == 1u;
    let above = select(0u, 0xffffffffu, has_sign);
    var carry = 0u;
    for (var word = 0u; word < batch[field + 4u]; word++) {
        // Above all words, a carry of 1 out of a negative number, or none of another, changes nothing.
        if word >= words && carry == (above & 1u) {
            return;
        }
        var more = above;
        if word < words {
            more = given[at + word];
        }
        let sum = kept[to + word] + more;
        let whole = sum + carry;
        carry = select(0u, 1u, sum < more || whole < sum);
        kept[to + word] = whole;
    }
}

// A word of a number whose highest slot comes first; word 0 is the lowest.
fn word_at(words: u32, slot_words: u32, word: u32) -> u32 {
    return words - slot_words * (1u + word / slot_words) + word % slot_words;
}

fn given_word(field: u32, at: u32, word: u32) -> u32 {
    let words = batch[field + 2u];
    if word >= words {
        return 0u;
    }
    return given[at + word_at(words, batch[field + 5u], word)];
}

fn keep_greatest(field: u32, at: u32, to: u32) {
    let words = batch[field + 4u];
    for (var place = words; place > 0u; place--) {
        let offered = given_word(field, at, place - 1u);
        let known = kept[to + word_at(words, 2u, place - 1u)];
        if offered < known {
            return;
        }
        if offered > known {
            // From here on down: what is above is the same.
            for (var word = 0u; word < place; word++) {
                kept[to + word_at(words, 2u, word)] = given_word(field, at, word);
            }
            return;
        }
    }
}

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    for (var pair = global.x; pair < batch[0]; pair += workgroups.x * TILE) {
        let place = batch[4] + 2u * pair;
        let at = batch[place] * batch[2];
        let to = batch[place + 1u] * batch[3];
        for (var field_number = 0u; field_number < batch[1]; field_number++) {
            let field = 5u + FIELD * field_number;
            let first = at + batch[field + 1u];
            let target_word = to + batch[field + 3u];
            switch batch[field] {
                case ADD: { add(field, first, target_word); }
                case GREATEST: { keep_greatest(field, first, target_word); }
                default: { kept[target_word] |= given[first]; }
            }
        }
    }
}
