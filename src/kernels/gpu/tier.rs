//! What a device can do beyond the least that every device can, in three steps.

use std::fmt;

use wgpu::Features;

/// What shaders may use. Every device has the first tier; a higher one has all of the lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Whole numbers of 32 bits only: 64 bits are pairs of words.
    Portable,
    /// And additions across a subgroup.
    Subgroups,
    /// And whole numbers of 64 bits, with atomics on them.
    Wide,
}

impl Tier {
    /// All tiers, the lowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Subgroups, Self::Wide];

    /// What must be asked of a device.
    pub(super) fn features(self) -> Features {
        match self {
            Self::Portable => Features::empty(),
            Self::Subgroups => Features::SUBGROUP,
            Self::Wide => Features::SUBGROUP | Features::SHADER_INT64 | Features::SHADER_INT64_ATOMIC_ALL_OPS,
        }
    }

    /// The highest tier among these features.
    pub(super) fn of(features: Features) -> Self {
        Self::ALL.into_iter().rev().find(|tier| features.contains(tier.features())).unwrap_or(Self::Portable)
    }

    /// Bits of a slot of what groups hold.
    pub(super) fn slot_bits(self) -> usize {
        if self == Self::Wide { 64 } else { 32 }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "32-bit integers",
            Self::Subgroups => "32-bit integers and subgroups",
            Self::Wide => "64-bit integers and subgroups",
        })
    }
}
