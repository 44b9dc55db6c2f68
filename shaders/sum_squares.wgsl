// Exact sums of squares, for variances: products of whole numbers, added to limbs of their own. Tier: all.
//
// A number on a grid has its square on the square of that grid, so that floats are whole numbers here too
// (`sum_float.wgsl`). Squares have no sign.

fn square_32(first: u32, end: u32, size: u32) {
    sum_64(first, end, mul_32(size, size), false);
}

fn square_64(first: u32, end: u32, size: vec2<u32>) {
    sum_128(first, end, mul_64(size, size), false);
}

// (a + b·2^64)² = a² + 2ab·2^64 + b²·2^128
fn square_128(first: u32, end: u32, size: vec4<u32>) {
    let both = mul_64(size.xy, size.zw);
    sum_128(first, end, mul_64(size.xy, size.xy), false);
    sum_128(first + SLOTS_OF_64, end, both, false);
    sum_128(first + SLOTS_OF_64, end, both, false);
    sum_128(first + 2u * SLOTS_OF_64, end, mul_64(size.zw, size.zw), false);
}

// The square of a float of 64 bits. `grid` is that of the sum; `odd` is the slot that counts what is not finite.
fn square_f64(odd: u32, first: u32, limbs: u32, grid: u32, bits: vec2<u32>) {
    let field = (bits.y >> 20u) & 0x7ffu;
    let fraction = bits.y & 0xfffffu;
    if field == 0x7ffu {
        count(odd);
        return;
    }
    let size = vec2<u32>(bits.x, select(fraction | 0x100000u, fraction, field == 0u));
    if (size.x | size.y) == 0u {
        return;
    }
    let shift = 2u * (max(field, 1u) - grid);
    let square = mul_64(size, size);
    sum_shifted(first, first + limbs, square.xy, shift, false);
    sum_shifted(first, first + limbs, square.zw, shift + 64u, false);
}
