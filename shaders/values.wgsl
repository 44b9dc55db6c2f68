// What expressions are made of: whole numbers with checks, and floats as the bits that they are. Tier: all.
//
// A number of 64 bits is a pair of words. Floats are never computed with, only compared, chosen and carried: a shader
// compiler may fold `x != x` and reorder sums, so every question about a float is put to its bits.
// `live` says whether anybody asked for the value; only then does one that cannot be computed count.

// ── Whole numbers of a column, which travel as their distances from the least one where these have fewer bits ──

fn load_whole_32(column: u32, row: u32) -> u32 {
    return base_of(column).x + load_distance(column, row);
}

fn load_whole_64(column: u32, row: u32) -> vec2<u32> {
    if bits_of(column) == 64u {
        return load_64(column, row);
    }
    return add_64(base_of(column), vec2<u32>(load_distance(column, row), 0u));
}

fn load_whole_128(column: u32, row: u32) -> vec4<u32> {
    let bits = bits_of(column);
    if bits == 128u {
        return load_128(column, row);
    }
    var distance = vec2<u32>();
    if bits == 64u {
        distance = load_64(column, row);
    } else {
        distance.x = load_distance(column, row);
    }
    let base = base_of(column);
    return add_128(vec4<u32>(base, vec2<u32>(select(0u, 0xffffffffu, is_negative(base)))), vec4<u32>(distance, 0u, 0u));
}

fn negate_64(a: vec2<u32>) -> vec2<u32> {
    return sub_64(vec2<u32>(), a);
}

fn is_negative(a: vec2<u32>) -> bool {
    return (a.y >> 31u) == 1u;
}

fn magnitude_64(a: vec2<u32>) -> vec2<u32> {
    return select(a, negate_64(a), is_negative(a));
}

fn less_i64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return less_u64(a ^ vec2<u32>(0u, 0x80000000u), b ^ vec2<u32>(0u, 0x80000000u));
}

fn i64_of_i32(a: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(a), bitcast<u32>(a >> 31u));
}

// The whole product of two pairs.
fn mul_64(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    let low = mul_32(a.x, b.x);
    let one = mul_32(a.y, b.x);
    let two = mul_32(a.x, b.y);
    let high = mul_32(a.y, b.y);
    let middle = add_64(add_64(vec2<u32>(low.y, 0u), vec2<u32>(one.x, 0u)), vec2<u32>(two.x, 0u));
    let top = add_64(add_64(high, vec2<u32>(one.y, 0u)), add_64(vec2<u32>(two.y, 0u), vec2<u32>(middle.y, 0u)));
    return vec4<u32>(low.x, middle.x, top);
}

// ── 32 bits and fewer: `least` and `most` bound the narrow types ──

fn within_i32(a: i32, least: i32, most: i32, live: bool) -> i32 {
    fail_if(a < least || a > most, live);
    return a;
}

fn add_i32(a: i32, b: i32, least: i32, most: i32, live: bool) -> i32 {
    let sum = a + b;
    fail_if(((a ^ sum) & (b ^ sum)) < 0, live);
    return within_i32(sum, least, most, live);
}

fn sub_i32(a: i32, b: i32, least: i32, most: i32, live: bool) -> i32 {
    let difference = a - b;
    fail_if(((a ^ b) & (a ^ difference)) < 0, live);
    return within_i32(difference, least, most, live);
}

fn mul_i32(a: i32, b: i32, least: i32, most: i32, live: bool) -> i32 {
    let product = mul_i64(i64_of_i32(a), i64_of_i32(b), live);
    return i32_of_i64(product, least, most, live);
}

fn i32_of_i64(a: vec2<u32>, least: i32, most: i32, live: bool) -> i32 {
    fail_if(!fits_i32(a, least, most), live);
    return bitcast<i32>(a.x);
}

fn fits_i32(a: vec2<u32>, least: i32, most: i32) -> bool {
    let low = bitcast<i32>(a.x);
    return all(a == i64_of_i32(low)) && low >= least && low <= most;
}

fn add_u32(a: u32, b: u32, most: u32, live: bool) -> u32 {
    let sum = a + b;
    fail_if(sum < a || sum > most, live);
    return sum;
}

fn sub_u32(a: u32, b: u32, live: bool) -> u32 {
    fail_if(a < b, live);
    return a - b;
}

fn mul_u32(a: u32, b: u32, most: u32, live: bool) -> u32 {
    let product = mul_32(a, b);
    fail_if(product.y != 0u || product.x > most, live);
    return product.x;
}

// ── 64 bits ──

fn add_i64(a: vec2<u32>, b: vec2<u32>, live: bool) -> vec2<u32> {
    let sum = add_64(a, b);
    fail_if((((a.y ^ sum.y) & (b.y ^ sum.y)) >> 31u) == 1u, live);
    return sum;
}

fn sub_i64(a: vec2<u32>, b: vec2<u32>, live: bool) -> vec2<u32> {
    let difference = sub_64(a, b);
    fail_if((((a.y ^ b.y) & (a.y ^ difference.y)) >> 31u) == 1u, live);
    return difference;
}

fn mul_i64(a: vec2<u32>, b: vec2<u32>, live: bool) -> vec2<u32> {
    let product = mul_64(magnitude_64(a), magnitude_64(b));
    let negative = is_negative(a) != is_negative(b);
    let most = select(vec2<u32>(0xffffffffu, 0x7fffffffu), vec2<u32>(0u, 0x80000000u), negative);
    fail_if(any(product.zw != vec2<u32>()) || less_u64(most, product.xy), live);
    return select(product.xy, negate_64(product.xy), negative);
}

fn add_u64(a: vec2<u32>, b: vec2<u32>, live: bool) -> vec2<u32> {
    let sum = add_64(a, b);
    fail_if(less_u64(sum, a), live);
    return sum;
}

fn sub_u64(a: vec2<u32>, b: vec2<u32>, live: bool) -> vec2<u32> {
    fail_if(less_u64(a, b), live);
    return sub_64(a, b);
}

fn mul_u64(a: vec2<u32>, b: vec2<u32>, live: bool) -> vec2<u32> {
    let product = mul_64(a, b);
    fail_if(any(product.zw != vec2<u32>()), live);
    return product.xy;
}

// Rounded down. A divisor of 0 gives 0: the value is null then.
fn floor_divide_i64(a: vec2<u32>, b: vec2<u32>, live: bool) -> vec2<u32> {
    if all(b == vec2<u32>()) {
        return vec2<u32>();
    }
    let both = divide_u64(magnitude_64(a), magnitude_64(b));
    let negative = is_negative(a) != is_negative(b);
    // Only the least number by -1 gives one that is too large.
    fail_if(!negative && (both.y >> 31u) == 1u, live);
    let rounded = select(both.xy, add_64(both.xy, vec2<u32>(1u, 0u)), any(both.zw != vec2<u32>()));
    return select(both.xy, negate_64(rounded), negative);
}

// What is left, with the sign of the divisor.
fn modulo_i64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if all(b == vec2<u32>()) {
        return vec2<u32>();
    }
    let divisor = magnitude_64(b);
    let rest = divide_u64(magnitude_64(a), divisor).zw;
    let turned = is_negative(a) != is_negative(b) && any(rest != vec2<u32>());
    let left = select(rest, sub_64(divisor, rest), turned);
    return select(left, negate_64(left), is_negative(b));
}

fn floor_divide_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if all(b == vec2<u32>()) {
        return vec2<u32>();
    }
    return divide_u64(a, b).xy;
}

fn modulo_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if all(b == vec2<u32>()) {
        return vec2<u32>();
    }
    return divide_u64(a, b).zw;
}

// ── 128 bits: decimals ──

fn less_i128(a: vec4<u32>, b: vec4<u32>) -> bool {
    if any(a.zw != b.zw) {
        return less_i64(a.zw, b.zw);
    }
    return less_u64(a.xy, b.xy);
}

fn negate_128(a: vec4<u32>) -> vec4<u32> {
    let low = negate_64(a.xy);
    let borrow = select(vec2<u32>(1u, 0u), vec2<u32>(), all(a.xy == vec2<u32>()));
    return vec4<u32>(low, sub_64(negate_64(a.zw), borrow));
}

fn magnitude_128(a: vec4<u32>) -> vec4<u32> {
    return select(a, negate_128(a), is_negative(a.zw));
}

fn add_128(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let low = add_64(a.xy, b.xy);
    let carry = select(vec2<u32>(), vec2<u32>(1u, 0u), less_u64(low, a.xy));
    return vec4<u32>(low, add_64(add_64(a.zw, b.zw), carry));
}

fn less_u128(a: vec4<u32>, b: vec4<u32>) -> bool {
    return less_u64(a.zw, b.zw) || (all(a.zw == b.zw) && less_u64(a.xy, b.xy));
}

// Whether a number has too many digits: `bound` is the first that does.
fn within_i128(a: vec4<u32>, bound: vec4<u32>, live: bool) -> vec4<u32> {
    fail_if(!less_u128(magnitude_128(a), bound), live);
    return a;
}

// A sum of two numbers below 10^38: it fits 128 bits.
fn add_i128(a: vec4<u32>, b: vec4<u32>, bound: vec4<u32>, live: bool) -> vec4<u32> {
    return within_i128(add_128(a, b), bound, live);
}

fn mul_i128(a: vec4<u32>, b: vec4<u32>, bound: vec4<u32>, live: bool) -> vec4<u32> {
    let x = magnitude_128(a);
    let y = magnitude_128(b);
    let low = mul_64(x.xy, y.xy);
    let one = mul_64(x.zw, y.xy);
    let two = mul_64(x.xy, y.zw);
    // What lies above 128 bits is too much; and so is a sum that wraps.
    let above = any(one.zw != vec2<u32>()) || any(two.zw != vec2<u32>())
        || (any(x.zw != vec2<u32>()) && any(y.zw != vec2<u32>()));
    let middle = add_64(one.xy, two.xy);
    let high = add_64(low.zw, middle);
    fail_if(above || less_u64(middle, one.xy) || less_u64(high, middle), live);
    let product = vec4<u32>(low.xy, high);
    fail_if(!less_u128(product, bound), live);
    return select(product, negate_128(product), is_negative(a.zw) != is_negative(b.zw));
}

fn i128_of_i64(a: vec2<u32>) -> vec4<u32> {
    let sign = bitcast<u32>(bitcast<i32>(a.y) >> 31u);
    return vec4<u32>(a, sign, sign);
}

// ── floats, as bits ──

fn is_nan_f32(a: u32) -> bool {
    return (a & 0x7fffffffu) > 0x7f800000u;
}

fn is_nan_f64(a: vec2<u32>) -> bool {
    let high = a.y & 0x7fffffffu;
    return high > 0x7ff00000u || (high == 0x7ff00000u && a.x != 0u);
}

// One NaN for all, and one zero: what is compared as a key.
fn key_f32(a: u32) -> u32 {
    let number = select(a, 0u, a == 0x80000000u);
    return select(number, 0x7fc00000u, is_nan_f32(a));
}

fn key_f64(a: vec2<u32>) -> vec2<u32> {
    let number = select(a, vec2<u32>(), a.x == 0u && a.y == 0x80000000u);
    return select(number, vec2<u32>(0u, 0x7ff80000u), is_nan_f64(a));
}

// Numbers that rise with the value, -0.0 below 0.0.
fn rank_f32(a: u32) -> u32 {
    return select(a | 0x80000000u, ~a, (a >> 31u) == 1u);
}

fn rank_f64(a: vec2<u32>) -> vec2<u32> {
    return select(vec2<u32>(a.x, a.y | 0x80000000u), ~a, (a.y >> 31u) == 1u);
}

fn less_f32(a: u32, b: u32) -> bool {
    return rank_f32(key_f32(a)) < rank_f32(key_f32(b));
}

fn less_f64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return less_u64(rank_f64(key_f64(a)), rank_f64(key_f64(b)));
}

// The nearest float to a whole number, ties to even.
fn f64_of_u64(a: vec2<u32>) -> vec2<u32> {
    if all(a == vec2<u32>()) {
        return vec2<u32>();
    }
    let zeros = select(32u + countLeadingZeros(a.x), countLeadingZeros(a.y), a.y != 0u);
    // The highest bit goes to bit 63; 53 bits stay.
    let top = shift_left_64(a, zeros);
    let kept = shift_right_64(top, 11u);
    let rest = top.x & 0x7ffu;
    let up = rest > 0x400u || (rest == 0x400u && (kept.x & 1u) == 1u);
    // The hidden bit, and a carry out of the mantissa, add to the exponent by themselves.
    let exponent = vec2<u32>(0u, (1023u + 63u - zeros - 1u) << 20u);
    return add_64(add_64(kept, exponent), vec2<u32>(select(0u, 1u, up), 0u));
}

fn f64_of_i64(a: vec2<u32>) -> vec2<u32> {
    let float = f64_of_u64(magnitude_64(a));
    return vec2<u32>(float.x, float.y | (a.y & 0x80000000u));
}

// Every small float is a large one.
fn f64_of_f32(a: u32) -> vec2<u32> {
    let sign = a & 0x80000000u;
    let exponent = (a >> 23u) & 0xffu;
    let fraction = a & 0x7fffffu;
    if exponent == 0xffu {
        // A NaN becomes a quiet one.
        let quiet = select(0u, 0x80000u, fraction != 0u);
        return vec2<u32>(fraction << 29u, sign | 0x7ff00000u | quiet | (fraction >> 3u));
    }
    if exponent == 0u && fraction == 0u {
        return vec2<u32>(0u, sign);
    }
    // A subnormal one has a hidden bit there.
    let zeros = select(0u, countLeadingZeros(fraction) - 8u, exponent == 0u);
    let shifted = (fraction << zeros) & 0x7fffffu;
    let moved = max(exponent, 1u) + 1023u - 127u - zeros;
    return vec2<u32>(shifted << 29u, sign | (moved << 20u) | (shifted >> 3u));
}

// By fewer than 64 bits.
fn shift_left_64(a: vec2<u32>, bits: u32) -> vec2<u32> {
    if bits >= 32u {
        return vec2<u32>(0u, a.x << (bits - 32u));
    }
    return vec2<u32>(a.x << bits, (a.y << bits) | ((a.x >> 1u) >> (31u - bits)));
}

fn shift_right_64(a: vec2<u32>, bits: u32) -> vec2<u32> {
    if bits >= 32u {
        return vec2<u32>(a.y >> (bits - 32u), 0u);
    }
    return vec2<u32>((a.x >> bits) | ((a.y << 1u) << (31u - bits)), a.y >> bits);
}
