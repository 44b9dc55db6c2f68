//! Functions that take texts apart or put them together: regular expressions, replacing, substrings, splitting.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use memchr::memmem::Finder;
use regex::{Regex, escape};

use super::operand::{Operand, boolean, common_nulls, natives, once_per_value, shape, shaped, valid};
use super::text::{Texts, plain, with_text};
use super::{Apply, Site};
use crate::columnar::DataType;
use crate::error::{Error, Result};
use crate::expr::Function;

/// A regular expression, compiled.
pub(crate) fn compile_regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        Error::invalid_query(format!("\"{pattern}\" is not a regular expression: {error}")).because(error)
    })
}

pub(super) fn prepare(function: &Function) -> Result<Apply> {
    Ok(match function {
        Function::Matches(pattern) => {
            let (regex, literal) = (compile_regex(pattern)?, escape(pattern) == *pattern);
            let finder = Finder::new(pattern).into_owned();
            with_texts(move |operands, site| {
                let array = operands[0].array();
                let bits = with_text!(array, texts => match literal {
                    true => collect(texts.len(), |row| finder.find(texts.value(row).as_bytes()).is_some()),
                    false => collect(texts.len(), |row| regex.is_match(texts.value(row))),
                }, else => return Err(site.unknown(&"text")));
                Ok(operands[0].with(boolean(bits, array.nulls().cloned())))
            })
        }
        Function::Extract(pattern, group) => {
            let (regex, group) = (compile_regex(pattern)?, usize::try_from(*group).unwrap_or(usize::MAX));
            with_texts(move |operands, site| extract(&operands[0], &regex, group, site))
        }
        Function::ReplaceRegex(pattern, with) => {
            let (regex, with) = (compile_regex(pattern)?, with.clone());
            with_texts(move |operands, site| {
                each_text(operands, site, |text, _, out| out.push_str(&regex.replace_all(text, with.as_str())))
            })
        }
        Function::Replace => with_texts(replace),
        Function::Substring => with_texts(substring),
        _ => with_texts(concat),
    })
}

fn collect(rows: usize, test: impl FnMut(usize) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows, test)
}

/// A kernel on texts without dictionaries and without null constants.
fn with_texts(kernel: impl Fn(&[Operand], &Site) -> Result<Operand> + Send + Sync + 'static) -> Apply {
    Box::new(move |operands, _, site| {
        if operands.iter().any(Operand::is_null_constant) {
            return Ok(Operand::null(&site.data_type));
        }
        once_per_value(operands, |operands| kernel(operands, site))
    })
}

/// Writes a text for each row at which no operand is null.
fn each_text(operands: &[Operand], site: &Site, write: impl Fn(&str, usize, &mut String)) -> Result<Operand> {
    let (rows, constant) = shape(operands);
    let nulls = common_nulls(operands);
    let first = &operands[0];
    let answer = with_text!(first.array(), texts => {
        let mut out = Texts::with_capacity(rows, rows * 8);
        for row in 0..rows {
            if valid(nulls.as_ref(), row) {
                write(texts.value(first.at(row)), row, &mut out.text);
            }
            out.end()?;
        }
        out.finish(nulls)?
    }, else => return Err(site.unknown(first.data_type())));
    Ok(shaped(answer, constant))
}

fn extract(operand: &Operand, regex: &Regex, group: usize, site: &Site) -> Result<Operand> {
    let array = operand.array();
    let mut places = regex.capture_locations();
    let answer: ArrayRef = with_text!(array, texts => {
        let part = |text| {
            if group == 0 {
                return regex.find(text).map(|found| found.as_str());
            }
            regex.captures_read(&mut places, text)?;
            places.get(group).map(|(start, end)| &text[start..end])
        };
        let mut part = part;
        Arc::new(texts.iter().map(|text| text.and_then(&mut part)).collect::<StringArray>())
    }, else => return Err(site.unknown(operand.data_type())));
    Ok(operand.with(answer))
}

fn replace(operands: &[Operand], site: &Site) -> Result<Operand> {
    let (from, to) = (plain(&operands[1])?, plain(&operands[2])?);
    if !operands[1].is_constant() || from.value(0).is_empty() {
        return each_text(operands, site, |text, row, out| {
            out.push_str(&text.replace(from.value(operands[1].at(row)), to.value(operands[2].at(row))));
        });
    }
    let finder = Finder::new(from.value(0));
    each_text(operands, site, |text, row, out| {
        let mut copied = 0;
        for found in finder.find_iter(text.as_bytes()) {
            out.push_str(&text[copied..found]);
            out.push_str(to.value(operands[2].at(row)));
            copied = found + from.value(0).len();
        }
        out.push_str(&text[copied..]);
    })
}

fn substring(operands: &[Operand], site: &Site) -> Result<Operand> {
    let starts = natives::<arrow_array::types::Int64Type>(operands[1].array())?;
    let lengths = natives::<arrow_array::types::Int64Type>(operands[2].array())?;
    each_text(operands, site, |text, row, out| {
        out.push_str(characters_from(text, starts[operands[1].at(row)], lengths[operands[2].at(row)]));
    })
}

/// The part of a text from a character on; a negative start counts from the end.
fn characters_from(text: &str, start: i64, length: i64) -> &str {
    let ascii = text.is_ascii();
    let count = if ascii { text.len() } else { super::text::characters(text) };
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let first = if start < 0 { start.saturating_add(count) } else { start };
    let last = first.saturating_add(length.max(0)).clamp(0, count);
    let first = first.clamp(0, count);
    let byte_at = |character: i64| {
        let character = usize::try_from(character).unwrap_or(0);
        if ascii { character } else { text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte) }
    };
    if first >= last { "" } else { &text[byte_at(first)..byte_at(last)] }
}

fn concat(operands: &[Operand], _site: &Site) -> Result<Operand> {
    let (rows, constant) = shape(operands);
    let nulls = common_nulls(operands);
    let parts = operands.iter().map(plain).collect::<Result<Vec<_>>>()?;
    let bytes = operands.iter().zip(&parts).map(|(operand, part)| match operand {
        Operand::Constant(_) => part.value(0).len() * rows,
        Operand::Column(_) => part.value_data().len(),
    });
    let mut out = Texts::with_capacity(rows, bytes.sum());
    for row in 0..rows {
        if valid(nulls.as_ref(), row) {
            for (operand, part) in operands.iter().zip(&parts) {
                out.text.push_str(part.value(operand.at(row)));
            }
        }
        out.end()?;
    }
    Ok(shaped(out.finish(nulls)?, constant))
}

pub(super) fn prepare_split(function: &Function, to: &DataType) -> Result<Apply> {
    let (Function::Split(separator), DataType::List(item)) = (function, to) else {
        return Err(Error::internal(format!("a text was to be split into {to}")));
    };
    let (separator, item) = (separator.clone(), Arc::clone(item));
    Ok(with_texts(move |operands, site| {
        let array = operands[0].array();
        let (parts, ends) = split(array, separator.as_deref(), site)?;
        let list =
            ListArray::try_new(Arc::clone(&item), OffsetBuffer::new(ends.into()), parts, array.nulls().cloned())?;
        Ok(operands[0].with(Arc::new(list)))
    }))
}

/// All parts of all texts, and where those of each text end.
fn split(array: &ArrayRef, separator: Option<&str>, site: &Site) -> Result<(ArrayRef, Vec<i32>)> {
    let mut parts = Texts::with_capacity(array.len() * 4, array.len() * 16);
    let mut ends = Vec::with_capacity(array.len() + 1);
    ends.push(0);
    let finder = Finder::new(separator.unwrap_or(" "));
    with_text!(array, texts => {
        for text in texts.iter() {
            if let Some(text) = text {
                split_one(text, separator, &finder, &mut parts)?;
            }
            // Never above the bytes of the text plus the rows, which `Texts` keeps below 2 GiB.
            ends.push(i32::try_from(parts.len()).unwrap_or(i32::MAX));
        }
    }, else => return Err(site.unknown(array.data_type())));
    Ok((parts.finish(None::<NullBuffer>)?, ends))
}

fn split_one(text: &str, separator: Option<&str>, finder: &Finder<'_>, parts: &mut Texts) -> Result<()> {
    let mut add = |part: &str| {
        parts.text.push_str(part);
        parts.end()
    };
    match separator {
        None => text.split_whitespace().try_for_each(add),
        Some(_) if text.is_empty() => add(text),
        Some("") => text.chars().try_for_each(|character| add(character.encode_utf8(&mut [0; 4]))),
        Some(separator) => {
            let mut start = 0;
            for found in finder.find_iter(text.as_bytes()) {
                add(&text[start..found])?;
                start = found + separator.len();
            }
            add(&text[start..])
        }
    }
}
