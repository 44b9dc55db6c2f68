//! The adapters of this machine: which there are, which one is meant, and a device on it.
//!
//! Vulkan, Metal and DX12 are asked; the same adapter is not shown twice. A software adapter computes on the CPU: it is
//! there for tests and is only taken by name.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wgpu::{Backends, DeviceType, Features, InstanceDescriptor, InstanceFlags};

use super::cached::PipelineStore;
use super::device::Device;
use super::patience::{OPENING_TIME_MAX, within};
use super::shader::Spread;
use super::tier::Tier;
use super::trouble::OpeningFault;
use crate::error::{Error, ErrorKind, Result};

/// What is asked for adapters. No OpenGL: it offers those of Vulkan a second time.
const BACKENDS: Backends = Backends::VULKAN.union(Backends::METAL).union(Backends::DX12);

/// What it takes that shaders read what the host has written. Cards with memory of their own may have it too, and reach over
/// the link with each read then.
pub(super) const IN_PLACE: Features = Features::MAPPABLE_PRIMARY_BUFFERS;

/// An adapter, as `pelton devices` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Its name, as its driver says it.
    pub name: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub interface: String,
    /// What it is: `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub class: &'static str,
    /// The driver and its version.
    pub driver: String,
    /// The highest tier that it can do.
    pub tier: Tier,
    /// Bytes that a shader can see of one buffer.
    pub binding_bytes_max: u64,
    /// Bytes of a buffer.
    pub buffer_bytes_max: u64,
    /// Whether its memory is that of the host, so that shaders read rows where the host has written them.
    pub shares_memory: bool,
}

impl AdapterInfo {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        Self {
            name: info.name.clone(),
            interface: format!("{:?}", info.backend),
            class: match info.device_type {
                DeviceType::DiscreteGpu => "discrete",
                DeviceType::IntegratedGpu => "integrated",
                DeviceType::VirtualGpu => "virtual",
                DeviceType::Cpu => "software",
                DeviceType::Other => "other",
            },
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            tier: Tier::of(adapter.features()),
            binding_bytes_max: limits.max_storage_buffer_binding_size,
            buffer_bytes_max: limits.max_buffer_size,
            shares_memory: matches!(info.device_type, DeviceType::IntegratedGpu | DeviceType::Cpu)
                && adapter.features().contains(IN_PLACE),
        }
    }

    /// Whether it computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.class == "software"
    }
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.class, self.interface)
    }
}

/// The adapters of this machine, the most able first.
///
/// # Errors
/// `Unsupported` if a driver does not answer within half a minute.
pub fn adapters() -> Result<Vec<AdapterInfo>> {
    within(OPENING_TIME_MAX, "adapters were looked for", || Ok(found().iter().map(AdapterInfo::of).collect()))
}

/// The way to the drivers: opened once, since loading them takes a fifth of a second.
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let (backends, flags) = (BACKENDS, InstanceFlags::empty());
        wgpu::Instance::new(InstanceDescriptor { backends, flags, ..InstanceDescriptor::new_without_display_handle() })
    })
}

fn found() -> Vec<wgpu::Adapter> {
    let mut all = pollster::block_on(instance().enumerate_adapters(BACKENDS));
    let rank = |adapter: &wgpu::Adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    all.sort_by_key(rank);
    all
}

/// Which adapter is meant, and how much of it may be used.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Part of the adapter's name, in any case of letters; a software adapter is only found by name.
    pub adapter: Option<String>,
    /// The highest tier to use, if not all that the adapter can do.
    pub tier: Option<Tier>,
    /// Rows of a batch on the device at most, if not as many as usual.
    pub rows_max: Option<usize>,
    /// Rows of a batch that is not cut any further where it does not fit the device, if not as many as usual.
    pub rows_min: Option<usize>,
    /// Groups that there is room for at first, if not as many as usual.
    pub groups_first: Option<usize>,
    /// Bytes of a buffer at most, if not as many as the adapter allows.
    pub bytes_max: Option<u64>,
    /// Bytes of rows and groups that a task leaves with a device until they are taken into what is kept, if not as many as
    /// usual.
    pub left_bytes: Option<u64>,
    /// Where what groups hold is added up, if not where it suits their number.
    pub spread: Option<Spread>,
    /// Whether shaders read rows where the host has written them, as far as the adapter can; if not wherever they share memory.
    pub in_place: Option<bool>,
    /// How long a driver may take to open a device or to be measured, if not as long as usual.
    pub opening_time: Option<Duration>,
    /// Where compiled shaders are kept from run to run, if they are.
    pub pipelines: Option<Arc<dyn PipelineStore>>,
}

impl Wish {
    /// How long a driver may take to open a device or to be measured.
    pub(super) fn patience(&self) -> Duration {
        self.opening_time.unwrap_or(OPENING_TIME_MAX)
    }
}

/// A device on the adapter that is meant, if there is one in time.
///
/// # Errors
/// `NotFound` if there is no such adapter, with those that there are; `Unsupported` if it gives no device, or none in time.
pub(super) fn open(wish: Wish, fault: Option<OpeningFault>) -> Result<(AdapterInfo, Device)> {
    within(wish.patience(), "a GPU was to be opened", move || {
        fault.map_or(Ok(()), OpeningFault::strike)?;
        open_at_leisure(&wish)
    })
}

/// The same, whenever the driver gives it.
fn open_at_leisure(wish: &Wish) -> Result<(AdapterInfo, Device)> {
    let all: Vec<_> = found().into_iter().map(|adapter| (AdapterInfo::of(&adapter), adapter)).collect();
    let is_meant = |info: &AdapterInfo| match &wish.adapter {
        Some(name) => info.name.to_lowercase().contains(&name.to_lowercase()),
        None => !info.is_software(),
    };
    let Some((info, adapter)) = all.iter().find(|(info, _)| is_meant(info)) else {
        return Err(missing(wish, &all.iter().map(|(info, _)| info.to_string()).collect::<Vec<_>>()));
    };
    let tier = wish.tier.map_or(info.tier, |tier| tier.min(info.tier));
    let is_in_place = wish.in_place.unwrap_or(info.shares_memory) && adapter.features().contains(IN_PLACE);
    let mut device = Device::open(adapter, (tier, is_in_place), info, wish.pipelines.as_ref()).map_err(|error| {
        let message = format!("the adapter {info} gives no device: {error}");
        Error::new(ErrorKind::Unsupported, message).advice("look for a newer driver, or use device = \"cpu\"")
    })?;
    if let Some(bytes_max) = wish.bytes_max {
        device.buffer_bytes_max = device.buffer_bytes_max.min(bytes_max);
    }
    Ok((info.clone(), device))
}

fn missing(wish: &Wish, found: &[String]) -> Error {
    let found = if found.is_empty() {
        "there is no adapter at all".to_owned()
    } else {
        format!("there is {}", found.join(", "))
    };
    let message = match &wish.adapter {
        Some(name) => format!("no adapter's name has \"{name}\" in it: {found}"),
        None => format!("there is no GPU here: {found}"),
    };
    Error::new(ErrorKind::NotFound, message)
        .advice("use device = \"cpu\" or \"auto\"; `pelton devices` shows what there is")
}
