//! Rows that break rules, counted and, as the verdict says, let through, left out or kept aside.
//!
//! # Contract
//! 1. A condition is broken by a row for which it is false; null does not break it. A row is not found in a table if none
//!    of its rows has these keys; a null among the keys is not looked for and breaks nothing. *(tested)*
//! 2. Every rule counts every row that breaks it, whatever other rules say of the row. *(tested)*
//! 3. Rows stay in order. A row goes on unless it breaks a rule whose verdict is `drop` or harder; the hardest verdict on
//!    it decides, and among equals the first rule. *(tested)*
//! 4. A row that is put in quarantine is kept as it came to the rules. *(tested)*
//!
//! The fast twin is [`crate::kernels::cpu::validate`].

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, BooleanArray};
use arrow_cast::display::array_value_to_string;
use arrow_select::filter::filter_record_batch;

use super::{join, reference as expressions};
use crate::columnar::{RecordBatch, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::rules::{RuleId, RuleLabel, TypedRule, TypedTest, Verdict};
use crate::plan::stage::Registry;

/// Rows that broke a rule and are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    /// The rows, in their order.
    pub rows: RecordBatch,
    /// For each the name of the rule that says so.
    pub rules: Vec<Arc<str>>,
}

/// What rules found in the rows of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// How many rows broke each rule; rules that no row broke may be missing.
    pub broken: BTreeMap<RuleId, u64>,
    /// Rows left out.
    pub dropped: u64,
    /// Rows left out and kept.
    pub quarantined: u64,
    /// These rows, in their order.
    pub aside: Vec<Broken>,
}

impl Findings {
    /// Adds what was found in rows that come later.
    pub fn absorb(&mut self, mut later: Self) {
        for (rule, rows) in later.broken {
            *self.broken.entry(rule).or_default() += rows;
        }
        self.dropped += later.dropped;
        self.quarantined += later.quarantined;
        self.aside.append(&mut later.aside);
    }
}

/// Looks at the rows one by one, and at each with one rule after the other.
///
/// # Errors
/// `BadRecord` for the first row that breaks a rule whose verdict is `fail`; else as for [`super::project::reference`].
pub fn reference(batch: &RecordBatch, rules: &[TypedRule], registry: &Registry) -> Result<(RecordBatch, Findings)> {
    let mut findings = Findings::default();
    let mut goes_on = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let mut verdict = Verdict::Keep;
        let mut by = None;
        for rule in rules {
            if !breaks(batch, row, &rule.test, registry)? {
                continue;
            }
            *findings.broken.entry(rule.label.id).or_default() += 1;
            if rule.label.verdict > verdict {
                (verdict, by) = (rule.label.verdict, Some(&rule.label));
            }
        }
        goes_on.push(verdict < Verdict::Drop);
        match (verdict, by) {
            (Verdict::Drop, _) => findings.dropped += 1,
            (Verdict::Quarantine, Some(rule)) => {
                findings.quarantined += 1;
                findings.aside.push(Broken { rows: batch.slice(row, 1), rules: vec![Arc::clone(&rule.name)] });
            }
            (Verdict::Fail, Some(rule)) => {
                return Err(broken(rule, batch, row));
            }
            _ => {}
        }
    }
    Ok((filter_record_batch(batch, &BooleanArray::from(goes_on))?, findings))
}

fn breaks(batch: &RecordBatch, row: usize, test: &TypedTest, registry: &Registry) -> Result<bool> {
    match test {
        TypedTest::Holds(condition) => Ok(expressions::value(condition, batch, row)? == Scalar::Boolean(false)),
        TypedTest::Found(found) => {
            let is_null = |&key: &usize| batch.column(key).is_null(row);
            if found.left_keys.iter().any(is_null) {
                return Ok(false);
            }
            let (_, table) = registry.table(found.table)?;
            Ok(join::reference(found, table, &batch.slice(row, 1))?.num_rows() == 0)
        }
    }
}

/// The error of a rule whose verdict is `fail`, with the row.
pub(super) fn broken(rule: &RuleLabel, batch: &RecordBatch, row: usize) -> Error {
    let schema = batch.schema();
    let values = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let value = if column.is_null(row) { Ok("null".to_owned()) } else { array_value_to_string(column, row) };
        format!("{} = {}", field.name(), value.unwrap_or_else(|_| "?".to_owned()))
    });
    let values = values.collect::<Vec<_>>().join(", ");
    Error::new(ErrorKind::BadRecord, format!("a row breaks the rule \"{}\": {values}", rule.name))
        .advice("mend the data, or give the rule the verdict keep, drop or quarantine")
}
