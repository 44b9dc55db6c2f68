//! The link to the device and the least that a submission costs, by plain buffers, without any of Pelton's shaders.
//! Uploads are timed on the clock of the CPU: on many machines it is the CPU that stores into the device's memory.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use wgpu::{
    Backends, BufferDescriptor, BufferUsages, DeviceDescriptor, Features, InstanceDescriptor, Limits, MapMode, PollType,
};

/// An open device.
pub(crate) struct Link {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Whether shaders may read buffers that the host has written in place.
    is_mappable: bool,
    /// What the adapter can do, as far as wgpu tells.
    pub(crate) described: String,
}

impl Link {
    /// The adapter of this name.
    pub(crate) fn open(name: &str) -> Self {
        let backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
        let descriptor = InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() };
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(backends));
        let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name == name).unwrap();
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let described = format!(
            "Subgroups of {} to {}; {} bytes of workgroup memory, {} invocations in a workgroup, {} workgroups, {} storage buffers.\n\n\
             Features: {}.",
            info.subgroup_min_size,
            info.subgroup_max_size,
            limits.max_compute_workgroup_storage_size,
            limits.max_compute_invocations_per_workgroup,
            limits.max_compute_workgroups_per_dimension,
            limits.max_storage_buffers_per_shader_stage,
            adapter.features(),
        );
        let required_limits = Limits {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            ..Limits::default()
        };
        let required_features = adapter.features() & Features::MAPPABLE_PRIMARY_BUFFERS;
        let descriptor = DeviceDescriptor { required_limits, required_features, ..DeviceDescriptor::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        Self { device, queue, is_mappable: !required_features.is_empty(), described }
    }

    pub(crate) fn buffer(&self, size: u64, usage: BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    }

    pub(crate) fn wait(&self) {
        self.device.poll(PollType::Wait { submission_index: None, timeout: Some(Duration::from_secs(60)) }).unwrap();
    }

    /// Seconds to send so many bytes, on the clock of the CPU: device clocks flatter uploads that the CPU itself makes.
    pub(crate) fn upload(&self, bytes: u64) -> f64 {
        let target = self.buffer(bytes, BufferUsages::COPY_DST | BufferUsages::STORAGE);
        let source = vec![7_u8; usize::try_from(bytes).unwrap()];
        best(|| {
            let size = NonZeroU64::new(bytes).unwrap();
            self.queue.write_buffer_with(&target, 0, size).unwrap().copy_from_slice(&source);
            self.queue.submit([]);
            self.wait();
        })
    }

    /// Seconds to write so many bytes by so many threads into memory that the host sees, and to copy them from there.
    pub(crate) fn upload_by(&self, bytes: u64, threads: u64) -> f64 {
        let staging = self.buffer(bytes, BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC);
        let target = self.buffer(bytes, BufferUsages::COPY_DST | BufferUsages::STORAGE);
        self.write_in_place(&staging, bytes, threads, || {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&staging, 0, &target, 0, bytes);
            self.queue.submit([encoder.finish()]);
            self.wait();
        })
    }

    /// The same without the copy, into memory that shaders read; none if the device has no such memory.
    pub(crate) fn upload_in_place(&self, bytes: u64, threads: u64) -> Option<f64> {
        self.is_mappable.then(|| {
            let buffer = self.buffer(bytes, BufferUsages::MAP_WRITE | BufferUsages::STORAGE);
            self.write_in_place(&buffer, bytes, threads, || {})
        })
    }

    fn write_in_place(&self, buffer: &wgpu::Buffer, bytes: u64, threads: u64, then: impl Fn()) -> f64 {
        let source = vec![7_u8; usize::try_from(bytes).unwrap()];
        let part = bytes / threads / 4096 * 4096;
        let run = || {
            buffer.map_async(MapMode::Write, .., Result::unwrap);
            self.wait();
            let started = Instant::now();
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let range = thread * part..if thread + 1 == threads { bytes } else { (thread + 1) * part };
                    let from = &source[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
                    scope.spawn(move || buffer.get_mapped_range_mut(range).unwrap().copy_from_slice(from));
                }
            });
            buffer.unmap();
            then();
            started.elapsed().as_secs_f64()
        };
        run();
        (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
    }

    /// Seconds to copy so many bytes back and read them.
    pub(crate) fn download(&self, bytes: u64) -> f64 {
        let source = self.buffer(bytes, BufferUsages::COPY_SRC | BufferUsages::COPY_DST | BufferUsages::STORAGE);
        let target = self.buffer(bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        let mut copy = vec![0_u8; usize::try_from(bytes).unwrap()];
        best(|| {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&source, 0, &target, 0, bytes);
            encoder.map_buffer_on_submit(&target, MapMode::Read, .., Result::unwrap);
            self.queue.submit([encoder.finish()]);
            self.wait();
            copy.copy_from_slice(&target.get_mapped_range(..).unwrap());
            target.unmap();
            std::hint::black_box(&copy);
        })
    }

    /// Seconds to copy so many bytes from buffer to buffer on the device.
    pub(crate) fn copy(&self, bytes: u64) -> f64 {
        let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST | BufferUsages::STORAGE;
        let (source, target) = (self.buffer(bytes, usage), self.buffer(bytes, usage));
        best(|| {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&source, 0, &target, 0, bytes);
            self.queue.submit([encoder.finish()]);
            self.wait();
        })
    }

    /// Seconds of a round trip with 64 bytes: the median and the 99th in a hundred.
    pub(crate) fn round_trip(&self) -> (f64, f64) {
        let source = self.buffer(64, BufferUsages::COPY_SRC | BufferUsages::STORAGE);
        let target = self.buffer(64, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        let mut times: Vec<f64> = (0..300)
            .map(|_| {
                let started = Instant::now();
                let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                encoder.copy_buffer_to_buffer(&source, 0, &target, 0, 64);
                encoder.map_buffer_on_submit(&target, MapMode::Read, .., Result::unwrap);
                self.queue.submit([encoder.finish()]);
                self.wait();
                drop(target.get_mapped_range(..).unwrap());
                target.unmap();
                started.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        (times[150], times[297])
    }
}

/// The best of several runs, after one that nobody counts: it touches memory for the first time.
pub(crate) fn best(mut work: impl FnMut()) -> f64 {
    work();
    let time = |()| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    std::iter::repeat_n((), 5).map(time).fold(f64::INFINITY, f64::min)
}
