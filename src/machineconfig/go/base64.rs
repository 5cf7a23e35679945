//! Standard base64 as `encoding/base64` reads it: with padding, over line ends, and forgiving about the last bits.

/// The bytes, or where the first one stands that cannot be.
pub(in crate::machineconfig) fn base64(text: &str) -> Result<Vec<u8>, usize> {
    let source = text.as_bytes();
    let mut bytes = Vec::with_capacity(source.len() / 4 * 3);
    let mut at = 0;
    loop {
        let mut group = [0_u8; 4];
        let mut length = 0;
        while length < 4 {
            let Some(&symbol) = source.get(at) else {
                return if length == 0 { Ok(bytes) } else { Err(at - length) };
            };
            at += 1;
            match (value(symbol), symbol) {
                (Some(value), _) => {
                    group[length] = value;
                    length += 1;
                }
                (None, b'\r' | b'\n') => {}
                (None, b'=') if length >= 2 => {
                    padded(source, at, length)?;
                    bytes.extend(&packed(group)[..length - 1]);
                    return Ok(bytes);
                }
                _ => return Err(at - 1),
            }
        }
        bytes.extend(packed(group));
    }
}

/// Looks at what follows the first `=` behind `length` symbols: another one where it belongs, line ends, and nothing.
fn padded(source: &[u8], mut at: usize, length: usize) -> Result<(), usize> {
    let skip = |mut at: usize| {
        while matches!(source.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        at
    };
    if length == 2 {
        at = skip(at);
        match source.get(at) {
            None => return Err(source.len()),
            Some(b'=') => at += 1,
            Some(_) => return Err(at - 1),
        }
    }
    at = skip(at);
    if at < source.len() { Err(at) } else { Ok(()) }
}

fn value(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

fn packed([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}
