//! Shaders put together: the files of `shaders/`, what a stage's writer made, and the few numbers that both share.
//!
//! Lines `#if NAME`, `#if !NAME` and `#endif` leave parts out; that is all there is to the language on top of WGSL.

use super::prune::without_unused;
use super::tier::Tier;

/// Rows a workgroup works on: every device can run so many invocations together.
pub(super) const TILE: usize = 256;

/// Bytes of the memory of a workgroup that every device has.
const WORKGROUP_BYTES: usize = 16 << 10;

/// Slots of so many bits that a table in the memory of a workgroup has.
pub(super) const fn table_slots(slot_bits: usize) -> usize {
    8 * WORKGROUP_BYTES / slot_bits
}

/// Parts of the rows of a batch: ranges of hashes, by as many bits as say an invocation of a workgroup.
pub(super) const PARTS: usize = TILE;

/// Rows that a workgroup puts into their parts: about 16 of each, so that what it writes lies side by side.
pub(super) const PART_ROWS: usize = 16 * TILE;

/// The words that say where parts lie: the rows of each, the places taken in each, and all rows.
pub(super) const PARTS_WORDS: usize = 2 * PARTS + 1;

/// Slots that a row may look at before a table counts as full.
pub(super) const PROBES_MAX: usize = 512;

/// The places of the numbers that kernels ask for by name, in the header of a batch.
pub(super) mod number {
    /// Slots of the table of groups: a power of two.
    pub(in crate::kernels::gpu) const TABLE_SLOTS: usize = 0;
    /// Groups that there is room for.
    pub(in crate::kernels::gpu) const GROUPS_MAX: usize = 1;
    /// Slots that a group's values take.
    pub(in crate::kernels::gpu) const STRIDE: usize = 2;
    /// Where the flags of written rows begin; then those of each written column.
    pub(in crate::kernels::gpu) const WRITTEN: usize = 3;
    /// Groups that have a place in the tables of workgroups.
    pub(in crate::kernels::gpu) const LOCAL_GROUPS: usize = 3;
    /// Copies of what groups hold, each of so many slots.
    pub(in crate::kernels::gpu) const COPIES: usize = 4;
    pub(in crate::kernels::gpu) const TABLE_SIZE: usize = 5;
    /// What the hashes of keys begin with.
    pub(in crate::kernels::gpu) const SALT: usize = 6;
    /// The first of those that a stage's own code asks for.
    pub(in crate::kernels::gpu) const OWN: usize = 7;
}

const PRELUDE: &str = include_str!("../../../shaders/prelude.wgsl");
const WHOLE_64: &str = include_str!("../../../shaders/whole_64.wgsl");
const WHOLE_64_NATIVE: &str = include_str!("../../../shaders/whole_64_native.wgsl");
const VALUES: &str = include_str!("../../../shaders/values.wgsl");
const STATE_PLACE: &str = include_str!("../../../shaders/state_place.wgsl");
const STATE_32: &str = include_str!("../../../shaders/state_32.wgsl");
const STATE_64: &str = include_str!("../../../shaders/state_64.wgsl");
const BEST: &str = include_str!("../../../shaders/best.wgsl");
const SUM_FLOAT: &str = include_str!("../../../shaders/sum_float.wgsl");
const SUM_SQUARES: &str = include_str!("../../../shaders/sum_squares.wgsl");

/// The operations, one file each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Operation {
    #[default]
    Mark,
    Scan,
    Scatter,
    Keys,
    PartCount,
    PartScatter,
    Ticket,
    Take,
    Fold,
    KeepFirsts,
    KeepMerge,
    KeepRows,
    BestRank,
    BestDigit,
    BestBound,
    BestPick,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mark => "select_mark",
            Self::Scan => "select_scan",
            Self::Scatter => "select_scatter",
            Self::Keys => "reduce_keys",
            Self::PartCount => "part_count",
            Self::PartScatter => "part_scatter",
            Self::Ticket => "reduce_ticket",
            Self::Take => "reduce_take",
            Self::Fold => "reduce_fold",
            Self::KeepFirsts => "keep_firsts",
            Self::KeepMerge => "keep_merge",
            Self::KeepRows => "keep_rows",
            Self::BestRank => "best_rank",
            Self::BestDigit => "best_digit",
            Self::BestBound => "best_bound",
            Self::BestPick => "best_pick",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Mark => include_str!("../../../shaders/select_mark.wgsl"),
            Self::Scan => include_str!("../../../shaders/select_scan.wgsl"),
            Self::Scatter => include_str!("../../../shaders/select_scatter.wgsl"),
            Self::Keys => include_str!("../../../shaders/reduce_keys.wgsl"),
            Self::PartCount => include_str!("../../../shaders/part_count.wgsl"),
            Self::PartScatter => include_str!("../../../shaders/part_scatter.wgsl"),
            Self::Ticket => include_str!("../../../shaders/reduce_ticket.wgsl"),
            Self::Take => include_str!("../../../shaders/reduce_take.wgsl"),
            Self::Fold => include_str!("../../../shaders/reduce_fold.wgsl"),
            Self::KeepFirsts => include_str!("../../../shaders/keep_firsts.wgsl"),
            Self::KeepMerge => include_str!("../../../shaders/keep_merge.wgsl"),
            Self::KeepRows => include_str!("../../../shaders/keep_rows.wgsl"),
            Self::BestRank => include_str!("../../../shaders/best_rank.wgsl"),
            Self::BestDigit => include_str!("../../../shaders/best_digit.wgsl"),
            Self::BestBound => include_str!("../../../shaders/best_bound.wgsl"),
            Self::BestPick => include_str!("../../../shaders/best_pick.wgsl"),
        }
    }

    /// Whether it helps to pick the best groups.
    fn picks(self) -> bool {
        matches!(self, Self::BestRank | Self::BestDigit | Self::BestBound | Self::BestPick)
    }

    /// Whether it looks at the values of rows.
    fn sees_values(self) -> bool {
        matches!(self, Self::Mark | Self::Scatter | Self::Keys | Self::Take | Self::Fold)
    }

    /// Whether it adds to what groups hold.
    fn sees_groups(self) -> bool {
        matches!(self, Self::Take | Self::Fold)
    }
}

/// Where what groups hold is added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spread {
    /// In one table that all workgroups share.
    #[default]
    One,
    /// Near by: in the memory of each workgroup, as many groups as have room.
    Local,
    /// In several tables that the workgroups share, which are added together in the end.
    Copied,
    /// In one table, rows of the same range of hashes one after the other, so that what they meet in stays in the device's
    /// cache.
    Parted,
}

/// A shader of a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Shader {
    pub(super) operation: Operation,
    /// The bindings that it has, beside 0 and 1.
    pub(super) bindings: Vec<u32>,
    /// Whether there is a filter, for those operations that ask.
    pub(super) filtered: bool,
    /// Whether groups are found by hashing.
    pub(super) hashed: bool,
    /// Where what groups hold is added up.
    pub(super) spread: Spread,
    /// Words of a key.
    pub(super) key_words: usize,
    /// The functions made of the user's expressions.
    pub(super) functions: String,
    /// All of it, put together.
    pub(super) text: String,
}

impl Shader {
    /// Puts it together for a tier and for batches of so many columns.
    pub(super) fn put_together(&mut self, tier: Tier, columns: usize) {
        debug_assert!(
            !has_loops(&self.functions),
            "only files of `shaders/`, which tests/tidy looks at, may have loops"
        );
        self.text = self.wgsl(tier, columns);
    }

    fn wgsl(&self, tier: Tier, columns: usize) -> String {
        let constants = format!(
            "const COLUMN_WORDS: u32 = {COLUMN_WORDS}u;\nconst TILE: u32 = {TILE}u;\nconst TILE_WORDS: u32 = {}u;\nconst PROBES_MAX: u32 = {PROBES_MAX}u;\n\
             const NO_GROUP: u32 = 0xffffffffu;\nconst SLOT_WORDS: u32 = {}u;\n\
             const KEY_WORDS: u32 = {}u;\nconst NUMBERS: u32 = {}u;\n\
             const TABLE_SLOTS: u32 = {}u;\nconst GROUPS_MAX: u32 = {}u;\nconst STRIDE: u32 = {}u;\n\
             const LOCAL_GROUPS: u32 = {}u;\nconst COPIES: u32 = {}u;\nconst TABLE_SIZE: u32 = {}u;\nconst SALT: u32 = {}u;\n\
             const TABLE_MAX: u32 = {}u;\nconst FIRST_COPY: u32 = {}u;\n\
             const PART_ROWS: u32 = {PART_ROWS}u;\nconst PARTS_WORDS: u32 = {PARTS_WORDS}u;\n\
             const PARTED_ROWS: u32 = {}u;\n\
             \n// A number of the header.\nfn number(place: u32) -> u32 {{\n    return batch[NUMBERS + place];\n}}\n\
             \n// The part of a hash.\nfn part_of(hash: u32) -> u32 {{\n    return hash >> {}u;\n}}\n",
            TILE / 32,
            tier.slot_bits() / 32,
            self.key_words,
            numbers_at(columns),
            number::TABLE_SLOTS,
            number::GROUPS_MAX,
            number::STRIDE,
            number::LOCAL_GROUPS,
            number::COPIES,
            number::TABLE_SIZE,
            number::SALT,
            table_slots(tier.slot_bits()),
            u32::from(self.spread == Spread::Copied),
            PARTS_WORDS - 1,
            u32::BITS - PARTS.ilog2(),
        );
        let whole = if tier == Tier::Wide { WHOLE_64_NATIVE } else { WHOLE_64 };
        let mut parts = vec![PRELUDE, &constants];
        if self.operation.sees_values() {
            parts.extend([whole, VALUES]);
        }
        if self.operation.sees_groups() {
            let state = if tier == Tier::Wide { STATE_64 } else { STATE_32 };
            parts.extend([STATE_PLACE, state, SUM_FLOAT, SUM_SQUARES]);
        }
        if self.operation.picks() {
            parts.push(BEST);
        }
        parts.extend([self.functions.as_str(), self.operation.source()]);
        let is_set = |name: &str| match name {
            "SUBGROUPS" => tier >= Tier::Subgroups,
            "FILTERED" => self.filtered,
            "HASHED" => self.hashed,
            "LOCAL" => self.spread == Spread::Local,
            "COPIED" => self.spread == Spread::Copied,
            "PARTED" => self.spread == Spread::Parted,
            "SPREAD" => matches!(self.spread, Spread::Local | Spread::Copied),
            _ => false,
        };
        without_unused(&parts.iter().map(|part| without_unset(part, &is_set)).collect::<Vec<_>>().join("\n"))
    }
}

/// Words of the header that a column has: where its values and its bits of validity begin, the bits of a value, and what is
/// added to each.
pub(super) const COLUMN_WORDS: usize = 5;

/// Where the numbers of the header begin.
pub(super) fn numbers_at(columns: usize) -> usize {
    1 + COLUMN_WORDS * columns
}

/// Whether there is a loop in a text.
fn has_loops(text: &str) -> bool {
    let mut words = text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    words.any(|word| matches!(word, "for" | "while" | "loop"))
}

/// The text without the parts whose names are not set.
fn without_unset(text: &str, is_set: &dyn Fn(&str) -> bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut open = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("#if ") {
            open.push(match name.strip_prefix('!') {
                Some(name) => !is_set(name),
                None => is_set(name),
            });
        } else if line == "#else" {
            if let Some(last) = open.last_mut() {
                *last = !*last;
            }
        } else if line == "#endif" {
            open.pop();
        } else if open.iter().all(|&is_open| is_open) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found_and_words_like_them_are_not() {
        assert!(has_loops("for (var x = 0u;") && has_loops("{while x") && has_loops("loop{"));
        assert!(!has_loops("let for_row = whiles(before, 7u); // looped"));
    }

    #[test]
    fn parts_that_are_not_set_are_left_out() {
        let text = "a\n#if X\nb\n#if !Y\nc\n#endif\n#else\nd\n#endif\ne\n";
        assert_eq!(without_unset(text, &|name| name == "X"), "a\nb\nc\ne\n");
        assert_eq!(without_unset(text, &|name| name == "Y"), "a\nd\ne\n");
    }
}
