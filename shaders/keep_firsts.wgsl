// Groups that stay on the device: what the host must know of them, which is where each begins and how many rows there are.
//
// Bindings: 4 `firsts`: for each group the complement of its first row's number, 0 if it has no row; 6 `slots`: what the
//           groups hold, written by `reduce_take`.
// Tier: all.

@group(0) @binding(4) var<storage, read_write> firsts: array<u32>;
@group(0) @binding(6) var<storage, read_write> slots: array<u32>;

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    if atomicLoad(&status[FULL]) != 0u {
        return;
    }
    for (var group = global.x; group < number(GROUPS_MAX); group += workgroups.x * TILE) {
        let at = group * number(STRIDE) * SLOT_WORDS;
        let first = slots[at];
        firsts[group] = first;
        if first != 0u {
            // The second slot counts rows; those of a batch fit a word.
            atomicAdd(&status[KEPT], slots[at + SLOT_WORDS]);
        }
    }
}
