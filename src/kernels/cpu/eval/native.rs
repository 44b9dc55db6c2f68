//! The native numbers that loops run on: which Arrow type has which, and their order.

/// The order of values. Floats: NaN equals NaN and is above all others, -0.0 equals 0.0.
pub(super) trait Ordered: Copy {
    /// Equal.
    fn same(self, other: Self) -> bool;
    /// Less.
    fn below(self, other: Self) -> bool;
    /// Whether this is a float that is not a number.
    fn not_a_number(self) -> bool;
}

macro_rules! integers {
    ($($native:ty),*) => {
        $(impl Ordered for $native {
            #[inline(always)]
            fn same(self, other: Self) -> bool {
                self == other
            }
            #[inline(always)]
            fn below(self, other: Self) -> bool {
                self < other
            }
            #[inline(always)]
            fn not_a_number(self) -> bool {
                false
            }
        })*
    };
}

macro_rules! floats {
    ($($native:ty),*) => {
        $(impl Ordered for $native {
            #[inline(always)]
            #[expect(clippy::float_cmp, reason = "this defines equality")]
            fn same(self, other: Self) -> bool {
                (self == other) | (self.is_nan() & other.is_nan())
            }
            #[inline(always)]
            fn below(self, other: Self) -> bool {
                (self < other) | (!self.is_nan() & other.is_nan())
            }
            #[inline(always)]
            fn not_a_number(self) -> bool {
                self.is_nan()
            }
        })*
    };
}

integers!(i8, i16, i32, i64, i128, u8, u16, u32, u64);
floats!(f32, f64);

/// Runs `$body` with `$T` as the Arrow type of an integer type, else `$other`.
macro_rules! by_integer {
    ($data_type:expr, $T:ident => $body:expr, _ => $other:expr) => {{
        use arrow_array::types as arrow;
        use arrow_schema::DataType as Type;
        macro_rules! with {
            ($name:ty) => {{
                type $T = $name;
                $body
            }};
        }
        match $data_type {
            Type::Int8 => with!(arrow::Int8Type),
            Type::Int16 => with!(arrow::Int16Type),
            Type::Int32 => with!(arrow::Int32Type),
            Type::Int64 => with!(arrow::Int64Type),
            Type::UInt8 => with!(arrow::UInt8Type),
            Type::UInt16 => with!(arrow::UInt16Type),
            Type::UInt32 => with!(arrow::UInt32Type),
            Type::UInt64 => with!(arrow::UInt64Type),
            _ => $other,
        }
    }};
}

/// Runs `$body` with `$T` as the Arrow type of an integer, float or decimal type, else `$other`.
macro_rules! by_number {
    ($data_type:expr, $T:ident => $body:expr, _ => $other:expr) => {
        $crate::kernels::cpu::eval::native::by_integer!($data_type, $T => $body, _ => {
            match $data_type {
                arrow_schema::DataType::Float32 => {
                    type $T = arrow_array::types::Float32Type;
                    $body
                }
                arrow_schema::DataType::Float64 => {
                    type $T = arrow_array::types::Float64Type;
                    $body
                }
                arrow_schema::DataType::Decimal128(_, _) => {
                    type $T = arrow_array::types::Decimal128Type;
                    $body
                }
                _ => $other,
            }
        })
    };
}

pub(in crate::kernels::cpu) use by_integer;
pub(in crate::kernels::cpu) use by_number;
