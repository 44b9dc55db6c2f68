//! Which vector instructions the kernels of this backend run on.
//!
//! Found once, the best that the machine has; `PELTON_SIMD` chooses a lower one. A kernel asks [`level`] once for each
//! batch and hands it to `fearless_simd::dispatch!`, which calls the version of its loop that was compiled for it. The
//! answer of a kernel never depends on the level.

use std::cell::Cell;
use std::sync::OnceLock;

use fearless_simd::Level;

use crate::error::{Error, ErrorKind, Result};

/// The environment variable that chooses a level.
pub const VARIABLE: &str = "PELTON_SIMD";

/// Every level that any machine has, best first; `scalar` is for machines whose compiler knows no vectors at all.
const NAMES: [&str; 6] = ["avx512", "avx2", "sse4.2", "sse2", "neon", "scalar"];

thread_local! {
    static SCOPED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// The level that kernels of this thread run on.
///
/// ```
/// use pelton::kernels::cpu::simd;
///
/// assert_eq!(simd::name_of(simd::level()), simd::level_name());
/// ```
pub fn level() -> Level {
    SCOPED.get().unwrap_or_else(chosen)
}

/// The name of [`level`]: `avx512`, `avx2`, `sse4.2`, `sse2`, `neon` or `scalar`.
pub fn level_name() -> &'static str {
    name_of(level())
}

/// The name of a level.
pub fn name_of(level: Level) -> &'static str {
    match level {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Level::Avx512(_) => "avx512",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Level::Avx2(_) => "avx2",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Level::Sse4_2(_) => "sse4.2",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Level::Sse2(_) => "sse2",
        #[cfg(target_arch = "aarch64")]
        Level::Neon(_) => "neon",
        _ => "scalar",
    }
}

/// The levels of this machine, best first.
///
/// ```
/// use pelton::kernels::cpu::simd;
///
/// assert!(simd::available().iter().any(|level| simd::name_of(*level) == simd::level_name()));
/// ```
pub fn available() -> Vec<Level> {
    let best = Level::new();
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let lower = [best.as_avx2().map(Level::Avx2), best.as_sse4_2().map(Level::Sse4_2), best.as_sse2().map(Level::Sse2)];
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let lower: [Option<Level>; 0] = [];
    let mut levels = vec![best];
    levels.extend(lower.into_iter().flatten().filter(|level| name_of(*level) != name_of(best)));
    levels
}

/// Runs `work` with another level for the kernels that it calls on this thread: every level of one machine can be
/// tested and measured in one process.
///
/// ```
/// use pelton::kernels::cpu::simd;
///
/// for level in simd::available() {
///     assert_eq!(simd::with_level(level, simd::level_name), simd::name_of(level));
/// }
/// ```
pub fn with_level<T>(level: Level, work: impl FnOnce() -> T) -> T {
    /// Puts the level back even if `work` panics.
    struct Restore(Option<Level>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPED.set(self.0);
        }
    }
    let _restore = Restore(SCOPED.replace(Some(level)));
    work()
}

/// Whether `PELTON_SIMD` names a level that this machine has. Asked when a stage is prepared, so that a slip of the pen
/// is found before the first batch.
///
/// # Errors
/// `InvalidOption` if it does not.
pub(super) fn check() -> Result<()> {
    match environment() {
        Ok(_) => Ok(()),
        Err(found) => Err(refusal(found)),
    }
}

/// The level that `PELTON_SIMD` names, else the best one. After a name that means nothing no stage is prepared.
fn chosen() -> Level {
    environment().as_ref().map_or_else(|_| Level::new(), |level| *level)
}

/// What `PELTON_SIMD` asks for, read once; the text itself if it is no level of this machine.
fn environment() -> &'static Result<Level, String> {
    static CHOSEN: OnceLock<Result<Level, String>> = OnceLock::new();
    CHOSEN.get_or_init(|| match std::env::var_os(VARIABLE) {
        None => Ok(Level::new()),
        Some(text) => parse(&text.to_string_lossy()),
    })
}

/// The level of this name.
fn parse(text: &str) -> Result<Level, String> {
    let wanted = text.trim().to_ascii_lowercase();
    match available().into_iter().find(|level| name_of(*level) == wanted) {
        Some(level) => Ok(level),
        None if wanted.is_empty() => Ok(Level::new()),
        None => Err(text.to_owned()),
    }
}

fn refusal(found: &str) -> Error {
    let here: Vec<&str> = available().into_iter().map(name_of).collect();
    let problem = if NAMES.contains(&found.trim().to_ascii_lowercase().as_str()) {
        format!("{VARIABLE} asks for {found}, which this machine and build do not have")
    } else {
        format!("{VARIABLE} is \"{found}\", which is no level of vector instructions")
    };
    Error::new(ErrorKind::InvalidOption, problem)
        .advice(format!("leave it out for the best level, or set it to one of {}", here.join(", ")))
}

/// Runs an expression as compiled for the first of these levels that the thread's level has, else another one that every
/// machine runs: for loops that a compiler turns into vector code only there. What the expression calls must be marked
/// `#[inline(always)]`, or it stays as it is compiled for every machine.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! compiled_for {
    ([$($as_level:ident),+], $fast:expr, else $slow:expr) => {{
        let level = $crate::kernels::cpu::simd::level();
        $(if let Some(token) = level.$as_level() {
            fearless_simd::Simd::vectorize(token, #[inline(always)] || $fast)
        } else)+ {
            $slow
        }
    }};
}
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
macro_rules! compiled_for {
    ([$($as_level:ident),+], $fast:expr, else $slow:expr) => {
        $slow
    };
}
pub(super) use compiled_for;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_of_the_machine_is_found_by_its_name() {
        for level in available() {
            assert_eq!(parse(name_of(level)).map(name_of), Ok(name_of(level)));
        }
        assert_eq!(parse("").map(name_of), Ok(name_of(Level::new())));
        assert_eq!(parse(&name_of(Level::new()).to_uppercase()).map(name_of), Ok(name_of(Level::new())));
    }

    #[test]
    fn what_is_no_level_here_is_refused_with_those_that_are() {
        for (text, why) in [("avx1024", "no level"), ("neon", "do not have"), ("sse2", "do not have")] {
            if available().into_iter().any(|level| name_of(level) == text) {
                continue;
            }
            let error = refusal(&parse(text).map(name_of).unwrap_err()).to_string();
            assert!(error.contains(why) && error.contains(level_name()), "{error}");
        }
    }

    #[test]
    fn a_scoped_level_ends_with_its_scope() {
        let outside = level_name();
        for level in available() {
            assert_eq!(with_level(level, level_name), name_of(level));
            assert_eq!(level_name(), outside);
        }
        let panicked = std::panic::catch_unwind(|| with_level(Level::baseline(), || panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(level_name(), outside);
    }
}
