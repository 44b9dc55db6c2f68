//! A TOML document as a tree whose every value knows where it stands, so that mistakes can be pointed at.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};

/// Where something was said: a line and column of a file, or an argument of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    origin: Arc<str>,
    /// Counted from 1, in characters; none for what is too short to need it.
    position: Option<(usize, usize)>,
}

impl Spot {
    /// The error, said to be here.
    pub(super) fn blame(&self, error: Error) -> Error {
        error.context(self.to_string())
    }

    /// A mistake, made here.
    pub(super) fn mistake(&self, message: impl Into<String>) -> Error {
        self.blame(Error::invalid_query(message))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{}:{line}:{column}", self.origin),
            None => f.write_str(&self.origin),
        }
    }
}

/// A value, the key it was given for, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) key: String,
    pub(super) spot: Spot,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Time(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys and values, in the order in which they were written.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where the key stands.
    pub(super) spot: Spot,
    pub(super) value: Node,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|entry| entry.value.key == key).map(|entry| &entry.value)
    }
}

/// Reads a document. `origin` is the file's name, for messages.
pub(super) fn parse(origin: &str, text: &str) -> Result<Node> {
    let texts = Text { origin: origin.into(), text, is_file: true };
    let root = DeTable::parse(text).map_err(|error| texts.syntax_error(&error))?;
    let span = root.span();
    texts.node("", span, DeValue::Table(root.into_inner()))
}

/// Reads a single value: what stands behind `--set key=`. Text needs no quotes there.
pub(super) fn parse_value(argument: &str, key: &str, text: &str) -> Result<Node> {
    let texts = Text { origin: argument.into(), text, is_file: false };
    match DeValue::parse(text) {
        Ok(value) => {
            let span = value.span();
            texts.node(key, span, value.into_inner())
        }
        Err(_) => Ok(Node { key: key.to_owned(), spot: texts.spot(0), value: Value::Text(text.to_owned()) }),
    }
}

struct Text<'a> {
    origin: Arc<str>,
    text: &'a str,
    is_file: bool,
}

impl Text<'_> {
    fn spot(&self, byte: usize) -> Spot {
        let position = self.is_file.then(|| {
            let before = self.text.get(..byte).unwrap_or(self.text);
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
        });
        Spot { origin: Arc::clone(&self.origin), position }
    }

    fn syntax_error(&self, error: &toml::de::Error) -> Error {
        let byte = error.span().map_or(0, |span| span.start);
        self.spot(byte).mistake(format!("this is not TOML: {}", error.message()))
    }

    fn node(&self, key: &str, span: Range<usize>, value: DeValue<'_>) -> Result<Node> {
        let spot = self.spot(span.start);
        let value = match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.map_err(|_| spot.mistake(format!("\"{key}\" does not fit 64 bits")))?)
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().parse();
                Value::Float(parsed.map_err(|_| spot.mistake(format!("\"{key}\" is not a number")))?)
            }
            DeValue::Datetime(time) => Value::Time(time.to_string()),
            DeValue::Array(items) => {
                let items = items.into_iter().map(|item| self.spanned(key, item));
                Value::Array(items.collect::<Result<_>>()?)
            }
            DeValue::Table(table) => Value::Table(self.table(table)?),
        };
        Ok(Node { key: key.to_owned(), spot, value })
    }

    fn spanned(&self, key: &str, value: Spanned<DeValue<'_>>) -> Result<Node> {
        let span = value.span();
        self.node(key, span, value.into_inner())
    }

    fn table(&self, table: DeTable<'_>) -> Result<Table> {
        let mut entries = table.into_iter().collect::<Vec<_>>();
        // The parser sorts by name; people mean the order in which they wrote.
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
            let spot = self.spot(key.span().start);
            Ok(Entry { spot, value: self.spanned(key.get_ref(), value)? })
        };
        Ok(Table(entries.into_iter().map(entry).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_line_and_column_and_keys_keep_their_order() {
        let node = parse("p.toml", "zeta = 1\nalpha = { y = \"ä\", x = 2 }\n").unwrap();
        let Value::Table(table) = &node.value else { panic!("a table") };
        assert_eq!(table.0.iter().map(|entry| entry.value.key.as_str()).collect::<Vec<_>>(), ["zeta", "alpha"]);
        let Value::Table(inner) = &table.get("alpha").unwrap().value else { panic!("a table") };
        assert_eq!(inner.get("x").unwrap().spot.to_string(), "p.toml:2:24");
    }

    #[test]
    fn what_is_not_toml_is_pointed_at() {
        let error = parse("p.toml", "name = \"a\"\ntrigger = \n").unwrap_err().to_string();
        assert!(error.starts_with("p.toml:2:"), "{error}");
        assert!(error.contains("this is not TOML"), "{error}");
    }

    #[test]
    fn set_values_need_no_quotes() {
        assert!(matches!(parse_value("--set a=1", "a", "1").unwrap().value, Value::Integer(1)));
        assert!(matches!(parse_value("--set a=1s", "a", "1s").unwrap().value, Value::Text(text) if text == "1s"));
    }
}
