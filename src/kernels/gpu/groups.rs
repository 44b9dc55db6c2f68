//! A keyed reduce on a device: what each group holds, in slots, and the code that takes a row in.
//!
//! Groups are found in one of two ways, which the host chooses batch by batch: by number, if all keys are columns of
//! whole numbers in small ranges (codes of texts are), or by hashing the words of the keys. Slot 0 of a group finds its
//! first row, slot 1 counts its rows; then come the slots of each [`Feed`], those of float sums last, because their
//! number depends on the batch.

use super::code::{Refusal, Value, Writer};
use super::columns::{Columns, Source};
use super::kind::Kind;
use super::plan::{counts, key_value, words_of};
use super::shader::{Operation, Shader, number};
use super::tier::Tier;
use crate::columnar::DataType;
use crate::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode, UnaryOp};
use crate::plan::stage::{End, NamedExpr, Stage};

/// The slot that finds a group's first row: the complement of the row's number, the largest one.
pub(super) const FIRST: usize = 0;

/// The slot that counts a group's rows.
pub(super) const ROWS: usize = 1;

/// A keyed reduce as a device runs it.
#[derive(Debug, Clone)]
pub(super) struct GroupPlan {
    /// The keys as columns of small ranges, if all of them are such.
    pub(super) ranged: Option<Vec<RangedKey>>,
    /// How many numbers the header needs.
    pub(super) numbers: usize,
    /// Groups by number.
    pub(super) by_number: Option<Take>,
    /// Groups by hashing: the keys, the tickets, and the rest.
    pub(super) by_hash: Option<([Shader; 2], Take)>,
    pub(super) feeds: Vec<Feed>,
    /// For each aggregate its feed and what of it is wanted.
    pub(super) parts: Vec<(usize, Part)>,
    /// Slots of a group, without those of float sums.
    pub(super) slots: usize,
    /// Words of a key.
    pub(super) key_words: usize,
}

/// The shaders that take rows in: all of them once, and a second time for the low words of minima and maxima.
#[derive(Debug, Clone)]
pub(super) struct Take {
    pub(super) first: Shader,
    pub(super) again: Option<Shader>,
}

/// A key whose values are whole numbers as they lie in a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct RangedKey {
    /// The column on the device.
    pub(super) column: usize,
    /// The first of its numbers in the header: the least value (two words), and how many numbers there are.
    pub(super) number: usize,
}

/// Values under a filter, and the slots that they feed.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    input: Option<TypedExpr>,
    filter: Option<TypedExpr>,
    /// The slot that counts the values.
    pub(super) seen: usize,
    pub(super) sum: Option<Sum>,
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

/// What an aggregate takes from its feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Count,
    Total,
    Min,
    Max,
}

/// Which pass over the rows code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    First,
    Again,
}

impl GroupPlan {
    pub(super) fn of(
        stage: &Stage,
        keys: &[NamedExpr],
        aggregates: &[TypedAggregate],
        tier: Tier,
        columns: &mut Columns,
    ) -> Result<Self, Refusal> {
        let mut layout = Layout { slots: 2, numbers: number::OWN, tier };
        let ranged = ranged_keys(stage, keys, columns, &mut layout)?;
        let (mut feeds, mut parts) = (Vec::new(), Vec::new());
        for aggregate in aggregates {
            parts.push(part(aggregate, &mut feeds)?);
        }
        {
            let mut writer = Writer::new(&stage.input_schema, columns, "");
            writer.steps(&stage.steps)?;
            for feed in &mut feeds {
                layout.give_slots(&mut writer, feed)?;
            }
        }
        for (place, (feed, part)) in parts.iter().enumerate() {
            layout.give_part(&mut feeds[*feed], *part, &aggregates[place])?;
        }
        let mut plan = Self {
            ranged,
            numbers: layout.numbers,
            by_number: None,
            by_hash: None,
            feeds,
            parts,
            slots: layout.slots,
            key_words: 1,
        };
        let again = tier != Tier::Wide && plan.feeds.iter().any(Feed::has_low_words);
        if plan.ranged.is_some() {
            plan.by_number = Some(plan.take(stage, columns, false, again)?);
        }
        if !keys.is_empty() {
            let functions = plan.key_code(stage, keys, columns)?;
            let key_words = plan.key_words;
            let shader = |operation, bindings: &[u32], functions| {
                let bindings = bindings.to_vec();
                Shader { operation, bindings, hashed: true, key_words, functions, ..Shader::default() }
            };
            let write = shader(Operation::Keys, &[2, 3], functions);
            let ticket = shader(Operation::Ticket, &[2, 3, 4, 5], String::new());
            plan.by_hash = Some(([write, ticket], plan.take(stage, columns, true, again)?));
        }
        Ok(plan)
    }

    pub(super) fn shaders(&mut self) -> Vec<&mut Shader> {
        let mut shaders = Vec::new();
        let mut takes: Vec<&mut Take> = self.by_number.iter_mut().collect();
        if let Some((finders, take)) = &mut self.by_hash {
            shaders.extend(finders);
            takes.push(take);
        }
        for take in takes {
            shaders.push(&mut take.first);
            shaders.extend(&mut take.again);
        }
        shaders
    }

    /// The code that writes the words of a row's key: those of the values, then one that says which are null.
    fn key_code(&mut self, stage: &Stage, keys: &[NamedExpr], columns: &mut Columns) -> Result<String, Refusal> {
        let mut writer = Writer::new(&stage.input_schema, columns, " false");
        writer.steps(&stage.steps)?;
        let (mut words, mut nulls) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            let value = key_value(&mut writer, &key.expr)?;
            let text = match value.kind {
                Kind::F32 => writer.bind(&format!("key_f32({})", value.text)),
                Kind::F64 => writer.bind(&format!("key_f64({})", value.text)),
                _ => value.text.clone(),
            };
            let value = Value { text, ..value };
            let is_there = value.valid.clone();
            for word in words_of(&value) {
                words.push(if is_there == "true" { word } else { format!("select(0u, {word}, {is_there})") });
            }
            if is_there != "true" {
                nulls.push(format!("select({}u, 0u, {is_there})", 1_u32 << (place % 32)));
            }
        }
        if keys.len() > 32 {
            return Err("it groups by more than 32 keys".to_owned());
        }
        if !nulls.is_empty() {
            words.push(nulls.join(" | "));
        }
        self.key_words = words.len();
        for (place, word) in words.iter().enumerate() {
            writer.line(&format!("keys[row * KEY_WORDS + {place}u] = {word};"));
        }
        Ok(format!("fn write_key(row: u32) -> bool {{\n{}    return true;\n}}\n", writer.finish()))
    }

    fn take(&self, stage: &Stage, columns: &mut Columns, hashed: bool, again: bool) -> Result<Take, Refusal> {
        let mut shader = |pass| -> Result<Shader, Refusal> {
            let functions = self.take_code(stage, columns, hashed, pass)?;
            let bindings = if hashed { vec![3, 5, 6] } else { vec![6] };
            Ok(Shader { operation: Operation::Take, bindings, hashed, functions, ..Shader::default() })
        };
        Ok(Take { first: shader(Pass::First)?, again: if again { Some(shader(Pass::Again)?) } else { None } })
    }

    /// The code that takes a row into its group.
    fn take_code(&self, stage: &Stage, columns: &mut Columns, hashed: bool, pass: Pass) -> Result<String, Refusal> {
        let mut writer = Writer::new(&stage.input_schema, columns, "");
        writer.steps(&stage.steps)?;
        let group = match &self.ranged {
            Some(keys) if !hashed => write_number(&mut writer, stage, keys)?,
            _ => "found".to_owned(),
        };
        writer.line(&format!("if {group} >= number(GROUPS_MAX) {{ atomicStore(&status[FULL], 1u); return; }}"));
        writer.line(&format!("let at = {group} * number(STRIDE);"));
        if pass == Pass::First {
            writer.line(&format!("keep_32(at + {FIRST}u, ~row);"));
            writer.line(&format!("count(at + {ROWS}u);"));
        }
        for feed in self.feeds.iter().filter(|feed| pass == Pass::First || feed.has_low_words()) {
            feed.write(&mut writer, pass)?;
        }
        Ok(format!("fn take_in(row: u32, found: u32) {{\n{}}}\n", writer.finish()))
    }
}

/// The keys as columns of whole numbers, if all of them are such.
fn ranged_keys(
    stage: &Stage,
    keys: &[NamedExpr],
    columns: &mut Columns,
    layout: &mut Layout,
) -> Result<Option<Vec<RangedKey>>, Refusal> {
    let mut writer = Writer::new(&stage.input_schema, columns, "");
    writer.steps(&stage.steps)?;
    let mut ranged = Vec::new();
    for key in keys {
        let flat = writer.flat(&key.expr);
        let kind = Kind::of(&flat.data_type);
        if kind.is_some_and(|kind| !(kind.is_whole() || kind == Kind::Bool) || flat.as_column().is_none()) {
            return Ok(None);
        }
        key_value(&mut writer, &key.expr)?;
        ranged.push(flat);
    }
    let column = |flat: &TypedExpr| {
        columns.0.iter().position(|column| match &column.source {
            Source::Input(input) => flat.as_column() == Some(*input),
            Source::Coded(coded) => coded == flat,
            Source::Hosted(_) => false,
        })
    };
    let found: Option<Vec<usize>> = ranged.iter().map(column).collect();
    Ok(found
        .map(|found| found.into_iter().map(|column| RangedKey { column, number: layout.take_numbers(3) }).collect()))
}

/// Writes the number of a row's group: the distance of each key from its least value, null behind the greatest.
fn write_number(writer: &mut Writer<'_>, stage: &Stage, ranged: &[RangedKey]) -> Result<String, Refusal> {
    let End::Reduce { keys, .. } = &stage.end else { return Ok("0u".to_owned()) };
    let mut group = "0u".to_owned();
    for (key, range) in keys.iter().zip(ranged) {
        let value = key_value(writer, &key.expr)?;
        let wide = match value.kind {
            Kind::Bool => format!("vec2<u32>(select(0u, 1u, {}), 0u)", value.text),
            Kind::Signed(_) => format!("i64_of_i32({})", value.text),
            Kind::Unsigned(_) => format!("vec2<u32>({}, 0u)", value.text),
            _ => value.text.clone(),
        };
        let first = range.number;
        let count = format!("number({}u)", first + 2);
        let place = format!("sub_64({wide}, vec2<u32>(number({first}u), number({}u))).x", first + 1);
        let place =
            if value.valid == "true" { place } else { format!("select({count} - 1u, {place}, {})", value.valid) };
        group = writer.bind(&format!("{group} * {count} + {place}"));
    }
    Ok(group)
}

/// Which slots and numbers are taken.
struct Layout {
    slots: usize,
    numbers: usize,
    tier: Tier,
}

impl Layout {
    fn take_slots(&mut self, more: usize) -> usize {
        self.slots += more;
        self.slots - more
    }

    fn take_numbers(&mut self, more: usize) -> usize {
        self.numbers += more;
        self.numbers - more
    }

    /// A slot for the count of values, if not all rows count.
    fn give_slots(&mut self, writer: &mut Writer<'_>, feed: &mut Feed) -> Result<(), Refusal> {
        feed.flat = feed.input.as_ref().map(|input| writer.flat(input));
        let (filter, value) = feed.values(writer)?;
        feed.seen = if counts(filter.as_ref(), value.as_ref()) == "true" { ROWS } else { self.take_slots(1) };
        Ok(())
    }

    fn give_part(&mut self, feed: &mut Feed, part: Part, aggregate: &TypedAggregate) -> Result<(), Refusal> {
        if part == Part::Count {
            return Ok(());
        }
        let refused = || {
            let of = aggregate.input.as_ref().map(|input| format!(" of {}", input.data_type)).unwrap_or_default();
            format!("the {}{of} \"{}\" is made on the CPU only", aggregate.function.name(), aggregate.name)
        };
        let kind = aggregate.input.as_ref().and_then(|input| Kind::of(&input.data_type)).ok_or_else(refused)?;
        if kind == Kind::Bool || (part != Part::Total && kind == Kind::I128) {
            return Err(refused());
        }
        match part {
            Part::Total if feed.sum.is_none() => {
                feed.sum = Some(if kind.is_float() {
                    Sum::Float { flags: self.take_slots(1), number: self.take_numbers(3) }
                } else {
                    // The values, the bits that many rows add, and the sign.
                    let limbs = (32 * kind.words() + 32).div_ceil(self.tier.slot_bits());
                    Sum::Whole { first: self.take_slots(limbs), limbs }
                });
            }
            Part::Min if feed.min.is_none() => feed.min = Some(self.take_slots(self.words(kind))),
            Part::Max if feed.max.is_none() => feed.max = Some(self.take_slots(self.words(kind))),
            _ => {}
        }
        Ok(())
    }

    /// Slots of a value that is kept.
    fn words(&self, kind: Kind) -> usize {
        (32 * kind.words()).div_ceil(self.tier.slot_bits())
    }
}

/// The feed of an aggregate, which is shared or new, and what it takes from it.
fn part(aggregate: &TypedAggregate, feeds: &mut Vec<Feed>) -> Result<(usize, Part), Refusal> {
    let part = match &aggregate.function {
        AggregateFunction::Len | AggregateFunction::Count => Part::Count,
        AggregateFunction::Sum | AggregateFunction::Mean => Part::Total,
        AggregateFunction::Min => Part::Min,
        AggregateFunction::Max => Part::Max,
        other => return Err(format!("\"{}\" is a {}, which is made on the CPU only", aggregate.name, other.name())),
    };
    let input = if aggregate.function == AggregateFunction::Len { None } else { aggregate.input.clone() };
    let found = feeds.iter().position(|feed| feed.input == input && feed.filter == aggregate.filter);
    let found = found.unwrap_or_else(|| {
        let filter = aggregate.filter.clone();
        feeds.push(Feed { input, filter, seen: ROWS, sum: None, min: None, max: None, flat: None });
        feeds.len() - 1
    });
    Ok((found, part))
}

impl Feed {
    fn kind(&self) -> Option<Kind> {
        self.input.as_ref().and_then(|input| Kind::of(&input.data_type))
    }

    /// The type of the values.
    pub(super) fn data_type(&self) -> Option<&DataType> {
        self.input.as_ref().map(|input| &input.data_type)
    }

    /// Whether a device without 64-bit atomics must look at the rows twice.
    fn has_low_words(&self) -> bool {
        (self.min.is_some() || self.max.is_some()) && self.kind().is_some_and(|kind| kind.words() == 2)
    }

    /// Filter and value of the row at hand. Of a text only whether it is there is asked.
    fn values(&self, writer: &mut Writer<'_>) -> Result<(Option<Value>, Option<Value>), Refusal> {
        let filter = self.filter.as_ref().map(|filter| writer.expression(filter)).transpose()?;
        let value = match &self.input {
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

    /// Writes what the row does to the slots.
    fn write(&self, writer: &mut Writer<'_>, pass: Pass) -> Result<(), Refusal> {
        let (filter, value) = self.values(writer)?;
        let condition = counts(filter.as_ref(), value.as_ref());
        writer.line(&if condition == "true" { "{".to_owned() } else { format!("if {condition} {{") });
        if self.seen != ROWS && pass == Pass::First {
            writer.line(&format!("    count(at + {}u);", self.seen));
        }
        if let Some(value) = value {
            if pass == Pass::First {
                self.write_sum(writer, &value);
            }
            self.write_extremes(writer, &value, pass);
        }
        writer.line("}");
        Ok(())
    }

    fn write_sum(&self, writer: &mut Writer<'_>, value: &Value) {
        // A name, because the sign of a constant cannot always be turned.
        let text = &if value.text.starts_with("i32") { writer.bind(&value.text) } else { value.text.clone() };
        match self.sum {
            None => {}
            Some(Sum::Whole { first, limbs }) => {
                let range = format!("at + {first}u, at + {}u", first + limbs);
                writer.line(&match value.kind {
                    Kind::Signed(_) => {
                        let size = format!("bitcast<u32>(select({text}, -{text}, {text} < 0i))");
                        format!("    sum_32({range}, {size}, {text} < 0i);")
                    }
                    Kind::Unsigned(_) => format!("    sum_32({range}, {text}, false);"),
                    Kind::U64 => format!("    sum_64({range}, {text}, false);"),
                    Kind::I128 => format!("    sum_128({range}, magnitude_128({text}), is_negative({text}.zw));"),
                    _ => format!("    sum_64({range}, magnitude_64({text}), is_negative({text}));"),
                });
            }
            Some(Sum::Float { flags, number }) => {
                let bits = if value.kind == Kind::F32 { format!("f64_of_f32({text})") } else { text.clone() };
                let place = format!("at + number({number}u), number({}u), number({}u)", number + 1, number + 2);
                writer.line(&format!("    sum_f64(at + {flags}u, {place}, {bits});"));
            }
        }
    }

    fn write_extremes(&self, writer: &mut Writer<'_>, value: &Value, pass: Pass) {
        let text = &value.text;
        let (rank, is_ranked) = match value.kind {
            Kind::Signed(_) => (format!("(bitcast<u32>({text}) ^ 0x80000000u)"), None),
            Kind::I64 => (format!("({text} ^ vec2<u32>(0u, 0x80000000u))"), None),
            Kind::F32 => (format!("rank_f32({text})"), Some(format!("!is_nan_f32({text})"))),
            Kind::F64 => (format!("rank_f64({text})"), Some(format!("!is_nan_f64({text})"))),
            _ => (text.clone(), None),
        };
        let keep = match (value.kind.words(), pass) {
            (1, Pass::First) => "keep_32",
            (1, Pass::Again) => return,
            (_, Pass::First) => "keep_64",
            (_, Pass::Again) => "keep_64_again",
        };
        for (slot, turned) in [(self.min, "~"), (self.max, "")] {
            let Some(slot) = slot else { continue };
            let line = format!("{keep}(at + {slot}u, {turned}{rank});");
            writer.line(&match &is_ranked {
                Some(is_ranked) => format!("    if {is_ranked} {{ {line} }}"),
                None => format!("    {line}"),
            });
        }
    }
}
