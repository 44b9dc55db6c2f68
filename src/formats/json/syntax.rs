//! The grammar of JSON (RFC 8259), read from a slice of bytes that is known to be UTF-8.
//!
//! [`Cursor`] reads tokens strictly and knows nothing of columns.

use crate::formats::marks::plain_run;

/// Where a text stops being JSON, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotJson {
    pub(super) at: usize,
    pub(super) reason: &'static str,
}

pub(super) type Parse<T> = Result<T, NotJson>;

/// Values within values that are passed over at most.
const DEPTH_MAX: usize = 128;

/// A place in a text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    #[cold]
    pub(super) fn wrong<T>(&self, reason: &'static str) -> Parse<T> {
        let reason = if self.at >= self.text.len() { "the JSON ends early" } else { reason };
        Err(NotJson { at: self.at, reason })
    }

    /// The next byte that is not blank, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes this byte, if it is the next that is not blank.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8, reason: &'static str) -> Parse<()> {
        if self.eat(byte) { Ok(()) } else { self.wrong(reason) }
    }

    /// Takes `true`, `false` or `null`.
    pub(super) fn word(&mut self, word: &'static [u8]) -> Parse<()> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        self.wrong("this is not JSON")
    }

    /// Takes a number, as its text.
    #[inline]
    pub(super) fn number(&mut self) -> Parse<&'a [u8]> {
        let start = self.at;
        self.at += usize::from(self.text.get(self.at) == Some(&b'-'));
        let first = self.at;
        match self.digits() {
            0 => return self.wrong("a number needs a digit here"),
            count if count > 1 && self.text[first] == b'0' => {
                self.at = first;
                return self.wrong("a number must not begin with 0");
            }
            _ => {}
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.wrong("a number needs a digit here");
            }
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.text.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return self.wrong("a number needs a digit here");
            }
        }
        Ok(&self.text[start..self.at])
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    /// Takes a string behind its opening quote. Gives its text if that is written without escapes; otherwise the text
    /// is in `unescaped`.
    #[inline]
    pub(super) fn string(&mut self, unescaped: &mut Vec<u8>) -> Parse<Option<&'a [u8]>> {
        let start = self.at;
        self.at += plain_run(&self.text[start..]);
        if self.text.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Some(&self.text[start..self.at - 1]));
        }
        unescaped.clear();
        self.at = start;
        self.string_into(unescaped)?;
        Ok(None)
    }

    /// Takes a string behind its opening quote and appends its text. After an error `to` may hold some of it.
    #[inline]
    pub(super) fn string_into(&mut self, to: &mut Vec<u8>) -> Parse<()> {
        loop {
            let run = plain_run(&self.text[self.at..]);
            to.extend_from_slice(&self.text[self.at..self.at + run]);
            self.at += run;
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(to)?,
                Some(_) => return self.wrong("a string holds a control character that is not escaped"),
                None => return self.wrong("a string is not closed"),
            }
        }
    }

    fn escape(&mut self, to: &mut Vec<u8>) -> Parse<()> {
        let plain = match self.text.get(self.at + 1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.escaped_character(to),
            _ => return self.wrong("a string holds an unknown escape"),
        };
        self.at += 2;
        to.push(plain);
        Ok(())
    }

    /// `\u00e9`, or two of them for a character beyond the first plane.
    fn escaped_character(&mut self, to: &mut Vec<u8>) -> Parse<()> {
        let high = self.code_unit()?;
        let code = match high {
            0xd800..=0xdbff => {
                let low = if self.text[self.at..].starts_with(b"\\u") { self.code_unit()? } else { 0 };
                if !(0xdc00..=0xdfff).contains(&low) {
                    return self.wrong("a string holds half of a surrogate pair");
                }
                0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            other => other,
        };
        let Some(character) = char::from_u32(code) else {
            return self.wrong("a string holds half of a surrogate pair");
        };
        to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn code_unit(&mut self) -> Parse<u32> {
        let digits = self.text.get(self.at + 2..self.at + 6).unwrap_or_default();
        if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return self.wrong("a string holds an unknown escape");
        }
        self.at += 6;
        let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default();
        Ok(digits.iter().fold(0, |code, byte| code << 4 | digit(byte)))
    }

    /// Passes over a value of any type.
    pub(super) fn skip(&mut self, unescaped: &mut Vec<u8>) -> Parse<()> {
        self.skip_within(unescaped, DEPTH_MAX)
    }

    fn skip_within(&mut self, unescaped: &mut Vec<u8>, depth: usize) -> Parse<()> {
        if depth == 0 {
            return self.wrong("values are nested too deeply");
        }
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string(unescaped).map(|_| ())
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'[') => {
                self.at += 1;
                if self.eat(b']') {
                    return Ok(());
                }
                loop {
                    self.skip_within(unescaped, depth - 1)?;
                    if !self.eat(b',') {
                        return self.expect(b']', "a list needs , or ] here");
                    }
                }
            }
            Some(b'{') => {
                self.at += 1;
                if self.eat(b'}') {
                    return Ok(());
                }
                loop {
                    self.expect(b'"', "an object needs a name in quotes here")?;
                    self.string(unescaped)?;
                    self.expect(b':', "a name needs : behind it")?;
                    self.skip_within(unescaped, depth - 1)?;
                    if !self.eat(b',') {
                        return self.expect(b'}', "an object needs , or } here");
                    }
                }
            }
            _ => self.wrong("a value is needed here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_agrees_with_serde_json_on_what_is_json() {
        let valid = [
            "0",
            "-0",
            "1.5e-7",
            "\"\"",
            "\"a\\u00e9\\n\\ud83d\\ude00\"",
            "[]",
            "{}",
            "[1,[2,{\"a\":null}]]",
            " { \"a\" : [ true , false ] } ",
            "1E+2",
        ];
        let invalid = [
            "",
            "-",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\u12\"",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "tru",
            "nul",
            "\"a\u{1}\"",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "[",
            "{\"a\":",
        ];
        for text in valid.into_iter().chain(invalid) {
            let mut cursor = Cursor::new(text.as_bytes());
            let ours = cursor.skip(&mut Vec::new()).is_ok() && cursor.peek().is_none();
            assert_eq!(ours, serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_end_the_stack() {
        let text = "[".repeat(1_000_000);
        assert!(Cursor::new(text.as_bytes()).skip(&mut Vec::new()).is_err());
    }
}
