//! The fast validation against the reference, on random rows.

use std::sync::Arc;

use pelton::columnar::Scalar;
use pelton::kernels::cpu::validate::Validate;
use pelton::kernels::validate::{Findings, reference};
use pelton::plan::rules::{RuleId, RuleLabel, TypedRule, TypedTest, Verdict};
use pelton::plan::stage::{Join, JoinKind, Registry};

use super::common::Random;
use super::*;

fn random_rows(random: &mut Random, rows: usize) -> RecordBatch {
    let text = |random: &mut Random| match random.below(5) {
        0 => Scalar::Null,
        _ => Scalar::Utf8(random.pick(&["a", "b", "cc", ""]).into()),
    };
    let number = |random: &mut Random| match random.below(6) {
        0 => Scalar::Null,
        _ => Scalar::Int64(i64::try_from(random.below(9)).unwrap() - 4),
    };
    let texts = (0..rows).map(|_| text(random)).collect::<Vec<_>>();
    let numbers = (0..rows).map(|_| number(random)).collect::<Vec<_>>();
    RecordBatch::try_from_iter_with_nullable([
        ("t", Scalar::to_array(&texts, &DataType::Utf8).unwrap(), true),
        ("n", Scalar::to_array(&numbers, &DataType::Int64).unwrap(), true),
    ])
    .unwrap()
}

/// Rows that broke each rule, how many were dropped and put in quarantine, and those put in quarantine with their rules.
type Plain = (Vec<(RuleId, u64)>, u64, u64, Vec<(String, String)>);

/// Findings in a form that does not depend on how the kept rows lie in batches.
fn plain(findings: &Findings) -> Plain {
    let kept = findings.aside.iter().flat_map(|broken| {
        let names = broken.rules.iter().map(|rule| rule.to_string());
        rows(&broken.rows).into_iter().zip(names).collect::<Vec<_>>()
    });
    let broken = findings.broken.iter().map(|(id, rows)| (*id, *rows)).collect();
    (broken, findings.dropped, findings.quarantined, kept.collect())
}

#[test]
fn the_fast_validation_finds_what_the_reference_finds() {
    let mut random = Random::new(11);
    for round in 0..300 {
        let count = random.pick(&[0, 1, 2, 63, 64, 65, 200]);
        let batch = random_rows(&mut random, count);
        let mut registry = Registry::default();
        let table = random_rows(&mut random, 3);
        let table = registry.add_table("known", table);
        let schema = batch.schema();
        let rule = |random: &mut Random, id: usize| {
            let low = lit(i64::try_from(random.below(5)).unwrap() - 3);
            let test = match random.below(5) {
                0 => TypedTest::Holds(col("n").gt_eq(low).typed(&schema).unwrap()),
                1 => TypedTest::Holds(col("t").is_not_null().typed(&schema).unwrap()),
                2 => TypedTest::Holds(col("t").length().between(1, 2).typed(&schema).unwrap()),
                3 => TypedTest::Holds(lit(Scalar::Null).eq(col("n")).typed(&schema).unwrap()),
                _ => TypedTest::Found(Join {
                    table,
                    kind: JoinKind::Semi,
                    left_keys: vec![0],
                    right_keys: vec![0],
                    right_columns: vec![],
                    schema: Arc::clone(&schema),
                }),
            };
            let verdicts = [Verdict::Keep, Verdict::Drop, Verdict::Quarantine, Verdict::Keep, Verdict::Fail];
            let most = if round % 4 == 0 { 5 } else { 4 };
            let verdict = verdicts[random.below(most)];
            TypedRule { label: RuleLabel { id: RuleId(id), name: format!("rule {id}").into(), verdict }, test }
        };
        let count = 1 + random.below(4);
        let rules = (0..count).map(|id| rule(&mut random, id)).collect::<Vec<_>>();
        let mut findings = Findings::default();
        let fast = Validate::prepare(&rules, &registry).unwrap().apply(&batch, &mut findings);
        match (fast, reference(&batch, &rules, &registry)) {
            (Ok(fast), Ok((slow, expected))) => {
                assert_eq!(fast, slow, "round {round}: {rules:?}");
                assert_eq!(plain(&findings), plain(&expected), "round {round}: {rules:?}");
            }
            (Err(fast), Err(slow)) => assert_eq!(fast.to_string(), slow.to_string(), "round {round}"),
            (fast, slow) => panic!("round {round}: {fast:?} is not {slow:?}"),
        }
    }
}
