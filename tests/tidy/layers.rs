//! Who may use whom. Rust allows cycles between the modules of a crate; this table does not.

use regex::Regex;

use super::TextFile;

/// A module and what it may name, from the bottom up. A path stands for everything below it, except for modules that
/// have a line of their own.
const LAYERS: [(&str, &[&str]); 20] = [
    ("limits", &[]),
    ("error", &[]),
    ("clock", &["error", "limits"]),
    ("suggest", &[]),
    ("columnar", &["error", "limits", "clock"]),
    ("expr", &["columnar", "error", "limits", "clock", "suggest"]),
    ("formats", &["columnar", "error", "limits", "clock", "suggest"]),
    ("profile", &["columnar", "error", "limits", "suggest"]),
    ("generate", &["columnar", "error", "limits", "clock", "suggest"]),
    ("plan", &["expr", "columnar", "error", "limits", "clock"]),
    (
        "kernels",
        &[
            "plan::stage",
            "plan::asof",
            "plan::keep",
            "plan::operator",
            "plan::rules",
            "plan::state_function",
            "plan::fold_function",
            "plan::initial",
            "expr",
            "columnar",
            "error",
            "limits",
            "clock",
        ],
    ),
    (
        "kernels::cpu",
        &[
            "kernels",
            "plan::stage",
            "plan::asof",
            "plan::keep",
            "plan::operator",
            "plan::rules",
            "plan::state_function",
            "plan::fold_function",
            "plan::initial",
            "expr",
            "columnar",
            "error",
            "limits",
            "clock",
        ],
    ),
    (
        "kernels::gpu",
        &["kernels", "kernels::cpu", "plan::stage", "plan::keep", "expr", "columnar", "error", "limits", "clock"],
    ),
    ("connectors", &["kernels::Partitions", "formats", "generate", "columnar", "error", "limits", "clock"]),
    ("checkpoint", &["connectors", "plan::table_origin", "formats", "columnar", "error", "limits", "clock"]),
    ("dispatch", &["kernels", "kernels::cpu", "kernels::gpu", "plan", "expr", "columnar", "error", "limits", "clock"]),
    (
        "runtime",
        &[
            "dispatch",
            "checkpoint",
            "connectors",
            "kernels",
            "plan",
            "formats",
            "profile",
            "expr",
            "columnar",
            "error",
            "limits",
            "clock",
        ],
    ),
    ("program", &["runtime", "dispatch", "kernels", "plan", "expr", "columnar", "error", "limits", "clock"]),
    (
        "query",
        &[
            "runtime",
            "dispatch",
            "checkpoint",
            "connectors",
            "kernels",
            "kernels::cpu",
            "plan",
            "generate",
            "formats",
            "profile",
            "expr",
            "columnar",
            "error",
            "limits",
            "clock",
            "suggest",
        ],
    ),
    (
        "cli",
        &[
            "query",
            "program",
            "runtime",
            "dispatch",
            "checkpoint",
            "connectors",
            "kernels",
            "kernels::cpu",
            "kernels::gpu",
            "plan",
            "generate",
            "formats",
            "profile",
            "expr",
            "columnar",
            "error",
            "limits",
            "clock",
            "suggest",
        ],
    ),
];

/// Files that may name every module: they show the crate from the outside.
const FRONT: [&str; 3] = ["src/lib.rs", "src/main.rs", "src/prelude.rs"];

pub(super) fn modules_look_only_down(files: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.is_library() && !FRONT.contains(&file.path.as_str())) {
        let module = module_of(&file.path);
        let Some((layer, allowed)) = layer_of(&module) else {
            violations.push(format!("{}:1: {module} has no line in the table of layers", file.path));
            continue;
        };
        for (number, target) in named_modules(file, &module) {
            let Some((target_layer, _)) = layer_of(&target) else {
                continue; // a macro or a type at the crate's root
            };
            let may =
                |path: &&str| is_below(&target, path) && layer_of(path).is_some_and(|(found, _)| found == target_layer);
            if target_layer != layer && !allowed.iter().any(may) {
                violations.push(format!("{}:{number}: {layer} may not use {target}", file.path));
            }
        }
    }
    violations
}

pub(super) fn imports_name_one_module(files: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.is_library()) {
        for (number, line) in file.code() {
            if line.contains("crate::{") {
                violations.push(format!("{}:{number}: import from one module at a time, not crate::{{…}}", file.path));
            }
        }
    }
    violations
}

/// `src/kernels/cpu/filter.rs` is `kernels::cpu::filter`; `src/kernels/mod.rs` is `kernels`.
fn module_of(path: &str) -> String {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.replace('/', "::")
}

/// The line of the table that is nearest to this path.
fn layer_of(path: &str) -> Option<(&'static str, &'static [&'static str])> {
    LAYERS.iter().filter(|(layer, _)| is_below(path, layer)).max_by_key(|(layer, _)| layer.len()).copied()
}

fn is_below(path: &str, above: &str) -> bool {
    path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with("::"))
}

/// The paths after `crate::` and `super::`, seen from the crate's root, with their lines.
fn named_modules(file: &TextFile, module: &str) -> Vec<(usize, String)> {
    let path = Regex::new(r"\b(crate|(?:super::)*super)::(\w+(?:::\w+)*)").unwrap();
    let mut named = Vec::new();
    for (number, line) in file.code() {
        for found in path.captures_iter(line) {
            let base = match &found[1] {
                "crate" => String::new(),
                supers => {
                    let parents: Vec<&str> = module.split("::").collect();
                    let kept = parents.len().saturating_sub(supers.matches("super").count());
                    parents[..kept].join("::")
                }
            };
            let target = if base.is_empty() { found[2].to_owned() } else { format!("{base}::{}", &found[2]) };
            named.push((number, target));
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;

    #[test]
    fn looking_up_is_found_whatever_its_spelling() {
        let rule = modules_look_only_down;
        let looks_up = "//! doc\nuse crate::runtime::Trigger;\n";
        assert_eq!(
            judge(rule, "src/plan/fuse.rs", looks_up),
            ["src/plan/fuse.rs:2: plan may not use runtime::Trigger"]
        );
        assert_eq!(judge(rule, "src/plan/mod.rs", "use super::runtime::Trigger;").len(), 1);
        assert_eq!(judge(rule, "src/plan/fuse.rs", "let x = super::super::runtime::Trigger::new();").len(), 1);
        assert_eq!(judge(rule, "src/novelty.rs", "").len(), 1);
    }

    #[test]
    fn looking_down_is_allowed_as_far_as_the_table_says() {
        let rule = modules_look_only_down;
        assert!(judge(rule, "src/plan/fuse.rs", "use crate::expr::Expr;\nuse super::stage::Stage;").is_empty());
        assert!(judge(rule, "src/connectors/file.rs", "use crate::kernels::Partitions;").is_empty());
        assert_eq!(judge(rule, "src/connectors/file.rs", "use crate::kernels::Backend;").len(), 1);
        assert!(judge(rule, "src/kernels/cpu/sort.rs", "use crate::kernels::sort;\nuse super::words;").is_empty());
        assert_eq!(judge(rule, "src/kernels/sort.rs", "use crate::kernels::cpu::sort;").len(), 1);
        assert!(judge(rule, "src/kernels/sort.rs", "use crate::plan::stage::Stage;").is_empty());
        assert_eq!(judge(rule, "src/kernels/sort.rs", "use crate::plan::logical::Node;").len(), 1);
    }

    #[test]
    fn every_line_of_the_table_names_only_lines_above_it() {
        for (place, (layer, allowed)) in LAYERS.iter().enumerate() {
            for path in *allowed {
                let known = LAYERS[..place].iter().any(|(above, _)| is_below(path, above));
                assert!(known, "{layer} may use {path}, which is not above it");
            }
        }
    }

    #[test]
    fn groups_of_modules_are_found() {
        assert_eq!(judge(imports_name_one_module, "src/x.rs", "use crate::{error::Error, limits};").len(), 1);
        assert!(judge(imports_name_one_module, "src/x.rs", "use crate::error::{Error, Result};").is_empty());
    }
}
