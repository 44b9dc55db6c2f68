//! Rows that lie apart have one answer: partials merged in order equal one run.

use pelton::prelude::*;

use crate::chains::{cases, rows, schema};

const ALL: usize = 90_000;

#[test]
fn partials_merged_in_order_equal_one_run() {
    for case in cases() {
        for device in [Device::Auto, Device::Reference] {
            // Few batches, and more than are held without being put together.
            let (all, step) = if device == Device::Auto { (ALL, 1_777) } else { (1_000, 250) };
            let program = Program::compile(&schema(), &case.chain, device).unwrap();
            let mut merged = program.partial(&rows(0, 0)).unwrap();
            for from in (0..all).step_by(step) {
                merged.merge(program.partial(&rows(from, step.min(all - from))).unwrap()).unwrap();
            }
            assert_eq!(merged.finish().unwrap(), program.run(&rows(0, all)).unwrap(), "{}", case.name);
        }
    }
}

#[test]
fn partials_of_large_batches_made_by_many_threads_merge() {
    for case in cases() {
        let program = Program::compile(&schema(), &case.chain, Device::Auto).unwrap();
        let halves = [(0, ALL / 2), (ALL / 2, ALL / 2)].map(|(from, len)| {
            let program = program.clone();
            std::thread::spawn(move || program.partial(&rows(from, len)))
        });
        let [first, later] = halves.map(|thread| thread.join().unwrap().unwrap());
        let mut merged = first;
        merged.merge(later).unwrap();
        assert_eq!(merged.finish().unwrap(), program.run(&rows(0, ALL)).unwrap(), "{}", case.name);
    }
}

#[test]
fn a_tree_of_merges_equals_a_row_of_them() {
    for case in cases() {
        let program = Program::compile(&schema(), &case.chain, Device::Auto).unwrap();
        let leaf = |number: usize| program.partial(&rows(number * 1_000, 1_000)).unwrap();
        let pair = |number: usize| {
            let mut pair = leaf(number);
            pair.merge(leaf(number + 1)).unwrap();
            pair
        };
        let mut tree = pair(0);
        tree.merge(pair(2)).unwrap();
        assert_eq!(tree.finish().unwrap(), program.run(&rows(0, 4_000)).unwrap(), "{}", case.name);
    }
}

#[test]
fn partials_of_different_programs_do_not_merge() {
    let compile = || Program::compile(&schema(), &Chain::new().count(), Device::Auto).unwrap();
    let (one, other) = (compile(), compile());
    let mut partial = one.partial(&rows(0, 10)).unwrap();
    let error = partial.merge(other.partial(&rows(0, 10)).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("compile the chain once"), "{error}");
    assert_eq!(partial.finish().unwrap(), one.run(&rows(0, 10)).unwrap(), "the partial is as it was");
}
