//! An open device: its queue, its limits, and what it has complained about.
//!
//! No complaint of the driver's is lost: those that belong to no call are kept until somebody asks. Calls that are made for a
//! batch are made by the threads of `line`, since any of them may hang.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wgpu::{
    BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType, CommandEncoder,
    ComputePipelineDescriptor, DeviceDescriptor, ErrorFilter, Features, Limits, MapMode, MemoryHints,
    PipelineLayoutDescriptor, PollType, ShaderModuleDescriptor, ShaderRuntimeChecks, ShaderSource, ShaderStages,
};

use super::adapters::{AdapterInfo, IN_PLACE};
use super::cached::{Cached, PipelineStore};
use super::patience::{Silence, answer_of};
use super::tier::Tier;
use super::trouble::{Fault, Trouble};

/// How long a device may work on a batch.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// How many times as long a software adapter may: it runs beside whatever else the processor has to do.
const SOFTWARE_TIMES: u32 = 10;

/// An open device.
pub(super) struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) tier: Tier,
    /// Bytes of a buffer that shaders see, at most.
    pub(super) buffer_bytes_max: u64,
    /// Whether shaders read rows where the host has written them.
    pub(super) is_in_place: bool,
    /// How long it may work on a batch.
    pub(super) answer_time_max: Duration,
    /// Shaders compiled before.
    cached: Option<Cached>,
    is_lost: Arc<AtomicBool>,
    /// Whether its driver has not come back from a call.
    is_silent: AtomicBool,
    /// Buffers that nobody needs any more, for the next thread that makes calls.
    unused: Mutex<Vec<wgpu::Buffer>>,
    complaints: Arc<Mutex<Vec<Trouble>>>,
    submissions: AtomicU64,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("tier", &self.tier).field("is_lost", &self.is_lost).finish_non_exhaustive()
    }
}

/// A shader, ready to run.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    /// The bindings, in order.
    pub(super) bindings: Vec<u32>,
}

/// What has been submitted.
#[derive(Debug)]
pub(super) struct Submitted {
    submission: wgpu::SubmissionIndex,
    /// Whether buffers could be mapped, one after the other.
    heard: Receiver<bool>,
    mapped: usize,
}

impl Device {
    pub(super) fn open(
        adapter: &wgpu::Adapter,
        (tier, is_in_place): (Tier, bool),
        info: &AdapterInfo,
        store: Option<&Arc<dyn PipelineStore>>,
    ) -> Result<Self, String> {
        let buffer_bytes_max = info.binding_bytes_max.min(info.buffer_bytes_max);
        let required_limits = Limits {
            max_storage_buffer_binding_size: info.binding_bytes_max,
            max_buffer_size: info.buffer_bytes_max,
            ..Limits::default()
        };
        let in_place = if is_in_place { IN_PLACE } else { Features::empty() };
        let (device, queue) = pollster::block_on(adapter.request_device(&DeviceDescriptor {
            label: Some("pelton"),
            required_features: tier.features() | in_place | Cached::features(adapter, store),
            required_limits,
            memory_hints: MemoryHints::Performance,
            ..DeviceDescriptor::default()
        }))
        .map_err(|error| error.to_string())?;
        let (is_lost, complaints) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let lost = Arc::clone(&is_lost);
        device.set_device_lost_callback(move |_, _| lost.store(true, Ordering::Release));
        let heard = Arc::clone(&complaints);
        device.on_uncaptured_error(Arc::new(move |error| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(trouble(&error));
        }));
        let cached = Cached::open(&device, adapter, store);
        Ok(Self {
            device,
            queue,
            tier,
            buffer_bytes_max,
            is_in_place,
            answer_time_max: if info.is_software() { ANSWER_TIME_MAX * SOFTWARE_TIMES } else { ANSWER_TIME_MAX },
            cached,
            is_lost,
            is_silent: AtomicBool::new(false),
            unused: Mutex::default(),
            complaints,
            submissions: AtomicU64::new(0),
        })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// What was submitted so far.
    pub(super) fn submissions(&self) -> u64 {
        self.submissions.load(Ordering::Relaxed)
    }

    /// What went wrong since somebody last asked.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        if self.is_lost() {
            return Err(Trouble::Lost("its driver says so".to_owned()));
        }
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let first = complaints.drain(..).next();
        first.map_or(Ok(()), Err)
    }

    /// A shader made ready. Bindings 0 and 1 are always there.
    pub(super) fn pipeline(self: &Arc<Self>, name: &str, wgsl: &str, more: &[u32]) -> Result<Pipeline, Trouble> {
        let (device, name, wgsl, more) = (Arc::clone(self), name.to_owned(), wgsl.to_owned(), more.to_vec());
        self.compiled(self.answer_time_max, move || device.compile(&name, &wgsl, &more))
    }

    /// What a driver compiles. One that does not come back is not asked again.
    fn compiled(
        &self,
        time: Duration,
        compile: impl FnOnce() -> Result<Pipeline, Trouble> + Send + 'static,
    ) -> Result<Pipeline, Trouble> {
        if self.is_lost() {
            return Err(Trouble::Lost("its driver says so".to_owned()));
        }
        answer_of(time, compile).unwrap_or_else(|silence| match silence {
            Silence::Panicked | Silence::NoThread(_) => Err(Trouble::Rejected(silence.to_string())),
            Silence::Late(_) => {
                self.fall_silent();
                Err(Trouble::Late(silence.to_string()))
            }
        })
    }

    /// Trouble with a shader on purpose, if a test has asked for some.
    pub(super) fn trip(self: &Arc<Self>, fault: Option<Fault>) -> Result<(), Trouble> {
        match fault {
            Some(Fault::Confuse) => self.pipeline("confused", "this is no shader", &[]).map(drop),
            Some(Fault::Stall) => {
                let stall = || {
                    std::thread::sleep(Duration::from_secs(2));
                    Err(Trouble::Rejected("a test has asked for it".to_owned()))
                };
                self.compiled(Duration::from_millis(10), stall).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn compile(&self, name: &str, wgsl: &str, more: &[u32]) -> Result<Pipeline, Trouble> {
        let scope = self.device.push_error_scope(ErrorFilter::Validation);
        let bindings: Vec<u32> = [0, 1].into_iter().chain(more.iter().copied()).collect();
        let entries: Vec<_> = bindings.iter().map(|&binding| entry(binding)).collect();
        let label = Some(name);
        let layout = self.device.create_bind_group_layout(&BindGroupLayoutDescriptor { label, entries: &entries });
        let source = ShaderSource::Wgsl(wgsl.into());
        // All but one of the checks that are put into shaders. The one that is left out counts the turns of each loop, in 64 bits:
        // without it, sums and keyed reduces take 8 % less time on lavapipe, and drivers are known that it costs far more.
        let checks = ShaderRuntimeChecks { force_loop_bounding: false, ..ShaderRuntimeChecks::checked() };
        // SAFETY: every loop ends, which is all that is asked. Loops are in `shaders/` alone (`Shader::put_together`), and each
        // counts up to a bound or down to 0 and sets its counter nowhere else (`tests/tidy/shaders.rs`). Where a counter grows by
        // more than one, that is by all invocations there are, 2^20 at most (`WORKGROUPS_MAX`), or fewer; and its bound is a
        // number of rows, groups or words of a buffer, below 2^30: so it does not wrap. These bounds are the host's, or rows that
        // were counted, whatever the values of a batch are.
        let module =
            unsafe { self.device.create_shader_module_trusted(ShaderModuleDescriptor { label, source }, checks) };
        let whole = self.device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label,
            layout: Some(&whole),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: self.cached.as_ref().map(|cached| &cached.cache),
        });
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(trouble(&error)),
            None => {
                self.cached.iter().for_each(Cached::note);
                Ok(Pipeline { pipeline, layout, bindings })
            }
        }
    }

    /// Stores shaders that have run for the first time, for the next run of the program.
    pub(super) fn keep_pipelines(&self) {
        self.cached.iter().for_each(Cached::keep);
    }

    /// Submits what has been recorded; the first bytes of the answer are to be read when it is done, and whatever was sent may
    /// be written anew.
    pub(super) fn submit(
        &self,
        encoder: CommandEncoder,
        answer: (&wgpu::Buffer, u64),
        sent: Option<&wgpu::Buffer>,
    ) -> Submitted {
        let (told, heard) = channel();
        let sent_told = told.clone();
        encoder.map_buffer_on_submit(answer.0, MapMode::Read, ..answer.1, move |result| {
            // Nobody may listen any more.
            let _ = told.send(result.is_ok());
        });
        if let Some(sent) = sent {
            encoder.map_buffer_on_submit(sent, MapMode::Write, .., move |result| {
                let _ = sent_told.send(result.is_ok());
            });
        }
        self.submissions.fetch_add(1, Ordering::Relaxed);
        let submission = self.queue.submit([encoder.finish()]);
        Submitted { submission, heard, mapped: 1 + usize::from(sent.is_some()) }
    }

    /// Waits until a submission is done; gives the first bytes of the answer as words.
    pub(super) fn read(
        &self,
        submitted: &Submitted,
        (buffer, bytes): (&wgpu::Buffer, u64),
        time: Option<Duration>,
    ) -> Result<Vec<u32>, Trouble> {
        let submission_index = Some(submitted.submission.clone());
        let wait = PollType::Wait { submission_index, timeout: Some(time.unwrap_or(self.answer_time_max)) };
        if let Err(error) = self.device.poll(wait) {
            self.check()?;
            return Err(Trouble::Late(error.to_string()));
        }
        self.check()?;
        for _ in 0..submitted.mapped {
            self.mapped(&submitted.heard)?;
        }
        let words = {
            let view = buffer.get_mapped_range(..bytes).map_err(|error| Trouble::Rejected(error.to_string()))?;
            bytemuck::cast_slice::<u8, u32>(&view).to_vec()
        };
        buffer.unmap();
        Ok(words)
    }

    /// Submits what has been recorded and waits until the first bytes of a buffer can be read.
    pub(super) fn submit_and_read(
        &self,
        encoder: CommandEncoder,
        buffer: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<Vec<u32>, Trouble> {
        let submitted = self.submit(encoder, (buffer, bytes), None);
        self.read(&submitted, (buffer, bytes), None)
    }

    /// Waits until all that was sent is there.
    pub(super) fn settle(&self) -> Result<(), Trouble> {
        let submission = self.queue.submit([]);
        let wait = PollType::Wait { submission_index: Some(submission), timeout: Some(self.answer_time_max) };
        self.device.poll(wait).map_err(|error| Trouble::Late(error.to_string()))?;
        self.check()
    }

    /// Another thread's wait may have taken the call that tells us: it is on its way then.
    fn mapped(&self, heard: &Receiver<bool>) -> Result<(), Trouble> {
        match heard.recv_timeout(self.answer_time_max) {
            Ok(true) => Ok(()),
            _ if self.is_lost() => Err(Trouble::Lost("its driver says so".to_owned())),
            _ => Err(Trouble::Rejected("an answer could not be read".to_owned())),
        }
    }

    /// Gives the device up for lost: nobody waits for it any more.
    pub(super) fn give_up(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    /// The same, because a call has not come back: no other may be made.
    pub(super) fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Release);
        self.give_up();
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    /// Frees buffers that others have let go of.
    pub(super) fn free_unused(&self) {
        let unused = std::mem::take(&mut *self.unused.lock().unwrap_or_else(PoisonError::into_inner));
        drop(unused);
    }
}

/// A buffer between two batches that use it. Who lets go of it makes no call of the driver: the next thread that makes calls frees
/// it.
pub(super) struct Lent {
    buffer: Option<wgpu::Buffer>,
    device: Arc<Device>,
}

impl Lent {
    pub(super) fn new(buffer: wgpu::Buffer, device: &Arc<Device>) -> Self {
        Self { buffer: Some(buffer), device: Arc::clone(device) }
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    pub(super) fn size(&self) -> u64 {
        self.buffer.as_ref().map_or(0, wgpu::Buffer::size)
    }

    /// The same buffer, for a batch that reads it.
    pub(super) fn shared(&self) -> Option<wgpu::Buffer> {
        self.buffer.clone()
    }

    /// The buffer, for a batch that writes it anew.
    pub(super) fn take(mut self) -> Option<wgpu::Buffer> {
        self.buffer.take()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut unused = self.device.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.extend(self.buffer.take());
    }
}

/// The batch is only read; everything else is written.
fn entry(binding: u32) -> BindGroupLayoutEntry {
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer {
            ty: BufferBindingType::Storage { read_only: binding == 0 },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}

fn trouble(error: &wgpu::Error) -> Trouble {
    match error {
        wgpu::Error::OutOfMemory { .. } => Trouble::OutOfMemory(error.to_string()),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Trouble::Rejected(description.clone())
        }
    }
}
