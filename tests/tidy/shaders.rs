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
    fn a_device_touched_elsewhere_is_found() {
        let line = "use wgpu::Device;\n";
        assert_eq!(judge(devices_are_touched_in_one_place, "src/cli/devices.rs", line).len(), 1);
        assert!(judge(devices_are_touched_in_one_place, "src/kernels/gpu/device.rs", line).is_empty());
    }
}
