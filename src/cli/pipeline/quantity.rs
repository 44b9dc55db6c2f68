//! Quantities as people write them: `64 MiB`, `250ms`.

use std::time::Duration;

use super::document::{Node, Value};
use crate::error::{Error, Result};
use crate::expr::span;

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl Node {
    /// A number of bytes, at least 1: `1048576` or `"1 MiB"`.
    pub(super) fn bytes(&self) -> Result<u64> {
        if matches!(self.value, Value::Integer(_)) {
            return self.whole(1);
        }
        let text = self.text()?;
        bytes(text).ok_or_else(|| {
            let error = Error::invalid_query(format!("\"{}\" is \"{text}\", which is no number of bytes", self.key));
            self.spot.blame(error.advice("write it as \"64 MiB\" or \"10 kB\""))
        })
    }

    /// A span of time that is not negative: `"250ms"`, `"1 minute"`.
    pub(super) fn duration(&self) -> Result<Duration> {
        let nanos = span::parse(self.text()?).map_err(|error| self.spot.blame(error))?;
        let nanos = u64::try_from(nanos).map_err(|_| self.expected("a span of time that is not negative"))?;
        Ok(Duration::from_nanos(nanos))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("64 MiB"), Some(64 << 20));
        assert_eq!(bytes("10kB"), Some(10_000));
        for wrong in ["64", "MiB", "1.5 MiB", "64 Mib", "0 B", "99999999999 TiB", ""] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
