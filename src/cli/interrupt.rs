//! Ctrl-C: once to finish what was read and stop, twice to stop now, three times if even that takes too long.
//!
//! A request to terminate (SIGTERM, SIGHUP) is the same as Ctrl-C.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::exit::Exit;
use super::tell;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{RunningQuery, StopMode};

/// What was asked for so far, and the query that it concerns.
#[derive(Debug, Default)]
struct State {
    times: AtomicUsize,
    query: OnceLock<Arc<RunningQuery>>,
}

/// Listens to Ctrl-C, from before the query starts.
#[derive(Debug)]
pub(super) struct Interrupts(Arc<State>);

impl Interrupts {
    /// Begins to listen. `is_told` says whether a person reads standard error.
    pub(super) fn listen(is_told: bool) -> Result<Self> {
        let state = Arc::new(State::default());
        let listener = Arc::clone(&state);
        let handler = move || {
            let times = listener.times.fetch_add(1, Ordering::SeqCst) + 1;
            if times > 2 {
                leave();
            }
            if is_told {
                tell(match times {
                    1 => "stopping when what was read is finished; Ctrl-C again stops now",
                    _ => "stopping now",
                });
            }
            listener.stop_as_asked();
        };
        ctrlc::set_handler(handler).map_err(|error| {
            Error::new(ErrorKind::Unsupported, format!("cannot listen to Ctrl-C: {error}")).because(error)
        })?;
        Ok(Self(state))
    }

    /// From now on, interrupts stop this query.
    pub(super) fn concern(&self, query: &Arc<RunningQuery>) {
        // A second query is never given.
        drop(self.0.query.set(Arc::clone(query)));
        self.0.stop_as_asked();
    }

    /// Whether the query was stopped at once.
    pub(super) fn were_urgent(&self) -> bool {
        self.0.times.load(Ordering::SeqCst) > 1
    }
}

impl State {
    fn stop_as_asked(&self) {
        let Some(query) = self.query.get() else { return };
        match self.times.load(Ordering::SeqCst) {
            0 => {}
            1 => query.stop(StopMode::Graceful),
            _ => query.stop(StopMode::Now),
        }
    }
}

#[expect(clippy::exit, reason = "asked for three times; whatever still runs is stuck")]
fn leave() {
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
