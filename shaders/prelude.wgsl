// What every shader of a stage begins with: the batch as it was packed, and what happened to it.
//
// Bindings: 0 `batch`, read only: a header, then the columns (`src/kernels/gpu/pack.rs` writes it);
//           1 `status`: what the host looks at before it trusts anything else.
// Tier: all.
//
// Header, in words of 32 bits: [0] rows; then COLUMN_WORDS a column: where its values begin; where its bits of validity begin
// (0: nothing is null); for whole numbers the bits of a value, and the two words of what is added to each (`load_whole_32` …);
// then the numbers that a kernel asks for by name.

@group(0) @binding(0) var<storage, read> batch: array<u32>;
@group(0) @binding(1) var<storage, read_write> status: array<atomic<u32>, 4>;

// Places in `status`.
const FAILED: u32 = 0u;   // rows that cannot be computed: the CPU makes the error
const FULL: u32 = 1u;     // the table or the groups do not fit
const GROUPS: u32 = 2u;   // groups found
const KEPT: u32 = 3u;     // rows kept

// Whether the row at hand cannot be computed.
var<private> failed: bool;

fn rows() -> u32 {
    return batch[0];
}

// Where the values of a column begin.
fn values_at(column: u32) -> u32 {
    return batch[1u + COLUMN_WORDS * column];
}

// Whether a value of a column is there.
fn is_valid(column: u32, row: u32) -> bool {
    let at = batch[2u + COLUMN_WORDS * column];
    return at == 0u || ((batch[at + row / 32u] >> (row % 32u)) & 1u) == 1u;
}

fn load_bit(column: u32, row: u32) -> bool {
    return ((batch[values_at(column) + row / 32u] >> (row % 32u)) & 1u) == 1u;
}

fn load_8(column: u32, row: u32) -> u32 {
    return extractBits(batch[values_at(column) + row / 4u], 8u * (row % 4u), 8u);
}

fn load_16(column: u32, row: u32) -> u32 {
    return extractBits(batch[values_at(column) + row / 2u], 16u * (row % 2u), 16u);
}

fn load_32(column: u32, row: u32) -> u32 {
    return batch[values_at(column) + row];
}

fn load_64(column: u32, row: u32) -> vec2<u32> {
    let at = values_at(column) + 2u * row;
    return vec2<u32>(batch[at], batch[at + 1u]);
}

fn load_128(column: u32, row: u32) -> vec4<u32> {
    let at = values_at(column) + 4u * row;
    return vec4<u32>(batch[at], batch[at + 1u], batch[at + 2u], batch[at + 3u]);
}

// Bits of a value of a column of whole numbers, as it travelled: a batch says it, the same for all rows.
fn bits_of(column: u32) -> u32 {
    return batch[3u + COLUMN_WORDS * column];
}

// What is added to each value of a column of whole numbers.
fn base_of(column: u32) -> vec2<u32> {
    let at = 4u + COLUMN_WORDS * column;
    return vec2<u32>(batch[at], batch[at + 1u]);
}

// A value of 1, 2, 4, 8, 16 or 32 bits as it travelled: none lies in two words.
fn load_distance(column: u32, row: u32) -> u32 {
    let bits = bits_of(column);
    let at = row * bits;
    return extractBits(batch[values_at(column) + at / 32u], at % 32u, bits);
}

// A value that cannot be computed counts only where somebody asked for it.
fn fail_if(is_bad: bool, is_live: bool) {
    failed = failed || (is_bad && is_live);
}
