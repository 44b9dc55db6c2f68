//! Text and binary values as byte strings, in any of Arrow's layouts.

use crate::columnar::{DataType, data_type};

/// Runs an expression with a function from a row to its bytes (any bytes where there is no value), and gives `Some` of
/// its result; `None` for types that are neither text nor binary.
macro_rules! with_bytes {
    ($array:expr, $bytes:ident => $body:expr) => {{
        use crate::columnar::DataType;
        use arrow_array::cast::AsArray as _;
        let array: &dyn arrow_array::Array = $array;
        macro_rules! rows {
            ($rows:expr, $of:expr) => {{
                let rows = $rows;
                let $bytes = |row: usize| $of(rows.value(row));
                Some($body)
            }};
        }
        match array.data_type() {
            DataType::Utf8 => rows!(array.as_string::<i32>(), str::as_bytes),
            DataType::LargeUtf8 => rows!(array.as_string::<i64>(), str::as_bytes),
            DataType::Utf8View => rows!(array.as_string_view(), str::as_bytes),
            DataType::Binary => rows!(array.as_binary::<i32>(), std::convert::identity),
            DataType::LargeBinary => rows!(array.as_binary::<i64>(), std::convert::identity),
            DataType::BinaryView => rows!(array.as_binary_view(), std::convert::identity),
            _ => None,
        }
    }};
}
pub(super) use with_bytes;

/// Whether the values are byte strings.
pub(super) fn is_bytes(data_type: &DataType) -> bool {
    data_type::is_text(data_type) || data_type::is_binary(data_type)
}

/// Whether the two types hold the same kind of byte strings.
pub(super) fn same_kind(left: &DataType, right: &DataType) -> bool {
    (data_type::is_text(left) && data_type::is_text(right))
        || (data_type::is_binary(left) && data_type::is_binary(right))
}

/// Bytes that are copied at once where a byte string has not more: a move of known length needs no call, and no branch that
/// depends on the length.
pub(super) const CHUNK: usize = 64;

/// Byte strings one after the other, in room for all of them.
pub(super) struct Copied {
    out: Vec<u8>,
}

impl Copied {
    /// With room for byte strings of `total` bytes together.
    pub(super) fn with_room(total: usize) -> Self {
        Self { out: Vec::with_capacity(total + CHUNK) }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Adds `bytes[from..to]`. Fastest where [`CHUNK`] bytes follow `from`, whatever they are.
    #[inline(always)]
    pub(super) fn push(&mut self, bytes: &[u8], from: usize, to: usize) {
        let (len, at) = (to.saturating_sub(from), self.out.len());
        match bytes.get(from..from + CHUNK) {
            Some(chunk) if len <= CHUNK && at + CHUNK <= self.out.capacity() => {
                let end = self.out.as_mut_ptr().wrapping_add(at);
                // SAFETY: behind the bytes so far there is room for a chunk, and it lies in other memory. `extend_from_slice`
                // and `truncate`, which do the same as this and the next, take up to a third longer.
                unsafe { end.copy_from_nonoverlapping(chunk.as_ptr(), CHUNK) };
                // SAFETY: the first `len` bytes there, at most a chunk, have just been written.
                unsafe { self.out.set_len(at + len) };
            }
            _ => self.out.extend_from_slice(&bytes[from..to]),
        }
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<u8> {
        self.out
    }
}
