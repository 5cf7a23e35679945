//! Sizes of volumes, in and out of text.

/// Bytes as configurations write them: in the largest unit that is exact, `32G`, `528K`; `0T` for nothing.
pub(super) fn print(bytes: u64) -> String {
    let mut value = bytes;
    let mut unit = "";
    for next in ["K", "M", "G", "T"] {
        if !value.is_multiple_of(1024) {
            break;
        }
        value /= 1024;
        unit = next;
    }
    format!("{value}{unit}")
}

/// `10.5` with a unit letter (or none for bytes) in bytes; fractions of a byte are dropped.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (number, power) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1),
        b'M' => (&text[..text.len() - 1], 2),
        b'G' => (&text[..text.len() - 1], 3),
        b'T' => (&text[..text.len() - 1], 4),
        _ => (text, 0),
    };
    scaled(number, 1024_u64.pow(power))
}

/// `number` (decimal) times `unit`, without the detour over floating point: sizes reach beyond its exact range.
pub(super) fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut total = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit);
    let part: String = part.chars().take(12).collect();
    if !part.is_empty() {
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
        total += u128::from(part.parse::<u64>().ok()?) * u128::from(unit) / scale;
    }
    u64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print_as_recorded() {
        for (bytes, text) in [(34_359_738_368, "32G"), (540_672, "528K"), (5_368_709_121, "5368709121"), (0, "0T")] {
            assert_eq!(print(bytes), text);
        }
        for (text, bytes) in
            [("3.5G", 3_758_096_384), ("4096M", 4_294_967_296), ("3", 3), ("99999T", 109_950_063_265_972_224_u64)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        assert_eq!(print(109_950_063_265_972_224 + (1 << 30)), "102398977G");
        assert_eq!(scaled("10.5", 1 << 30), Some(11_010_048 * 1024));
        assert_eq!(parse("x"), None);
    }
}
