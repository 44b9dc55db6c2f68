//! What stands in files.

use regex::Regex;

use super::TextFile;

const LINES_MAX: usize = 600;

pub(super) fn files_open_with_what_they_are_for(files: &[TextFile]) -> Vec<String> {
    let opens_something = |file: &&TextFile| file.is_library() || (file.is_rust() && file.path.ends_with("/main.rs"));
    let silent = files.iter().filter(opens_something).filter(|file| !file.text.starts_with("//! "));
    silent.map(|file| format!("{}:1: open with //! and what this file is for", file.path)).collect()
}

pub(super) fn files_are_short(files: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.is_library()) {
        let lines = file.lines_before_tests();
        if lines > LINES_MAX {
            let path = &file.path;
            violations.push(format!("{path}:{LINES_MAX}: {lines} lines without tests; {LINES_MAX} are the limit"));
        }
    }
    violations
}

/// Marks of work that was not finished, in code and in comments.
pub(super) fn nothing_is_left_over(files: &[TextFile]) -> Vec<String> {
    let mark = Regex::new(r"\b(todo|unimplemented)!\(|\b(FIXME|XXX|TODO|HACK)\b|#\[ignore|To be written").unwrap();
    search(files, &mark, |file| file.is_rust() && !file.path.starts_with("tests/tidy/"), "finish it, or leave it out")
}

pub(super) fn only_some_places_print_or_read_the_time(files: &[TextFile]) -> Vec<String> {
    let print = Regex::new(r"\b(e?print(ln)?|dbg)!").unwrap();
    let time = Regex::new(r"\b(SystemTime|Instant)::now\b").unwrap();
    let unordered = Regex::new(r"\bstd::collections::(\{[^}]*)?Hash(Map|Set)\b").unwrap();
    let may_print =
        |path: &str| path.starts_with("src/cli/") || path == "src/main.rs" || path == "src/connectors/print.rs";
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.is_library()) {
        let path = &file.path;
        for (number, line) in file.code() {
            if print.is_match(line) && !may_print(path) {
                violations.push(format!("{path}:{number}: only the command line and connectors/print.rs print"));
            }
            if time.is_match(line) && path != "src/clock.rs" {
                violations.push(format!("{path}:{number}: take the time from crate::clock"));
            }
            if unordered.is_match(line) {
                violations.push(format!("{path}:{number}: its order differs from run to run; see clippy.toml"));
            }
        }
    }
    violations
}

pub(super) fn no_path_of_one_machine(files: &[TextFile]) -> Vec<String> {
    let local = Regex::new(r#"(^|[\s"'`(=:])(/(work|root|home|Users)/\w|[A-Z]:\\)"#).unwrap();
    search(files, &local, |file| !file.path.starts_with("tests/tidy/"), "this path exists on one machine only")
}

fn search(files: &[TextFile], what: &Regex, which: fn(&TextFile) -> bool, advice: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| which(file)) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(found) = what.find(line) {
                violations.push(format!("{}:{}: {}: {advice}", file.path, number + 1, found.as_str().trim()));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;

    #[test]
    fn a_file_without_a_first_sentence_is_found() {
        assert_eq!(judge(files_open_with_what_they_are_for, "src/x.rs", "use a;").len(), 1);
        assert_eq!(judge(files_open_with_what_they_are_for, "tests/x/main.rs", "use a;").len(), 1);
        assert!(judge(files_open_with_what_they_are_for, "tests/x/part.rs", "use a;").is_empty());
        assert!(judge(files_open_with_what_they_are_for, "src/x.rs", "//! What for.\n").is_empty());
    }

    #[test]
    fn lines_are_counted_up_to_the_tests() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{long}", "x\n".repeat(LINES_MAX));
        assert_eq!(judge(files_are_short, "src/x.rs", &long).len(), 1);
        assert!(judge(files_are_short, "src/x.rs", &tested).is_empty());
    }

    #[test]
    fn left_overs_are_found() {
        for text in ["todo!()", "// FIXME: later", "#[ignore = \"slow\"]", "unimplemented!(\"\")", "//! To be written."]
        {
            assert_eq!(judge(nothing_is_left_over, "src/x.rs", text).len(), 1, "{text}");
        }
        assert!(judge(nothing_is_left_over, "src/x.rs", "let ignored = true;").is_empty());
    }

    #[test]
    fn printing_and_reading_the_time_are_found() {
        let rule = only_some_places_print_or_read_the_time;
        for text in ["println!();", "eprint!(\"x\");", "let t = Instant::now();", "use std::collections::HashMap;"] {
            assert_eq!(judge(rule, "src/plan/fuse.rs", text).len(), 1, "{text}");
        }
        assert!(judge(rule, "src/cli/run.rs", "println!();").is_empty());
        assert!(judge(rule, "src/clock.rs", "Instant::now()").is_empty());
        assert!(judge(rule, "src/plan/fuse.rs", "use hashbrown::HashMap;\nwriteln!(out)?;").is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(judge(no_path_of_one_machine, "docs/x.md", "see `/home/ada/data`").len(), 1);
        assert!(
            judge(no_path_of_one_machine, "docs/x.md", "see https://example.org/home/page and src/home/x").is_empty()
        );
    }
}
