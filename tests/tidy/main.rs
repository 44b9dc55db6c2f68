//! The rules of this tree, executed. One run prints every violation, as `file:line: what is wrong`.
//!
//! To change a rule, change it here, in its table, with a reason; a rule that is only written down is not one.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod layers;
mod naming;
mod shaders;
#[path = "../common/tree.rs"]
mod tree;
mod twins;
mod wording;

use std::fs;
use std::path::Path;

/// A text file of this repository.
struct TextFile {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

impl TextFile {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_library(&self) -> bool {
        self.is_rust() && self.path.starts_with("src/")
    }

    /// The lines of code, counted from 1: no comments, and nothing after the file's test module begins.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take(self.lines_before_tests()).enumerate();
        lines.map(|(number, line)| (number + 1, without_comment(line))).filter(|(_, line)| !line.trim().is_empty())
    }

    fn lines_before_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let opens_tests =
            |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
        lines.windows(2).position(opens_tests).unwrap_or(lines.len())
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split(" // ").next().unwrap_or_default()
}

/// A rule looks at all files and says what is wrong.
type Rule = fn(&[TextFile]) -> Vec<String>;

const RULES: [Rule; 13] = [
    layers::modules_look_only_down,
    layers::imports_name_one_module,
    naming::names_say_what_is_inside,
    naming::folders_open_with_mod_rs,
    wording::files_open_with_what_they_are_for,
    wording::files_are_short,
    wording::nothing_is_left_over,
    wording::only_some_places_print_or_read_the_time,
    wording::no_path_of_one_machine,
    twins::operations_have_twins_and_tests,
    shaders::shaders_open_with_what_they_are_for,
    shaders::loops_of_shaders_are_seen_to_end,
    shaders::devices_are_touched_in_one_place,
];

#[test]
fn the_tree_keeps_its_rules() {
    let mut files = Vec::new();
    let root = tree::root();
    read_folder(&root, &root, &mut files);
    assert!(files.iter().any(TextFile::is_library), "no sources found");
    let violations: Vec<String> = RULES.iter().flat_map(|rule| rule(&files)).collect();
    assert!(violations.is_empty(), "{} violations\n{}\n", violations.len(), violations.join("\n"));
}

/// Every text file below `folder` that belongs to the repository.
fn read_folder(root: &Path, folder: &Path, files: &mut Vec<TextFile>) {
    const NOT_OURS: [&str; 3] = ["target", ".git", "generated"];
    const TEXT: [&str; 10] = ["rs", "md", "toml", "wgsl", "yml", "yaml", "sh", "py", "html", "js"];
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        if path.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            read_folder(root, &path, files);
        } else if path.is_file() {
            let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
            let is_text = extension.is_some_and(|extension| TEXT.contains(&extension.as_str()));
            if is_text || relative.starts_with(".ci/") {
                files.push(TextFile { path: relative, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
}

/// What a rule says about one file with this text.
#[cfg(test)]
fn judge(rule: Rule, path: &str, text: &str) -> Vec<String> {
    rule(&[TextFile { path: path.to_owned(), text: text.to_owned() }])
}

#[test]
fn code_leaves_out_comments_and_tests() {
    let text = "//! doc\nuse a; // why\n\n/// doc\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use b;\n}\n";
    let file = TextFile { path: "src/x.rs".to_owned(), text: text.to_owned() };
    assert_eq!(file.code().collect::<Vec<_>>(), [(2, "use a;"), (5, "fn f() {}")]);
}
