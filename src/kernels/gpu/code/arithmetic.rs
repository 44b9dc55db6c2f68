//! Arithmetic on whole numbers, times and decimals, checked as on the CPU.

use super::{Refusal, Value, Writer, both, words_of};
use crate::columnar::{DataType, TimeUnit};
use crate::expr::{BinaryOp, TypedExpr};
use crate::kernels::gpu::kind::Kind;

/// Below this no sum of two numbers leaves 128 bits: what a decimal may be on the way. A larger one is left to the CPU.
const ON_THE_WAY_MAX: i128 = 1 << 126;

impl Writer<'_> {
    pub(super) fn arithmetic(
        &mut self,
        expr: &TypedExpr,
        left: &TypedExpr,
        op: BinaryOp,
        right: &TypedExpr,
        kind: Kind,
    ) -> Result<Value, Refusal> {
        if kind == Kind::I128 {
            return self.decimals(expr, left, op, right);
        }
        if !kind.is_whole() {
            return Err(self.unknown(expr));
        }
        let (a, b) = (self.expression(left)?, self.expression(right)?);
        let valid = self.bind_condition(both(&a.valid, &b.valid));
        let live = self.asked(&valid);
        if left.data_type == DataType::Date32 {
            return self.days(expr, [&a, &b], op, right, valid, &live);
        }
        if a.kind != kind || b.kind != kind {
            return Err(self.unknown(expr));
        }
        if matches!(op, BinaryOp::FloorDivide | BinaryOp::Modulo) {
            return Ok(self.quotient(&a, op, &b, &valid, &live));
        }
        let name = match op {
            BinaryOp::Add => "add",
            BinaryOp::Subtract => "sub",
            BinaryOp::Multiply => "mul",
            _ => return Err(self.unknown(expr)),
        };
        let (x, y, (least, most)) = (&a.text, &b.text, kind.bounds());
        let text = match kind {
            Kind::Signed(_) => format!("{name}_i32({x}, {y}, {least}, {most}, {live})"),
            Kind::Unsigned(_) if op == BinaryOp::Subtract => format!("sub_u32({x}, {y}, {live})"),
            Kind::Unsigned(_) => format!("{name}_u32({x}, {y}, {most}, {live})"),
            Kind::U64 => format!("{name}_u64({x}, {y}, {live})"),
            _ => format!("{name}_i64({x}, {y}, {live})"),
        };
        let text = self.bind(&text);
        Ok(Value { text, valid, kind })
    }

    /// Two dates give the seconds between them.
    fn days(
        &mut self,
        expr: &TypedExpr,
        [a, b]: [&Value; 2],
        op: BinaryOp,
        right: &TypedExpr,
        valid: String,
        live: &str,
    ) -> Result<Value, Refusal> {
        let is_span = expr.data_type == DataType::Duration(TimeUnit::Second);
        if op != BinaryOp::Subtract || right.data_type != DataType::Date32 || !is_span {
            return Err(self.unknown(expr));
        }
        let days = format!("sub_64(i64_of_i32({}), i64_of_i32({}))", a.text, b.text);
        let text = self.bind(&format!("mul_i64({days}, vec2<u32>(86400u, 0u), {live})"));
        Ok(Value { text, valid, kind: Kind::I64 })
    }

    /// Division that rounds down, and its rest; null by 0.
    fn quotient(&mut self, a: &Value, op: BinaryOp, b: &Value, valid: &str, live: &str) -> Value {
        let wide = |value: &Value| match value.kind {
            Kind::Signed(_) => format!("i64_of_i32({})", value.text),
            Kind::Unsigned(_) => format!("vec2<u32>({}, 0u)", value.text),
            _ => value.text.clone(),
        };
        let (x, y, (least, most)) = (wide(a), wide(b), a.kind.bounds());
        let is_signed = matches!(a.kind, Kind::Signed(_) | Kind::I64);
        let result = match (op, is_signed) {
            (BinaryOp::FloorDivide, true) => format!("floor_divide_i64({x}, {y}, {live})"),
            (BinaryOp::FloorDivide, false) => format!("floor_divide_u64({x}, {y})"),
            (_, true) => format!("modulo_i64({x}, {y})"),
            (_, false) => format!("modulo_u64({x}, {y})"),
        };
        let text = match a.kind {
            Kind::Signed(_) => format!("i32_of_i64({result}, {least}, {most}, {live})"),
            Kind::Unsigned(_) => format!("{result}.x"),
            _ => result,
        };
        let text = self.bind(&text);
        let divides = match b.kind {
            Kind::I64 | Kind::U64 => format!("any({} != vec2<u32>())", b.text),
            Kind::Signed(_) => format!("({} != 0i)", b.text),
            _ => format!("({} != 0u)", b.text),
        };
        let valid = self.bind(&both(valid, &divides));
        Value { text, valid, kind: a.kind }
    }

    pub(super) fn negate(&mut self, value: &Value) -> Option<String> {
        let (x, live, (least, most)) = (&value.text, self.asked(&value.valid), value.kind.bounds());
        Some(match value.kind {
            Kind::Signed(_) => format!("sub_i32(0i, {x}, {least}, {most}, {live})"),
            Kind::I64 => format!("sub_i64(vec2<u32>(), {x}, {live})"),
            Kind::I128 => format!("negate_128({x})"),
            Kind::F32 => format!("({x} ^ 0x80000000u)"),
            Kind::F64 => format!("({x} ^ vec2<u32>(0u, 0x80000000u))"),
            Kind::Bool | Kind::Unsigned(_) | Kind::U64 => return None,
        })
    }

    pub(super) fn abs(&mut self, expr: &TypedExpr, input: &TypedExpr, kind: Kind) -> Result<Value, Refusal> {
        let value = self.expression(input)?;
        let x = &value.text;
        let text = match kind {
            Kind::Unsigned(_) | Kind::U64 => return Ok(value),
            Kind::F32 => format!("({x} & 0x7fffffffu)"),
            Kind::F64 => format!("({x} & vec2<u32>(0xffffffffu, 0x7fffffffu))"),
            Kind::I128 => format!("magnitude_128({x})"),
            Kind::Signed(_) | Kind::I64 => {
                // Only numbers below 0 are turned round, and only they can be too large.
                let below = match kind {
                    Kind::I64 => format!("is_negative({x})"),
                    _ => format!("({x} < 0i)"),
                };
                let below = self.bind(&below);
                let outside = self.live.clone();
                self.live = self.bind_condition(both(&outside, &below));
                let turned = self.negate(&value);
                self.live = outside;
                let turned = turned.ok_or_else(|| self.unknown(expr))?;
                format!("select({x}, {turned}, {below})")
            }
            Kind::Bool => return Err(self.unknown(expr)),
        };
        let text = self.bind(&text);
        Ok(Value { text, valid: value.valid, kind })
    }

    /// Decimals: each side is brought to the scale of the result, so that nothing is rounded.
    fn decimals(
        &mut self,
        expr: &TypedExpr,
        left: &TypedExpr,
        op: BinaryOp,
        right: &TypedExpr,
    ) -> Result<Value, Refusal> {
        let (DataType::Decimal128(_, left_scale), DataType::Decimal128(_, right_scale)) =
            (&left.data_type, &right.data_type)
        else {
            return Err(self.unknown(expr));
        };
        let DataType::Decimal128(precision, scale) = expr.data_type else { return Err(self.unknown(expr)) };
        let (a, b) = (self.expression(left)?, self.expression(right)?);
        let valid = self.bind_condition(both(&a.valid, &b.valid));
        let live = self.asked(&valid);
        let bound = first_too_long(precision).ok_or_else(|| self.unknown(expr))?;
        let text = match op {
            BinaryOp::Multiply if scale == left_scale + right_scale => {
                format!("mul_i128({}, {}, {bound}, {live})", a.text, b.text)
            }
            BinaryOp::Add | BinaryOp::Subtract if scale >= *left_scale && scale >= *right_scale => {
                let x = self.rescaled(&a.text, scale - left_scale, &live).ok_or_else(|| self.unknown(expr))?;
                let y = self.rescaled(&b.text, scale - right_scale, &live).ok_or_else(|| self.unknown(expr))?;
                let y = if op == BinaryOp::Subtract { format!("negate_128({y})") } else { y };
                format!("add_i128({x}, {y}, {bound}, {live})")
            }
            _ => return Err(self.unknown(expr)),
        };
        let text = self.bind(&text);
        Ok(Value { text, valid, kind: Kind::I128 })
    }

    /// A decimal with so many more digits after the point.
    fn rescaled(&mut self, text: &str, digits: i8, live: &str) -> Option<String> {
        let way = Kind::I128.of_words(&words_of(ON_THE_WAY_MAX));
        if digits == 0 {
            return Some(self.bind(&format!("within_i128({text}, {way}, {live})")));
        }
        let step = Kind::I128.of_words(&words_of(10_i128.checked_pow(u32::try_from(digits).ok()?)?));
        Some(self.bind(&format!("mul_i128({text}, {step}, {way}, {live})")))
    }
}

/// The first whole number of more digits than this.
pub(super) fn first_too_long(precision: u8) -> Option<String> {
    Some(Kind::I128.of_words(&words_of(10_i128.checked_pow(u32::from(precision))?)))
}
