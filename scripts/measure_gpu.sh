#!/usr/bin/env bash
# Measures the GPU of this machine and writes a record: what it is, its link, and every chain beside the CPU.
# Usage: scripts/measure_gpu.sh [RECORD.md]. PELTON_ADAPTER chooses an adapter, PELTON_BENCH_ROWS the largest batch.
set -euo pipefail
cd "$(dirname "$0")/.."
record="${1:-benches/record/$(date +%F)-gpu.md}"
# On a bare machine with an NVIDIA driver only the loader of Vulkan is missing.
if command -v apt-get >/dev/null && ! ldconfig -p | grep -q libvulkan; then
    apt-get update -q && apt-get install -qy libvulkan1
fi
# First the answers: a fast wrong one is worth nothing.
PELTON_REQUIRE_GPU=1 cargo test --release --no-default-features --features gpu --test gpu
{
    echo "<!-- commit $(git rev-parse --short HEAD), $(rustc --version) -->"
    if command -v vulkaninfo >/dev/null; then vulkaninfo --summary | sed 's/^/    /'; fi
    cargo bench --no-default-features --features gpu --bench gpu
} | tee "$record"
echo "written to $record"
