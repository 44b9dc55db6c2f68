//! Functions of whole texts: lengths, letter case, trimming, and whether one text occurs in another.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, OffsetBuffer};
use arrow_cast::cast;
use memchr::memmem::Finder;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::operand::{Operand, boolean, common_nulls, once_per_value, primitive, shape, shaped};
use super::{Apply, Site};
use crate::columnar::DataType;
use crate::error::Result;
use crate::expr::{Function, TypedExpr};

/// Runs `$body` with `$texts` as the array in its layout, if it is text, else `$other`.
macro_rules! with_text {
    ($array:expr, $texts:ident => $body:expr, else => $other:expr) => {{
        use arrow_array::cast::AsArray as _;
        let array: &arrow_array::ArrayRef = $array;
        match array.data_type() {
            arrow_schema::DataType::Utf8 => {
                let $texts = array.as_string::<i32>();
                $body
            }
            arrow_schema::DataType::LargeUtf8 => {
                let $texts = array.as_string::<i64>();
                $body
            }
            arrow_schema::DataType::Utf8View => {
                let $texts = array.as_string_view();
                $body
            }
            _ => $other,
        }
    }};
}

/// As [`with_text`], for text and bytes.
macro_rules! with_bytes {
    ($array:expr, $values:ident => $body:expr, else => $other:expr) => {
        $crate::kernels::cpu::eval::text::with_text!($array, $values => $body, else => {
            use arrow_array::cast::AsArray as _;
            let array: &arrow_array::ArrayRef = $array;
            match array.data_type() {
                arrow_schema::DataType::Binary => {
                    let $values = array.as_binary::<i32>();
                    $body
                }
                arrow_schema::DataType::LargeBinary => {
                    let $values = array.as_binary::<i64>();
                    $body
                }
                arrow_schema::DataType::BinaryView => {
                    let $values = array.as_binary_view();
                    $body
                }
                _ => $other,
            }
        })
    };
}

pub(in crate::kernels::cpu) use {with_bytes, with_text};

pub(super) fn prepare(function: &Function, _arguments: &[TypedExpr]) -> Result<Apply> {
    let function = function.clone();
    Ok(Box::new(move |operands, _, site| {
        if operands.iter().any(Operand::is_null_constant) {
            return Ok(Operand::null(&site.data_type));
        }
        once_per_value(operands, |operands| match &function {
            Function::Contains | Function::StartsWith | Function::EndsWith => occurs(&function, operands, site),
            _ => Ok(operands[0].with(of_one(&function, operands[0].array(), site)?)),
        })
    }))
}

fn of_one(function: &Function, array: &ArrayRef, site: &Site) -> Result<ArrayRef> {
    match function {
        Function::Length => lengths(array, site),
        Function::LengthBytes => byte_lengths(array, site),
        Function::Lower => {
            relettered(array, <[u8]>::make_ascii_lowercase, |text, out| out.push_str(&text.to_lowercase()), site)
        }
        Function::Upper => {
            relettered(array, <[u8]>::make_ascii_uppercase, |text, out| out.push_str(&text.to_uppercase()), site)
        }
        Function::Trim => with_text!(array, texts => {
            Ok(Arc::new(texts.iter().map(|text| text.map(str::trim)).collect::<StringArray>()))
        }, else => Err(site.unknown(function))),
        // Most texts are ASCII, and those are normalized as they are.
        Function::Normalize => with_text!(array, texts => {
            let normal = |text: &str| match text.is_ascii() || is_nfc(text) {
                true => text.to_owned(),
                false => text.nfc().collect(),
            };
            Ok(Arc::new(texts.iter().map(|text| text.map(normal)).collect::<StringArray>()))
        }, else => Err(site.unknown(function))),
        other => Err(site.unknown(other)),
    }
}

/// The first and the last constant in a row of widths.
fn widths(offsets: &[i32]) -> Vec<i64> {
    offsets.windows(2).map(|pair| i64::from(pair[1] - pair[0])).collect()
}

fn byte_lengths(array: &ArrayRef, site: &Site) -> Result<ArrayRef> {
    let lengths = match array.data_type() {
        DataType::Utf8 => widths(array.as_string::<i32>().value_offsets()),
        DataType::Binary => widths(array.as_binary::<i32>().value_offsets()),
        _ => with_bytes!(array, values => {
            (0..values.len()).map(|row| known_length(values.value(row).len())).collect()
        }, else => return Err(site.unknown(&"bytes"))),
    };
    Ok(primitive::<Int64Type>(lengths, array.nulls().cloned()))
}

fn known_length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn lengths(array: &ArrayRef, site: &Site) -> Result<ArrayRef> {
    if *array.data_type() == DataType::Utf8 && array.as_string::<i32>().is_ascii() {
        return byte_lengths(array, site);
    }
    let lengths = with_text!(array, texts => {
        (0..texts.len()).map(|row| known_length(characters(texts.value(row)))).collect()
    }, else => return Err(site.unknown(&"text")));
    Ok(primitive::<Int64Type>(lengths, array.nulls().cloned()))
}

/// Characters of a text: bytes that do not continue one.
pub(super) fn characters(text: &str) -> usize {
    text.bytes().filter(|byte| byte & 0xC0 != 0x80).count()
}

/// In another letter case: all at once if every letter is of ASCII, else text by text.
fn relettered(
    array: &ArrayRef,
    ascii: fn(&mut [u8]),
    any: impl Fn(&str, &mut String),
    site: &Site,
) -> Result<ArrayRef> {
    if let Some(texts) = array.as_string_opt::<i32>()
        && texts.is_ascii()
    {
        let offsets = texts.value_offsets();
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        let range = usize::try_from(first).unwrap_or(0)..usize::try_from(last).unwrap_or(0);
        let mut bytes = texts.value_data()[range].to_vec();
        ascii(&mut bytes);
        let offsets = if first == 0 {
            texts.offsets().clone()
        } else {
            OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect())
        };
        return Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), texts.nulls().cloned())?));
    }
    with_text!(array, texts => {
        let mut out = Texts::with_capacity(texts.len(), texts.len() * 8);
        for text in texts.iter() {
            if let Some(text) = text {
                any(text, &mut out.text);
            }
            out.end()?;
        }
        out.finish(array.nulls().cloned())
    }, else => Err(site.unknown(&"text")))
}

/// Texts written one after another.
pub(super) struct Texts {
    /// The text so far; what was added since the last [`Texts::end`] is the next value.
    pub(super) text: String,
    offsets: Vec<i32>,
}

impl Texts {
    pub(super) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { text: String::with_capacity(bytes), offsets }
    }

    /// Ends a value.
    pub(super) fn end(&mut self) -> Result<()> {
        let end = i32::try_from(self.text.len()).map_err(|_| {
            crate::error::Error::new(crate::error::ErrorKind::Overflow, "a column of text grew beyond 2 GiB")
                .advice("use smaller batches")
        })?;
        self.offsets.push(end);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(super) fn finish(self, nulls: Option<arrow_buffer::NullBuffer>) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(self.text.into_bytes()), nulls)?))
    }
}

/// Texts in the usual layout.
pub(super) fn plain(operand: &Operand) -> Result<StringArray> {
    Ok(cast(operand.array(), &DataType::Utf8)?.as_string::<i32>().clone())
}

/// `Contains`, `StartsWith`, `EndsWith`.
fn occurs(function: &Function, operands: &[Operand], site: &Site) -> Result<Operand> {
    let (rows, constant) = shape(operands);
    let needles = plain(&operands[1])?;
    let haystack = &operands[0];
    let bits = with_text!(haystack.array(), texts => {
        let text = |row| texts.value(haystack.at(row)).as_bytes();
        if operands[1].is_constant() {
            let needle = needles.value(0).as_bytes();
            match function {
                Function::Contains => {
                    let finder = Finder::new(needle);
                    BooleanBuffer::collect_bool(rows, |row| finder.find(text(row)).is_some())
                }
                Function::StartsWith => BooleanBuffer::collect_bool(rows, |row| text(row).starts_with(needle)),
                _ => BooleanBuffer::collect_bool(rows, |row| text(row).ends_with(needle)),
            }
        } else {
            let pair = |row| (texts.value(haystack.at(row)), needles.value(row));
            BooleanBuffer::collect_bool(rows, |row| {
                let (text, needle) = pair(row);
                match function {
                    Function::Contains => text.contains(needle),
                    Function::StartsWith => text.starts_with(needle),
                    _ => text.ends_with(needle),
                }
            })
        }
    }, else => return Err(site.unknown(haystack.data_type())));
    Ok(shaped(boolean(bits, common_nulls(operands)), constant))
}
