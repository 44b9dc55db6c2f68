//! One operation, one name: its contract and reference, its fast twin, its tests.

use std::collections::BTreeSet;

use super::TextFile;

/// Parts of the CPU backend that are not operations of their own, and what they are.
const CPU_ONLY: [(&str, &str); 27] = [
    ("aged", "the part of keep that forgets groups"),
    ("bytes", "text and binary columns as byte strings"),
    ("direct", "sums of numbers straight from columns, which reduce says the answers of"),
    ("elsewhere", "where the work of a device comes into the end of a stage"),
    ("eval", "expressions over whole columns; kernels::reference says what they mean"),
    ("event_time", "how far event time has come, and which rows are late"),
    ("fold_keys", "the part of fold_windows that stores keys and takes them back"),
    ("fold_pieces", "the values of fold_windows, in columns"),
    ("function", "a function of the user's, held to its schema"),
    ("held_keys", "keys that are held from batch to batch"),
    ("initial", "the tables that state begins with"),
    ("join_index", "the hash tables of a join"),
    ("key_group", "a part of the groups of a pane, in memory or put away"),
    ("key_groups", "the groups of a pane, dealt out by their keys"),
    ("key_numbers", "numbers for the keys of panes, by which windows are put together"),
    ("native", "primitive columns as plain slices"),
    ("pane_stacks", "the part of keep that puts windows together that overlap"),
    ("prefetch", "asking for memory before it is needed"),
    ("reduce_tasks", "the tasks of a keyed reduce as partials"),
    ("row_keys", "several key columns as one byte string a row"),
    ("seen", "what a task notes beside what it computes"),
    ("simd", "which vector instructions kernels run on"),
    ("sort_keys", "keys in a form that is quick to compare"),
    ("spare", "tasks that wait for the next batch"),
    ("stage", "a fused stage: the steps one after the other"),
    ("step", "the steps of a stage"),
    ("words", "values of fixed width as words that compare as the values do"),
];
/// What `kernels/` holds beside operations.
const SHARED: [(&str, &str); 8] = [
    ("exact_sum", "sums without rounding, for the reference and for all backends"),
    ("flow", "where rows went, for all backends"),
    ("group_ids", "tested through reduce, whose answers are wrong if an id is"),
    ("reference", "what expressions mean, one value at a time"),
    ("reference_stage", "the backend that is made of the references"),
    ("site", "where in an expression a value could not be computed"),
    ("spill", "what has no room in memory, and what is asked of the place where it lies"),
    ("user_function", "calls functions of the user's, for all backends"),
];

pub(super) fn operations_have_twins_and_tests(files: &[TextFile]) -> Vec<String> {
    let contracts = names_in(files, "src/kernels/");
    let twins = names_in(files, "src/kernels/cpu/");
    let mut violations = Vec::new();
    for twin in twins.iter().filter(|twin| !contracts.contains(*twin) && !is_listed(&CPU_ONLY, twin)) {
        violations.push(format!("src/kernels/cpu/{twin}.rs:1: no contract and reference in src/kernels/{twin}.rs"));
    }
    for contract in contracts.iter().filter(|contract| !is_listed(&SHARED, contract)) {
        if !twins.contains(contract) {
            violations.push(format!("src/kernels/{contract}.rs:1: no twin in src/kernels/cpu/{contract}.rs"));
        } else if !is_tested(files, contract) {
            violations.push(format!("src/kernels/{contract}.rs:1: nothing in tests/ compares it with its reference"));
        }
    }
    for (listed, _) in CPU_ONLY.iter().filter(|(listed, _)| !twins.contains(*listed)) {
        violations.push(format!("tests/tidy/twins.rs:1: {listed} is listed, but src/kernels/cpu has no such file"));
    }
    for (listed, _) in SHARED.iter().filter(|(listed, _)| !contracts.contains(*listed)) {
        violations.push(format!("tests/tidy/twins.rs:1: {listed} is listed, but src/kernels has no such file"));
    }
    violations
}

/// Files and folders directly in `folder`, without their endings; `mod.rs`, `cpu` and `gpu` are the backends' own.
fn names_in<'a>(files: &'a [TextFile], folder: &str) -> BTreeSet<&'a str> {
    let inside = files.iter().filter_map(|file| file.path.strip_prefix(folder));
    let names = inside.filter_map(|path| path.split('/').next()).map(|name| name.trim_end_matches(".rs"));
    names.filter(|name| !["mod", "cpu", "gpu"].contains(name)).collect()
}

fn is_listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

/// Whether a test names the operation's module.
fn is_tested(files: &[TextFile], operation: &str) -> bool {
    let names = [format!("kernels::{operation}"), format!("{operation}::reference")];
    let tests = files.iter().filter(|file| file.is_rust() && file.path.starts_with("tests/"));
    tests
        .filter(|file| !file.path.starts_with("tests/tidy/"))
        .any(|file| names.iter().any(|name| file.text.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_missing_twin_contract_or_test_is_found() {
        let contract = || file("src/kernels/turn.rs", "");
        let twin = || file("src/kernels/cpu/turn/mod.rs", "");
        let test = || file("tests/turning/main.rs", "use pelton::kernels::turn;");
        let about_turn = |files: &[TextFile]| {
            operations_have_twins_and_tests(files).into_iter().filter(|found| found.contains("turn")).count()
        };
        assert_eq!(about_turn(&[contract(), test()]), 1);
        assert_eq!(about_turn(&[twin(), test()]), 1);
        assert_eq!(about_turn(&[contract(), twin()]), 1);
        assert_eq!(about_turn(&[contract(), twin(), test()]), 0);
    }
}
