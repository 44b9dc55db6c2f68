//! Calls of a driver that may never come back: opening a device, looking for adapters, measuring, compiling shaders.
//!
//! Nobody can end a call that hangs. So it has a thread of its own, which is waited for so long and then left alone: its
//! answer, should there be one after all, is nobody's. Calls for batches are made by the threads of `line`.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How long a driver may take to open a device, and as long again to measure it. Cold ones take seconds.
pub(super) const OPENING_TIME_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// There was none within this time.
    Late(Duration),
    Panicked,
    /// The call could not even be made.
    NoThread(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(time) => write!(f, "its driver has not answered within {time:?}"),
            Self::Panicked => f.write_str("its driver panicked"),
            Self::NoThread(error) => write!(f, "a thread could not be started: {error}"),
        }
    }
}

/// What a driver answers, if it does within this time.
pub(super) fn answer_of<T: Send + 'static>(
    time: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Silence> {
    let (told, heard) = channel();
    let thread = Builder::new().name("pelton-driver".to_owned()).spawn(move || {
        // Nobody may wait any more.
        let _ = told.send(call());
    });
    let thread = thread.map_err(|error| Silence::NoThread(error.to_string()))?;
    match heard.recv_timeout(time) {
        Ok(answer) => {
            // It has nothing left to do: that a driver is done with its thread is worth the wait.
            drop(thread.join());
            Ok(answer)
        }
        Err(RecvTimeoutError::Timeout) => Err(Silence::Late(time)),
        Err(RecvTimeoutError::Disconnected) => Err(Silence::Panicked),
    }
}

/// The same, for `what` a driver is asked for.
///
/// # Errors
/// `Unsupported` if there is no answer; those of the call itself.
pub(super) fn within<T: Send + 'static>(
    time: Duration,
    what: &str,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    answer_of(time, call).unwrap_or_else(|silence| {
        let advice = "look for a newer driver, or use device = \"cpu\"";
        Err(Error::new(ErrorKind::Unsupported, format!("{what}: {silence}")).advice(advice))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_an_error_a_panic_and_silence_are_told_apart() {
        let long = Duration::from_secs(60);
        assert_eq!(within(long, "a device", || Ok(7)).unwrap(), 7);
        let error = within::<()>(long, "a device", || Err(Error::new(ErrorKind::NotFound, "none"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = within::<()>(long, "a device", || panic!("on purpose")).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unsupported, "a device: its driver panicked"));
        let (hold, held) = channel::<()>();
        let silent = move || {
            let _ = held.recv();
            Ok(())
        };
        let error = within(Duration::from_millis(20), "a device", silent).unwrap_err();
        let said = "a device: its driver has not answered within 20ms";
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unsupported, said));
        drop(hold);
    }
}
