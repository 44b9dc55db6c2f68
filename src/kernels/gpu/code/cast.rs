//! Casts between whole numbers, times, conditions and decimals, and those to floats that are exact or rounded once.

use super::arithmetic::first_too_long;
use super::{Refusal, Value, Writer, both, halves, words_of};
use crate::columnar::{DataType, TimeUnit};
use crate::expr::{CastMode, TypedExpr};
use crate::kernels::gpu::kind::Kind;

const DAY: i64 = 86_400_000_000_000;

fn nanos_per(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Nanoseconds of a time's unit, and its zone if its clocks differ from those of UTC.
fn time(data_type: &DataType) -> Option<(i64, Option<&str>)> {
    match data_type {
        DataType::Date32 => Some((DAY, None)),
        DataType::Timestamp(unit, zone) => Some((nanos_per(*unit), zone.as_deref().filter(|zone| *zone != "UTC"))),
        DataType::Duration(unit) => Some((nanos_per(*unit), None)),
        _ => None,
    }
}

fn pair(value: i64) -> String {
    Kind::I64.of_words(&halves(value.cast_unsigned()))
}

impl Writer<'_> {
    pub(super) fn cast(
        &mut self,
        expr: &TypedExpr,
        input: &TypedExpr,
        mode: CastMode,
        kind: Kind,
    ) -> Result<Value, Refusal> {
        let value = self.expression(input)?;
        if input.data_type == expr.data_type {
            return Ok(value);
        }
        if let (Some(from), Some(to)) = (time(&input.data_type), time(&expr.data_type)) {
            return self.between_times(expr, &value, from, to, mode, kind);
        }
        let text = match (value.kind, kind) {
            (Kind::F32, Kind::F64) => format!("f64_of_f32({})", value.text),
            (Kind::F32, Kind::Bool) => format!("((({}) & 0x7fffffffu) != 0u)", value.text),
            (Kind::F64, Kind::Bool) => {
                format!("any(({} & vec2<u32>(0xffffffffu, 0x7fffffffu)) != vec2<u32>())", value.text)
            }
            (Kind::Bool, Kind::F64) => format!("select(vec2<u32>(), vec2<u32>(0u, 0x3ff00000u), {})", value.text),
            (Kind::I128, Kind::I128) => return self.between_decimals(expr, input, &value, mode),
            (from, _) if from.is_float() || from == Kind::I128 => return Err(self.unknown(expr)),
            (from, to) => {
                let is_unsigned = !matches!(from, Kind::Signed(_) | Kind::I64);
                let wide = widened(&value);
                match to {
                    Kind::Bool => format!("any({wide} != vec2<u32>())"),
                    Kind::F64 if is_unsigned => format!("f64_of_u64({wide})"),
                    Kind::F64 => format!("f64_of_i64({wide})"),
                    Kind::I128 => return self.decimal(expr, &value, is_unsigned, mode),
                    Kind::F32 => return Err(self.unknown(expr)),
                    _ => {
                        let wide = self.bind(&wide);
                        return Ok(self.narrowed(&wide, is_unsigned, &value.valid, mode, kind));
                    }
                }
            }
        };
        let text = self.bind(&text);
        Ok(Value { text, valid: value.valid, kind })
    }

    /// A pair as a whole number of another kind, if it fits.
    fn narrowed(&mut self, wide: &str, is_unsigned: bool, valid: &str, mode: CastMode, kind: Kind) -> Value {
        let (least, most) = kind.bounds();
        let fits = match (kind, is_unsigned) {
            (Kind::Signed(_), false) => format!("fits_i32({wide}, {least}, {most})"),
            (Kind::Signed(_), true) => format!("({wide}.y == 0u && {wide}.x <= bitcast<u32>({most}))"),
            (Kind::Unsigned(_), _) => format!("({wide}.y == 0u && {wide}.x <= {most})"),
            (Kind::I64, true) | (Kind::U64, false) => format!("!is_negative({wide})"),
            _ => "true".to_owned(),
        };
        let text = match kind {
            Kind::Signed(_) => format!("bitcast<i32>({wide}.x)"),
            Kind::Unsigned(_) => format!("{wide}.x"),
            _ => wide.to_owned(),
        };
        let text = self.bind(&text);
        let valid = self.fitting(&fits, valid, mode);
        Value { text, valid, kind }
    }

    /// What becomes of a value that may not fit: an error, or null.
    fn fitting(&mut self, fits: &str, valid: &str, mode: CastMode) -> String {
        if fits == "true" {
            return valid.to_owned();
        }
        let fits = self.bind(fits);
        match mode {
            CastMode::Checked => {
                let live = self.asked(valid);
                self.line(&format!("fail_if(!{fits}, {live});"));
                valid.to_owned()
            }
            CastMode::Lossy => self.bind(&both(valid, &fits)),
        }
    }

    /// Only the unit changes: between zones the clocks decide, which is the CPU's business.
    fn between_times(
        &mut self,
        expr: &TypedExpr,
        value: &Value,
        (from, from_zone): (i64, Option<&str>),
        (to, to_zone): (i64, Option<&str>),
        mode: CastMode,
        kind: Kind,
    ) -> Result<Value, Refusal> {
        if from_zone != to_zone {
            return Err(format!("`{expr}` changes the time zone, which only the CPU does"));
        }
        let wide = self.bind(&widened(value));
        let live = self.asked(&value.valid);
        let scaled = match (from / to, to / from) {
            (1, 1) => wide,
            (0, divisor) => self.bind(&format!("floor_divide_i64({wide}, {}, {live})", pair(divisor))),
            (_, _) if mode == CastMode::Lossy => return Err(self.unknown(expr)),
            (factor, _) => self.bind(&format!("mul_i64({wide}, {}, {live})", pair(factor))),
        };
        Ok(self.narrowed(&scaled, false, &value.valid, mode, kind))
    }

    fn decimal(
        &mut self,
        expr: &TypedExpr,
        value: &Value,
        is_unsigned: bool,
        mode: CastMode,
    ) -> Result<Value, Refusal> {
        let DataType::Decimal128(precision, scale) = expr.data_type else { return Err(self.unknown(expr)) };
        let wide = widened(value);
        let wide = if is_unsigned { format!("vec4<u32>({wide}, 0u, 0u)") } else { format!("i128_of_i64({wide})") };
        self.scaled_decimal(expr, &wide, &value.valid, (precision, scale), mode)
    }

    fn between_decimals(
        &mut self,
        expr: &TypedExpr,
        input: &TypedExpr,
        value: &Value,
        mode: CastMode,
    ) -> Result<Value, Refusal> {
        match (&input.data_type, &expr.data_type) {
            (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) if to >= from => {
                self.scaled_decimal(expr, &value.text, &value.valid, (*precision, to - from), mode)
            }
            _ => Err(format!("`{expr}` rounds a decimal, which only the CPU does")),
        }
    }

    /// A whole number with so many more digits, as a decimal of a precision.
    fn scaled_decimal(
        &mut self,
        expr: &TypedExpr,
        text: &str,
        valid: &str,
        (precision, digits): (u8, i8),
        mode: CastMode,
    ) -> Result<Value, Refusal> {
        let step = u32::try_from(digits).ok().and_then(|digits| 10_i128.checked_pow(digits));
        let (Some(step), Some(bound), CastMode::Checked) = (step, first_too_long(precision), mode) else {
            return Err(self.unknown(expr));
        };
        let (step, live) = (Kind::I128.of_words(&words_of(step)), self.asked(valid));
        let text = self.bind(&format!("mul_i128({text}, {step}, {bound}, {live})"));
        Ok(Value { text, valid: valid.to_owned(), kind: Kind::I128 })
    }

    /// The start of the span that holds a time, for clocks that show UTC.
    pub(super) fn truncate(
        &mut self,
        expr: &TypedExpr,
        input: &TypedExpr,
        span: i64,
        kind: Kind,
    ) -> Result<Value, Refusal> {
        let value = self.expression(input)?;
        let Some((unit, None)) = time(&input.data_type) else {
            return Err(format!("`{expr}` follows the clocks of a time zone, which only the CPU does"));
        };
        if span % unit != 0 {
            return Err(self.unknown(expr));
        }
        let wide = self.bind(&widened(&value));
        let rest = self.bind(&format!("modulo_i64({wide}, {})", pair(span / unit)));
        let live = self.asked(&value.valid);
        let start = self.bind(&format!("sub_i64({wide}, {rest}, {live})"));
        Ok(self.narrowed(&start, false, &value.valid, CastMode::Checked, kind))
    }

    /// Units since the epoch, or in a span, rounded down.
    pub(super) fn epoch(&mut self, expr: &TypedExpr, input: &TypedExpr, unit: TimeUnit) -> Result<Value, Refusal> {
        let value = self.expression(input)?;
        let Some((from, _)) = time(&input.data_type) else { return Err(self.unknown(expr)) };
        self.between_times(expr, &value, (from, None), (nanos_per(unit), None), CastMode::Checked, Kind::I64)
    }
}

/// A whole number or a condition as a pair of words.
fn widened(value: &Value) -> String {
    match value.kind {
        Kind::Bool => format!("vec2<u32>(select(0u, 1u, {}), 0u)", value.text),
        Kind::Signed(_) => format!("i64_of_i32({})", value.text),
        Kind::Unsigned(_) => format!("vec2<u32>({}, 0u)", value.text),
        _ => value.text.clone(),
    }
}
