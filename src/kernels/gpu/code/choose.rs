//! Values that are chosen: by conditions, by what is there, by what is least.

use super::compare::less;
use super::{Refusal, Value, Writer, both, negated};
use crate::expr::TypedExpr;
use crate::kernels::gpu::kind::Kind;

impl Writer<'_> {
    /// The first branch whose condition is true. Each branch is computed, and asked for only where it is reached.
    pub(super) fn case(
        &mut self,
        branches: &[(TypedExpr, TypedExpr)],
        otherwise: Option<&TypedExpr>,
        kind: Kind,
    ) -> Result<Value, Refusal> {
        let outside = self.live.clone();
        let mut chosen = Vec::with_capacity(branches.len());
        for (condition, value) in branches {
            let reached = self.live.clone();
            let condition = self.expression(condition)?;
            let is_true = self.bind_condition(both(&condition.text, &condition.valid));
            self.live = self.bind_condition(both(&reached, &is_true));
            let value = self.expression(value)?;
            self.live = self.bind_condition(both(&reached, &negated(&is_true)));
            chosen.push((is_true, value));
        }
        let mut result = match otherwise {
            Some(otherwise) => self.expression(otherwise)?,
            None => Value { text: kind.nothing(), valid: "false".to_owned(), kind },
        };
        self.live = outside;
        for (is_true, value) in chosen.into_iter().rev() {
            result = self.select(&result, &value, &is_true);
        }
        Ok(result)
    }

    /// The second value where the condition is true, else the first.
    pub(super) fn select(&mut self, otherwise: &Value, value: &Value, condition: &str) -> Value {
        let text = self.bind(&format!("select({}, {}, {condition})", otherwise.text, value.text));
        let valid = if otherwise.valid == value.valid {
            value.valid.clone()
        } else {
            self.bind(&format!("select({}, {}, {condition})", otherwise.valid, value.valid))
        };
        Value { text, valid, kind: value.kind }
    }

    /// The first value that is there.
    pub(super) fn coalesce(&mut self, inputs: &[TypedExpr], kind: Kind) -> Result<Value, Refusal> {
        let mut result = Value { text: kind.nothing(), valid: "false".to_owned(), kind };
        let values = inputs.iter().map(|input| self.expression(input)).collect::<Result<Vec<_>, _>>()?;
        for value in values.into_iter().rev() {
            let is_there = value.valid.clone();
            result = self.select(&result, &value, &is_there);
        }
        Ok(result)
    }

    /// The least or greatest of several values that are there; the first of equal ones.
    pub(super) fn outermost(&mut self, inputs: &[TypedExpr], kind: Kind, is_least: bool) -> Result<Value, Refusal> {
        let mut best = Value { text: kind.nothing(), valid: "false".to_owned(), kind };
        for input in inputs {
            let value = self.expression(input)?;
            let wins = if is_least { less(&value, &best) } else { less(&best, &value) };
            let wins = match best.valid.as_str() {
                "true" => wins,
                "false" => "true".to_owned(),
                valid => format!("(!{valid} || {wins})"),
            };
            let wins = self.bind_condition(both(&value.valid, &wins));
            best = self.select(&best, &value, &wins);
        }
        Ok(best)
    }
}
