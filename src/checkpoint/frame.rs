//! The form of every file of a checkpoint: a first line that says what it is, then checked blocks.
//!
//! ```text
//! pelton checkpoint 1 offsets⏎          version of the form, kind of the file
//! length u32 │ CRC-32 u32 │ bytes       as often as needed; numbers little end first
//! 0 u32      │ CRC-32 u32               the end: the checksum of all bytes before this block
//! ```
//!
//! A damaged byte is found in its block, a file that was cut off by its missing end.

use crate::error::{Error, ErrorKind, Place, Result};

/// The version of the form that this release writes, and the only one that it reads.
pub const VERSION: u32 = 1;

const OPENING: &str = "pelton checkpoint ";

/// Bytes of a block: what a damaged byte is narrowed down to.
const BLOCK_BYTES: usize = 1 << 16;

/// Bytes of the length and the checksum before a block.
const HEAD_BYTES: usize = 8;

/// A file of this kind with this content.
///
/// ```
/// use pelton::checkpoint::frame;
/// use pelton::error::Place;
///
/// let mut file = frame::seal("offsets", b"content");
/// assert_eq!(frame::open("offsets", &Place::file("7"), &file)?, b"content");
/// let damaged = file.len() - 10;
/// file[damaged] ^= 1;
/// assert!(frame::open("offsets", &Place::file("7"), &file).is_err());
/// # Ok::<(), pelton::error::Error>(())
/// ```
pub fn seal(kind: &str, content: &[u8]) -> Vec<u8> {
    let mut file = format!("{OPENING}{VERSION} {kind}\n").into_bytes();
    file.reserve(content.len() + HEAD_BYTES * (content.len() / BLOCK_BYTES + 2));
    for block in content.chunks(BLOCK_BYTES) {
        file.extend(u32::try_from(block.len()).unwrap_or(u32::MAX).to_le_bytes());
        file.extend(crc32fast::hash(block).to_le_bytes());
        file.extend(block);
    }
    let all = crc32fast::hash(&file);
    file.extend(0_u32.to_le_bytes());
    file.extend(all.to_le_bytes());
    file
}

/// The content of a file of this kind, which lies at `place`.
///
/// # Errors
/// `Corrupt`, with the byte from which on the file is not what was written; `Unsupported` for a form of another
/// release.
pub fn open(kind: &str, place: &Place, file: &[u8]) -> Result<Vec<u8>> {
    open_in_place(kind, place, file.to_vec())
}

/// As [`open`]; the content stays in the memory of the file, moved together.
///
/// # Errors
/// As for [`open`].
pub fn open_in_place(kind: &str, place: &Place, mut file: Vec<u8>) -> Result<Vec<u8>> {
    let corrupt = |byte: usize, message: String| {
        let place = place.clone().byte(byte as u64);
        Error::new(ErrorKind::Corrupt, message).at(place)
    };
    let opening = file.iter().position(|&byte| byte == b'\n').and_then(|end| Some((end, file.get(..end)?)));
    let Some((end, Ok(opening))) = opening.map(|(end, line)| (end, std::str::from_utf8(line))) else {
        return Err(corrupt(0, "this is no file of a checkpoint: its first line is missing".to_owned()));
    };
    check_opening(kind, opening, place)?;
    let mut all = crc32fast::Hasher::new();
    all.update(&file[..=end]);
    let mut content = 0;
    let mut at = end + 1;
    loop {
        let Some((length, checksum)) = head(&file, at) else {
            return Err(corrupt(at, format!("the file ends after {} bytes, before its end was written", file.len())));
        };
        if length == 0 {
            if all.finalize() != checksum || file.len() != at + HEAD_BYTES {
                return Err(corrupt(at, "the end of the file does not fit what comes before".to_owned()));
            }
            file.truncate(content);
            return Ok(file);
        }
        let begin = at + HEAD_BYTES;
        let block = file.get(begin..).and_then(|rest| rest.get(..length));
        let Some(block) = block.filter(|_| length <= BLOCK_BYTES) else {
            return Err(corrupt(at, format!("a block of {length} bytes does not fit the file")));
        };
        let mut of_block = crc32fast::Hasher::new();
        of_block.update(block);
        if of_block.clone().finalize() != checksum {
            let message = format!("a byte among the {length} from here on is damaged: the checksum does not fit");
            return Err(corrupt(begin, message));
        }
        all.update(&file[at..begin]);
        // The checksum of all is put together from those of the parts: no byte is read twice.
        all.combine(&of_block);
        file.copy_within(begin..begin + length, content);
        content += length;
        at = begin + length;
    }
}

/// Length and checksum of the block that begins at this byte.
fn head(file: &[u8], at: usize) -> Option<(usize, u32)> {
    let head: &[u8; HEAD_BYTES] = file.get(at..)?.first_chunk()?;
    let [a, b, c, d, e, f, g, h] = *head;
    Some((usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?, u32::from_le_bytes([e, f, g, h])))
}

fn check_opening(kind: &str, opening: &str, place: &Place) -> Result<()> {
    let words = opening.strip_prefix(OPENING).and_then(|rest| rest.split_once(' '));
    let Some((version, found)) = words.and_then(|(version, kind)| Some((version.parse::<u32>().ok()?, kind))) else {
        let message = "this is no file of a checkpoint: its first line says something else";
        return Err(Error::new(ErrorKind::Corrupt, message).at(place.clone().byte(0)));
    };
    if version != VERSION {
        let message = format!("the checkpoint has form {version}; this release reads form {VERSION}");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .at(place.clone())
            .advice("go on with the release that wrote it, or give the query a new checkpoint"));
    }
    if found != kind {
        let message = format!("this is a file of kind \"{found}\" in the place of one of kind \"{kind}\"");
        return Err(Error::new(ErrorKind::Corrupt, message).at(place.clone().byte(0)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|byte| u8::try_from(byte * 31 % 251).unwrap()).collect()
    }

    #[test]
    fn content_of_any_length_comes_back() {
        for bytes in [0, 1, 7, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES] {
            let content = content(bytes);
            assert_eq!(open("state", &Place::default(), &seal("state", &content)).unwrap(), content);
        }
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_found() {
        let sealed = seal("state", &content(300));
        for byte in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[byte] ^= 0x10;
            assert!(open("state", &Place::default(), &damaged).is_err(), "byte {byte}");
            assert!(open("state", &Place::default(), &sealed[..byte]).is_err(), "cut at {byte}");
        }
        let longer = [sealed.as_slice(), b"x"].concat();
        assert!(open("state", &Place::default(), &longer).is_err());
    }

    #[test]
    fn a_damaged_byte_is_narrowed_down_to_its_block() {
        let mut sealed = seal("state", &content(2 * BLOCK_BYTES));
        let damaged = sealed.len() - 100;
        sealed[damaged] ^= 1;
        let error = open("state", &Place::file("x"), &sealed).unwrap_err();
        let from = usize::try_from(error.place().byte.unwrap()).unwrap();
        assert!(from <= damaged && damaged - from < BLOCK_BYTES, "{error}");
    }

    #[test]
    fn another_form_is_refused_with_the_right_words() {
        let sealed = String::from_utf8(seal("state", b"")).unwrap_or_default();
        let newer = seal("state", b"x");
        let newer = [b"pelton checkpoint 2 state\n".as_slice(), &newer[26..]].concat();
        let error = open("state", &Place::file("x"), &newer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sealed}");
        assert!(error.to_string().contains("form 2"), "{error}");
        let error = open("commits", &Place::file("x"), &seal("state", b"x")).unwrap_err();
        assert!(error.to_string().contains("kind \"state\""), "{error}");
    }
}
