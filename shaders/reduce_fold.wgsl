// Keyed reduce: the copies of what groups hold are added to the first one.
//
// Bindings: 6 `state`: the copies, one behind the other, written by `reduce_take`.
// Tier: all.
// Algorithm: one invocation a group.

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    if atomicLoad(&status[FULL]) != 0u {
        return;
    }
    for (var group = global.x; group < number(GROUPS_MAX); group += workgroups.x * TILE) {
        gather(group * number(STRIDE));
    }
}
