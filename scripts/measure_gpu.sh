#!/usr/bin/env bash
# Tests and measures the GPU of this machine and writes a record: what it is, its link and units, every chain and every suite
# beside the CPU, answers checked.
#
#   scripts/measure_gpu.sh [RECORD.md]               builds, tests and measures
#   scripts/measure_gpu.sh --build FOLDER            only builds, for a machine with a GPU and nothing else
#   scripts/measure_gpu.sh --run FOLDER [RECORD.md]  only tests and measures, with what was built there
#
# PELTON_ADAPTER chooses an adapter; PELTON_BENCH_ROWS are the rows of the largest batch, PELTON_SUITE_ROWS those of the suites'
# cases, PELTON_SUITE_RUNS how often each runs. PELTON_PROFILE=dev builds fast, to try the script itself.
set -euo pipefail
command_line="$0 $*"
cd "$(dirname "$0")/.."
settings=$(env | grep -E '^(PELTON_|WGPU_|VK_)' | sort | tr '\n' ' ' || true)
profile="${PELTON_PROFILE:-release}"
rows="${PELTON_SUITE_ROWS:-16M}"
runs="${PELTON_SUITE_RUNS:-3}"

# The program, the benchmark and the tests, without Polars and whatever else other tests need.
build() {
    local folder="$1" manifest=crates/measure_gpu/Cargo.toml target built
    mkdir -p "$folder"
    # What is measured is built of what Pelton is built of.
    cp Cargo.lock crates/measure_gpu/
    # Programs are built with tests.
    cargo test --manifest-path "$manifest" --profile "$profile" --no-run --message-format=json-render-diagnostics \
        > "$folder/built.json"
    built=$(sed -n 's/.*"name":"gpu".*"executable":"\([^"]*\)".*/\1/p' "$folder/built.json" | tail -1)
    target=$(cargo metadata --no-deps --format-version 1 --manifest-path "$manifest" |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    target="$target/${profile/#dev/debug}"
    install -s "$target/pelton" "$target/measure_gpu" "$folder"
    install -s "$built" "$folder/gpu_tests"
    rm "$folder/built.json"
    echo "$(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' with changes'), $(rustc --version), profile $profile" \
        > "$folder/commit"
    # A bare machine with a GPU's driver often lacks nothing but the loader of Vulkan.
    local loader
    loader=$(ldconfig -p 2> /dev/null | sed -n 's/.*libvulkan\.so\.1 .*=> //p' | head -1)
    if [ -n "$loader" ]; then cp -L "$loader" "$folder"; fi
}

indented() { sed 's/^/    /'; }

# What the machine is, as far as it tells.
machine() {
    echo "- commit: $(cat "$folder/commit")"
    echo "- command: \`$command_line\`"
    echo "- settings: ${settings:-none}"
    echo "- machine: $(uname -srm), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2> /dev/null | head -1)"
    echo "- tests: $tests"
    printf '\n## Device and driver\n\n'
    "$folder/pelton" devices | indented
    # Memory types, queues and shared memory as the driver tells them.
    if command -v vulkaninfo > /dev/null; then
        vulkaninfo 2> /dev/null | sed 's/\t/    /g' |
            sed -nE '/^GPU[0-9]+|deviceName|driverInfo|memoryHeaps|memoryTypes|heapIndex|propertyFlags|MEMORY_|size +=|queueFlags|maxComputeSharedMemorySize|subgroupSize /p' |
            indented || true
    else
        echo '    (no vulkaninfo here: memory types and queues are not in this record)'
    fi
    if command -v nvidia-smi > /dev/null; then
        nvidia-smi --query-gpu=name,driver_version,memory.total,pcie.link.gen.current,pcie.link.width.current --format=csv |
            indented || true
    fi
}

suites() {
    local suite size
    for suite in groupby scan tpch text; do
        printf '\n## pelton bench %s\n\n' "$suite"
        "$folder/pelton" bench "$suite" --rows "$rows" --runs "$runs" --device gpu,auto | indented
    done
    # How `auto` does from small micro-batches to large ones.
    for size in 1Ki 16Ki 256Ki 4Mi; do
        printf '\n## micro-batches of %s rows\n\n' "$size"
        "$folder/pelton" bench groupby --case int/100 --case sparse/1m --rows "$rows" --batch-rows "$size" --runs "$runs" \
            --device gpu,auto | indented
    done
}

measure() {
    folder="$1"
    local record="${2:-benches/record/$(date +%F)-gpu.md}"
    if command -v ldconfig > /dev/null && ! ldconfig -p | grep -q 'libvulkan\.so\.1'; then
        export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    fi
    # First the answers: a fast wrong one is worth nothing.
    PELTON_REQUIRE_GPU=1 "$folder/gpu_tests" 2>&1 | tee "$folder/tests.log"
    tests=$(sed -n 's/^test result: //p' "$folder/tests.log" | tail -1)
    {
        printf '# A GPU, %s\n\n' "$(date -u +'%F %H:%M UTC')"
        machine
        printf '\n## Link, units, chains, groups and state\n\n'
        "$folder/measure_gpu"
        suites
    } | tee "$record.part"
    mv "$record.part" "$record"
    echo "written to $record"
}

case "${1:-}" in
    --build)
        build "${2:?a folder}"
        ;;
    --run)
        measure "$(cd "${2:?the folder of --build}" && pwd)" "${3:-}"
        ;;
    *)
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
        build "$folder"
        measure "$folder" "${1:-}"
        ;;
esac
