// Keyed reduce, last step: each row is added to what its group holds.
//
// Bindings: 3 `tickets`, 5 `groups` of the steps before (only if groups are found by hashing); 6 `state`: what the groups
//           hold, group by group (`state_place`); PARTED: instead of 3, 7 `order` and 8 `parts` of the steps before.
// Tier: all.
// Algorithm: PARTED: rows come part by part, and so do the slots of the table and the numbers of groups. What is worked on at
// a time is a stretch of each, which stays in the device's cache, where all of them would not.

#if HASHED
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;
#if PARTED
@group(0) @binding(7) var<storage, read_write> order: array<vec2<u32>>;
@group(0) @binding(8) var<storage, read_write> parts: array<atomic<u32>, PARTS_WORDS>;
#else
@group(0) @binding(3) var<storage, read_write> tickets: array<u32>;
#endif
#endif

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
#if PARTED
    let count = atomicLoad(&parts[PARTED_ROWS]);
#else
    let count = rows();
#endif
#if HASHED
    let end = select(count, 0u, atomicLoad(&status[FULL]) != 0u);
#else
    let end = count;
#endif
#if LOCAL
    copy_at = (local % number(COPIES)) * number(TABLE_SIZE);
#endif
#if COPIED
    copy_at = (workgroup.x % number(COPIES)) * number(TABLE_SIZE);
#endif
    for (var row = global.x; row < end; row += workgroups.x * TILE) {
#if PARTED
        let entry = order[row];
        take_in(entry.x, groups[entry.y]);
#else
#if HASHED
        let slot = tickets[row];
        if slot != NO_GROUP {
            take_in(row, groups[slot]);
        }
#else
        take_in(row, 0u);
#endif
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
