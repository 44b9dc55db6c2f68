//! Expressions over numbers, a few hundred rows at a time, in 64-bit lanes: what several sums have in common is computed
//! once, and nothing but the lanes is written.
//!
//! Whole numbers and decimals are 64-bit integers here as long as that can be proven: a column is looked at while it is read,
//! and says which magnitude its values do not exceed; results have bounds made of those of their operands, and where one
//! could leave 64 bits or its type, nothing is computed. Rows are then never looked at one by one.

use super::lanes::{self, Lane};
use super::source::Source;
use crate::columnar::{DataType, Scalar};
use crate::expr::{BinaryOp, TypedExpr, TypedNode};
use crate::kernels::cpu::reduce::few::{Made, NUMBER_MAX};

/// Expressions, in an order in which each stands behind those that it is made of.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    /// By its place among the sources.
    Column(usize, Type),
    Whole(i64),
    /// The bits of a float.
    Float(u64),
    Wholes(Step, Scaled, Scaled, Limit),
    Floats(Step, usize, usize),
}

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Whole,
    Float,
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// An operand and what it is multiplied by first, so that both have one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scaled {
    node: usize,
    by: u32,
}

/// No magnitude may be above it.
type Limit = u64;

/// The rows that are computed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
    /// So many from this one on.
    Span(usize, usize),
    /// These.
    Numbered(&'a [u32]),
}

impl Rows<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Rows::Span(_, len) => *len,
            Rows::Numbered(numbers) => numbers.len(),
        }
    }
}

/// Room for the results of each expression.
#[derive(Debug, Default)]
pub(super) struct Room(Vec<Lane>);

impl Numbers {
    /// Adds an expression, if it can be computed here, and gives its place. `source` gives the place of a column among the sources.
    pub(super) fn compile(
        &mut self,
        expr: &TypedExpr,
        source: &mut impl FnMut(usize) -> Option<usize>,
    ) -> Option<usize> {
        let is_float = expr.data_type == DataType::Float64;
        let node = match &expr.node {
            TypedNode::Column(index, _) => {
                let kind = match &expr.data_type {
                    DataType::Float32 | DataType::Float64 => Type::Float,
                    other if limit(other).is_some() => Type::Whole,
                    _ => return None,
                };
                Node::Column(source(*index)?, kind)
            }
            TypedNode::Literal(Scalar::Float64(value)) if is_float => Node::Float(value.to_bits()),
            TypedNode::Literal(Scalar::Int64(value)) if expr.data_type.is_integer() => Node::Whole(*value),
            TypedNode::Literal(Scalar::Decimal128 { unscaled, scale, .. }) => match &expr.data_type {
                DataType::Decimal128(_, of) if of == scale => Node::Whole(i64::try_from(*unscaled).ok()?),
                _ => return None,
            },
            TypedNode::Cast(input, _) if widens(&input.data_type, &expr.data_type) => {
                return self.compile(input, source);
            }
            TypedNode::Binary(left, op, right) => {
                let step = match op {
                    BinaryOp::Add => Step::Add,
                    BinaryOp::Subtract => Step::Subtract,
                    BinaryOp::Multiply => Step::Multiply,
                    BinaryOp::Divide if is_float => Step::Divide,
                    _ => return None,
                };
                let types = [&left.data_type, &right.data_type, &expr.data_type];
                let factors = if is_float { (1, 1) } else { factors(step, types)? };
                if is_float && types.iter().any(|one| **one != DataType::Float64) {
                    return None;
                }
                let (left, right) = (self.compile(left, source)?, self.compile(right, source)?);
                if is_float {
                    Node::Floats(step, left, right)
                } else {
                    let (left, right) = (self.scaled(left, factors.0)?, self.scaled(right, factors.1)?);
                    Node::Wholes(step, left, right, limit(&expr.data_type)?)
                }
            }
            _ => return None,
        };
        Some(self.place(node))
    }

    /// The place of a node, which may be there already.
    fn place(&mut self, node: Node) -> usize {
        self.nodes.iter().position(|other| *other == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    /// An operand and its factor; a constant is multiplied at once.
    fn scaled(&mut self, node: usize, by: u32) -> Option<Scaled> {
        match self.nodes[node] {
            Node::Whole(value) => Some(Scaled { node: self.place(Node::Whole(value.checked_mul(by.into())?)), by: 1 }),
            _ => Some(Scaled { node, by }),
        }
    }

    /// How many steps it takes to compute all.
    pub(super) fn steps(&self) -> usize {
        self.nodes.len()
    }

    /// Computes all expressions for up to [`ROWS`](crate::kernels::cpu::reduce::few::ROWS) rows; false if a result may not fit. Calls
    /// `between` before each step.
    pub(super) fn compute<'a>(
        &self,
        sources: &[Source<'a>],
        rows: Rows<'_>,
        room: &mut Room,
        mut between: impl FnMut(usize),
    ) -> bool {
        room.0.resize_with(self.nodes.len(), Lane::default);
        (0..self.nodes.len()).all(|place| {
            between(place);
            let (before, rest) = room.0.split_at_mut(place);
            let lane = &mut rest[0];
            match self.nodes[place] {
                Node::Column(column, _) => {
                    let most = match (sources[column], rows) {
                        // These are lanes as they lie there.
                        (Source::Int64(values), Rows::Span(from, len)) => Some(lanes::reach(&values[from..from + len])),
                        (Source::Float64(_), Rows::Span(..)) => Some(0),
                        (source, _) => lanes::read(source, rows, lane),
                    };
                    most.is_some_and(|most| lane.note(most))
                }
                Node::Whole(value) => lane.fill_wholes(value, rows.len()),
                Node::Float(bits) => lane.fill_floats(f64::from_bits(bits), rows.len()),
                Node::Wholes(step, left, right, limit) => {
                    const HALF: u64 = 1 << 31;
                    let [(a, most_a), (b, most_b)] =
                        [left, right].map(|one| match self.made(one.node, sources, rows, before) {
                            Made::Wholes(numbers, most) => (numbers, most),
                            Made::Floats(_) => (&[][..], u64::MAX),
                        });
                    let by = |most: u64, by: u32| most.checked_mul(by.into());
                    let most = match step {
                        Step::Multiply => most_a.checked_mul(most_b),
                        _ => by(most_a, left.by).zip(by(most_b, right.by)).and_then(|(a, b)| a.checked_add(b)),
                    };
                    let Some(most) = most.filter(|&most| most <= limit.min(NUMBER_MAX)) else { return false };
                    let are_halves = most_a < HALF && most_b < HALF;
                    lanes::wholes(step, a, b, (left.by.into(), right.by.into()), are_halves, lane);
                    lane.note(most)
                }
                Node::Floats(step, left, right) => {
                    let [a, b] = [left, right].map(|one| match self.made(one, sources, rows, before) {
                        Made::Floats(floats) => floats,
                        Made::Wholes(..) => &[],
                    });
                    lanes::floats(step, a, b, lane);
                    a.len() == rows.len() && b.len() == rows.len()
                }
            }
        })
    }

    /// What the expression at this place gave for the rows.
    pub(super) fn result<'a: 'b, 'b>(
        &self,
        place: usize,
        sources: &[Source<'a>],
        rows: Rows<'_>,
        room: &'b Room,
    ) -> Made<'b> {
        self.made(place, sources, rows, &room.0)
    }

    fn made<'a: 'b, 'b>(&self, place: usize, sources: &[Source<'a>], rows: Rows<'_>, room: &'b [Lane]) -> Made<'b> {
        let (lane, len) = (&room[place], rows.len());
        if let (Node::Column(column, _), Rows::Span(from, len)) = (self.nodes[place], rows) {
            match sources[column] {
                Source::Int64(values) => return Made::Wholes(&values[from..from + len], lane.most),
                Source::Float64(values) => return Made::Floats(&values[from..from + len]),
                _ => {}
            }
        }
        match self.nodes[place] {
            Node::Column(_, Type::Float) | Node::Float(_) | Node::Floats(..) => Made::Floats(&lane.floats[..len]),
            Node::Column(_, Type::Whole) | Node::Whole(_) | Node::Wholes(..) => {
                Made::Wholes(&lane.wholes[..len], lane.most)
            }
        }
    }
}

/// The magnitude that values of this type do not exceed on either side of zero; none if they cannot be lanes.
fn limit(data_type: &DataType) -> Option<Limit> {
    Some(match data_type {
        DataType::Int8 => i8::MAX.unsigned_abs().into(),
        DataType::Int16 => i16::MAX.unsigned_abs().into(),
        DataType::Int32 => i32::MAX.unsigned_abs().into(),
        DataType::Int64 => i64::MAX.unsigned_abs(),
        DataType::UInt8 => u8::MAX.into(),
        DataType::UInt16 => u16::MAX.into(),
        DataType::UInt32 => u32::MAX.into(),
        DataType::Decimal128(precision, _) => {
            10_u64.checked_pow((*precision).into()).map_or(u64::MAX, |bound| bound - 1)
        }
        _ => return None,
    })
}

/// Whether a cast changes nothing but the width.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32};
    matches!(
        (from, to),
        (Float32, Float64)
            | (Int8 | UInt8, Int16 | Int32 | Int64)
            | (Int16 | UInt16, Int32 | Int64)
            | (Int32 | UInt32, Int64)
            | (UInt8, UInt16 | UInt32)
            | (UInt16, UInt32)
    )
}

/// What both sides are multiplied by first: by these the result is a whole number of its own unit, without being rounded.
fn factors(step: Step, [left, right, result]: [&DataType; 3]) -> Option<(u32, u32)> {
    if let (DataType::Decimal128(_, left), DataType::Decimal128(_, right), DataType::Decimal128(_, result)) =
        (left, right, result)
    {
        let raised = |scale: &i8| 10_u32.checked_pow(u32::try_from(i16::from(*result) - i16::from(*scale)).ok()?);
        return match step {
            Step::Multiply => (left.checked_add(*right) == Some(*result)).then_some((1, 1)),
            _ if result == left.max(right) => Some((raised(left)?, raised(right)?)),
            _ => None,
        };
    }
    // Differences of numbers without signs may leave their type below zero, where no bound tells it.
    let is_signed = matches!(result, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64);
    (is_signed && left == result && right == result).then_some((1, 1))
}
