//! `pelton devices`: what can compute here?

use std::num::NonZeroUsize;

use clap::Args;

use super::answer;
use super::exit::Exit;
use super::figures;
#[cfg(feature = "gpu")]
use crate::dispatch::Calibration;
use crate::error::Result;
use crate::kernels::cpu::simd;

/// Shows what this machine has to compute with, as far as this program can use it.
#[derive(Debug, Args)]
pub(super) struct Devices {}

impl Devices {
    pub(super) fn execute(&self) -> Result<Exit> {
        let Self {} = self;
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let name = processor_name().unwrap_or_else(|| "unknown processor".to_owned());
        let memory = match memory() {
            Some((total, free)) => format!("{}, {} of it free", figures::bytes(total), figures::bytes(free)),
            None => "unknown".to_owned(),
        };
        answer(&format!(
            "cpu     {name} ({})\n        {}\n        SIMD: {}\nmemory  {memory}\n{}",
            std::env::consts::ARCH,
            figures::counted(threads as u64, "thread"),
            simd(),
            gpus(),
        ))?;
        Ok(Exit::Well)
    }
}

/// The adapters, with what they can do.
#[cfg(feature = "gpu")]
fn gpus() -> String {
    let adapters = match crate::kernels::gpu::adapters() {
        Ok(adapters) => adapters,
        Err(error) => return format!("gpu     unknown: {}\n", error.message()),
    };
    if adapters.is_empty() {
        return "gpu     none: there is no adapter for Vulkan, Metal or DX12; everything runs on the CPU\n".to_owned();
    }
    let one = |adapter: &crate::kernels::gpu::AdapterInfo| {
        let note =
            if adapter.is_software() { "\n        computes on the CPU: for tests, taken only by name" } else { "" };
        let memory = if adapter.shares_memory { "; rows are read where the host writes them" } else { "" };
        format!(
            "gpu     {adapter}\n        {}\n        buffers of {}, {} of one seen by a shader{memory}\n        {}\n        driver: {}{note}\n",
            adapter.tier,
            figures::bytes(adapter.buffer_bytes_max),
            figures::bytes(adapter.binding_bytes_max),
            rates(adapter),
            adapter.driver,
        )
    };
    adapters.iter().map(one).collect()
}

/// What an adapter can do, as `auto` reckons with it.
#[cfg(feature = "gpu")]
fn rates(adapter: &crate::kernels::gpu::AdapterInfo) -> String {
    match crate::dispatch::calibrate(adapter) {
        Ok(Calibration { rates, .. }) => format!(
            "copies {:.1} GB/s up, {:.1} GB/s down, {:.1} GB/s on the device; {:.0} µs there and back",
            rates.up / 1e9,
            rates.down / 1e9,
            rates.copy / 1e9,
            1e6 * rates.round_trip,
        ),
        Err(error) => error.message().to_owned(),
    }
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> String {
    "gpu     none: this program is built without the feature `gpu`; everything runs on the CPU\n".to_owned()
}

/// The vector instructions that kernels run on.
pub(super) fn simd() -> &'static str {
    simd::level_name()
}

/// What Linux says; other systems are not asked.
pub(super) fn processor_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map(|(_, name)| name.trim().to_owned())
}

/// Bytes of memory: all, and what is free for a program. What Linux says; other systems are not asked.
fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    Some((kilobytes("MemTotal:")? << 10, kilobytes("MemAvailable:")? << 10))
}
