// Filter, second step: where the rows of each tile go.
//
// Bindings: 3 `tiles`: rows kept by each tile; afterwards the rows kept before it.
// Tier: all. One workgroup walks over all tiles, a step of TILE at a time.
// Algorithm: in each step a scan in workgroup memory (Hillis and Steele, "Data parallel algorithms", 1986).

@group(0) @binding(3) var<storage, read_write> tiles: array<u32>;

var<workgroup> sums: array<u32, TILE>;

@compute @workgroup_size(TILE)
fn main(@builtin(local_invocation_id) local: vec3<u32>) {
    let count = (rows() + TILE - 1u) / TILE;
    var before = 0u;
    for (var start = 0u; start < count; start += TILE) {
        let at = start + local.x;
        let own = select(0u, tiles[min(at, count - 1u)], at < count);
        sums[local.x] = own;
        workgroupBarrier();
        for (var step = 1u; step < TILE; step *= 2u) {
            let left = select(0u, sums[local.x - min(step, local.x)], local.x >= step);
            workgroupBarrier();
            sums[local.x] += left;
            workgroupBarrier();
        }
        if at < count {
            tiles[at] = before + sums[local.x] - own;
        }
        before += sums[TILE - 1u];
        workgroupBarrier();
    }
    if local.x == 0u {
        atomicStore(&status[KEPT], before);
    }
}
