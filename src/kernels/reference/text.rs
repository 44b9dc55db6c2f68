//! Functions of text.

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::At;
use crate::columnar::Scalar;
use crate::error::Result;
use crate::expr::Function;

pub(super) fn call(function: &Function, values: &[Scalar], at: &At<'_>) -> Result<Scalar> {
    use Function as F;
    let count = |count: usize| Scalar::Int64(i64::try_from(count).unwrap_or(i64::MAX));
    if let (F::LengthBytes, Scalar::Binary(bytes)) = (function, &values[0]) {
        return Ok(count(bytes.len()));
    }
    let unknown = || at.unknown(function);
    let text = |index: usize| match values.get(index) {
        Some(Scalar::Utf8(text)) => Ok(text.as_str()),
        _ => Err(unknown()),
    };
    let number = |index: usize| match values.get(index) {
        Some(Scalar::Int64(number)) => Ok(*number),
        _ => Err(unknown()),
    };
    let regex = |pattern: &str| Regex::new(pattern).map_err(|_| unknown());
    let first = text(0)?;
    Ok(match function {
        F::Length => count(first.chars().count()),
        F::LengthBytes => count(first.len()),
        F::Lower => first.to_lowercase().into(),
        F::Upper => first.to_uppercase().into(),
        F::Trim => first.trim().into(),
        F::Normalize => first.nfc().collect::<String>().into(),
        F::Contains => first.contains(text(1)?).into(),
        F::StartsWith => first.starts_with(text(1)?).into(),
        F::EndsWith => first.ends_with(text(1)?).into(),
        F::Concat => (0..values.len()).map(text).collect::<Result<String>>()?.into(),
        F::Substring => substring(first, number(1)?, number(2)?).into(),
        F::Split(separator) => Scalar::List(split(first, separator.as_deref())),
        F::Matches(pattern) => regex(pattern)?.is_match(first).into(),
        F::Extract(pattern, group) => {
            let captures = regex(pattern)?.captures(first);
            let found = captures.and_then(|groups| groups.get(usize::try_from(*group).unwrap_or(usize::MAX)));
            found.map(|found| found.as_str().to_owned()).into()
        }
        F::Replace => first.replace(text(1)?, text(2)?).into(),
        F::ReplaceRegex(pattern, with) => regex(pattern)?.replace_all(first, with.as_str()).into_owned().into(),
        _ => return Err(unknown()),
    })
}

/// The characters whose places, counted from `start`, lie below `length`.
fn substring(text: &str, start: i64, length: i64) -> String {
    let characters: Vec<char> = text.chars().collect();
    let start = if start < 0 { i128::from(start) + characters.len() as i128 } else { start.into() };
    let wanted = start..start + i128::from(length.max(0));
    characters.iter().zip(0..).filter(|(_, place)| wanted.contains(place)).map(|(character, _)| character).collect()
}

fn split(text: &str, separator: Option<&str>) -> Vec<Scalar> {
    match separator {
        None => text.split_whitespace().map(Scalar::from).collect(),
        Some(_) if text.is_empty() => vec![Scalar::from("")],
        Some("") => text.chars().map(|character| Scalar::from(character.to_string())).collect(),
        Some(separator) => text.split(separator).map(Scalar::from).collect(),
    }
}
