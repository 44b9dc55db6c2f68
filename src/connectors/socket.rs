//! Lines of text over TCP.
//!
//! The source connects to a peer, and a thread of its own reads lines into a buffer of bounded size. While the buffer is
//! full nothing is read, so the peer is slowed down by TCP itself. Lines stay in the buffer until they are committed;
//! what a peer sent before this process started, or while nobody was connected, is the peer's to keep.
//!
//! A connection that ends is made anew, with growing waits, unless the end of the connection is the end of the stream.
//! An orderly end also ends the last line. A connection that breaks inside a line leaves half a record, which nobody
//! can tell from a whole one: it is left out, and counted in the report of the next lines that are read.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Wake};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::held_lines::{HeldLines, cut};
use crate::connectors::{Available, Backlog, OffsetRange, ReadLimits, Replay, Source};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{BadRecord, BadRecordPolicy, BatchReader, LineFormat, ReadReport, SetAside};
use crate::limits::{RECORD_BYTES_MAX, SOCKET_BUFFER_BYTES};

/// Bytes asked of the connection in one go.
const BLOCK_BYTES: usize = 64 << 10;

/// The wait before a second attempt to connect; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Reads lines from a TCP peer.
#[derive(Debug)]
pub struct SocketSource {
    format: Arc<dyn LineFormat>,
    options: Options,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Options {
    address: String,
    buffer_bytes: u64,
    ends_with_peer: bool,
    attempts: u32,
    first_wait: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Rung when there is room again, or nothing more is wanted.
    room: Condvar,
    /// Rung when nothing more is wanted.
    stop: Wake,
}

#[derive(Debug, Default)]
struct State {
    lines: HeldLines,
    /// Lines left out, and the numbers of the bytes before which they would have stood.
    left_out: Vec<(u64, BadRecord)>,
    connection: Connection,
    stopped: bool,
}

#[derive(Debug, Default)]
enum Connection {
    #[default]
    Connecting,
    Open(TcpStream),
    Ended,
    Failed(String),
}

impl SocketSource {
    /// Lines from `address`, written `host:port`. The connection is made when the first batch is asked for.
    pub fn new(address: impl Into<String>, format: Arc<dyn LineFormat>) -> Self {
        let options = Options {
            address: address.into(),
            buffer_bytes: SOCKET_BUFFER_BYTES,
            ends_with_peer: false,
            attempts: 10,
            first_wait: FIRST_WAIT,
        };
        Self { format, options, shared: Arc::default(), thread: None }
    }

    /// How many bytes that are not committed may lie in memory. Default: 64 MiB.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: u64) -> Self {
        self.options.buffer_bytes = bytes;
        self
    }

    /// Whether the stream ends when the peer ends the connection. Default: no, the connection is made anew.
    #[must_use]
    pub fn ends_with_peer(mut self, ends: bool) -> Self {
        self.options.ends_with_peer = ends;
        self
    }

    /// How many times in a row connecting may fail before that is an error. Default: 10, which takes about 40 seconds.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts.max(1);
        self
    }

    /// The wait between the first two attempts to connect; it doubles with each further one. Default: 100 ms.
    #[must_use]
    pub fn first_wait(mut self, wait: Duration) -> Self {
        self.options.first_wait = wait;
        self
    }

    /// Connects now, rather than when the first batch is asked for.
    ///
    /// # Errors
    /// No thread could be started. A peer that is not there is an error of [`Source::next_range`].
    pub fn start(&mut self) -> Result<()> {
        if self.thread.is_some() || self.shared.lock().stopped {
            return Ok(());
        }
        let (options, shared) = (self.options.clone(), Arc::clone(&self.shared));
        let thread = std::thread::Builder::new().name("pelton-socket".to_owned());
        let started = thread.spawn(move || shared.run(&options)).map_err(|error| {
            Error::new(ErrorKind::Connector, format!("cannot start a thread: {error}")).retry_later().because(error)
        })?;
        self.thread = Some(started);
        Ok(())
    }
}

impl Shared {
    /// The state is valid at every moment, even if another thread panicked while holding it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the thread: connect, read to the end, and again.
    fn run(&self, options: &Options) {
        let clock = SystemClock::new();
        let (mut failures, mut wait) = (0, options.first_wait);
        while !self.lock().stopped {
            match self.connect(options) {
                Ok(stream) => {
                    (failures, wait) = (0, options.first_wait);
                    let is_orderly = self.read_all(stream, options);
                    if is_orderly && options.ends_with_peer {
                        self.lock().connection = Connection::Ended;
                        return;
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures >= options.attempts {
                        self.lock().connection = Connection::Failed(error.to_string());
                        return;
                    }
                }
            }
            clock.sleep_until(clock.now() + wait, &self.stop);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn connect(&self, options: &Options) -> io::Result<TcpStream> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
        for address in options.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, LONGEST_WAIT) {
                Ok(stream) => {
                    let handle = stream.try_clone()?;
                    let mut state = self.lock();
                    if state.stopped {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    state.connection = Connection::Open(handle);
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Reads lines until the connection ends; whether it ended in an orderly way.
    fn read_all(&self, mut stream: impl Read, options: &Options) -> bool {
        let mut lines = LineCutter::default();
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            match stream.read(&mut block) {
                Ok(0) => {
                    self.put(lines.end(), options);
                    return true;
                }
                Ok(read) => {
                    if !self.put(lines.push(&block[..read]), options) {
                        return true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if !lines.open.is_empty() {
                        self.leave_out(lines.open.len(), &error, options);
                    }
                    return false;
                }
            }
        }
    }

    /// Waits for room and takes lines in; `false` if nothing more is wanted.
    fn put(&self, lines: Vec<u8>, options: &Options) -> bool {
        let bytes = lines.len() as u64;
        let full = |state: &mut State| {
            let held = state.lines.bytes();
            !state.stopped && held > 0 && held + bytes > options.buffer_bytes
        };
        let mut state = self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if !state.stopped {
            state.lines.push(lines);
        }
        !state.stopped
    }

    fn leave_out(&self, bytes: usize, error: &io::Error, options: &Options) {
        let mut state = self.lock();
        let at = state.lines.end();
        let place = Place::file(&options.address).byte(at);
        let reason = format!("the connection broke after {bytes} bytes of this line: {error}");
        state.left_out.push((at, BadRecord { place, reason }));
    }
}

impl Source for SocketSource {
    fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    fn replay(&self) -> Replay {
        Replay::UntilCommitted
    }

    fn may_quarantine(&self) -> bool {
        self.format.may_quarantine()
    }

    fn counts_rows(&self) -> bool {
        true
    }

    fn next_range(&mut self, limits: &ReadLimits) -> Result<Available> {
        self.start()?;
        let mut state = self.shared.lock();
        if let Some(range) = state.lines.take(limits) {
            return Ok(Available::Range(OffsetRange::write(&range)?));
        }
        match &state.connection {
            Connection::Failed(reason) => {
                let message = format!("cannot connect, {} times in a row: {reason}", self.options.attempts);
                Err(Error::new(ErrorKind::Connector, message)
                    .at(Place::file(&self.options.address))
                    .advice("check that the peer listens there, written as host:port")
                    .retry_later())
            }
            Connection::Ended => Ok(Available::Ended),
            _ if state.stopped => Ok(Available::Ended),
            Connection::Connecting | Connection::Open(_) => Ok(Available::Nothing),
        }
    }

    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        let range: Range<u64> = range.parse()?;
        let state = self.shared.lock();
        let lines: Arc<[u8]> = state.lines.lines(&range)?.into();
        let left_out = state.left_out.iter().filter(|(at, _)| (range.start..range.end).contains(at));
        let left_out: Vec<BadRecord> = left_out.map(|(_, record)| record.clone()).collect();
        drop(state);
        let mut readers: Vec<Box<dyn BatchReader>> = Vec::new();
        for part in cut(&lines, partitions) {
            let place = Place::file(&self.options.address).byte(range.start + part.start as u64);
            let part = HeldPart { lines: Arc::clone(&lines), range: part };
            readers.push(self.format.reader_of(Box::new(part), place));
        }
        if !left_out.is_empty() {
            let mut report = ReadReport::default();
            left_out.into_iter().try_for_each(|record| report.bad_record(BadRecordPolicy::Drop, record))?;
            let inner = readers.remove(0);
            readers.insert(0, Box::new(WithLeftOut { inner, report }));
        }
        Ok(readers)
    }

    fn commit(&mut self, range: &OffsetRange) -> Result<()> {
        let range: Range<u64> = range.parse()?;
        let mut state = self.shared.lock();
        state.lines.commit(&range);
        state.left_out.retain(|(at, _)| *at >= range.end);
        drop(state);
        self.shared.room.notify_all();
        Ok(())
    }

    fn backlog(&self) -> Backlog {
        Backlog { files: None, bytes: Some(self.shared.lock().lines.waiting()), rows: None }
    }

    fn stop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        if let Connection::Open(stream) = &state.connection {
            // A connection that is already down needs no shutting down.
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(state);
        self.shared.room.notify_all();
        self.shared.stop.ring();
    }
}

impl Drop for SocketSource {
    /// Tells the thread to end; not waited for, since it may be in the middle of connecting.
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts lines together from what comes over the connection.
#[derive(Debug, Default)]
struct LineCutter {
    /// The line that has no end yet.
    open: Vec<u8>,
    /// Whether the rest of a line that is too long is being passed over.
    is_too_long: bool,
}

impl LineCutter {
    /// Takes bytes, and gives the lines that they complete.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        if self.is_too_long {
            let Some(end) = memchr::memchr(b'\n', rest) else { return lines };
            rest = &rest[end + 1..];
            self.is_too_long = false;
        }
        if let Some(end) = memchr::memrchr(b'\n', rest) {
            lines = std::mem::take(&mut self.open);
            lines.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
        }
        self.open.extend_from_slice(rest);
        if self.open.len() > RECORD_BYTES_MAX {
            // Handed on as it is, one byte longer than a record may be: the format counts it as a bad record.
            lines.extend(self.end());
            self.is_too_long = true;
        }
        lines
    }

    /// Ends the line that has no end yet.
    fn end(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.open);
        if !line.is_empty() {
            line.push(b'\n');
        }
        line
    }
}

/// A part of lines in memory, as a stream.
struct HeldPart {
    lines: Arc<[u8]>,
    range: Range<usize>,
}

impl Read for HeldPart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.lines[self.range.clone()]).read(buffer)?;
        self.range.start += read;
        Ok(read)
    }
}

/// A reader whose report also counts lines that never became whole.
struct WithLeftOut {
    inner: Box<dyn BatchReader>,
    report: ReadReport,
}

impl BatchReader for WithLeftOut {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.inner.next_batch()
    }

    fn report(&self) -> ReadReport {
        let mut report = self.report.clone();
        report.absorb(self.inner.report());
        report
    }

    fn take_aside(&mut self) -> Vec<SetAside> {
        self.inner.take_aside()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{FormatKind, FormatOptions};

    /// A connection that breaks after some bytes.
    struct Breaking(&'static [u8]);

    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(&mut buffer[..3])?;
            if read == 0 { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(read) }
        }
    }

    #[test]
    fn half_a_line_of_a_broken_connection_is_left_out_and_counted() {
        let lines = FormatOptions::new(FormatKind::Text).build_lines(None).unwrap();
        let mut source = SocketSource::new("peer:1", lines);
        assert!(!source.shared.read_all(Breaking(b"first\nsec"), &source.options));
        assert!(source.shared.read_all(&b"third\n"[..], &source.options));
        let range = OffsetRange("{\"start\":0,\"end\":12}".to_owned());
        let mut rows = 0;
        let mut report = ReadReport::default();
        for mut reader in source.read(&range, 2).unwrap() {
            while let Some(batch) = reader.next_batch().unwrap() {
                rows += batch.num_rows();
            }
            report.absorb(reader.report());
        }
        assert_eq!((rows, report.dropped), (2, 1));
        assert!(report.examples[0].reason.contains("after 3 bytes"), "{:?}", report.examples);
    }

    #[test]
    fn a_line_that_is_too_long_becomes_one_bad_record_and_the_next_line_is_whole() {
        let mut cutter = LineCutter::default();
        let mut came = cutter.push(b"a\n");
        for _ in 0..=RECORD_BYTES_MAX / 1024 + 3 {
            came.extend(cutter.push(&[b'x'; 1024]));
        }
        came.extend(cutter.push(b"rest\nb\nc"));
        came.extend(cutter.end());
        let lines: Vec<&[u8]> = came.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[1].len() > RECORD_BYTES_MAX && lines[1].len() <= RECORD_BYTES_MAX + 1024);
        assert_eq!((lines[0], lines[2], lines[3], lines[4]), (&b"a"[..], &b"b"[..], &b"c"[..], &b""[..]));
    }
}
