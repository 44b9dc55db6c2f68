//! Sums without rounding, and the one rounding at their end.
//!
//! A finite `f64` is a whole number times a power of two, so a sum of floats is a sum of whole numbers on a common grid:
//! exact, and therefore free of the order of its terms. [`Fixed`] is such a whole number, wide enough for its grid;
//! [`round`] and [`quotient`] make the nearest `f64` of it. What is held per group, and which grid is taken when, is the
//! business of the kernels that use this.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "limbs are the low and high halves of wider numbers; exponents of f64 fit every integer used"
)]

/// Exponent of the lowest bit of the grid on which every `f64` is a whole number.
pub const F64_GRID: i32 = -1074;

/// Limbs that hold the sum of any 2^77 values on the grid of [`F64_GRID`]: 1074 bits below the point, 1024 above.
pub const F64_LIMBS: usize = 34;

/// Limbs that hold the sum of any 2^100 squares on the grid of twice [`F64_GRID`].
pub const F64_SQUARE_LIMBS: usize = 68;

/// A whole number of `N` limbs of 64 bits, lowest first, in two's complement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed<const N: usize>(pub(crate) [u64; N]);

impl<const N: usize> Default for Fixed<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Fixed<N> {
    /// Adds `magnitude × 2^shift`, or takes it off. What leaves the highest limb is lost: `N` must be chosen so that
    /// nothing does.
    #[inline]
    pub fn add(&mut self, negative: bool, magnitude: u128, shift: u32) {
        let (limb, bit) = ((shift / 64) as usize, shift % 64);
        let (low, high) = (magnitude as u64, (magnitude >> 64) as u64);
        // Two shifts in a row, because a shift by all 64 bits is none.
        let spilled = |word: u64| (word >> 1) >> (63 - bit);
        self.add_words(negative, limb, [low << bit, (high << bit) | spilled(low), spilled(high)]);
    }

    #[inline]
    fn add_words(&mut self, negative: bool, limb: usize, words: [u64; 3]) {
        let mut carry = false;
        for (place, slot) in self.0[limb..].iter_mut().enumerate() {
            if place >= words.len() && !carry {
                break;
            }
            let word = words.get(place).copied().unwrap_or(0);
            (*slot, carry) = if negative { slot.borrowing_sub(word, carry) } else { slot.carrying_add(word, carry) };
        }
    }

    /// Adds the magnitude `limbs × 2^shift`, or takes it off.
    pub fn add_limbs(&mut self, negative: bool, limbs: &[u64], shift: u32) {
        for (place, &limb) in limbs.iter().enumerate() {
            if limb != 0 {
                self.add(negative, u128::from(limb), shift + 64 * place as u32);
            }
        }
    }

    /// Adds another number times `2^shift`.
    pub fn add_fixed<const M: usize>(&mut self, other: &Fixed<M>, shift: u32) {
        let (negative, limbs) = other.magnitude();
        self.add_limbs(negative, &limbs, shift);
    }

    /// Whether the number is below zero, and its distance from zero.
    pub fn magnitude(&self) -> (bool, [u64; N]) {
        let negative = self.0[N - 1] >> 63 == 1;
        let mut limbs = self.0;
        if negative {
            let mut carry = true;
            for limb in &mut limbs {
                (*limb, carry) = (!*limb).carrying_add(0, carry);
            }
        }
        (negative, limbs)
    }

    /// The number as an `i128`, if it is one.
    pub fn to_i128(&self) -> Option<i128> {
        let low = i128::from(self.0[1] as i64) << 64 | i128::from(self.0[0]);
        let sign = if low < 0 { u64::MAX } else { 0 };
        self.0[2..].iter().all(|&limb| limb == sign).then_some(low)
    }
}

/// A finite float as `±magnitude × 2^exponent`.
pub fn parts(value: f64) -> (bool, u64, i32) {
    let bits = value.to_bits();
    let (field, fraction) = ((bits >> 52) as i32 & 0x7ff, bits & ((1 << 52) - 1));
    let magnitude = if field == 0 { fraction } else { fraction | 1 << 52 };
    (value.is_sign_negative(), magnitude, F64_GRID + field.max(1) - 1)
}

/// The exact sum of floats of any size, with IEEE's rules for what is not finite: NaN with anything, or infinities of
/// both signs, is NaN.
#[derive(Debug, Clone, Copy, Default)]
pub struct FloatTotal {
    /// The finite values, on the grid of [`F64_GRID`].
    pub finite: Fixed<F64_LIMBS>,
    /// What was not finite.
    pub special: Special,
}

/// Which values that are not finite were met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Special {
    nan: bool,
    infinite: bool,
    minus_infinite: bool,
}

impl Special {
    /// Remembers a value that is not finite.
    pub fn add(&mut self, value: f64) {
        self.nan |= value.is_nan();
        self.infinite |= value == f64::INFINITY;
        self.minus_infinite |= value == f64::NEG_INFINITY;
    }

    /// Remembers what another remembers.
    pub fn merge(&mut self, other: Self) {
        self.nan |= other.nan;
        self.infinite |= other.infinite;
        self.minus_infinite |= other.minus_infinite;
    }

    /// What was met, as bits: 1 for NaN, 2 and 4 for the infinities.
    pub(crate) fn flags(self) -> u8 {
        u8::from(self.nan) | u8::from(self.infinite) << 1 | u8::from(self.minus_infinite) << 2
    }

    /// What these flags say; none for others than [`Special::flags`] gives.
    pub(crate) fn from_flags(flags: u8) -> Option<Self> {
        let special = Self { nan: flags & 1 != 0, infinite: flags & 2 != 0, minus_infinite: flags & 4 != 0 };
        (flags < 8).then_some(special)
    }

    /// The sum, if a finite one is out of the question.
    pub fn sum(self) -> Option<f64> {
        match (self.nan, self.infinite, self.minus_infinite) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

impl FloatTotal {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            let (negative, magnitude, exponent) = parts(value);
            self.finite.add(negative, u128::from(magnitude), (exponent - F64_GRID) as u32);
        } else {
            self.special.add(value);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.finite.add_fixed(&other.finite, 0);
        self.special.merge(other.special);
    }

    /// The nearest `f64` to the sum divided by `count`; a count of 1 gives the sum.
    pub fn divided(&self, count: u64) -> f64 {
        self.special.sum().unwrap_or_else(|| {
            let (negative, limbs) = self.finite.magnitude();
            quotient(negative, &limbs, F64_GRID, &[count])
        })
    }
}

/// The nearest `f64` to `±limbs × 2^exponent`, ties to even. Too large is infinite; zero is 0.0.
///
/// `more` says that the number lies above `limbs` by less than one unit; then there must be 56 bits at least.
pub fn round(negative: bool, limbs: &[u64], exponent: i32, more: bool) -> f64 {
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
    let highest = 64 * top as i32 + 63 - limbs[top].leading_zeros() as i32;
    // The unit of the last place kept, as an exponent and as a bit of `limbs`.
    let unit = (highest + exponent - 52).max(F64_GRID);
    let kept = unit - exponent;
    let biased = i64::from(unit) - i64::from(F64_GRID);
    if biased > 2046 {
        return if negative { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let mantissa = if kept <= 0 { window(limbs, 0) << -kept } else { round_at(limbs, kept as usize, more) };
    // The hidden bit, and a carry out of the mantissa, add to the exponent by themselves.
    let bits = ((biased as u64) << 52) + mantissa;
    let magnitude = f64::from_bits(bits.min(f64::INFINITY.to_bits()));
    if negative { -magnitude } else { magnitude }
}

/// The number above bit `kept`, rounded to nearest by the bits below.
fn round_at(limbs: &[u64], kept: usize, more: bool) -> u64 {
    let mantissa = window(limbs, kept);
    let half = kept - 1;
    let is_half = window(limbs, half) & 1 == 1;
    let below = limbs.iter().take(half / 64).any(|&limb| limb != 0)
        || limbs.get(half / 64).is_some_and(|limb| limb & ((1 << (half % 64)) - 1) != 0);
    mantissa + u64::from(is_half && (below || more || mantissa & 1 == 1))
}

/// The 64 bits from bit `from` on.
fn window(limbs: &[u64], from: usize) -> u64 {
    let limb = |index: usize| limbs.get(index).copied().unwrap_or(0);
    let both = u128::from(limb(from / 64 + 1)) << 64 | u128::from(limb(from / 64));
    (both >> (from % 64)) as u64
}

/// The nearest `f64` to `±limbs × 2^exponent` divided by all the divisors, rounded once, ties to even.
pub fn quotient(negative: bool, limbs: &[u64], exponent: i32, divisors: &[u64]) -> f64 {
    let used = limbs.iter().rposition(|&limb| limb != 0).map_or(0, |top| top + 1);
    if divisors.iter().all(|&divisor| divisor == 1) {
        return round(negative, &limbs[..used], exponent, false);
    }
    // Each divisor takes 64 bits at most; two limbs more are enough for any rounding.
    let extra = divisors.len() + 2;
    let mut digits = vec![0; extra];
    digits.extend_from_slice(&limbs[..used]);
    let mut more = false;
    for &divisor in divisors {
        more |= divide(&mut digits, divisor);
    }
    round(negative, &digits, exponent - 64 * extra as i32, more)
}

/// Divides in place and says whether something was left over.
fn divide(limbs: &mut [u64], divisor: u64) -> bool {
    let mut rest = 0_u128;
    for limb in limbs.iter_mut().rev() {
        let part = rest << 64 | u128::from(*limb);
        *limb = (part / u128::from(divisor)) as u64;
        rest = part % u128::from(divisor);
    }
    rest != 0
}

/// Count, exact sum and exact sum of squares of numbers on one grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments<const L: usize, const M: usize> {
    /// How many numbers.
    pub count: u64,
    pub(crate) sum: Fixed<L>,
    pub(crate) squares: Fixed<M>,
}

impl<const L: usize, const M: usize> Default for Moments<L, M> {
    fn default() -> Self {
        Self { count: 0, sum: Fixed::default(), squares: Fixed::default() }
    }
}

impl<const L: usize, const M: usize> Moments<L, M> {
    /// Takes `±magnitude × 2^shift` in.
    #[inline]
    pub fn add(&mut self, negative: bool, magnitude: u128, shift: u32) {
        self.count += 1;
        self.sum.add(negative, magnitude, shift);
        let (low, high) = magnitude.carrying_mul(magnitude, 0);
        self.squares.add(false, low, 2 * shift);
        if high != 0 {
            self.squares.add(false, high, 2 * shift + 128);
        }
    }

    /// Takes a whole number in.
    #[inline]
    pub fn add_whole(&mut self, value: i128) {
        self.add(value < 0, value.unsigned_abs(), 0);
    }

    /// Takes numbers of the same grid in.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.add_same(&other.sum);
        self.squares.add_same(&other.squares);
    }

    /// Takes numbers of a grid in whose unit is `2^shift` units of this one.
    pub fn add_moments<const K: usize, const J: usize>(&mut self, other: &Moments<K, J>, shift: u32) {
        self.count += other.count;
        self.sum.add_fixed(&other.sum, shift);
        self.squares.add_fixed(&other.squares, 2 * shift);
    }

    /// `(count × squares - sum²) / (count × (count - ddof))`, rounded once, of numbers in units of
    /// `2^exponent / 10^scale`. None if nothing is left to divide by.
    pub fn variance(&self, exponent: i32, scale: i8, ddof: u8) -> Option<f64> {
        let left = self.count.checked_sub(u64::from(ddof)).filter(|&left| left > 0)?;
        let mut spread = multiply(trim(&self.squares.magnitude().1), &[self.count]);
        let sum = self.sum.magnitude().1;
        let sum = trim(&sum);
        subtract(&mut spread, &multiply(sum, sum));
        let mut divisors = vec![self.count, left];
        scale_by_ten(&mut spread, &mut divisors, 2 * i32::from(scale));
        Some(quotient(false, &spread, 2 * exponent, &divisors))
    }
}

/// Count, exact sum and exact sum of squares of floats of any size. What is not finite makes the variance NaN.
#[derive(Debug, Clone, Default)]
pub struct FloatMoments {
    /// The finite values, on the grid of [`F64_GRID`].
    pub finite: Moments<F64_LIMBS, F64_SQUARE_LIMBS>,
    pub(crate) infinite_or_nan: u64,
}

impl FloatMoments {
    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            let (negative, magnitude, exponent) = parts(value);
            self.finite.add(negative, u128::from(magnitude), (exponent - F64_GRID) as u32);
        } else {
            self.infinite_or_nan += 1;
        }
    }

    /// Takes the values of another in.
    pub fn merge(&mut self, other: &Self) {
        self.finite.merge(&other.finite);
        self.infinite_or_nan += other.infinite_or_nan;
    }

    /// The variance, with `ddof` taken off the count. None if nothing is left to divide by.
    pub fn variance(&self, ddof: u8) -> Option<f64> {
        if self.infinite_or_nan == 0 {
            return self.finite.variance(F64_GRID, 0, ddof);
        }
        (self.finite.count + self.infinite_or_nan > u64::from(ddof)).then_some(f64::NAN)
    }
}

fn trim(limbs: &[u64]) -> &[u64] {
    &limbs[..limbs.iter().rposition(|&limb| limb != 0).map_or(0, |top| top + 1)]
}

/// The product, as in school.
fn multiply(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut product = vec![0; a.len() + b.len()];
    for (place, &x) in a.iter().enumerate() {
        let mut carry = 0;
        for (slot, &y) in product[place..].iter_mut().zip(b) {
            (*slot, carry) = x.carrying_mul_add(y, carry, *slot);
        }
        product[place + b.len()] = carry;
    }
    product
}

/// Takes a smaller number off; limbs of `less` beyond those of `from` must be zero.
fn subtract(from: &mut [u64], less: &[u64]) {
    let mut borrow = false;
    for (place, slot) in from.iter_mut().enumerate() {
        (*slot, borrow) = slot.borrowing_sub(less.get(place).copied().unwrap_or(0), borrow);
    }
}

impl<const N: usize> Fixed<N> {
    /// Adds a whole number.
    #[inline]
    pub fn add_whole(&mut self, value: i128) {
        let sign = (value >> 127) as u64;
        let mut carry = false;
        for (place, slot) in self.0.iter_mut().enumerate() {
            let word = match place {
                0 => value as u64,
                1 => (value >> 64) as u64,
                _ => sign,
            };
            (*slot, carry) = slot.carrying_add(word, carry);
        }
    }

    /// Adds a number of the same size.
    #[inline]
    pub fn add_same(&mut self, other: &Self) {
        let mut carry = false;
        for (slot, word) in self.0.iter_mut().zip(other.0) {
            (*slot, carry) = slot.carrying_add(word, carry);
        }
    }
}

impl Fixed<2> {
    /// Adds `±mantissa × 2^shift` for a shift below 64, without a branch.
    #[inline]
    pub fn add_shifted(&mut self, negative: bool, mantissa: u64, shift: u32) {
        let sign = u64::from(negative).wrapping_neg();
        let (low, high) = (mantissa << shift, (mantissa >> 1) >> (63 - shift));
        // -x is !x + 1; the 1 enters as the first carry.
        let carry;
        (self.0[0], carry) = self.0[0].carrying_add(low ^ sign, negative);
        (self.0[1], _) = self.0[1].carrying_add(high ^ sign, carry);
    }
}

/// The nearest `f64` to `total × 2^exponent / count`.
pub fn quotient_of_two(total: &Fixed<2>, exponent: i32, count: u64) -> f64 {
    let (negative, [low, high]) = total.magnitude();
    let value = u128::from(high) << 64 | u128::from(low);
    // What is lifted by up to 127 places still has a power of two that is no subnormal.
    let sure = (-850..800).contains(&exponent);
    if !sure || count > u64::from(u32::MAX) {
        return quotient(negative, &[low, high], exponent, &[count]);
    }
    if value == 0 {
        return 0.0;
    }
    let (digits, exponent) = if count == 1 {
        (value, exponent)
    } else {
        // The highest bit set, a quotient by 32 bits keeps 96: the lowest can stand for all that are left over.
        let lift = value.leading_zeros();
        (divide_short(value << lift, count), exponent - lift as i32)
    };
    // The conversion rounds to nearest, ties to even; the power of two is exact, and so is the product.
    let magnitude = digits as f64 * f64::from_bits(((exponent + 1023) as u64) << 52);
    if negative { -magnitude } else { magnitude }
}

/// The quotient by a divisor of 32 bits, its lowest bit set if something was left over.
fn divide_short(value: u128, divisor: u64) -> u128 {
    let (high, low) = ((value >> 64) as u64, value as u64);
    let (first, rest) = (high / divisor, high % divisor);
    let part = rest << 32 | low >> 32;
    let (second, rest) = (part / divisor, part % divisor);
    let part = rest << 32 | low & 0xffff_ffff;
    let (third, rest) = (part / divisor, part % divisor);
    u128::from(first) << 64 | u128::from(second) << 32 | u128::from(third) | u128::from(rest != 0)
}

/// The nearest `f64` to `total / 10^scale / count`.
pub fn whole_mean<const N: usize>(total: &Fixed<N>, count: u64, scale: i8) -> f64 {
    const EXACT: i128 = 1 << 53;
    let divisor = u32::try_from(scale).ok().and_then(|scale| 10_u64.checked_pow(scale)?.checked_mul(count));
    if let Some(divisor) = divisor.filter(|&divisor| divisor <= EXACT as u64)
        && let Some(whole) = total.to_i128().filter(|whole| (-EXACT..=EXACT).contains(whole))
    {
        // Both are floats already: the division rounds once.
        return whole as f64 / divisor as f64;
    }
    let (negative, limbs) = total.magnitude();
    let mut digits = limbs.to_vec();
    let mut divisors = vec![count];
    scale_by_ten(&mut digits, &mut divisors, i32::from(scale));
    quotient(negative, &digits, 0, &divisors)
}

/// Takes a factor of `10^-scale` into a quotient.
fn scale_by_ten(digits: &mut Vec<u64>, divisors: &mut Vec<u64>, scale: i32) {
    let mut left = scale.unsigned_abs();
    while left > 0 {
        // The largest power of ten in 64 bits is the 19th.
        let power = 10_u64.pow(left.min(19));
        if scale > 0 {
            divisors.push(power);
        } else {
            *digits = multiply(trim(digits), &[power]);
        }
        left -= left.min(19);
    }
}
