//! Calls of libraries that read untrusted bytes. They check much, but not all, of what a file says about itself: where
//! they panic, the file is damaged, which is an error like any other.
//!
//! The panic is caught, but the program's panic hook sees it first, and the one of the standard library prints it. A
//! program that wants only the error asks here, in a hook of its own, as the command line does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether this thread is in such a call.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread, now, would be caught and become an error that says which file is damaged.
///
/// ```
/// let usual = std::panic::take_hook();
/// std::panic::set_hook(Box::new(move |panic| {
///     if !pelton::formats::panic_becomes_error() {
///         usual(panic);
///     }
/// }));
/// ```
pub fn panic_becomes_error() -> bool {
    IN_CALL.get()
}

/// What the call gives; none if it panicked.
pub(super) fn call<T>(work: impl FnOnce() -> T) -> Option<T> {
    let was = IN_CALL.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IN_CALL.set(was);
    done.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_known_to_become_an_error_while_the_call_lasts() {
        assert!(!panic_becomes_error());
        assert_eq!(call(|| call(panic_becomes_error)), Some(Some(true)));
        assert_eq!(call(|| (call(|| panic!("on purpose")), panic_becomes_error())), Some((None::<()>, true)));
        assert!(!panic_becomes_error());
    }
}
