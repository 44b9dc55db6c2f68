//! What can go wrong, whose fault it is, where it happened, and whether trying again can help.
//!
//! There is one [`Error`] type. Programs match on [`ErrorKind`]; people read the text, which names the place (file,
//! line, byte, column) and says what to do. Library code returns errors; it never prints, exits or panics on input.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for programs to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A query, expression or pipeline file says something that cannot be meant. Found before the stream starts.
    InvalidQuery,
    /// An option has a value outside its range, or two options contradict each other.
    InvalidOption,
    /// A record could not be read, and the policy for bad records is `fail`.
    BadRecord,
    /// A value left the range of its type in a checked operation.
    Overflow,
    /// A file, directory or address does not exist.
    NotFound,
    /// A source or sink could not be used: permissions, a full disk, a broken connection.
    Connector,
    /// Stored data contradicts itself: a truncated file, a wrong checksum, input that changed while it was read.
    Corrupt,
    /// The other side is gone: a stopped query, a dropped receiver, a closed socket.
    Closed,
    /// A function given by the user failed or panicked.
    Function,
    /// What was asked for is not built into this program, for example a feature that was left out.
    Unsupported,
    /// A broken promise inside this crate. Please report it.
    Internal,
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// The query, the options or a function given by the user.
    User,
    /// The world outside: data, disks, networks.
    External,
    /// This crate.
    Internal,
}

/// Whether the same call can succeed later without anybody changing the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It will fail the same way again.
    Never,
    /// The cause may pass: a network, a lock, a full disk.
    Later,
}

/// Where it went wrong. Each part is given when it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, or the address of a peer.
    pub file: Option<PathBuf>,
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// The byte offset from the start of the (decompressed) file, counted from 0.
    pub byte: Option<u64>,
    /// The column of the data.
    pub column: Option<String>,
}

impl Place {
    /// A place somewhere in `file`.
    pub fn file(file: impl AsRef<Path>) -> Self {
        Self { file: Some(file.as_ref().to_owned()), ..Self::default() }
    }

    /// The same place, at this line (counted from 1).
    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// The same place, at this byte (counted from 0).
    #[must_use]
    pub fn byte(mut self, byte: u64) -> Self {
        self.byte = Some(byte);
        self
    }

    /// The same place, in this column of the data.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            separator = ", ";
        }
        if let Some(line) = self.line {
            write!(f, "{separator}line {line}")?;
            separator = ", ";
        }
        if let Some(byte) = self.byte {
            write!(f, "{separator}byte {byte}")?;
            separator = ", ";
        }
        if let Some(column) = &self.column {
            write!(f, "{separator}column \"{column}\"")?;
        }
        Ok(())
    }
}

/// An error: kind, sentence, place, advice, and the chain of what was being done.
///
/// ```
/// use pelton::error::{Domain, Error, ErrorKind, Place, Retry};
///
/// let error = Error::new(ErrorKind::BadRecord, "\"abc\" is not an Int64")
///     .at(Place::file("visits.csv").line(7).column("age"))
///     .advice("set on_bad_record = \"null\" to read it as null")
///     .context("while reading batch 3");
/// assert_eq!(error.domain(), Domain::External);
/// assert_eq!(error.retry(), Retry::Never);
/// assert_eq!(
///     error.to_string(),
///     "while reading batch 3: \"abc\" is not an Int64 (visits.csv, line 7, column \"age\"); \
///      set on_bad_record = \"null\" to read it as null"
/// );
/// ```
pub struct Error(Box<Parts>);

struct Parts {
    kind: ErrorKind,
    message: String,
    place: Place,
    advice: Option<String>,
    contexts: Vec<String>,
    retry: Retry,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message says what is wrong, not what to do: see [`Error::advice`].
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            place: Place::default(),
            advice: None,
            contexts: Vec::new(),
            retry: Retry::Never,
            source: None,
        }))
    }

    /// A mistake in a query, found before the stream starts.
    pub fn invalid_query(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidQuery, message)
    }

    /// A broken promise inside this crate.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message).advice("this is a fault of pelton: please report it")
    }

    /// What the operating system said about `file`: the kind and the retry hint follow from it.
    pub fn io(file: impl AsRef<Path>, doing: &str, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let file = file.as_ref();
        let (kind, retry) = match error.kind() {
            Io::NotFound => (ErrorKind::NotFound, Retry::Never),
            Io::InvalidData | Io::UnexpectedEof => (ErrorKind::Corrupt, Retry::Never),
            Io::PermissionDenied | Io::IsADirectory | Io::NotADirectory | Io::ReadOnlyFilesystem => {
                (ErrorKind::Connector, Retry::Never)
            }
            _ => (ErrorKind::Connector, Retry::Later),
        };
        let mut made = Self::new(kind, format!("cannot {doing}: {error}")).at(Place::file(file)).because(error);
        made.0.retry = retry;
        made
    }

    /// The same error, with its place. Parts already known are kept.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        let known = &mut self.0.place;
        known.file = known.file.take().or(place.file);
        known.line = known.line.take().or(place.line);
        known.byte = known.byte.take().or(place.byte);
        known.column = known.column.take().or(place.column);
        self
    }

    /// The same error, with what the reader should do about it.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// The same error, with what was being done, outermost last.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.contexts.push(context.into());
        self
    }

    /// The same error, with the error below it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, with the hint that the cause may pass.
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.0.retry = Retry::Later;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whose move it is.
    pub fn domain(&self) -> Domain {
        match self.0.kind {
            ErrorKind::InvalidQuery | ErrorKind::InvalidOption | ErrorKind::Function | ErrorKind::Unsupported => {
                Domain::User
            }
            ErrorKind::BadRecord
            | ErrorKind::Overflow
            | ErrorKind::NotFound
            | ErrorKind::Connector
            | ErrorKind::Corrupt
            | ErrorKind::Closed => Domain::External,
            ErrorKind::Internal => Domain::Internal,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Where it went wrong.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// What is wrong, without place, advice and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.0.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.0.message)?;
        if !self.0.place.is_unknown() {
            write!(f, " ({})", self.0.place)?;
        }
        if let Some(advice) = &self.0.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Errors of the Arrow kernels, sorted into our kinds. What reaches this point has passed the analysis of the query,
/// so a refusal by a kernel is either a value out of range or a fault of ours.
impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        use arrow_schema::ArrowError as Arrow;
        let kind = match &error {
            Arrow::ArithmeticOverflow(_) | Arrow::CastError(_) | Arrow::DivideByZero => ErrorKind::Overflow,
            Arrow::OffsetOverflowError(_) => ErrorKind::Overflow,
            Arrow::ParseError(_) | Arrow::CsvError(_) | Arrow::JsonError(_) => ErrorKind::BadRecord,
            Arrow::IoError(_, _) => ErrorKind::Connector,
            Arrow::IpcError(_) | Arrow::ParquetError(_) => ErrorKind::Corrupt,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string()).because(error)
    }
}
