// Keyed reduce, last step: each row is added to what its group holds.
//
// Bindings: 3 `tickets`, 5 `groups` of the steps before (only if groups are found by hashing); 6 `state`: what the groups
//           hold, group by group (`state_place`).
// Tier: all.

#if HASHED
@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;
#endif

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
#if HASHED
    let end = select(rows(), 0u, atomicLoad(&status[FULL]) != 0u);
#else
    let end = rows();
#endif
#if LOCAL
    copy_at = (local % number(COPIES)) * number(TABLE_SIZE);
#endif
#if COPIED
    copy_at = (workgroup.x % number(COPIES)) * number(TABLE_SIZE);
#endif
    for (var row = global.x; row < end; row += workgroups.x * TILE) {
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
#if LOCAL
    // All invocations come by here.
    workgroupBarrier();
    for (var group = local; group < number(LOCAL_GROUPS); group += TILE) {
        gather(group * number(STRIDE));
    }
#endif
}
