//! A line to a device: the buffers of one batch on its way, and a thread that makes all calls of the driver for them.
//!
//! ```text
//! task ── work ──▶ the line's thread: buffers, shaders, submission, waiting, mapping
//!   │ ◀─ help ──┐  (rows that are packed into mapped memory by the pool of the task)
//!   ▼           │
//! waits, but not longer than a driver may take for one call
//! ```
//!
//! A task need not wait before it needs the answer: that costs two changes of threads a batch. Nobody can end a call that hangs, so no task makes one. If no call has come back for as long as one may take, the device
//! counts as lost, and the thread is left alone with the buffers and whatever else it uses: nothing of it is borrowed, and
//! nobody touches it any more. What other lines do on that device ends in the same way, or at once when it is known.
//! Memory that is mapped is the one thing that tasks see: to write there is no call of a driver.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::device::Device;
use super::patience::Silence;
use super::stopwatch::Stopwatch;
use super::trouble::{Fault, Trouble};
use super::worker::{Calls, Worker};

/// How much longer a call of a driver may take than a device may work on a batch, which is waited for in one call.
const CALL_TIME_MORE: Duration = Duration::from_secs(5);

/// How long it may take where a test has asked for one that hangs.
const HUNG_CALL_TIME: Duration = Duration::from_millis(200);

/// What a thread has to do.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// What the thread of a line tells whoever waits for it.
enum Word<T> {
    /// To be done by who waits.
    Help(Job),
    Done(Worker, Result<T, Trouble>),
}

/// The buffers of a batch, and the thread that uses them.
pub(super) struct Line {
    device: Arc<Device>,
    /// None once they were left to the thread.
    worker: Option<Worker>,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread ends.
    end: Receiver<()>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn open(device: &Arc<Device>, stopwatch: Option<Stopwatch>) -> Result<Self, Trouble> {
        let (jobs, heard) = channel::<Job>();
        let (alive, end) = channel();
        let work = move || {
            heard.into_iter().for_each(|job| job());
            drop(alive);
        };
        let thread = Builder::new().name("pelton-line".to_owned()).spawn(work);
        let thread = thread.map_err(|error| Trouble::Rejected(Silence::NoThread(error.to_string()).to_string()))?;
        let worker = Some(Worker::new(Arc::clone(device), stopwatch));
        Ok(Self { device: Arc::clone(device), worker, jobs: Some(jobs), thread: Some(thread), end })
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Whether it can be of use to another batch.
    pub(super) fn is_sound(&self) -> bool {
        self.worker.is_some() && !self.device.is_lost()
    }

    /// Has the thread work with the buffers, and waits for it.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        fault: Option<Fault>,
        work: impl FnOnce(&mut Worker) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let under_way = self.begin(fault, work)?;
        self.wait(under_way)
    }

    /// Has the thread work with the buffers, and waits for nothing yet.
    pub(super) fn begin<T: Send + 'static>(
        &mut self,
        fault: Option<Fault>,
        work: impl FnOnce(&mut Worker) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<UnderWay<T>, Trouble> {
        let (false, Some(mut worker), Some(jobs)) = (self.device.is_lost(), self.worker.take(), &self.jobs) else {
            // Perhaps it is lost because it hangs: another call would, too.
            return Err(Trouble::Lost("its driver says so, or does not answer".to_owned()));
        };
        worker.fault = fault;
        let (calls, hangs) = (worker.calls(), fault.is_some_and(Fault::hangs));
        let (told, heard) = channel::<Word<T>>();
        let begun = jobs.send(Box::new(move || {
            let helped = told.clone();
            worker.helper = Some(Box::new(move |job| helped.send(Word::Help(job)).is_ok()));
            let done = work(&mut worker);
            worker.helper = None;
            // Nobody may wait any more: then all of it ends here.
            let _ = told.send(Word::Done(worker, done));
        }));
        begun.map_err(|_| Trouble::Lost("the thread that calls its driver is gone".to_owned()))?;
        let time = if hangs { HUNG_CALL_TIME } else { self.device.answer_time_max + CALL_TIME_MORE };
        Ok(UnderWay { heard, seen: calls.count(), calls, time, done: None })
    }

    /// Does once what the thread asks its caller for, or finds out that it will not ask.
    pub(super) fn help<T>(&mut self, under_way: &mut UnderWay<T>) {
        if let Some(Word::Help(job)) = self.next(under_way) {
            job();
        }
    }

    /// Waits until the work is done.
    pub(super) fn wait<T>(&mut self, mut under_way: UnderWay<T>) -> Result<T, Trouble> {
        loop {
            if let Some(done) = under_way.done.take() {
                return done;
            }
            if let Some(Word::Help(job)) = self.next(&mut under_way) {
                job();
            }
        }
    }

    /// What the thread says next; none if the work is done, or no call comes back any more.
    fn next<T>(&mut self, under_way: &mut UnderWay<T>) -> Option<Word<T>> {
        loop {
            let UnderWay { heard, calls, seen, time, done } = under_way;
            match heard.recv_timeout(*time) {
                Ok(Word::Done(worker, answer)) => {
                    self.worker = Some(worker);
                    *done = Some(answer);
                    return None;
                }
                Ok(help) => return Some(help),
                Err(RecvTimeoutError::Timeout) if calls.count() != *seen => *seen = calls.count(),
                Err(RecvTimeoutError::Timeout) => {
                    self.device.fall_silent();
                    *done = Some(Err(Trouble::Late(Silence::Late(*time).to_string())));
                    return None;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.device.give_up();
                    *done = Some(Err(Trouble::Lost(Silence::Panicked.to_string())));
                    return None;
                }
            }
        }
    }
}

/// Work that the thread of a line does.
pub(super) struct UnderWay<T> {
    heard: Receiver<Word<T>>,
    /// How many calls have come back, and had the last time that somebody was out of patience.
    calls: Calls,
    seen: u64,
    time: Duration,
    done: Option<Result<T, Trouble>>,
}

/// Buffers are freed by the thread, too, which is waited for, but not longer than for a call: a process that ends while a driver
/// is at work may crash in it. One whose driver does not answer is left alone.
impl Drop for Line {
    fn drop(&mut self) {
        if let (Some(worker), Some(jobs)) = (self.worker.take(), self.jobs.take()) {
            // If there is no thread any more, they go with the message.
            let _ = jobs.send(Box::new(move || drop(worker)));
        }
        self.jobs = None;
        let Some(thread) = self.thread.take().filter(|_| !self.device.is_silent()) else { return };
        match self.end.recv_timeout(self.device.answer_time_max + CALL_TIME_MORE) {
            Err(RecvTimeoutError::Timeout) => self.device.fall_silent(),
            _ => drop(thread.join()),
        }
    }
}
