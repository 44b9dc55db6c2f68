//! What files and folders are called.

use std::collections::BTreeSet;

use super::TextFile;

/// Names that say nothing of what is inside, and therefore attract everything.
const EMPTY_NAMES: [&str; 12] =
    ["util", "utils", "helper", "helpers", "common", "base", "misc", "manager", "core", "impl", "internal", "stuff"];
/// What integration tests share has to live in a folder, or Cargo takes it for a test.
const ALLOWED: &str = "tests/common/";

pub(super) fn names_say_what_is_inside(files: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !file.path.starts_with(ALLOWED)) {
        for part in file.path.trim_end_matches(".rs").split('/') {
            if EMPTY_NAMES.contains(&part) {
                violations.push(format!("{}:1: \"{part}\" does not say what is inside", file.path));
            }
        }
    }
    violations
}

pub(super) fn folders_open_with_mod_rs(files: &[TextFile]) -> Vec<String> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut violations = BTreeSet::new();
    for file in files.iter().filter(|file| file.is_library()) {
        let Some((folder, _)) = file.path.rsplit_once('/') else { continue };
        if folder != "src" && folder != "src/bin" && !paths.contains(format!("{folder}/mod.rs").as_str()) {
            violations.insert(format!("{folder}:1: a folder of modules opens with mod.rs"));
        }
    }
    violations.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;

    #[test]
    fn empty_names_are_found_except_in_shared_test_code() {
        assert_eq!(judge(names_say_what_is_inside, "src/plan/utils.rs", "").len(), 1);
        assert_eq!(judge(names_say_what_is_inside, "src/core/plan.rs", "").len(), 1);
        assert_eq!(judge(names_say_what_is_inside, "benches/common/mod.rs", "").len(), 1);
        assert!(judge(names_say_what_is_inside, "tests/common/mod.rs", "").is_empty());
        assert!(judge(names_say_what_is_inside, "src/plan/fuse.rs", "").is_empty());
    }

    #[test]
    fn a_folder_without_mod_rs_is_found() {
        assert_eq!(judge(folders_open_with_mod_rs, "src/plan/fuse.rs", "").len(), 1);
        assert!(judge(folders_open_with_mod_rs, "src/plan/mod.rs", "").is_empty());
        assert!(judge(folders_open_with_mod_rs, "src/clock.rs", "").is_empty());
    }
}
