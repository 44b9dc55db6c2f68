//! Taking a table apart, key by key: what is missing, of the wrong type or unknown is a mistake with a place.

use super::document::{Entry, Node, Spot, Table, Value};
use crate::error::{Error, Result};
use crate::suggest;

/// A table that is being taken apart.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    /// What the table is, for messages: `a [[source]]`.
    what: String,
    pub(super) spot: &'a Spot,
    table: &'a Table,
}

impl<'a> Keys<'a> {
    pub(super) fn of(node: &'a Node, what: impl Into<String>) -> Result<Self> {
        match &node.value {
            Value::Table(table) => Ok(Self { what: what.into(), spot: &node.spot, table }),
            _ => Err(node.expected("a table such as { key = value }")),
        }
    }

    /// Says more exactly what the table is.
    pub(super) fn is(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// Refuses all keys but these.
    pub(super) fn only(&self, known: &[&[&'static str]]) -> Result<()> {
        let known = || known.iter().flat_map(|keys| keys.iter().copied());
        let unknown = self.table.0.iter().find(|entry| known().all(|key| key != entry.value.key));
        unknown.map_or(Ok(()), |entry| {
            let wanted = entry.value.key.as_str();
            let error = Error::invalid_query(format!("{} has no key \"{wanted}\"", self.what));
            let known = known().collect::<Vec<_>>();
            Err(entry.spot.blame(error.advice(suggest::advice(wanted, "keys", known.iter().copied()))))
        })
    }

    pub(super) fn optional(&self, key: &str) -> Option<&'a Node> {
        self.table.get(key)
    }

    pub(super) fn required(&self, key: &str) -> Result<&'a Node> {
        self.optional(key).ok_or_else(|| {
            self.spot.blame(Error::invalid_query(format!("{} has no \"{key}\"", self.what)).advice("add it"))
        })
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.optional(key).map(Node::boolean).transpose()
    }

    pub(super) fn bytes(&self, key: &str) -> Result<Option<u64>> {
        self.optional(key).map(Node::bytes).transpose()
    }

    /// A whole number from `least` on.
    pub(super) fn whole(&self, key: &str, least: u64) -> Result<Option<u64>> {
        self.optional(key).map(|node| node.whole(least)).transpose()
    }

    pub(super) fn choice<T: Clone>(&self, key: &str, choices: &[(&'static str, T)]) -> Result<Option<T>> {
        self.optional(key).map(|node| node.choice(choices)).transpose()
    }

    /// The tables of a `[[key]]`.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<&'a Node>> {
        match self.optional(key) {
            None => Ok(Vec::new()),
            Some(Node { value: Value::Array(items), .. }) => Ok(items.iter().collect()),
            Some(node) => Err(node.expected(&format!("tables headed [[{key}]]"))),
        }
    }

    /// What the table describes, or the mistake, said to be here.
    pub(super) fn built<T>(&self, built: Result<T>) -> Result<T> {
        built.map_err(|error| self.spot.blame(error))
    }
}

/// A value as one of Rust's types.
impl Node {
    /// The mistake that the value is of another kind than `wanted`.
    pub(super) fn expected(&self, wanted: &str) -> Error {
        let found = match &self.value {
            Value::Text(text) => format!("the text \"{text}\""),
            Value::Integer(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Boolean(value) => value.to_string(),
            Value::Time(text) => format!("the time {text}"),
            Value::Array(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        };
        self.spot.mistake(format!("\"{}\" takes {wanted}, not {found}", self.key))
    }

    pub(super) fn text(&self) -> Result<&str> {
        match &self.value {
            Value::Text(text) if text.is_empty() => Err(self.spot.mistake(format!("\"{}\" is empty", self.key))),
            Value::Text(text) => Ok(text),
            _ => Err(self.expected("a text in quotes")),
        }
    }

    /// A text that may be empty: a mark of CSV.
    pub(super) fn mark(&self) -> Result<String> {
        match &self.value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.expected("a text in quotes")),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool> {
        match self.value {
            Value::Boolean(value) => Ok(value),
            _ => Err(self.expected("true or false")),
        }
    }

    /// `true`, for keys that say all by being there.
    pub(super) fn presence(&self) -> Result<()> {
        match self.value {
            Value::Boolean(true) => Ok(()),
            _ => Err(self.expected("true")),
        }
    }

    /// A whole number from `least` on.
    pub(super) fn whole(&self, least: u64) -> Result<u64> {
        match self.value {
            Value::Integer(value) if u64::try_from(value).is_ok_and(|value| value >= least) => Ok(value.unsigned_abs()),
            _ => Err(self.expected(&format!("a whole number from {least} on"))),
        }
    }

    /// A whole number from `least` on that counts things in memory.
    pub(super) fn count(&self, least: u64) -> Result<usize> {
        usize::try_from(self.whole(least)?).map_err(|_| self.expected("a smaller number"))
    }

    /// A number from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "0 and 1 are exact")]
    pub(super) fn share(&self) -> Result<f64> {
        match self.value {
            Value::Float(value) if (0.0..=1.0).contains(&value) => Ok(value),
            Value::Integer(value @ 0..=1) => Ok(value as f64),
            _ => Err(self.expected("a number from 0 to 1")),
        }
    }

    /// Pairs of columns, of the stream and of what it is joined with; a single name stands for both.
    pub(super) fn pairs(&self) -> Result<Vec<(String, String)>> {
        match &self.value {
            Value::Table(pairs) => {
                let pair = |entry: &Entry| Ok((entry.value.key.clone(), entry.value.text()?.to_owned()));
                pairs.0.iter().map(pair).collect()
            }
            _ => {
                let same = |node: &Self| node.text().map(|name| (name.to_owned(), name.to_owned()));
                self.texts()?.into_iter().map(same).collect()
            }
        }
    }

    /// Texts in brackets, or a single one without.
    pub(super) fn texts(&self) -> Result<Vec<&Self>> {
        let nodes = match &self.value {
            Value::Text(_) => vec![self],
            Value::Array(items) if !items.is_empty() => items.iter().collect(),
            Value::Array(_) => return Err(self.spot.mistake(format!("\"{}\" is an empty list", self.key))),
            _ => return Err(self.expected("a text or a list of texts")),
        };
        nodes.iter().try_for_each(|node| node.text().map(drop))?;
        Ok(nodes)
    }

    /// One of these words.
    pub(super) fn choice<T: Clone>(&self, choices: &[(&'static str, T)]) -> Result<T> {
        let word = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| value.clone());
        found.ok_or_else(|| {
            let names = choices.iter().map(|(name, _)| *name);
            let error = Error::invalid_query(format!("\"{}\" cannot be \"{word}\"", self.key));
            self.spot.blame(error.advice(suggest::advice(word, "choices", names)))
        })
    }

    /// The mistake that the name said here is not known.
    pub(super) fn unknown_name<'a>(
        &self,
        what: &str,
        plural: &str,
        name: &str,
        names: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Error {
        let error = Error::invalid_query(format!("there is no {what} \"{name}\""));
        self.spot.blame(error.advice(suggest::advice(name, plural, names)))
    }
}
