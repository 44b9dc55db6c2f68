//! WGSL made of the user's typed expressions.
//!
//! A [`Writer`] walks over the steps of a stage and writes straight-line code for one row: each value is a `let`, with a
//! second one that says whether it is there. Nothing branches but filters, which end the row; the branches of a choice
//! are all computed, and `live` says which of them was asked for, so that what nobody chose raises no error. What cannot
//! be written so that its bits are those of the CPU is refused, with the reason in one sentence.

mod arithmetic;
mod cast;
mod choose;
mod compare;

use std::fmt::Write as _;

use super::columns::{Columns, Source};
use super::kind::Kind;
use crate::columnar::{DataType, Scalar, SchemaRef};
use crate::expr::{Function, TypedExpr, TypedNode, UnaryOp};
use crate::plan::stage::{NamedExpr, Step};

/// Why something does not run on a device, in one sentence.
pub(super) type Refusal = String;

/// A value of the row at hand, as WGSL.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// An expression that may be repeated: a name or a constant.
    pub(super) text: String,
    /// Whether the value is there: `true`, `false` or a name.
    pub(super) valid: String,
    pub(super) kind: Kind,
}

/// A column between two steps.
#[derive(Debug, Clone)]
struct Slot {
    /// What it is, as an expression on the stage's input.
    expr: TypedExpr,
    /// The value on the device, once it has been written.
    value: Option<Value>,
}

/// Writes the code of one row.
pub(super) struct Writer<'a> {
    columns: &'a mut Columns,
    slots: Vec<Slot>,
    body: String,
    /// Whether the row, or the branch at hand, was asked for.
    live: String,
    next: usize,
    /// What a row that is filtered out gives back.
    dropped: &'static str,
    /// How many values have to be checked: each can make a batch fail.
    pub(super) filters: usize,
    has_text: bool,
}

impl<'a> Writer<'a> {
    /// For rows of this schema. `dropped` is what the function gives back for a row that a filter drops.
    pub(super) fn new(schema: &SchemaRef, columns: &'a mut Columns, dropped: &'static str) -> Self {
        let slots = schema.fields().iter().enumerate();
        let slots = slots.map(|(index, field)| Slot { expr: TypedExpr::column(index, field), value: None }).collect();
        Self {
            columns,
            slots,
            body: String::new(),
            live: "true".to_owned(),
            next: 0,
            dropped,
            filters: 0,
            has_text: false,
        }
    }

    /// The code so far.
    pub(super) fn finish(self) -> String {
        self.body
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "    {line}");
    }

    /// Writes the steps of a stage.
    pub(super) fn steps(&mut self, steps: &[Step]) -> Result<(), Refusal> {
        steps.iter().try_for_each(|step| match step {
            Step::Filter { predicate } => self.filter(predicate),
            Step::Project { columns, .. } => self.project(columns),
            Step::Explode { .. } => Err("it takes lists apart, which only the CPU does".to_owned()),
            Step::Map { .. } => Err("it calls a function of yours, which only the CPU can".to_owned()),
            Step::Validate { .. } => Err("it checks rules, which only the CPU does so far".to_owned()),
            Step::Join(_) | Step::JoinAsof(_) => Err("it joins a table, which only the CPU does so far".to_owned()),
            // The host looks at the times.
            Step::Watermark { .. } => Ok(()),
            Step::Late { .. } => Err("it picks the rows that come too late, which only the CPU does".to_owned()),
        })
    }

    fn filter(&mut self, predicate: &TypedExpr) -> Result<(), Refusal> {
        if self.has_text {
            return Err("it filters after it has made texts, which only the CPU does".to_owned());
        }
        let kept = self.expression(predicate)?;
        let dropped = self.dropped;
        let kept = both(&kept.text, &kept.valid);
        self.line(&format!("if !({kept}) {{ return{dropped}; }}"));
        self.filters += 1;
        Ok(())
    }

    fn project(&mut self, columns: &[NamedExpr]) -> Result<(), Refusal> {
        let mut slots = Vec::with_capacity(columns.len());
        for column in columns {
            slots.push(match column.expr.as_column() {
                Some(index) => self.slots[index].clone(),
                None => {
                    let expr = self.flat(&column.expr);
                    let value = match Kind::of(&column.expr.data_type) {
                        Some(_) => Some(self.expression(&column.expr)?),
                        None => {
                            self.has_text = true;
                            None
                        }
                    };
                    Slot { expr, value }
                }
            });
        }
        self.slots = slots;
        Ok(())
    }

    /// The expression on the stage's input.
    pub(super) fn flat(&self, expr: &TypedExpr) -> TypedExpr {
        expr.replace_columns(&|column| match column.as_column() {
            Some(index) => self.slots[index].expr.clone(),
            None => column.clone(),
        })
    }

    /// What a column between steps is, on the stage's input.
    pub(super) fn source(&self, index: usize) -> &TypedExpr {
        &self.slots[index].expr
    }

    /// How many columns there are at this point.
    pub(super) fn width(&self) -> usize {
        self.slots.len()
    }

    /// The value of a column between steps.
    pub(super) fn slot(&mut self, index: usize) -> Result<Value, Refusal> {
        if let Some(value) = &self.slots[index].value {
            return Ok(value.clone());
        }
        let expr = self.slots[index].expr.clone();
        let value = match (expr.as_column(), Kind::of(&expr.data_type)) {
            (Some(input), Some(kind)) => self.load(Source::Input(input), kind, expr.nullable),
            _ => return Err(format!("`{expr}` is {}, which never travels to a device", said(&expr.data_type))),
        };
        self.slots[index].value = Some(value.clone());
        Ok(value)
    }

    /// Reads a column of the batch.
    pub(super) fn load(&mut self, source: Source, kind: Kind, nullable: bool) -> Value {
        let column = self.columns.place(source, kind);
        let read = match kind {
            Kind::Bool => format!("load_bit({column}u, row)"),
            Kind::Signed(32) => format!("bitcast<i32>(load_whole_32({column}u, row))"),
            // Shifted up and down again: the sign is spread.
            Kind::Signed(bits) => {
                format!("(bitcast<i32>(load_{bits}({column}u, row) << {0}u) >> {0}u)", 32 - bits)
            }
            Kind::Unsigned(32) => format!("load_whole_32({column}u, row)"),
            Kind::Unsigned(bits) => format!("load_{bits}({column}u, row)"),
            Kind::F32 => format!("load_32({column}u, row)"),
            Kind::F64 => format!("load_64({column}u, row)"),
            Kind::I64 | Kind::U64 => format!("load_whole_64({column}u, row)"),
            Kind::I128 => format!("load_whole_128({column}u, row)"),
        };
        let text = self.bind(&read);
        let valid = if nullable { self.bind(&format!("is_valid({column}u, row)")) } else { "true".to_owned() };
        Value { text, valid, kind }
    }

    /// Gives an expression a name.
    pub(super) fn bind(&mut self, text: &str) -> String {
        let name = format!("v{}", self.next);
        self.next += 1;
        self.line(&format!("let {name} = {text};"));
        name
    }

    /// A condition that is bound only if it is more than a name.
    fn bind_condition(&mut self, text: String) -> String {
        if text.contains(['(', ' ', '!']) { self.bind(&text) } else { text }
    }

    /// Whether a value was asked for and is there.
    fn asked(&self, valid: &str) -> String {
        both(&self.live, valid)
    }

    /// Writes the value of an expression.
    pub(super) fn expression(&mut self, expr: &TypedExpr) -> Result<Value, Refusal> {
        if let Some(index) = expr.as_column() {
            return self.slot(index);
        }
        let Some(kind) = Kind::of(&expr.data_type) else {
            return Err(format!("`{expr}` makes {}, which only the CPU does", said(&expr.data_type)));
        };
        if let Some(literal) = expr.as_literal() {
            return constant(literal, kind).ok_or_else(|| self.unknown(expr));
        }
        if expr.children().into_iter().any(|child| Kind::of(&child.data_type).is_none() && !is_null(child)) {
            return Ok(self.load(Source::Hosted(self.flat(expr)), kind, expr.nullable));
        }
        match &expr.node {
            TypedNode::Unary(op, input) => self.unary(expr, *op, input, kind),
            TypedNode::Binary(left, op, right) if op.is_logical() => self.logical(left, *op, right),
            TypedNode::Binary(left, op, right) if op.is_comparison() => self.comparison(left, *op, right),
            TypedNode::Binary(left, op, right) => self.arithmetic(expr, left, *op, right, kind),
            TypedNode::Cast(input, mode) => self.cast(expr, input, *mode, kind),
            TypedNode::Case(branches, otherwise) => self.case(branches, otherwise.as_deref(), kind),
            TypedNode::IsIn(input, members) => self.is_in(expr, input, members),
            TypedNode::Call(function, arguments) => self.call(expr, function, arguments, kind),
            TypedNode::Column(..) | TypedNode::Literal(_) => Err(self.unknown(expr)),
        }
    }

    fn unary(&mut self, expr: &TypedExpr, op: UnaryOp, input: &TypedExpr, kind: Kind) -> Result<Value, Refusal> {
        let value = self.expression(input)?;
        let text = match (op, value.kind) {
            (UnaryOp::IsNull, _) => return Ok(self.condition(&negated(&value.valid), "true")),
            (UnaryOp::IsNotNull, _) => return Ok(self.condition(&value.valid, "true")),
            (UnaryOp::Not, _) => negated(&value.text),
            (UnaryOp::IsNan, Kind::F32) => format!("is_nan_f32({})", value.text),
            (UnaryOp::IsNan, Kind::F64) => format!("is_nan_f64({})", value.text),
            (UnaryOp::Negate, _) => self.negate(&value).ok_or_else(|| self.unknown(expr))?,
            (UnaryOp::IsNan, _) => return Err(self.unknown(expr)),
        };
        let text = self.bind(&text);
        Ok(Value { text, valid: value.valid, kind })
    }

    fn call(
        &mut self,
        expr: &TypedExpr,
        function: &Function,
        inputs: &[TypedExpr],
        kind: Kind,
    ) -> Result<Value, Refusal> {
        match function {
            Function::Coalesce => self.coalesce(inputs, kind),
            Function::Least | Function::Greatest if !kind.is_float() => {
                self.outermost(inputs, kind, matches!(function, Function::Least))
            }
            Function::Abs => self.abs(expr, &inputs[0], kind),
            Function::Round(_) | Function::Floor | Function::Ceil if kind.is_whole() => self.expression(&inputs[0]),
            Function::Truncate(span) => self.truncate(expr, &inputs[0], *span, kind),
            Function::Epoch(unit) => self.epoch(expr, &inputs[0], *unit),
            _ => Err(self.unknown(expr)),
        }
    }

    /// A condition without a value of its own to check.
    fn condition(&mut self, text: &str, valid: &str) -> Value {
        let text = self.bind_condition(text.to_owned());
        Value { text, valid: valid.to_owned(), kind: Kind::Bool }
    }

    /// The reason why an expression is not computed here.
    fn unknown(&self, expr: &TypedExpr) -> Refusal {
        let is_float = |expr: &TypedExpr| expr.data_type.is_floating();
        if is_float(expr) || expr.children().into_iter().any(is_float) {
            return format!("`{expr}` computes with floats, and shader compilers do not promise the bits of the CPU");
        }
        format!("`{expr}` is computed on the CPU only")
    }
}

/// Whether an expression is the null of no type.
fn is_null(expr: &TypedExpr) -> bool {
    expr.as_literal().is_some_and(Scalar::is_null)
}

fn said(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        other => format!("of type {other}"),
    }
}

/// Both conditions.
pub(super) fn both(a: &str, b: &str) -> String {
    match (a, b) {
        ("true", other) | (other, "true") => other.to_owned(),
        ("false", _) | (_, "false") => "false".to_owned(),
        (a, b) => format!("({a} && {b})"),
    }
}

fn negated(a: &str) -> String {
    match a {
        "true" => "false".to_owned(),
        "false" => "true".to_owned(),
        a => format!("!{a}"),
    }
}

/// A literal.
pub(super) fn constant(literal: &Scalar, kind: Kind) -> Option<Value> {
    let valid = "true".to_owned();
    let words = match (literal, kind) {
        (Scalar::Null, kind) => {
            return Some(Value { text: kind.nothing(), valid: "false".to_owned(), kind });
        }
        (Scalar::Boolean(value), Kind::Bool) => vec![u32::from(*value)],
        (Scalar::Float64(value), Kind::F32) => {
            #[expect(clippy::cast_possible_truncation, reason = "a float of 32 bits is held exactly in one of 64")]
            let narrow = *value as f32;
            vec![narrow.to_bits()]
        }
        (Scalar::Float64(value), Kind::F64) => halves(value.to_bits()).to_vec(),
        (Scalar::Decimal128 { unscaled, .. }, Kind::I128) => words_of(*unscaled),
        (Scalar::UInt64(value), Kind::Unsigned(_) | Kind::U64 | Kind::Signed(_) | Kind::I64) => halves(*value).to_vec(),
        (
            Scalar::Int64(value) | Scalar::Timestamp(value, ..) | Scalar::Duration(value, _),
            Kind::Unsigned(_) | Kind::U64 | Kind::Signed(_) | Kind::I64,
        ) => halves(value.cast_unsigned()).to_vec(),
        (Scalar::Date32(value), Kind::Signed(32)) => vec![value.cast_unsigned()],
        _ => return None,
    };
    Some(Value { text: kind.of_words(&words), valid, kind })
}

/// The two words of a number, the low one first.
#[expect(clippy::cast_possible_truncation, reason = "halves of a wider number")]
pub(super) fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// The four words of a decimal.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "halves of a wider number")]
pub(super) fn words_of(value: i128) -> Vec<u32> {
    let bits = value as u128;
    [halves(bits as u64), halves((bits >> 64) as u64)].concat()
}
