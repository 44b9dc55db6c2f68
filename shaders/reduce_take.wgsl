// Keyed reduce, last step: each row is added to what its group holds.
//
// Bindings: 3 `tickets`, 5 `groups` of the steps before (only if groups are found by hashing); 6 `state`: what the groups
//           hold, group by group.
// Tier: all.

#if HASHED
@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;
#endif

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
#if HASHED
    if atomicLoad(&status[FULL]) != 0u {
        return;
    }
#endif
    for (var row = global.x; row < rows(); row += workgroups.x * TILE) {
#if HASHED
        let slot = tickets[row];
        if slot != NO_GROUP {
            take_in(row, groups[slot]);
        }
#else
        take_in(row, 0u);
#endif
        if failed {
            atomicAdd(&status[FAILED], 1u);
            failed = false;
        }
    }
}
