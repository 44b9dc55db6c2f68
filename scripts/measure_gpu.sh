#!/usr/bin/env bash
# Measures the GPU of this machine and writes a record: what it is, its link and units, every chain and every suite beside
# the CPU, answers checked. Usage: scripts/measure_gpu.sh [RECORD.md]. PELTON_ADAPTER chooses an adapter, PELTON_BENCH_ROWS
# the rows of the largest batch, PELTON_SUITE_ROWS those of the suites' cases.
set -euo pipefail
cd "$(dirname "$0")/.."
record="${1:-benches/record/$(date +%F)-gpu.md}"
# On a bare machine with an NVIDIA driver only the loader of Vulkan is missing.
if command -v apt-get >/dev/null && ! ldconfig -p | grep -q libvulkan; then
    apt-get update -q && apt-get install -qy libvulkan1
fi
# Without Polars, which would take most of the time to build.
features=(--release --no-default-features --features cli,gpu)
# First the answers: a fast wrong one is worth nothing.
PELTON_REQUIRE_GPU=1 cargo test "${features[@]}" --test gpu
cargo build "${features[@]}"
{
    echo "<!-- commit $(git rev-parse --short HEAD), $(rustc --version) -->"
    # Memory types, queues and shared memory as the driver tells them.
    if command -v vulkaninfo >/dev/null; then vulkaninfo --summary | sed 's/^/    /'; fi
    target/release/pelton devices | sed 's/^/    /'
    echo
    cargo bench --no-default-features --features cli,gpu --bench gpu
    for suite in groupby scan tpch; do
        printf '\n## pelton bench %s\n\n' "$suite"
        target/release/pelton bench "$suite" --rows "${PELTON_SUITE_ROWS:-16M}" --device gpu,auto | sed 's/^/    /'
    done
    # How `auto` does from small micro-batches to large ones.
    for size in 1Ki 16Ki 256Ki 4Mi; do
        printf '\n## micro-batches of %s rows\n\n' "$size"
        target/release/pelton bench groupby --case int/100 --case sparse/1m --rows "${PELTON_SUITE_ROWS:-16M}" \
            --batch-rows "$size" --runs 3 --device gpu,auto | sed 's/^/    /'
    done
} | tee "$record"
echo "written to $record"
