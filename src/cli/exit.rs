//! Exit codes that mean something.

use std::error::Error as _;
use std::io;
use std::process::ExitCode;

use crate::error::{Domain, Error, ErrorKind, Retry};

/// The end of `pelton --help`.
pub(super) const HELP: &str = "\
Examples:
  pelton run pipelines/access_log.toml
  pelton run pipelines/average.toml --set trigger=1s --set source.lines.path=incoming/
  pelton generate ads --rows 100000 --files 10 --out ads/

Exit codes:
  0    done, or stopped as asked
  1    failed on data or on the outside world; the same again will fail the same way
  2    the command line or the pipeline is wrong; nothing was started
  3    failed for a cause that may pass: a network, a full disk; trying again can help
  4    a fault of pelton
  130  stopped at once by a second Ctrl-C";

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Well,
    Failed,
    Usage,
    MayPass,
    Fault,
    Interrupted,
}

impl Exit {
    /// The end that an error means.
    pub(super) fn of(error: &Error) -> Self {
        match (error.domain(), error.retry()) {
            _ if is_broken_pipe(error) => Self::Well,
            (Domain::User, _) => Self::Usage,
            (Domain::External, Retry::Later) => Self::MayPass,
            (Domain::External, Retry::Never) => Self::Failed,
            (Domain::Internal, _) => Self::Fault,
        }
    }

    /// The end of another process of this program.
    pub(super) fn of_code(code: Option<i32>) -> Self {
        let all = [Self::Well, Self::Failed, Self::Usage, Self::MayPass, Self::Fault];
        match code {
            Some(code) => all.into_iter().find(|exit| i32::from(exit.code()) == code).unwrap_or(Self::Fault),
            None => Self::Interrupted,
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::MayPass => 3,
            Self::Fault => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Standard output that cannot be written to.
pub(super) fn cannot_answer(error: io::Error) -> Error {
    Error::new(ErrorKind::Connector, format!("cannot write to standard output: {error}")).because(error)
}

/// Whether the reader of standard output has left, as `head` does once it has seen enough. That is no failure.
fn is_broken_pipe(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}
