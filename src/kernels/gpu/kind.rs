//! How values of a type are carried on a device: in words of 32 bits, whatever the device can do.

use arrow_schema::DataType;

/// How a value is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// Whole numbers of 8, 16 or 32 bits with a sign, and dates.
    Signed(u32),
    /// Whole numbers of 8, 16 or 32 bits without one.
    Unsigned(u32),
    /// Whole numbers of 64 bits with a sign, points and spans of time.
    I64,
    U64,
    /// Floats, as the bits that they are.
    F32,
    F64,
    /// Decimals.
    I128,
}

impl Kind {
    /// How values of this type are carried, if they can be.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 => Self::Signed(8),
            DataType::Int16 => Self::Signed(16),
            DataType::Int32 | DataType::Date32 => Self::Signed(32),
            DataType::UInt8 => Self::Unsigned(8),
            DataType::UInt16 => Self::Unsigned(16),
            DataType::UInt32 => Self::Unsigned(32),
            DataType::Int64 | DataType::Timestamp(_, _) | DataType::Duration(_) => Self::I64,
            DataType::UInt64 => Self::U64,
            DataType::Float32 => Self::F32,
            DataType::Float64 => Self::F64,
            DataType::Decimal128(_, _) => Self::I128,
            _ => return None,
        })
    }

    /// The type in WGSL.
    pub(super) fn wgsl(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Signed(_) => "i32",
            Self::Unsigned(_) | Self::F32 => "u32",
            Self::I64 | Self::U64 | Self::F64 => "vec2<u32>",
            Self::I128 => "vec4<u32>",
        }
    }

    /// Words that a value takes where it is computed with.
    pub(super) fn words(self) -> usize {
        match self {
            Self::Bool | Self::Signed(_) | Self::Unsigned(_) | Self::F32 => 1,
            Self::I64 | Self::U64 | Self::F64 => 2,
            Self::I128 => 4,
        }
    }

    /// Slots of so many bits that a value takes where it is kept.
    pub(super) fn slots(self, slot_bits: usize) -> usize {
        (32 * self.words()).div_ceil(slot_bits)
    }

    /// Bits that a value takes in a packed column.
    pub(super) fn bits(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Signed(bits) | Self::Unsigned(bits) => bits as usize,
            other => 32 * other.words(),
        }
    }

    /// Whether values are whole numbers, points or spans of time.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Signed(_) | Self::Unsigned(_) | Self::I64 | Self::U64)
    }

    /// Whether values are floats.
    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The least and the greatest value of a narrow type, as WGSL writes them.
    pub(super) fn bounds(self) -> (String, String) {
        match self {
            Self::Signed(bits) => {
                let half = 1_i64 << (bits - 1);
                (format!("i32({})", -half), format!("i32({})", half - 1))
            }
            Self::Unsigned(bits) => ("0u".to_owned(), format!("{}u", (1_u64 << bits) - 1)),
            _ => (String::new(), String::new()),
        }
    }

    /// A value of which nothing is asked.
    pub(super) fn nothing(self) -> String {
        format!("{}()", self.wgsl())
    }

    /// The value in WGSL of the words of one; only whole numbers have a sign.
    pub(super) fn of_words(self, words: &[u32]) -> String {
        let word = |place: usize| words.get(place).copied().unwrap_or(0);
        match self {
            Self::Bool => (word(0) != 0).to_string(),
            Self::Signed(_) => format!("i32({})", word(0).cast_signed()),
            Self::Unsigned(_) | Self::F32 => format!("{}u", word(0)),
            Self::I64 | Self::U64 | Self::F64 => format!("vec2<u32>({}u, {}u)", word(0), word(1)),
            Self::I128 => format!("vec4<u32>({}u, {}u, {}u, {}u)", word(0), word(1), word(2), word(3)),
        }
    }
}
