//! All shaders that the stages of this file need are valid WGSL, on every tier, without any device.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use pelton::expr::{col, len, lit};
use pelton::kernels::gpu::{Tier, shaders};
use pelton::plan::keep::OutputMode;
use pelton::plan::logical::{Over, SortBy};
use pelton::plan::stage::Stage;

use crate::rows::{conditions, projections};
use crate::support::{Chain, schema};

/// What a tier may use.
fn capabilities(tier: Tier) -> Capabilities {
    let subgroups = Capabilities::SUBGROUP;
    match tier {
        Tier::Portable => Capabilities::empty(),
        Tier::Subgroups => subgroups,
        Tier::Wide => subgroups | Capabilities::SHADER_INT64 | Capabilities::SHADER_INT64_ATOMIC_ALL_OPS,
    }
}

#[track_caller]
fn all_are_valid(stage: &Stage) -> Vec<&'static str> {
    let mut names = Vec::new();
    for tier in Tier::ALL {
        let shaders = shaders(stage, tier).unwrap_or_else(|reason| panic!("{tier} refuses: {reason}"));
        for (name, text) in &shaders {
            let module = naga::front::wgsl::parse_str(text)
                .unwrap_or_else(|error| panic!("{name} with {tier}: {}\n{text}", error.emit_to_string(text)));
            let mut validator = Validator::new(ValidationFlags::all(), capabilities(tier));
            let valid = validator.validate(&module);
            assert!(valid.is_ok(), "{name} with {tier}: {:?}\n{text}", valid.unwrap_err());
            names.push(*name);
        }
    }
    names
}

#[test]
fn filters_and_projections_of_every_kind_are_valid() {
    let conditions = conditions();
    for (place, projection) in projections().into_iter().enumerate() {
        let predicate = conditions[place % conditions.len()].clone();
        all_are_valid(&Chain::new(&schema()).filter(predicate).select([projection]).stage());
    }
    let names = all_are_valid(&Chain::new(&schema()).select(projections().into_iter().take(12)).stage());
    assert_eq!(names, ["select_scatter"; 3]);
}

#[test]
fn reductions_of_every_kind_are_valid() {
    let whole = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "span"];
    let mut aggregates = vec![len(), col("name").count(), col("price").sum(), col("at").max()];
    for name in whole {
        aggregates.extend([col(name).sum(), col(name).min(), col(name).max(), col(name).count()]);
    }
    for name in ["i8", "u64", "price", "f32", "f64"] {
        aggregates.push(col(name).var(1));
    }
    aggregates.extend([col("price").min(), col("price").max(), col("name").min(), col("flag").any()]);
    aggregates.push(col("i64").sum().filter(col("flag").eq(lit(true))));
    let aggregates: Vec<_> =
        aggregates.into_iter().enumerate().map(|(place, one)| one.alias(format!("a{place}"))).collect();
    for keys in [vec![], vec![col("i32")], vec![col("name"), col("f64")], vec![(col("i64") % 7).alias("k")]] {
        let names =
            all_are_valid(&Chain::new(&schema()).filter(col("i32").gt(0)).reduce(keys, aggregates.clone()).stage());
        assert!(names.contains(&"reduce_take"));
    }
}

#[test]
fn what_is_kept_on_a_device_is_valid() {
    let aggregates = vec![len().alias("n"), col("f64").sum().alias("f"), col("price").max().alias("m")];
    for keys in [vec![], vec![col("u8")], vec![col("name"), col("i64")]] {
        let stage = Chain::new(&schema()).kept(keys, aggregates.clone(), Over::Always, OutputMode::Update).stage();
        let names = all_are_valid(&stage);
        for name in ["keep_firsts", "keep_merge", "keep_rows"] {
            assert_eq!(names.iter().filter(|one| **one == name).count(), Tier::ALL.len(), "{name}");
        }
    }
    let kept = Chain::new(&schema()).kept([col("u8")], aggregates, Over::Always, OutputMode::Complete);
    let names = all_are_valid(&kept.first(3, [SortBy::from(col("f"))]).stages()[0]);
    for name in ["best_rank", "best_digit", "best_bound", "best_pick"] {
        assert!(names.contains(&name), "{name}");
    }
}
