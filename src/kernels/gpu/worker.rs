//! The buffers of a batch on its way through a device, and what it submits: one submission a batch, and a second one only if
//! the answer is larger than was guessed. A task has several on their way, each in buffers of its own. Only the thread of a
//! `line` uses them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use wgpu::{
    BindGroupDescriptor, BindGroupEntry, BindingResource, BufferBinding, BufferDescriptor, BufferUsages,
    CommandEncoder, CommandEncoderDescriptor, ComputePassDescriptor,
};

use super::device::{Device, Pipeline, Submitted};
use super::line::Job;
use super::pack::{Gathered, Packed};
use super::stopwatch::Stopwatch;
use super::trouble::{Fault, Trouble};

/// The least size of a buffer: smaller ones are not worth a new one when a batch is larger.
const BUFFER_BYTES_MIN: u64 = 1 << 12;

/// Bytes of `status`.
pub(super) const STATUS_BYTES: u64 = 16;

/// What a buffer is for; its number is that of its binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Batch = 0,
    Status = 1,
    /// The mask of a filter, or the words of keys.
    MaskOrKeys = 2,
    /// The tiles of a filter, or the tickets of rows.
    TilesOrTickets = 3,
    /// The columns written, or the table of groups.
    OutputOrTable = 4,
    Groups = 5,
    State = 6,
    /// Rows part by part.
    Order = 7,
    /// Where the parts lie.
    Parts = 8,
    Answer = 9,
}

impl Role {
    const BOUND: [Self; 9] = [
        Self::Batch,
        Self::Status,
        Self::MaskOrKeys,
        Self::TilesOrTickets,
        Self::OutputOrTable,
        Self::Groups,
        Self::State,
        Self::Order,
        Self::Parts,
    ];

    fn usage(self) -> BufferUsages {
        match self {
            Self::Answer => BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            _ => BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        }
    }
}

/// What the host looks at first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Status {
    pub(super) failed: u32,
    pub(super) full: u32,
    pub(super) groups: u32,
    pub(super) kept: u32,
}

/// A part of a buffer that is wanted: the role, the first byte, and how many.
pub(super) type Wanted = (Role, u64, u64);

/// What was submitted, and what of it comes back.
pub(super) struct Sent {
    submitted: Submitted,
    /// Bytes of each part.
    parts: Vec<u64>,
}

/// How many calls of a driver have come back.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<AtomicU64>);

impl Calls {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn came_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long a call hangs that a test has asked for.
const HANGS_FOR: Duration = Duration::from_secs(2);

/// The buffers of one batch on its way.
pub(super) struct Worker {
    pub(super) device: Arc<Device>,
    buffers: BTreeMap<Role, wgpu::Buffer>,
    /// Memory that the host packs batches into, and the device copies them from, or reads them where host and device share it.
    /// While it is here and nothing was submitted, it is mapped.
    staging: Option<wgpu::Buffer>,
    /// Bytes that were packed and not yet submitted.
    packed: u64,
    /// Bytes that a buffer may have.
    bytes_max: u64,
    pub(super) fault: Option<Fault>,
    /// Hands a job to who waits for this thread; false if nobody does.
    pub(super) helper: Option<Box<dyn Fn(Job) -> bool + Send>>,
    calls: Calls,
    stopwatch: Option<Stopwatch>,
    /// When the stopwatch was started.
    started: Duration,
}

impl Worker {
    pub(super) fn new(device: Arc<Device>, stopwatch: Option<Stopwatch>) -> Self {
        let bytes_max = device.buffer_bytes_max;
        let (buffers, staging, packed) = (BTreeMap::new(), None, 0);
        let (fault, helper, calls, started) = (None, None, Calls::default(), Duration::ZERO);
        Self { device, buffers, staging, packed, bytes_max, fault, helper, calls, stopwatch, started }
    }

    pub(super) fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// A call of the driver has come back; what has it complained about?
    fn check(&self) -> Result<(), Trouble> {
        self.calls.came_back();
        self.device.check()
    }

    /// Does not come back for long, if a test has asked for that.
    fn hang(&self, fault: Fault) {
        if self.fault == Some(fault) {
            std::thread::sleep(HANGS_FOR);
        }
    }

    /// Makes sure that a buffer has room.
    pub(super) fn room(&mut self, role: Role, bytes: u64) -> Result<(), Trouble> {
        if !matches!(self.fault, Some(Fault::Exhaust | Fault::HangMaking)) && self.size(role) >= bytes {
            return Ok(());
        }
        // Powers of two, so that batches that grow do not need a new one each time.
        let size = bytes.max(BUFFER_BYTES_MIN).checked_next_power_of_two().unwrap_or(bytes);
        self.fresh(role, size.min(self.bytes_max.next_multiple_of(4) - 4).max(bytes))
    }

    /// A new buffer of so many bytes, all of them zero.
    pub(super) fn fresh(&mut self, role: Role, size: u64) -> Result<(), Trouble> {
        self.check_size(size)?;
        self.hang(Fault::HangMaking);
        self.buffers.remove(&role);
        let buffer = self.device.device.create_buffer(&BufferDescriptor {
            label: None,
            size: size.next_multiple_of(4),
            usage: role.usage(),
            mapped_at_creation: false,
        });
        self.buffers.insert(role, buffer);
        self.check()
    }

    fn check_size(&self, size: u64) -> Result<(), Trouble> {
        if self.fault == Some(Fault::Exhaust) {
            return Err(Trouble::OutOfMemory("as a test has asked for".to_owned()));
        }
        if size > self.bytes_max {
            let text = format!("{size} bytes are needed, and a buffer has {} at most", self.bytes_max);
            return Err(Trouble::TooLarge(text));
        }
        Ok(())
    }

    /// Bytes of a buffer; 0 if there is none.
    pub(super) fn size(&self, role: Role) -> u64 {
        self.buffers.get(&role).map_or(0, wgpu::Buffer::size)
    }

    /// Bytes that a buffer may have.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Takes a buffer out: what lies in it is still of use.
    pub(super) fn take(&mut self, role: Role) -> Option<wgpu::Buffer> {
        self.buffers.remove(&role)
    }

    /// Puts a buffer in, whatever there was.
    pub(super) fn put(&mut self, role: Role, buffer: wgpu::Buffer) {
        self.buffers.insert(role, buffer);
    }

    /// Sends words to the beginning of a buffer, before whatever is submitted next.
    pub(super) fn send(&self, role: Role, words: &[u32]) -> Result<(), Trouble> {
        self.device.queue.write_buffer(self.buffer(role)?, 0, bytemuck::cast_slice(words));
        self.check()
    }

    /// Records that the first bytes of a buffer are those of another one.
    pub(super) fn copy(
        &self,
        encoder: &mut CommandEncoder,
        from: &wgpu::Buffer,
        role: Role,
        bytes: u64,
    ) -> Result<(), Trouble> {
        encoder.copy_buffer_to_buffer(from, 0, self.buffer(role)?, 0, bytes);
        Ok(())
    }

    fn buffer(&self, role: Role) -> Result<&wgpu::Buffer, Trouble> {
        self.buffers.get(&role).ok_or_else(|| Trouble::Rejected("a shader needs a buffer that is not there".to_owned()))
    }

    /// Packs a batch, so that it is sent with what is submitted next.
    pub(super) fn upload(&mut self, gathered: &Arc<Gathered>, packed: Packed) -> Result<(), Trouble> {
        let bytes = packed.bytes as u64;
        if self.device.is_in_place {
            self.check_size(bytes.next_multiple_of(8))?;
        } else {
            self.room(Role::Batch, bytes)?;
        }
        self.room(Role::Status, STATUS_BYTES)?;
        let staging = self.mapped(bytes)?;
        let written = self.write(gathered, packed, &staging);
        // Half a batch in memory that nobody reads does no harm, but it must not be mapped twice.
        staging.unmap();
        written?;
        (self.staging, self.packed) = (Some(staging), bytes);
        self.check()
    }

    /// Packs a batch into mapped memory. If it is much, who waits for this thread does it, in a pool of threads.
    fn write(&self, gathered: &Arc<Gathered>, packed: Packed, staging: &wgpu::Buffer) -> Result<(), Trouble> {
        let Some(helper) = self.helper.as_ref().filter(|_| gathered.is_much()) else {
            return gathered.write(&packed, staging).map_err(|error| Trouble::Rejected(error.to_string()));
        };
        let (told, heard) = channel();
        let (gathered, staging) = (Arc::clone(gathered), staging.clone());
        let job = move || {
            let written = gathered.write(&packed, &staging).map_err(|error| Trouble::Rejected(error.to_string()));
            drop((gathered, staging));
            let _ = told.send(written);
        };
        let is_asked = helper(Box::new(job));
        let written = heard.recv().ok().filter(|_| is_asked);
        written.unwrap_or_else(|| Err(Trouble::Late("nobody waits for it any more".to_owned())))
    }

    /// Mapped memory for so many bytes: that of the batch before, if it is large enough.
    fn mapped(&mut self, bytes: u64) -> Result<wgpu::Buffer, Trouble> {
        if let Some(staging) = self.staging.take().filter(|staging| staging.size() >= bytes && self.packed == 0) {
            return Ok(staging);
        }
        self.packed = 0;
        let size = bytes.max(BUFFER_BYTES_MIN).checked_next_power_of_two().unwrap_or(bytes);
        let read_by = if self.device.is_in_place { BufferUsages::STORAGE } else { BufferUsages::COPY_SRC };
        let staging = self.device.device.create_buffer(&BufferDescriptor {
            label: None,
            size: size.min(self.bytes_max / 8 * 8).max(bytes.next_multiple_of(8)),
            usage: BufferUsages::MAP_WRITE | read_by,
            mapped_at_creation: true,
        });
        self.check()?;
        Ok(staging)
    }

    /// Begins a submission, with a clean status.
    pub(super) fn begin(&mut self) -> Result<CommandEncoder, Trouble> {
        self.device.free_unused();
        if let Some(stopwatch) = &self.stopwatch {
            self.device.settle()?;
            self.started = stopwatch.now();
        }
        let mut encoder = self.encoder();
        if let (Some(staging), false) = (self.sent(), self.device.is_in_place) {
            encoder.copy_buffer_to_buffer(staging, 0, self.buffer(Role::Batch)?, 0, self.packed);
        }
        encoder.clear_buffer(self.buffer(Role::Status)?, 0, None);
        Ok(encoder)
    }

    /// What was packed and not yet submitted.
    fn sent(&self) -> Option<&wgpu::Buffer> {
        self.staging.as_ref().filter(|_| self.packed > 0)
    }

    fn encoder(&self) -> CommandEncoder {
        self.device.device.create_command_encoder(&CommandEncoderDescriptor { label: None })
    }

    /// Records that the first bytes of a buffer become zero.
    pub(super) fn clear(&self, encoder: &mut CommandEncoder, role: Role, bytes: u64) -> Result<(), Trouble> {
        encoder.clear_buffer(self.buffer(role)?, 0, Some(bytes));
        Ok(())
    }

    /// Records a run of a shader.
    pub(super) fn run(
        &self,
        encoder: &mut CommandEncoder,
        pipeline: &Pipeline,
        workgroups: u32,
    ) -> Result<(), Trouble> {
        self.run_on(encoder, pipeline, workgroups, None)
    }

    /// The same, for a shader that sees a part of what was sent: so many bytes from this one on.
    pub(super) fn run_on(
        &self,
        encoder: &mut CommandEncoder,
        pipeline: &Pipeline,
        workgroups: u32,
        part: Option<(u64, NonZeroU64)>,
    ) -> Result<(), Trouble> {
        let resource = |role: Role| -> Result<BindingResource<'_>, Trouble> {
            let in_place = self.sent().filter(|_| role == Role::Batch && self.device.is_in_place);
            let buffer = in_place.map_or_else(|| self.buffer(role), Ok)?;
            Ok(match part.filter(|_| role == Role::Batch) {
                Some((offset, size)) => BindingResource::Buffer(BufferBinding { buffer, offset, size: Some(size) }),
                None => buffer.as_entire_binding(),
            })
        };
        let roles = Role::BOUND.into_iter().filter(|role| pipeline.bindings.contains(&(*role as u32)));
        let entries = roles.map(|role| Ok(BindGroupEntry { binding: role as u32, resource: resource(role)? }));
        let entries = entries.collect::<Result<Vec<_>, Trouble>>()?;
        let group = self.device.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(workgroups, 1, 1);
        self.calls.came_back();
        Ok(())
    }

    /// Submits what was recorded and waits; gives the status, and the words of each part that is wanted.
    pub(super) fn finish(
        &mut self,
        encoder: CommandEncoder,
        wanted: &[Wanted],
    ) -> Result<(Status, Vec<Vec<u32>>), Trouble> {
        let sent = self.submit(encoder, wanted)?;
        self.receive(&sent)
    }

    /// Submits what was recorded; the status and each part that is wanted can be received.
    pub(super) fn submit(&mut self, encoder: CommandEncoder, wanted: &[Wanted]) -> Result<Sent, Trouble> {
        let mut parts = vec![(Role::Status, 0, STATUS_BYTES)];
        parts.extend_from_slice(wanted);
        self.send_off(encoder, &parts)
    }

    /// Waits for what was submitted.
    pub(super) fn receive(&mut self, sent: &Sent) -> Result<(Status, Vec<Vec<u32>>), Trouble> {
        let mut words = self.bring_back(sent)?;
        if let Some(stopwatch) = &self.stopwatch {
            stopwatch.add_since(self.started);
        }
        let rest = words.split_off(1);
        let word = |place: usize| words[0].get(place).copied().unwrap_or_default();
        Ok((Status { failed: word(0), full: word(1), groups: word(2), kept: word(3) }, rest))
    }

    /// Reads parts of buffers after a submission.
    pub(super) fn read(&mut self, wanted: &[Wanted]) -> Result<Vec<Vec<u32>>, Trouble> {
        let encoder = self.encoder();
        let sent = self.send_off(encoder, wanted)?;
        self.bring_back(&sent)
    }

    fn send_off(&mut self, mut encoder: CommandEncoder, wanted: &[Wanted]) -> Result<Sent, Trouble> {
        let total = wanted.iter().map(|(_, _, bytes)| bytes).sum::<u64>().max(4);
        self.room(Role::Answer, total)?;
        let answer = self.buffer(Role::Answer)?;
        let mut at = 0;
        for &(role, from, bytes) in wanted.iter().filter(|(_, _, bytes)| *bytes > 0) {
            encoder.copy_buffer_to_buffer(self.buffer(role)?, from, answer, at, bytes);
            at += bytes;
        }
        if self.fault == Some(Fault::Lose) {
            self.device.device.destroy();
            // The driver tells of it with the next wait; others on their way would meet refusals until then.
            self.device.give_up();
        }
        self.hang(Fault::HangSubmitting);
        let submitted = self.device.submit(encoder, (answer, total), self.sent());
        self.calls.came_back();
        let parts = wanted.iter().map(|(_, _, bytes)| *bytes).collect();
        Ok(Sent { submitted, parts })
    }

    fn bring_back(&mut self, sent: &Sent) -> Result<Vec<Vec<u32>>, Trouble> {
        let time = (self.fault == Some(Fault::Hurry)).then_some(Duration::ZERO);
        let total = sent.parts.iter().sum::<u64>().max(4);
        self.hang(Fault::HangWaiting);
        let words = self.device.read(&sent.submitted, (self.buffer(Role::Answer)?, total), time)?;
        self.calls.came_back();
        if self.fault == Some(Fault::Hurry) {
            return Err(Trouble::Late("as a test has asked for".to_owned()));
        }
        // What was packed is there, and its memory is mapped again.
        self.packed = 0;
        let mut rest = words.as_slice();
        let mut parts = Vec::with_capacity(sent.parts.len());
        for bytes in &sent.parts {
            let words = usize::try_from(bytes / 4).unwrap_or(usize::MAX).min(rest.len());
            let (part, more) = rest.split_at(words);
            parts.push(part.to_vec());
            rest = more;
        }
        Ok(parts)
    }
}
