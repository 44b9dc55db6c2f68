//! Comparisons and three-valued logic.

use super::{Refusal, Value, Writer, both, constant};
use crate::columnar::Scalar;
use crate::expr::{BinaryOp, TypedExpr};
use crate::kernels::gpu::kind::Kind;

impl Writer<'_> {
    pub(super) fn logical(&mut self, left: &TypedExpr, op: BinaryOp, right: &TypedExpr) -> Result<Value, Refusal> {
        let (a, b) = (self.expression(left)?, self.expression(right)?);
        // The answer is known if both operands are, or if one of them decides.
        let (text, decides) = if op == BinaryOp::And {
            (format!("{} && {}", a.text, b.text), ("!", ""))
        } else {
            (format!("{} || {}", a.text, b.text), ("", ""))
        };
        if (a.valid.as_str(), b.valid.as_str()) == ("true", "true") {
            return Ok(self.condition(&format!("({text})"), "true"));
        }
        let decides = |value: &Value| format!("({} && {}{})", value.valid, decides.0, value.text);
        let valid = format!("({} && {}) || {} || {}", a.valid, b.valid, decides(&a), decides(&b));
        let valid = self.bind(&valid);
        // What stands under a null must not decide.
        let unit = if op == BinaryOp::And { "||" } else { "&&" };
        let known = |value: &Value| match (value.valid.as_str(), op) {
            ("true", _) => value.text.clone(),
            (valid, BinaryOp::And) => format!("(!{valid} {unit} {})", value.text),
            (valid, _) => format!("({valid} {unit} {})", value.text),
        };
        let joined = if op == BinaryOp::And { "&&" } else { "||" };
        Ok(self.condition(&format!("({} {joined} {})", known(&a), known(&b)), &valid))
    }

    pub(super) fn comparison(&mut self, left: &TypedExpr, op: BinaryOp, right: &TypedExpr) -> Result<Value, Refusal> {
        let (a, b) = (self.expression(left)?, self.expression(right)?);
        let text = match op {
            BinaryOp::Eq => equal(&a, &b),
            BinaryOp::NotEq => format!("!{}", equal(&a, &b)),
            BinaryOp::Lt => less(&a, &b),
            BinaryOp::GtEq => format!("!{}", less(&a, &b)),
            BinaryOp::Gt => less(&b, &a),
            _ => format!("!{}", less(&b, &a)),
        };
        let valid = self.bind_condition(both(&a.valid, &b.valid));
        Ok(self.condition(&text, &valid))
    }

    pub(super) fn is_in(&mut self, expr: &TypedExpr, input: &TypedExpr, members: &[Scalar]) -> Result<Value, Refusal> {
        let value = self.expression(input)?;
        let mut found = Vec::new();
        for member in members.iter().filter(|member| !member.is_null()) {
            let member = constant(member, value.kind).ok_or_else(|| self.unknown(expr))?;
            found.push(equal(&value, &member));
        }
        let found = if found.is_empty() { "false".to_owned() } else { self.bind(&found.join(" || ")) };
        let valid = if members.iter().any(Scalar::is_null) {
            self.bind_condition(both(&value.valid, &found))
        } else {
            value.valid
        };
        Ok(Value { text: found, valid, kind: Kind::Bool })
    }
}

/// Whether two values of one kind are equal.
pub(super) fn equal(a: &Value, b: &Value) -> String {
    let (x, y) = (&a.text, &b.text);
    match a.kind {
        Kind::F32 => format!("(key_f32({x}) == key_f32({y}))"),
        Kind::F64 => format!("all(key_f64({x}) == key_f64({y}))"),
        Kind::I64 | Kind::U64 | Kind::I128 => format!("all({x} == {y})"),
        _ => format!("({x} == {y})"),
    }
}

/// Whether the first of two values of one kind is less.
pub(super) fn less(a: &Value, b: &Value) -> String {
    let (x, y) = (&a.text, &b.text);
    match a.kind {
        Kind::Bool => format!("(!{x} && {y})"),
        Kind::Signed(_) | Kind::Unsigned(_) => format!("({x} < {y})"),
        Kind::I64 => format!("less_i64({x}, {y})"),
        Kind::U64 => format!("less_u64({x}, {y})"),
        Kind::F32 => format!("less_f32({x}, {y})"),
        Kind::F64 => format!("less_f64({x}, {y})"),
        Kind::I128 => format!("less_i128({x}, {y})"),
    }
}
