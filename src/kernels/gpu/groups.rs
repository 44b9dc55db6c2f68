//! A keyed reduce on a device: what each group holds, in slots, and the code that takes a row in.
//!
//! Groups are found in one of two ways, which the host chooses batch by batch: by number, if all keys are columns of
//! whole numbers in small ranges (codes of texts are), or by hashing the words of the keys. Slot 0 of a group finds its
//! first row, slot 1 counts its rows; then come the slots of each [`Feed`], those of float sums and of their squares last,
//! because their number depends on the batch.

use super::code::{Refusal, Value, Writer};
use super::columns::{Columns, Source};
use super::feed::{Feed, Gather, Part, Squares, Sum, part};
use super::kept::KeptPlan;
use super::kind::Kind;
use super::plan::{key_value, words_of};
use super::shader::{Operation, Shader, Spread, number};
use super::tier::Tier;
use crate::expr::{TypedAggregate, TypedExpr};
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
    /// Groups by hashing.
    pub(super) by_hash: Option<Box<ByHash>>,
    /// How groups stay on the device from batch to batch, or why they do not.
    pub(super) kept: Option<Result<Box<KeptPlan>, Refusal>>,
    pub(super) feeds: Vec<Feed>,
    /// For each aggregate its feed and what of it is wanted.
    pub(super) parts: Vec<(usize, Part)>,
    /// Slots of a group, without those of float sums.
    pub(super) slots: usize,
    /// Words of a key.
    pub(super) key_words: usize,
}

/// The shaders that find groups by hashing and take rows in.
#[derive(Debug, Clone)]
pub(super) struct ByHash {
    pub(super) keys: Shader,
    pub(super) ticket: Shader,
    /// Where rows come part by part: those that put them into parts, and the tickets.
    pub(super) parting: [Shader; 2],
    pub(super) parted_ticket: Shader,
    pub(super) take: Take,
}

/// The shaders that take rows in: all of them once, and again for the lower words of minima and maxima; for each of the
/// places where what groups hold may be added up.
#[derive(Debug, Clone)]
pub(super) struct Take {
    one: Vec<Shader>,
    local: Vec<Shader>,
    copied: Vec<Shader>,
    /// Only by hashing.
    parted: Vec<Shader>,
    /// After each pass, if there are copies.
    pub(super) fold: Vec<Shader>,
}

impl Take {
    /// Those that add up there.
    pub(super) fn passes(&self, spread: Spread) -> &[Shader] {
        match spread {
            Spread::One => &self.one,
            Spread::Local => &self.local,
            Spread::Copied => &self.copied,
            Spread::Parted => &self.parted,
        }
    }

    fn shaders(&mut self) -> impl Iterator<Item = &mut Shader> {
        let Self { one, local, copied, parted, fold } = self;
        one.iter_mut().chain(local).chain(copied).chain(parted).chain(fold)
    }
}

/// A key whose values are whole numbers as they lie in a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct RangedKey {
    /// The column on the device.
    pub(super) column: usize,
    /// The first of its numbers in the header: the least value (two words), and how many numbers there are.
    pub(super) number: usize,
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
            kept: None,
            feeds,
            parts,
            slots: layout.slots,
            key_words: 1,
        };
        let passes = plan.feeds.iter().map(|feed| feed.passes(tier.slot_bits())).max().unwrap_or(1);
        if plan.ranged.is_some() {
            plan.by_number = Some(plan.take(stage, columns, false, passes, tier)?);
        }
        if !keys.is_empty() {
            let functions = plan.key_code(stage, keys, columns)?;
            let key_words = plan.key_words;
            let shader = |operation, bindings: &[u32], spread| {
                let bindings = bindings.to_vec();
                Shader { operation, bindings, hashed: true, spread, key_words, ..Shader::default() }
            };
            plan.by_hash = Some(Box::new(ByHash {
                keys: Shader { functions, ..shader(Operation::Keys, &[2, 3], Spread::One) },
                ticket: shader(Operation::Ticket, &[2, 3, 4, 5], Spread::One),
                parting: [
                    shader(Operation::PartCount, &[3, 8], Spread::Parted),
                    shader(Operation::PartScatter, &[3, 7, 8], Spread::Parted),
                ],
                parted_ticket: shader(Operation::Ticket, &[2, 4, 5, 7, 8], Spread::Parted),
                take: plan.take(stage, columns, true, passes, tier)?,
            }));
        }
        Ok(plan)
    }

    pub(super) fn shaders(&mut self) -> Vec<&mut Shader> {
        let mut shaders = Vec::new();
        let mut takes: Vec<&mut Take> = self.by_number.iter_mut().collect();
        if let Some(by_hash) = &mut self.by_hash {
            let ByHash { keys, ticket, parting, parted_ticket, take } = by_hash.as_mut();
            shaders.extend([keys, ticket, parted_ticket].into_iter().chain(parting));
            takes.push(take);
        }
        for take in takes {
            shaders.extend(take.shaders());
        }
        if let Some(Ok(kept)) = &mut self.kept {
            shaders.extend(kept.shaders());
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

    fn take(
        &self,
        stage: &Stage,
        columns: &mut Columns,
        hashed: bool,
        passes: usize,
        tier: Tier,
    ) -> Result<Take, Refusal> {
        let mut take = |spread: Spread| -> Result<Vec<Shader>, Refusal> {
            let shader = |pass| -> Result<Shader, Refusal> {
                let code = self.take_code(stage, columns, (hashed, spread), (pass, tier))?;
                let has_copies = matches!(spread, Spread::Local | Spread::Copied);
                let functions = if has_copies { code + &self.gather_code(pass, tier) } else { code };
                let bindings = match (hashed, spread) {
                    (_, Spread::Parted) => vec![5, 6, 7, 8],
                    (true, _) => vec![3, 5, 6],
                    (false, _) => vec![6],
                };
                Ok(Shader { operation: Operation::Take, bindings, hashed, spread, functions, ..Shader::default() })
            };
            (0..passes).map(shader).collect()
        };
        let (one, local, copied) = (take(Spread::One)?, take(Spread::Local)?, take(Spread::Copied)?);
        let parted = if hashed { take(Spread::Parted)? } else { Vec::new() };
        let fold = |pass| {
            let (operation, bindings, spread) = (Operation::Fold, vec![6], Spread::Copied);
            Shader { operation, bindings, spread, functions: self.gather_code(pass, tier), ..Shader::default() }
        };
        Ok(Take { one, local, copied, parted, fold: (0..passes).map(fold).collect() })
    }

    /// What becomes of slots when copies are added together, after one of the passes.
    fn gather_code(&self, pass: usize, tier: Tier) -> String {
        let mut all = Vec::new();
        if pass == 0 {
            all.extend([Gather(Gather::MOST, FIRST, 1), Gather(Gather::SUM, ROWS, 1)]);
        }
        for feed in self.feeds.iter().filter(|feed| pass < feed.passes(tier.slot_bits())) {
            all.extend(feed.gathers(pass, tier.slot_bits()));
        }
        let text = |&Gather(what, first, count): &Gather| format!("vec3<u32>({what}u, {first}u, {count}u)");
        let (count, all) = (all.len(), all.iter().map(text).collect::<Vec<_>>().join(", "));
        let array = format!("array<vec3<u32>, {count}>");
        format!("const GATHERS: u32 = {count}u;\nvar<private> gathers: {array} = {array}({all});\n")
    }

    /// The code that takes a row into its group, in one of the passes over all rows.
    fn take_code(
        &self,
        stage: &Stage,
        columns: &mut Columns,
        (hashed, spread): (bool, Spread),
        (pass, tier): (usize, Tier),
    ) -> Result<String, Refusal> {
        let mut writer = Writer::new(&stage.input_schema, columns, "");
        writer.steps(&stage.steps)?;
        let group = match &self.ranged {
            Some(keys) if !hashed => write_number(&mut writer, stage, keys)?,
            _ => "found".to_owned(),
        };
        let most = if spread == Spread::Local { "LOCAL_GROUPS" } else { "GROUPS_MAX" };
        writer.line(&format!("if {group} >= number({most}) {{ atomicStore(&status[FULL], 1u); return; }}"));
        writer.line(&format!("let at = {group} * number(STRIDE);"));
        if pass == 0 {
            writer.line(&format!("keep_32(at + {FIRST}u, ~row);"));
            writer.line(&format!("count(at + {ROWS}u);"));
        }
        for feed in self.feeds.iter().filter(|feed| pass < feed.passes(tier.slot_bits())) {
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
            Source::Hosted(_) | Source::Ranked(_) => false,
        })
    };
    let found: Option<Vec<usize>> = ranged.iter().map(column).collect();
    Ok(found
        .map(|found| found.into_iter().map(|column| RangedKey { column, number: layout.take_numbers(3) }).collect()))
}

/// Writes the number of a row's group: the distance of each key from its least value, null behind the greatest.
fn write_number(writer: &mut Writer<'_>, stage: &Stage, ranged: &[RangedKey]) -> Result<String, Refusal> {
    let mut group = "0u".to_owned();
    for (key, range) in keys_of(stage).iter().zip(ranged) {
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

/// What a stage groups by.
fn keys_of(stage: &Stage) -> &[NamedExpr] {
    match &stage.end {
        End::Reduce { keys, .. } => keys,
        End::Keep(keep) => &keep.keys,
        _ => &[],
    }
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
        feed.seen = if feed.begin(writer)? { ROWS } else { self.take_slots(1) };
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
        let kind = feed.kind().ok_or_else(refused)?;
        if kind == Kind::Bool && !matches!(part, Part::Min | Part::Max) {
            return Err(refused());
        }
        match part {
            Part::Total | Part::Moments => self.give_sums(feed, part, kind),
            Part::Min if feed.min.is_none() => feed.min = Some(self.take_slots(kind.slots(self.tier.slot_bits()))),
            Part::Max if feed.max.is_none() => feed.max = Some(self.take_slots(kind.slots(self.tier.slot_bits()))),
            _ => {}
        }
        Ok(())
    }

    fn give_sums(&mut self, feed: &mut Feed, part: Part, kind: Kind) {
        // Those of words side by side, and the bits that many rows add, with the sign.
        let limbs = |words: usize| (32 * words + 32).div_ceil(self.tier.slot_bits());
        let (of_sum, of_squares) = (limbs(kind.words()), limbs(2 * kind.words()));
        if feed.sum.is_none() {
            feed.sum = Some(if kind.is_float() {
                Sum::Float { flags: self.take_slots(1), number: self.take_numbers(3) }
            } else {
                Sum::Whole { first: self.take_slots(of_sum), limbs: of_sum }
            });
        }
        if part == Part::Moments && feed.squares.is_none() {
            feed.squares = Some(if kind.is_float() {
                Squares::Float { odd: self.take_slots(1), number: self.take_numbers(2) }
            } else {
                Squares::Whole { first: self.take_slots(of_squares), limbs: of_squares }
            });
        }
    }
}
