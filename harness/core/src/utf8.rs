//! Text from bytes, or the place of the first byte that is none.

use std::fmt;

/// A file that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUtf8 {
    /// The offset of the first byte that belongs to no character.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// The byte.
    pub byte: u8,
    /// Whether the file begins as UTF-16 does.
    pub is_utf16: bool,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, line, byte, .. } = self;
        write!(f, "not UTF-8: byte {offset} (line {line}) is 0x{byte:02x}")?;
        match self.is_utf16 {
            true => f.write_str("; it looks like UTF-16: save it as UTF-8"),
            false => Ok(()),
        }
    }
}

impl std::error::Error for NotUtf8 {}

/// The text of a file.
///
/// # Errors
/// With the place of the first byte that is not UTF-8.
pub fn text(bytes: Vec<u8>) -> Result<String, NotUtf8> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        NotUtf8 {
            offset,
            line: bytes[..offset].iter().filter(|byte| **byte == b'\n').count() + 1,
            byte: bytes.get(offset).copied().unwrap_or_default(),
            is_utf16: bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_byte_is_named() {
        assert_eq!(text(b"a\xc3\xa9".to_vec()).unwrap(), "aé");
        assert_eq!(text(b"a\n\xc3\xa9b\xe9\n".to_vec()).unwrap_err().to_string(), "not UTF-8: byte 5 (line 2) is 0xe9");
        assert_eq!(text(b"ab\xc3".to_vec()).unwrap_err().offset, 2);
        assert!(text(b"\xff\xfea\0".to_vec()).unwrap_err().to_string().ends_with("save it as UTF-8"));
    }
}
