// Exact sums of floats: each one is a whole number times a power of two, added to limbs on a grid that the batch fits.
//
// The host has looked for the lowest and the highest exponent of the batch's values (`src/kernels/gpu/grid.rs`) and gives
// a grid that holds each value and enough limbs for all rows, so that nothing is ever rounded and order cannot matter.
// Tier: all. Source: Neal, "Fast exact summation using small and large superaccumulators" (2015), with integer atomics.

// A float of 64 bits. `grid` is the biased exponent of the grid's lowest bit; `flags` is the slot that remembers NaN (1),
// infinity (2) and minus infinity (4).
fn sum_f64(flags: u32, first: u32, limbs: u32, grid: u32, bits: vec2<u32>) {
    let field = (bits.y >> 20u) & 0x7ffu;
    let fraction = bits.y & 0xfffffu;
    let negative = (bits.y >> 31u) == 1u;
    if field == 0x7ffu {
        flag(flags, select(select(2u, 4u, negative), 1u, is_nan_f64(bits)));
        return;
    }
    let high = select(fraction | 0x100000u, fraction, field == 0u);
    if (high | bits.x) == 0u {
        return;
    }
    let shift = max(field, 1u) - grid;
    sum_shifted(first, first + limbs, vec2<u32>(bits.x, high), shift, negative);
}
