//! What shaders say of themselves, and who may talk to a device.

use super::TextFile;

/// The only folder that may name the crate that reaches devices: a new major version comes every few months.
const BACKEND: &str = "src/kernels/gpu/";

pub(super) fn shaders_open_with_what_they_are_for(files: &[TextFile]) -> Vec<String> {
    let shaders = files.iter().filter(|file| file.path.ends_with(".wgsl"));
    let without = shaders.filter(|file| {
        let header = file.text.lines().take_while(|line| line.starts_with("//")).collect::<Vec<_>>().join("\n");
        header.len() < 80 || !header.contains("Tier: ")
    });
    without.map(|file| format!("{}:1: no header with what it is for and its tier", file.path)).collect()
}

/// Shaders are compiled without the counters that would end loops by force (`src/kernels/gpu/device.rs`): that is sound
/// because each loop is seen to end.
pub(super) fn loops_of_shaders_are_seen_to_end(files: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".wgsl")) {
        let lines: Vec<&str> = file.text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        for (at, line) in lines.iter().enumerate() {
            let is_loop = line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
            let is_loop = is_loop.into_iter().any(|word| ["for", "while", "loop"].contains(&word));
            if is_loop && !counts_to_its_bound(line, &lines[at + 1..]) {
                let place = format!("{}:{}", file.path, at + 1);
                violations.push(format!(
                    "{place}: a loop must be seen to end: `for (var x = …; x < … && …; x++)`, or down to 0: {}",
                    line.trim()
                ));
            }
        }
    }
    violations
}

/// Whether a loop counts up to what it is compared with first, or down to 0, and nothing in it sets its counter.
fn counts_to_its_bound(line: &str, after: &[&str]) -> bool {
    let parts = |line: &str| -> Option<[String; 4]> {
        let head = line.trim().strip_prefix("for (var ")?.strip_suffix(") {")?;
        let (begin, rest) = head.split_once("; ")?;
        let (condition, step) = rest.split_once("; ")?;
        let (counter, first) = begin.split_once(" = ")?;
        Some([counter, first, condition.split(" && ").next()?, step].map(str::to_owned))
    };
    let Some([counter, first, bound, step]) = parts(line) else { return false };
    let is_constant = |text: &str| text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    let goes_up = bound.starts_with(&format!("{counter} < "))
        || bound.strip_prefix(&format!("{counter} <= ")).is_some_and(is_constant);
    let ends = match step.strip_prefix(&counter) {
        Some("++") => goes_up,
        Some("--") => bound == format!("{counter} > 0u"),
        Some(" *= 2u") => goes_up && first == "1u",
        Some(step) => goes_up && step.starts_with(" += ") && step.ends_with("TILE"),
        None => false,
    };
    let indent = line.len() - line.trim_start().len();
    let body = after.iter().take_while(|line| line.trim().is_empty() || line.len() - line.trim_start().len() > indent);
    let sets = |line: &&str| {
        let rest = line.trim_start().strip_prefix(&counter).unwrap_or_default().trim_start();
        rest.starts_with("++")
            || rest.starts_with("--")
            || rest.split(' ').next().is_some_and(|word| word.ends_with('='))
    };
    ends && !body.clone().any(|line| sets(line) || line.contains(&format!("&{counter}")))
}

pub(super) fn devices_are_touched_in_one_place(files: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.is_library() && !file.path.starts_with(BACKEND)) {
        for (number, line) in file.code().filter(|(_, line)| line.contains("wgpu::")) {
            violations.push(format!("{}:{number}: only {BACKEND} may name wgpu: {}", file.path, line.trim()));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;

    #[test]
    fn a_shader_without_a_header_is_found() {
        let header =
            "// What it is for, at length: adds numbers.\n//\n// Tier: all. Bindings: none, because it only helps.\n";
        assert!(judge(shaders_open_with_what_they_are_for, "shaders/add.wgsl", header).is_empty());
        assert_eq!(judge(shaders_open_with_what_they_are_for, "shaders/add.wgsl", "fn main() {}\n").len(), 1);
    }

    #[test]
    fn a_loop_that_may_not_end_is_found() {
        let judged = |head: &str, body: &str| {
            let text = format!("fn f() {{\n    {head} {{\n        {body}\n    }}\n    x = 0u;\n}}\n");
            judge(loops_of_shaders_are_seen_to_end, "shaders/add.wgsl", &text).len()
        };
        let ends = [
            "for (var x = 0u; x < rows(); x++)",
            "for (var x = global.x; x < end && more != 0u; x += workgroups.x * TILE)",
            "for (var x = 0u; x <= PROBES_MAX; x++)",
            "for (var x = words; x > 0u; x--)",
            "for (var x = 1u; x < TILE; x *= 2u)",
        ];
        let may_not = [
            "loop",
            "while x < 7u",
            "for (;;)",
            "for (var x = 0u; more && x < 7u; x++)",
            "for (var x = 0u; x <= end; x++)",
            "for (var x = 0u; x < end; y++)",
            "for (var x = 0u; x < end; x--)",
            "for (var x = 7u; x > 1u; x--)",
            "for (var x = 0u; x < TILE; x *= 2u)",
            "for (var x = 0u; x < end; x += step)",
        ];
        for head in ends {
            assert_eq!(judged(head, "y += x;"), 0, "{head}");
            for body in ["x = 0u;", "x += 1u;", "x--;", "f(&x);"] {
                assert_eq!(judged(head, body), 1, "{head}: {body}");
            }
        }
        for head in may_not {
            assert_eq!(judged(head, "y += x;"), 1, "{head}");
        }
    }

    #[test]
    fn a_device_touched_elsewhere_is_found() {
        let line = "use wgpu::Device;\n";
        assert_eq!(judge(devices_are_touched_in_one_place, "src/cli/devices.rs", line).len(), 1);
        assert!(judge(devices_are_touched_in_one_place, "src/kernels/gpu/device.rs", line).is_empty());
    }
}
