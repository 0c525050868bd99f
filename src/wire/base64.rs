//! Base64 of `-bin` metadata: written without padding, read with or without it.
//!
//! In: bytes, or text of a header value. Out: the other. Never: the URL alphabet.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as text.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..=group.len() {
            let six = bits >> (18 - 6 * place) & 63;
            text.push(ALPHABET[six as usize] as char);
        }
    }
    text
}

/// Text as bytes; `None` if it is not base64. Unused bits at the end may be anything.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = match text {
        [front @ .., b'=', b'='] | [front @ .., b'='] if text.len().is_multiple_of(4) => front,
        _ => text,
    };
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0;
        for (place, letter) in group.iter().enumerate() {
            bits |= value(*letter)? << (18 - 6 * place);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways_with_and_without_padding() {
        let rows: [(&[u8], &str); 6] = [
            (b"", ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"\xff\xfe\xfd", "//79"),
        ];
        for (bytes, text) in rows {
            assert_eq!(encode(bytes), text.trim_end_matches('='));
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes));
            assert_eq!(decode(encode(bytes).as_bytes()).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["Z", "Zg=", "Zg===", "=", "Zm9v=", "Zm 9", "Zm-_", "Zm9vY"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
