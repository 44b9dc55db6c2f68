//! What feeds the slots of groups: the values of an aggregate under its filter, and the code that takes a row's value in.
//!
//! Aggregates of the same values under the same filter share a [`Feed`]. Texts and bytes are kept by their rank among
//! those of the batch, which the host knows.

use super::code::{Refusal, Value, Writer};
use super::columns::{Columns, Source};
use super::groups::ROWS;
use super::kind::Kind;
use super::plan::counts;
use crate::columnar::{DataType, data_type};
use crate::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode, UnaryOp};

/// Values under a filter, and the slots that they feed.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    input: Option<TypedExpr>,
    filter: Option<TypedExpr>,
    /// Whether values are ranks of what never travels.
    is_ranked: bool,
    /// The slot that counts the values.
    pub(super) seen: usize,
    pub(super) sum: Option<Sum>,
    /// Beside a sum.
    pub(super) squares: Option<Squares>,
    pub(super) min: Option<usize>,
    pub(super) max: Option<usize>,
    /// Of the values, as expressions on the stage's input.
    pub(super) flat: Option<TypedExpr>,
}

/// Where a sum lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sum {
    /// Limbs in two's complement.
    Whole { first: usize, limbs: usize },
    /// Flags at a slot; and the first of three numbers of the header: the first limb, how many, and the grid.
    Float { flags: usize, number: usize },
}

/// Where a sum of squares lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Squares {
    /// Limbs.
    Whole { first: usize, limbs: usize },
    /// The slot that counts what is not finite; and the first of two numbers of the header: the first limb, and how many.
    Float { odd: usize, number: usize },
}

/// What becomes of slots when copies are added together, as `shaders/state_place.wgsl` reads it: what, the first, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gather(pub(super) u32, pub(super) usize, pub(super) usize);

impl Gather {
    pub(super) const SUM: u32 = 0;
    /// The numbers of the header that say which slots.
    pub(super) const FLOAT_SUM: u32 = 1;
    pub(super) const MOST: u32 = 2;
    pub(super) const FLAGS: u32 = 3;
}

/// What an aggregate takes from its feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Count,
    Total,
    /// Sum and sum of squares.
    Moments,
    Min,
    Max,
}

/// The feed of an aggregate, which is shared or new, and what it takes from it.
pub(super) fn part(aggregate: &TypedAggregate, feeds: &mut Vec<Feed>) -> Result<(usize, Part), Refusal> {
    let part = match &aggregate.function {
        AggregateFunction::Len | AggregateFunction::Count => Part::Count,
        AggregateFunction::Sum | AggregateFunction::Mean => Part::Total,
        AggregateFunction::Variance(_) | AggregateFunction::StdDev(_) => Part::Moments,
        AggregateFunction::Min | AggregateFunction::All => Part::Min,
        AggregateFunction::Max | AggregateFunction::Any => Part::Max,
        other => return Err(format!("\"{}\" is a {}, which is made on the CPU only", aggregate.name, other.name())),
    };
    let input = if aggregate.function == AggregateFunction::Len { None } else { aggregate.input.clone() };
    let found = feeds.iter().position(|feed| feed.input == input && feed.filter == aggregate.filter);
    let found = found.unwrap_or_else(|| {
        let filter = aggregate.filter.clone();
        feeds.push(Feed {
            input,
            filter,
            is_ranked: false,
            seen: ROWS,
            sum: None,
            squares: None,
            min: None,
            max: None,
            flat: None,
        });
        feeds.len() - 1
    });
    let feed = &mut feeds[found];
    feed.is_ranked |= matches!(part, Part::Min | Part::Max) && feed.data_type().is_some_and(has_order_of_bytes);
    Ok((found, part))
}

/// Whether values are compared byte by byte.
fn has_order_of_bytes(values: &DataType) -> bool {
    match values {
        DataType::Dictionary(_, values) => has_order_of_bytes(values),
        other => data_type::is_text(other) || data_type::is_binary(other),
    }
}

impl Feed {
    /// How values travel.
    pub(super) fn kind(&self) -> Option<Kind> {
        if self.is_ranked { Some(Kind::Unsigned(32)) } else { self.data_type().and_then(Kind::of) }
    }

    /// Whether values are ranks among those of a batch.
    pub(super) fn is_ranked(&self) -> bool {
        self.is_ranked
    }

    /// The type of the values.
    pub(super) fn data_type(&self) -> Option<&DataType> {
        self.input.as_ref().map(|input| &input.data_type)
    }

    /// The column of ranks, if values are such.
    pub(super) fn ranks(&self, columns: &Columns) -> Option<usize> {
        let flat = self.flat.as_ref().filter(|_| self.is_ranked)?;
        columns.0.iter().position(|column| matches!(&column.source, Source::Ranked(expr) if expr == flat))
    }

    /// How often a device whose slots have so many bits must look at the rows.
    pub(super) fn passes(&self, slot_bits: usize) -> usize {
        let kept = self.kind().filter(|_| self.min.is_some() || self.max.is_some());
        kept.map_or(1, |kind| kind.slots(slot_bits))
    }

    /// Filter and value of the row at hand. Of a text that is not compared only whether it is there is asked.
    pub(super) fn values(&self, writer: &mut Writer<'_>) -> Result<(Option<Value>, Option<Value>), Refusal> {
        let filter = self.filter.as_ref().map(|filter| writer.expression(filter)).transpose()?;
        let value = match &self.input {
            Some(input) if self.is_ranked => {
                let flat = writer.flat(input);
                Some(writer.load(Source::Ranked(flat), Kind::Unsigned(32), input.nullable))
            }
            Some(input) if self.kind().is_some() => Some(writer.expression(input)?),
            Some(input) if input.nullable => {
                let node = TypedNode::Unary(UnaryOp::IsNotNull, Box::new(input.clone()));
                let is_there = TypedExpr { node, data_type: DataType::Boolean, nullable: false };
                let valid = writer.expression(&is_there)?.text;
                Some(Value { text: "0u".to_owned(), valid, kind: Kind::Unsigned(32) })
            }
            _ => None,
        };
        Ok((filter, value))
    }

    /// Finds what the values are on the stage's input, and whether all rows count.
    pub(super) fn begin(&mut self, writer: &mut Writer<'_>) -> Result<bool, Refusal> {
        self.flat = self.input.as_ref().map(|input| writer.flat(input));
        let (filter, value) = self.values(writer)?;
        Ok(counts(filter.as_ref(), value.as_ref()) == "true")
    }

    /// Writes what the row does to the slots in one of the passes over all rows.
    pub(super) fn write(&self, writer: &mut Writer<'_>, pass: usize) -> Result<(), Refusal> {
        let (filter, value) = self.values(writer)?;
        let condition = counts(filter.as_ref(), value.as_ref());
        writer.line(&if condition == "true" { "{".to_owned() } else { format!("if {condition} {{") });
        if self.seen != ROWS && pass == 0 {
            writer.line(&format!("    count(at + {}u);", self.seen));
        }
        if let Some(value) = value {
            if pass == 0 {
                self.write_sums(writer, &value);
            }
            self.write_extremes(writer, &value, pass);
        }
        writer.line("}");
        Ok(())
    }

    /// What becomes of the slots of copies when they are added together, after one of the passes over all rows.
    pub(super) fn gathers(&self, pass: usize, slot_bits: usize) -> Vec<Gather> {
        let mut all = Vec::new();
        if pass == 0 {
            all.extend((self.seen != ROWS).then_some(Gather(Gather::SUM, self.seen, 1)));
            match self.sum {
                Some(Sum::Whole { first, limbs }) => all.push(Gather(Gather::SUM, first, limbs)),
                Some(Sum::Float { flags, number }) => {
                    all.extend([Gather(Gather::FLAGS, flags, 1), Gather(Gather::FLOAT_SUM, number, number + 1)]);
                }
                None => {}
            }
            match self.squares {
                Some(Squares::Whole { first, limbs }) => all.push(Gather(Gather::SUM, first, limbs)),
                Some(Squares::Float { odd, number }) => {
                    all.extend([Gather(Gather::SUM, odd, 1), Gather(Gather::FLOAT_SUM, number, number + 1)]);
                }
                None => {}
            }
        }
        let slots = self.kind().map_or(0, |kind| kind.slots(slot_bits));
        all.extend([self.min, self.max].into_iter().flatten().map(|first| Gather(Gather::MOST, first, slots)));
        all
    }

    fn write_sums(&self, writer: &mut Writer<'_>, value: &Value) {
        let Some(sum) = self.sum else { return };
        // A name, because the sign of a constant cannot always be turned.
        let text = &if value.text.starts_with("i32") { writer.bind(&value.text) } else { value.text.clone() };
        let (bits, size, is_negative) = match value.kind {
            Kind::Signed(_) => {
                (32, format!("bitcast<u32>(select({text}, -{text}, {text} < 0i))"), format!("{text} < 0i"))
            }
            Kind::U64 => (64, text.clone(), "false".to_owned()),
            Kind::I64 => (64, format!("magnitude_64({text})"), format!("is_negative({text})")),
            Kind::I128 => (128, format!("magnitude_128({text})"), format!("is_negative({text}.zw)")),
            Kind::F32 => (64, format!("f64_of_f32({text})"), String::new()),
            Kind::F64 => (64, text.clone(), String::new()),
            Kind::Bool | Kind::Unsigned(_) => (32, text.clone(), "false".to_owned()),
        };
        match sum {
            Sum::Whole { first, limbs } => {
                let range = format!("at + {first}u, at + {}u", first + limbs);
                writer.line(&format!("    sum_{bits}({range}, {size}, {is_negative});"));
            }
            Sum::Float { flags, number } => {
                let place = format!("at + number({number}u), number({}u), number({}u)", number + 1, number + 2);
                writer.line(&format!("    sum_f64(at + {flags}u, {place}, {size});"));
            }
        }
        match (self.squares, sum) {
            (Some(Squares::Whole { first, limbs }), _) => {
                writer.line(&format!("    square_{bits}(at + {first}u, at + {}u, {size});", first + limbs));
            }
            (Some(Squares::Float { odd, number }), Sum::Float { number: of_sum, .. }) => {
                let place = format!("at + number({number}u), number({}u), number({}u)", number + 1, of_sum + 2);
                writer.line(&format!("    square_f64(at + {odd}u, {place}, {size});"));
            }
            _ => {}
        }
    }

    fn write_extremes(&self, writer: &mut Writer<'_>, value: &Value, pass: usize) {
        let text = &value.text;
        let (rank, is_ranked) = match value.kind {
            Kind::Bool => (format!("select(0u, 1u, {text})"), None),
            Kind::Signed(_) => (format!("(bitcast<u32>({text}) ^ 0x80000000u)"), None),
            Kind::I64 => (format!("({text} ^ vec2<u32>(0u, 0x80000000u))"), None),
            Kind::I128 => (format!("({text} ^ vec4<u32>(0u, 0u, 0u, 0x80000000u))"), None),
            Kind::F32 => (format!("rank_f32({text})"), Some(format!("!is_nan_f32({text})"))),
            Kind::F64 => (format!("rank_f64({text})"), Some(format!("!is_nan_f64({text})"))),
            Kind::Unsigned(_) | Kind::U64 => (text.clone(), None),
        };
        let (keep, which) = match value.kind.words() {
            1 if pass > 0 => return,
            1 => ("keep_32", String::new()),
            2 => ("keep_64", format!(", {pass}u")),
            _ => ("keep_128", format!(", {pass}u")),
        };
        for (slot, turned) in [(self.min, "~"), (self.max, "")] {
            let Some(slot) = slot else { continue };
            let line = format!("{keep}(at + {slot}u, {turned}{rank}{which});");
            writer.line(&match &is_ranked {
                Some(is_ranked) => format!("    if {is_ranked} {{ {line} }}"),
                None => format!("    {line}"),
            });
        }
    }
}
