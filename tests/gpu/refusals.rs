//! What does not run on a device is refused, with the reason.

use pelton::expr::{Expr, col};
use pelton::kernels::gpu::{Tier, shaders};
use pelton::plan::stage::Stage;

use crate::support::{Chain, schema};

fn reason(stage: &Stage) -> String {
    shaders(stage, Tier::Wide).unwrap_err()
}

fn selected(expr: Expr) -> String {
    reason(&Chain::new(&schema()).select([expr.alias("x")]).stage())
}

#[test]
fn arithmetic_on_floats_is_refused() {
    let said = "`f64 * 2.0` computes with floats, and shader compilers do not promise the bits of the CPU";
    assert_eq!(selected(col("f64") * 2.0), said);
    assert!(selected(col("i64").sqrt()).contains("computes with floats"));
    assert!(selected((col("f64") + 1.0).gt(0)).contains("computes with floats"));
}

#[test]
fn what_only_picks_columns_is_refused() {
    let stage = Chain::new(&schema()).select([col("i64"), col("name")]).stage();
    assert_eq!(reason(&stage), "it computes nothing that a device could help with");
}

#[test]
fn aggregates_that_need_all_values_are_refused() {
    let refused = |aggregate| reason(&Chain::new(&schema()).reduce([col("i8")], [aggregate]).stage());
    assert_eq!(refused(col("i32").n_unique().alias("u")), "\"u\" is a n_unique, which is made on the CPU only");
    assert_eq!(refused(col("f64").quantile(0.5).alias("q")), "\"q\" is a quantile, which is made on the CPU only");
    assert_eq!(refused(col("name").first().alias("f")), "\"f\" is a first, which is made on the CPU only");
}
