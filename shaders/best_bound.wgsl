// State in device memory: the best groups by their ranks. Chooses the next digit of the least rank that is picked: as many
// groups as are wanted have it or more. Once all of these have room, no further digit is asked for.
//
// Bindings: 0 `batch`: what is asked, see `best_rank`; 5 `found`, see `best`.
// Tier: all. One workgroup, of which one invocation works: there are as many digits as it has invocations.

@group(0) @binding(5) var<storage, read_write> found: array<atomic<u32>>;

@compute @workgroup_size(TILE)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    if global.x > 0u || atomicLoad(&found[DONE]) == 1u {
        return;
    }
    let known = atomicLoad(&found[PASS]);
    var above = atomicLoad(&found[ABOVE]);
    var digit = TILE - 1u;
    var count = atomicLoad(&found[BINS + digit]);
    for (var below = digit; below > 0u && above + count < batch[3]; below--) {
        above += count;
        digit = below - 1u;
        count = atomicLoad(&found[BINS + digit]);
    }
    let bits = digit << (24u - 8u * (known % 4u));
    atomicOr(&found[select(PREFIX_LOW, PREFIX_HIGH, known < 4u)], bits);
    atomicStore(&found[ABOVE], above);
    atomicStore(&found[PASS], known + 1u);
    atomicStore(&found[DONE], select(0u, 1u, known == 7u || above + count <= batch[4]));
    for (var bin = 0u; bin < TILE; bin++) {
        atomicStore(&found[BINS + bin], 0u);
    }
}
