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

/// Bytes that [`append`] copies at once where there are not more: a move of known length needs no call.
pub(super) const SHORT: usize = 32;

/// Adds `bytes[from..to]`. Fastest where [`SHORT`] bytes follow `from`, whatever they are, and have room in `out`.
#[inline(always)]
pub(super) fn append(out: &mut Vec<u8>, bytes: &[u8], from: usize, to: usize) {
    let len = to - from;
    if len <= SHORT
        && let Some(short) = bytes.get(from..from + SHORT)
    {
        let wanted = out.len() + len;
        out.extend_from_slice(short);
        out.truncate(wanted);
    } else {
        out.extend_from_slice(&bytes[from..to]);
    }
}
