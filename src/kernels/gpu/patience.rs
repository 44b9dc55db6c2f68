//! Calls of a driver that may never come back: opening a device, looking for adapters, measuring.
//!
//! Nobody can end a call that hangs. So it has a thread of its own, which is waited for so long and then left alone: its
//! answer, should there be one after all, is nobody's. What is asked of an open device has limits of its own (`device`).

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How long a driver may take to open a device, and as long again to measure it. Cold ones take seconds.
pub(super) const OPENING_TIME_MAX: Duration = Duration::from_secs(30);

/// What a driver answers, if it does within this time; `what` is what it is asked for.
///
/// # Errors
/// `Unsupported` if it does not, or panics; those of the call itself.
pub(super) fn within<T: Send + 'static>(
    time: Duration,
    what: &str,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (told, heard) = channel();
    let thread = Builder::new().name("pelton-driver".to_owned()).spawn(move || {
        // Nobody may wait any more.
        let _ = told.send(call());
    });
    let thread = thread.map_err(|error| Error::internal("a thread could not be started").because(error))?;
    let refused = |how: String| {
        let advice = "look for a newer driver, or use device = \"cpu\"";
        Err(Error::new(ErrorKind::Unsupported, format!("{what}: {how}")).advice(advice))
    };
    match heard.recv_timeout(time) {
        Ok(answer) => {
            // It has nothing left to do: that a driver is done with its thread is worth the wait.
            drop(thread.join());
            answer
        }
        Err(RecvTimeoutError::Timeout) => refused(format!("its driver has not answered within {time:?}")),
        Err(RecvTimeoutError::Disconnected) => refused("its driver panicked".to_owned()),
    }
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
