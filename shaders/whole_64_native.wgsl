// Whole numbers of 64 bits, carried as pairs of words, computed by the device's own. Tier: 64-bit integers.
//
// The twin of `whole_64.wgsl`: the same functions with the same answers.

fn wide(a: vec2<u32>) -> u64 {
    return u64(a.x) | (u64(a.y) << 32u);
}

fn pair(a: u64) -> vec2<u32> {
    return vec2<u32>(u32(a & 0xfffffffflu), u32(a >> 32u));
}

fn add_64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return pair(wide(a) + wide(b));
}

fn sub_64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return pair(wide(a) - wide(b));
}

fn less_u64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return wide(a) < wide(b);
}

// The whole product of two words.
fn mul_32(a: u32, b: u32) -> vec2<u32> {
    return pair(u64(a) * u64(b));
}

// Quotient and rest. The divisor must not be 0.
fn divide_u64(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(pair(wide(a) / wide(b)), pair(wide(a) % wide(b)));
}
