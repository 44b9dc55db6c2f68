//! What this crate may depend on: licences, where packages come from, and what the thin core must do without.
//!
//! Asks Cargo about the packages of this build (this platform, these features), offline and as locked.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../common/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that a package may have. Of several joined by `OR` one must be here, of several joined by `AND` all.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The only place that packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What may never be a dependency, with the reason.
const BANNED: [(&str, &str); 3] = [
    ("openssl-sys", "needs a library of the system; connectors that need TLS take rustls"),
    ("native-tls", "behaves differently on each system; take rustls"),
    ("serde_yaml", "unmaintained; pipeline files are TOML"),
];

/// What the thin core (`default-features = false`) must build without: it builds in about a minute.
const NOT_IN_THE_CORE: [&str; 15] = [
    "postgres",
    "polars",
    "polars-core",
    "tokio",
    "wgpu",
    "pollster",
    "clap",
    "indicatif",
    "mimalloc",
    "ctrlc",
    "parquet",
    "sqlparser",
    "toml",
    "tpchgen",
    "zstd-sys",
];

/// A package may be locked in this many versions: two while the world moves from one to the next.
const VERSIONS_MAX: usize = 3;

fn metadata(features: &[&str]) -> Value {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let about = Command::new(rustc).arg("-vV").output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let answer = Command::new(env!("CARGO"))
        .current_dir(tree::root())
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host])
        .args(["--no-default-features", "--features", &features.join(",")])
        .output()
        .unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice(&answer.stdout).unwrap()
}

/// The features of this build: their packages are certainly on this machine.
fn features() -> Vec<&'static str> {
    let mut features = Vec::new();
    if cfg!(feature = "cli") {
        features.push("cli");
    }
    if cfg!(feature = "gpu") {
        features.push("gpu");
    }
    if cfg!(feature = "polars") {
        features.push("polars");
    }
    if cfg!(feature = "postgres") {
        features.push("postgres");
    }
    features
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The packages that are part of the build, without those for other platforms or left-out features.
fn packages(metadata: &Value) -> Vec<&Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let used: BTreeSet<&str> = nodes.iter().map(|node| text(node, "id")).collect();
    metadata["packages"].as_array().unwrap().iter().filter(|package| used.contains(text(package, "id"))).collect()
}

/// Whether a licence expression of SPDX (or its older form with `/`) is satisfied by the list.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.trim();
    // The weaker connective first, outside parentheses only.
    for (connective, all) in [(" OR ", false), (" AND ", true), ("/", false)] {
        let parts = split_outside(expression, connective);
        if parts.len() > 1 {
            return if all {
                parts.iter().all(|part| is_allowed(part))
            } else {
                parts.iter().any(|part| is_allowed(part))
            };
        }
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner),
        None => LICENCES.contains(&expression),
    }
}

fn split_outside<'a>(expression: &'a str, connective: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (place, letter) in expression.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && place >= start && expression[place..].starts_with(connective) => {
                parts.push(&expression[start..place]);
                start = place + connective.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

#[test]
fn licences_sources_and_bans_are_kept() {
    let metadata = metadata(&features());
    let mut violations = Vec::new();
    let packages = packages(&metadata);
    assert!(packages.len() > 50, "only {} packages: the question was wrong", packages.len());
    for package in packages {
        let name = text(package, "name");
        let licence = text(package, "license");
        if !is_allowed(licence) {
            violations.push(format!("{name}: licence \"{licence}\" is not on the list"));
        }
        let source = text(package, "source");
        if name != "pelton" && source != REGISTRY {
            violations.push(format!("{name}: comes from \"{source}\""));
        }
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            violations.push(format!("{name} is banned: {reason}"));
        }
    }
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn the_thin_core_is_thin() {
    let metadata = metadata(&[]);
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let by_id: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let root = text(&metadata["resolve"], "root");
    let mut core = BTreeSet::new();
    let mut waiting = vec![root];
    while let Some(id) = waiting.pop() {
        if !core.insert(id) {
            continue;
        }
        for dependency in by_id[id]["deps"].as_array().unwrap() {
            // `null` is an ordinary dependency; "dev" and "build" are not part of the library.
            if dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()) {
                waiting.push(text(dependency, "pkg"));
            }
        }
    }
    let packages = packages(&metadata);
    let names: BTreeSet<&str> = packages
        .iter()
        .filter(|package| core.contains(text(package, "id")))
        .map(|package| text(package, "name"))
        .collect();
    assert!(names.contains("arrow-array"));
    let fat: Vec<&&str> = NOT_IN_THE_CORE.iter().filter(|name| names.contains(**name)).collect();
    assert!(fat.is_empty(), "the thin core depends on {fat:?}");
}

#[test]
fn no_package_is_locked_in_many_versions() {
    let lock = std::fs::read_to_string(tree::root().join("Cargo.lock")).unwrap();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for name in lock.lines().filter_map(|line| line.strip_prefix("name = ")) {
        *versions.entry(name).or_default() += 1;
    }
    assert!(versions.len() > 100, "Cargo.lock was not understood");
    let many: Vec<_> = versions.iter().filter(|(_, count)| **count > VERSIONS_MAX).collect();
    assert!(many.is_empty(), "{many:?}");
}

#[test]
fn licence_expressions_are_understood() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "MIT WITH something"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}
