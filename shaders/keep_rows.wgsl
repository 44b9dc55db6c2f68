// State in device memory: the groups that a batch has changed, one after the other, for the host.
//
// Bindings: 0 `batch`: not a batch, but which groups: [0] how many; [1] words of a group; from [2] on their numbers;
//           4 `rows_out`: the words of these groups; 6 `kept`: what is kept.
// Tier: all.

@group(0) @binding(4) var<storage, read_write> rows_out: array<u32>;
@group(0) @binding(6) var<storage, read_write> kept: array<u32>;

@compute @workgroup_size(TILE)
fn main(
    @builtin(global_invocation_id) global: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let words = batch[1];
    for (var word = global.x; word < batch[0] * words; word += workgroups.x * TILE) {
        rows_out[word] = kept[batch[2u + word / words] * words + word % words];
    }
}
