//! Detects UTF-16, which some editors and shells write.

/// True if these bytes begin like UTF-16 in either byte order, with or without a byte order mark.
#[must_use]
pub fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    // In UTF-16, every ASCII character has a zero byte, always on the same side.
    let (units, _) = bytes.as_chunks::<2>();
    let first = units.get(..units.len().min(4)).unwrap_or_default();
    let all = |is_ascii: fn(&[u8; 2]) -> bool| !first.is_empty() && first.iter().all(is_ascii);
    all(|[first, second]| *first != 0 && *second == 0)
        || all(|[first, second]| *first == 0 && *second != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_distinguished_from_other_text() {
        for text in ["eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "# ä\n", "e\r\n"] {
            let units = || text.encode_utf16();
            let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
            assert!(is_utf16(&little) && is_utf16(&big), "{text:?}");
            assert!(is_utf16(&[b"\xff\xfe", &little[..]].concat()), "{text:?}");
            assert!(is_utf16(&[b"\xfe\xff", &big[..]].concat()), "{text:?}");
            assert!(!is_utf16(text.as_bytes()), "{text:?}");
            assert!(!is_utf16(&[b"\xef\xbb\xbf", text.as_bytes()].concat()), "{text:?}");
        }
        for bytes in [&b""[..], b"e", b"\0", b"\0\0\0\0", b"\xff"] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }
}
