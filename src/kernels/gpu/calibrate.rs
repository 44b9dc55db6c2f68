//! How fast a device and the way to it are: what the choice between it and the CPU begins with.
//!
//! Plain buffers, none of the shaders: copies up, down and on the device, each with more bytes until a run is long
//! enough to be measured, and the round trip of a submission that does next to nothing. All in all a fraction of a second.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wgpu::{Buffer, BufferDescriptor, BufferUsages, CommandEncoder, CommandEncoderDescriptor};

use super::device::Device;
use super::trouble::Trouble;
use crate::clock::Clock;

/// Bytes that are copied: from the first to the last of these, until a run takes [`RUN_TIME_ENOUGH`].
const SIZES: [u64; 4] = [1 << 20, 4 << 20, 16 << 20, 64 << 20];

/// A run that takes so long says enough.
const RUN_TIME_ENOUGH: Duration = Duration::from_millis(4);

/// Runs of each size after one that touches memory for the first time; the best one counts.
const RUNS: usize = 2;

/// Round trips that are made; the one in the middle counts.
const ROUND_TRIPS: usize = 21;

/// Copies on the device in one submission, so that what a submission costs does not count.
const COPIES: u64 = 8;

/// What a device and the way to it can do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Bytes a second from the host to the device.
    pub up: f64,
    /// Bytes a second from the device to the host.
    pub down: f64,
    /// Bytes a second that the device reads and writes together when it copies.
    pub copy: f64,
    /// Seconds from a submission to its answer when there is next to nothing to do.
    pub round_trip: f64,
}

impl Rates {
    /// Whether these can be rates at all.
    pub fn are_sound(&self) -> bool {
        let all = [self.up, self.down, self.copy, self.round_trip];
        all.iter().all(|rate| rate.is_finite() && *rate > 0.0)
    }
}

/// Measures a device.
pub(super) fn measure(device: &Device, clock: &dyn Clock) -> Result<Rates, Trouble> {
    let bench = Bench { device, clock };
    let round_trip = bench.round_trip()?;
    let least = round_trip.as_secs_f64().max(1e-9);
    // What a submission costs counts by itself.
    let rate = |(bytes, time): (u64, Duration)| {
        let time = time.as_secs_f64();
        per_second(bytes, (time - least).max(time / 4.0))
    };
    let (up, down) = (rate(bench.grown(Bench::up)?), rate(bench.grown(Bench::down)?));
    let copy = rate(bench.grown(Bench::copy)?);
    let rates = Rates { up, down, copy, round_trip: least };
    if rates.are_sound() { Ok(rates) } else { Err(Trouble::Rejected("it answers in no time".to_owned())) }
}

#[expect(clippy::cast_precision_loss, reason = "a measured number has few digits")]
fn per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / seconds.max(1e-9)
}

/// A device under measurement.
struct Bench<'a> {
    device: &'a Device,
    clock: &'a dyn Clock,
}

impl Bench<'_> {
    fn buffer(&self, size: u64, usage: BufferUsages) -> Result<Buffer, Trouble> {
        let descriptor = BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = self.device.device.create_buffer(&descriptor);
        self.device.check()?;
        Ok(buffer)
    }

    fn encoder(&self) -> CommandEncoder {
        self.device.device.create_command_encoder(&CommandEncoderDescriptor::default())
    }

    fn time(&self, work: impl FnOnce() -> Result<(), Trouble>) -> Result<Duration, Trouble> {
        let started = self.clock.now();
        work()?;
        Ok(self.clock.now().saturating_sub(started))
    }

    /// The median.
    fn round_trip(&self) -> Result<Duration, Trouble> {
        let source = self.buffer(64, BufferUsages::COPY_SRC | BufferUsages::STORAGE)?;
        let target = self.buffer(64, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            times.push(self.time(|| {
                let mut encoder = self.encoder();
                encoder.copy_buffer_to_buffer(&source, 0, &target, 0, 64);
                self.device.submit_and_read(encoder, &target, 64).map(drop)
            })?);
        }
        times.sort_unstable();
        Ok(times[ROUND_TRIPS / 2])
    }

    /// Runs with more and more bytes, until a run is long enough: the bytes that moved, and the best time.
    fn grown(
        &self,
        run: impl Fn(&Self, u64) -> Result<(u64, Vec<Duration>), Trouble>,
    ) -> Result<(u64, Duration), Trouble> {
        let mut known = None;
        for bytes in SIZES.into_iter().filter(|bytes| 2 * bytes <= self.device.buffer_bytes_max) {
            let (moved, times) = run(self, bytes)?;
            let best = times.into_iter().min().unwrap_or_default();
            known = Some((moved, best));
            if best >= RUN_TIME_ENOUGH {
                break;
            }
        }
        known.ok_or_else(|| Trouble::TooLarge("it has no room to measure it".to_owned()))
    }

    fn times(&self, mut work: impl FnMut() -> Result<(), Trouble>) -> Result<Vec<Duration>, Trouble> {
        work()?;
        (0..RUNS).map(|_| self.time(&mut work)).collect()
    }

    /// As batches go up where the device copies them; where it reads them as they lie, only the host writes.
    fn up(&self, bytes: u64) -> Result<(u64, Vec<Duration>), Trouble> {
        if self.device.is_in_place {
            return self.up_in_place(bytes);
        }
        let target = self.buffer(bytes, BufferUsages::COPY_DST | BufferUsages::COPY_SRC | BufferUsages::STORAGE)?;
        let answer = self.buffer(4, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        let source = vec![7_u8; usize::try_from(bytes).unwrap_or_default()];
        let times = self.times(|| {
            let size = NonZeroU64::new(bytes);
            let view = size.and_then(|size| self.device.queue.write_buffer_with(&target, 0, size));
            let Some(mut view) = view else { return Err(Trouble::Rejected("bytes could not be sent".to_owned())) };
            view.copy_from_slice(&source);
            drop(view);
            let mut encoder = self.encoder();
            encoder.copy_buffer_to_buffer(&target, bytes - 4, &answer, 0, 4);
            self.device.submit_and_read(encoder, &answer, 4).map(drop)
        })?;
        Ok((bytes, times))
    }

    fn up_in_place(&self, bytes: u64) -> Result<(u64, Vec<Duration>), Trouble> {
        let target = self.buffer(bytes, BufferUsages::MAP_WRITE | BufferUsages::STORAGE)?;
        let source = vec![7_u8; usize::try_from(bytes).unwrap_or_default()];
        let times = self.times(|| {
            target.map_async(wgpu::MapMode::Write, .., |_| ());
            self.device.settle()?;
            let view = target.get_mapped_range_mut(..).map_err(|error| Trouble::Rejected(error.to_string()));
            view?.copy_from_slice(&source);
            target.unmap();
            Ok(())
        })?;
        Ok((bytes, times))
    }

    /// As answers come down.
    fn down(&self, bytes: u64) -> Result<(u64, Vec<Duration>), Trouble> {
        let source = self.buffer(bytes, BufferUsages::COPY_DST | BufferUsages::COPY_SRC | BufferUsages::STORAGE)?;
        let answer = self.buffer(bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        let times = self.times(|| {
            let mut encoder = self.encoder();
            encoder.copy_buffer_to_buffer(&source, 0, &answer, 0, bytes);
            self.device.submit_and_read(encoder, &answer, bytes).map(drop)
        })?;
        Ok((bytes, times))
    }

    /// From buffer to buffer on the device, which reads and writes each byte.
    fn copy(&self, bytes: u64) -> Result<(u64, Vec<Duration>), Trouble> {
        let usage = BufferUsages::COPY_DST | BufferUsages::COPY_SRC | BufferUsages::STORAGE;
        let (source, target) = (self.buffer(bytes, usage)?, self.buffer(bytes, usage)?);
        let answer = self.buffer(4, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        let times = self.times(|| {
            let mut encoder = self.encoder();
            for _ in 0..COPIES {
                encoder.copy_buffer_to_buffer(&source, 0, &target, 0, bytes);
            }
            encoder.copy_buffer_to_buffer(&target, 0, &answer, 0, 4);
            self.device.submit_and_read(encoder, &answer, 4).map(drop)
        })?;
        Ok((2 * COPIES * bytes, times))
    }
}
