//! Leaves out of a shader the functions that nothing calls: drivers need less time for what is not there.
//!
//! Knows only as much of WGSL as our own files hold to: a function begins with `fn` at the start of a line and ends with
//! the first `}` there; the comment above belongs to it.

use std::collections::{BTreeMap, BTreeSet};

/// The text without functions that cannot be reached from `main`.
pub(super) fn without_unused(text: &str) -> String {
    let parts = parts(text);
    let functions: BTreeMap<&str, usize> =
        parts.iter().enumerate().filter_map(|(place, part)| Some((part.function?, place))).collect();
    let is_root = |part: &Part<'_>| part.function.is_none_or(|name| name == "main");
    let mut waiting: Vec<usize> = (0..parts.len()).filter(|&place| is_root(&parts[place])).collect();
    let mut used: BTreeSet<usize> = waiting.iter().copied().collect();
    while let Some(place) = waiting.pop() {
        for line in &parts[place].lines {
            let code = line.split("//").next().unwrap_or_default();
            let names = code.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
            for &place in names.filter_map(|name| functions.get(name)) {
                if used.insert(place) {
                    waiting.push(place);
                }
            }
        }
    }
    let mut kept = String::with_capacity(text.len());
    for line in used.iter().flat_map(|&place| &parts[place].lines) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// Lines that stay or go together.
struct Part<'a> {
    /// The function that they are, if they are one.
    function: Option<&'a str>,
    lines: Vec<&'a str>,
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut part = Part { function: None, lines: Vec::new() };
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("fn ") {
            part.function = rest.split('(').next();
        }
        part.lines.push(line);
        // Everything but functions ends with an empty line, so that comments stay with what they are above.
        let ends = if part.function.is_some() { line == "}" } else { line.is_empty() };
        if ends {
            parts.push(std::mem::replace(&mut part, Part { function: None, lines: Vec::new() }));
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_main_needs_stays_in_its_order() {
        let text = "var<private> a: u32;\n\n// First.\nfn first() -> u32 {\n    return a;\n}\n\n// Never called, though first() is.\n\
                    fn never() {\n    first();\n}\n\nfn second() {\n    first();\n}\n\n@compute\nfn main() {\n    second(); // never()\n}\n";
        let kept = without_unused(text);
        assert!(
            kept.contains("// First.\nfn first()")
                && kept.contains("fn second()")
                && kept.contains("@compute\nfn main()")
        );
        assert!(!kept.contains("fn never()") && !kept.contains("Never called"), "{kept}");
        assert!(kept.starts_with("var<private> a: u32;\n"));
    }
}
