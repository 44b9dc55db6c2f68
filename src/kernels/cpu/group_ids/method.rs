//! How group ids are found, in words: what `explain` says before a run is possible, and after it was chosen.

use std::fmt;

use arrow_schema::DataType;

use crate::columnar::data_type;

/// The way from the values of a column, or from pairs of ids, to ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// A table with an entry for each of so many integers.
    Range(usize),
    /// None: the place of each of so many integers is its id.
    RangePlace(usize),
    /// A hash table of values of fixed width.
    Table,
    /// A hash table of texts or bytes.
    Bytes,
    /// The codes of a dictionary, each looked up once.
    Codes,
    /// A place for each of the few values there are.
    Places,
    /// A table with an entry for each possible pair.
    Grid(usize),
    /// A hash table of pairs.
    PairTable,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(integers) => write!(f, "a range of {integers} integers"),
            Self::RangePlace(integers) => write!(f, "its place in a range of {integers} integers"),
            Self::Table => f.write_str("a hash table"),
            Self::Bytes => f.write_str("a hash table of bytes"),
            Self::Codes => f.write_str("dictionary codes"),
            Self::Places => f.write_str("a place a value"),
            Self::Grid(pairs) => write!(f, "a grid of {pairs} pairs"),
            Self::PairTable => f.write_str("a hash table of pairs"),
        }
    }
}

/// How ids of keys of these types can be found; which way is taken, the data decide.
pub(crate) fn possible<'a>(keys: impl IntoIterator<Item = (&'a str, &'a DataType)>) -> Option<String> {
    let way = |data_type: &DataType| match data_type {
        DataType::Boolean | DataType::Null => "a place a value",
        DataType::Dictionary(..) => "dictionary codes",
        other if other.is_integer() || other.is_temporal() => "a range of integers or a hash table",
        other if data_type::is_text(other) || data_type::is_binary(other) => "a hash table of bytes",
        _ => "a hash table",
    };
    let ways: Vec<String> = keys.into_iter().map(|(name, data_type)| format!("{name} by {}", way(data_type))).collect();
    let pairs = if ways.len() > 1 { ", pairs of ids by a grid or a hash table" } else { "" };
    (!ways.is_empty()).then(|| format!("group ids: {}{pairs}, as the rows turn out", ways.join(", ")))
}

/// How ids were found last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chosen {
    /// For each key its own way, and the way of the pairs that it ends.
    pub(crate) columns: Vec<(Method, Option<Method>)>,
    pub(crate) groups: usize,
    /// Rows that were put off, to be dealt out by hash at the end.
    pub(crate) put_off: usize,
}

impl Chosen {
    /// In words, with the names of the keys.
    pub(crate) fn text<'a>(&self, names: impl Iterator<Item = &'a str>) -> String {
        let column = |(name, (own, pairs)): (&str, &(Method, Option<Method>))| match pairs {
            None => format!("{name} by {own}"),
            Some(pairs) => format!("{name} by {own}, paired by {pairs}"),
        };
        let columns: Vec<String> = names.zip(&self.columns).map(column).collect();
        let put_off = match self.put_off {
            0 => String::new(),
            rows => format!(", {rows} rows put off and dealt out by hash"),
        };
        format!("group ids of the latest run: {}; {} groups in a partition{put_off}", columns.join(", "), self.groups)
    }
}
