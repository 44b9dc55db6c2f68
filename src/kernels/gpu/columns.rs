//! Which columns travel to the device, and what they are made of on the host.
//!
//! Texts never travel. A condition on a text, or any value of fixed width that is made of one, is computed on the host
//! and travels instead of it; a text that rows are grouped by travels as a code, one that is compared as its rank.

use super::kind::Kind;
use crate::expr::TypedExpr;

/// The columns of a batch on the device, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns(pub(super) Vec<Column>);

/// A column on the device.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) source: Source,
    pub(super) kind: Kind,
}

/// What a column is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// The column of the stage's input as it is, by its index.
    Input(usize),
    /// A value made of texts, by an expression on the stage's input.
    Hosted(TypedExpr),
    /// For each row the number of a value made on the host: equal values have equal numbers.
    Coded(TypedExpr),
    /// For each row the rank of a value made on the host, among those of the batch; null where it is null.
    Ranked(TypedExpr),
}

impl Columns {
    /// The place of the column of this source, which is added if it is new.
    pub(super) fn place(&mut self, source: Source, kind: Kind) -> usize {
        let found = self.0.iter().position(|column| column.source == source);
        found.unwrap_or_else(|| {
            self.0.push(Column { source, kind });
            self.0.len() - 1
        })
    }
}
