//! Rows that break rules: the fast twin of [`crate::kernels::validate`].
//!
//! Each rule gives a bit a row. While no bit is set, which is what data one can trust looks like, a batch goes on as it
//! came; else bits of rules with one verdict are put together, and rows are picked out once.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_buffer::BooleanBuffer;

use super::filter::Mask;
use super::join::PreparedJoin;
use super::project::Program;
use crate::columnar::{DataType, RecordBatch};
use crate::error::Result;
use crate::kernels::validate::{Broken, Findings, broken};
use crate::plan::rules::{RuleLabel, TypedRule, TypedTest, Verdict};
use crate::plan::stage::Registry;

/// Rules, ready to look at many batches.
pub struct Validate {
    rules: Vec<(RuleLabel, Ready)>,
}

/// What a rule looks at, ready to run.
enum Ready {
    Holds(Program),
    Found(Box<PreparedJoin>),
}

impl Validate {
    /// Does all work that does not depend on data.
    ///
    /// # Errors
    /// As for [`Program::prepare`] and [`PreparedJoin::prepare`].
    pub fn prepare(rules: &[TypedRule], registry: &Registry) -> Result<Self> {
        let ready = |rule: &TypedRule| {
            let ready = match &rule.test {
                TypedTest::Holds(condition) => Ready::Holds(Program::prepare(condition)?),
                TypedTest::Found(join) => {
                    let table = registry.table(join.table)?.1;
                    Ready::Found(Box::new(PreparedJoin::prepare(join, table)?))
                }
            };
            Ok((rule.label.clone(), ready))
        };
        Ok(Self { rules: rules.iter().map(ready).collect::<Result<_>>()? })
    }

    /// The rows that go on. What was found is added to `findings`.
    ///
    /// # Errors
    /// `BadRecord` for the first row that breaks a rule whose verdict is `fail`; else as for [`Program::evaluate`].
    pub fn apply(&self, batch: &RecordBatch, findings: &mut Findings) -> Result<RecordBatch> {
        let mut harsh: Vec<(&RuleLabel, BooleanBuffer)> = Vec::new();
        for (rule, ready) in &self.rules {
            let bits = ready.broken(batch)?;
            let rows = bits.count_set_bits();
            if rows > 0 {
                *findings.broken.entry(rule.id).or_default() += rows as u64;
                harsh.extend((rule.verdict > Verdict::Keep).then_some((rule, bits)));
            }
        }
        if harsh.is_empty() {
            return Ok(batch.clone());
        }
        let of = |verdict: Verdict| {
            let bits = harsh.iter().filter(|(rule, _)| rule.verdict == verdict).map(|(_, bits)| bits.clone());
            bits.reduce(|one, other| &one | &other).unwrap_or_else(|| BooleanBuffer::new_unset(batch.num_rows()))
        };
        if let Some(row) = of(Verdict::Fail).set_indices().next() {
            let rule = first(&harsh, Verdict::Fail, row).map(|rule| broken(rule, batch, row));
            return rule.map_or_else(|| Ok(batch.clone()), Err);
        }
        let aside = of(Verdict::Quarantine);
        let left_out = &aside | &of(Verdict::Drop);
        findings.quarantined += aside.count_set_bits() as u64;
        findings.dropped += (left_out.count_set_bits() - aside.count_set_bits()) as u64;
        if aside.count_set_bits() > 0 {
            let rule = |row| first(&harsh, Verdict::Quarantine, row).map(|rule| Arc::clone(&rule.name));
            let rules = aside.set_indices().filter_map(rule).collect();
            findings.aside.push(Broken { rows: Mask::new(aside).apply(batch)?, rules });
        }
        Mask::new(!&left_out).apply(batch)
    }
}

/// The first rule of a verdict that a row breaks.
fn first<'a>(harsh: &[(&'a RuleLabel, BooleanBuffer)], verdict: Verdict, row: usize) -> Option<&'a RuleLabel> {
    harsh.iter().find(|(rule, bits)| rule.verdict == verdict && bits.value(row)).map(|(rule, _)| *rule)
}

impl Ready {
    /// A bit for each row that breaks the rule.
    fn broken(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        match self {
            Self::Holds(program) => {
                let answers = program.evaluate(batch)?;
                if *answers.data_type() == DataType::Null {
                    return Ok(BooleanBuffer::new_unset(batch.num_rows()));
                }
                let answers = answers.as_boolean();
                let denied = !answers.values();
                Ok(match answers.nulls() {
                    Some(nulls) => &denied & nulls.inner(),
                    None => denied,
                })
            }
            Self::Found(join) => join.missing(batch),
        }
    }
}

impl std::fmt::Debug for Validate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.rules.iter().map(|(rule, _)| Arc::clone(&rule.name)).collect::<Vec<_>>();
        f.debug_struct("Validate").field("rules", &names).finish()
    }
}
