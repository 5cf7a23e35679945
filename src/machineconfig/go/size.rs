//! Sizes of disks and memory as `go-humanize` reads them.

/// `10GiB`, `1.5 tb`, `1,000`: bytes, or what Go says is wrong. Digits behind what a float holds are lost there, too.
pub(in crate::machineconfig) fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|symbol: char| !symbol.is_numeric() && !".,".contains(symbol)).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.replace(',', "");
    let digits = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let Some(number) = number.parse::<f64>().ok().filter(|_| digits) else {
        return Err(format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"));
    };
    let unit = unit.trim().to_lowercase();
    let bare = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = bare.strip_suffix('i').map_or((bare, 1000.0_f64), |letter| (letter, 1024.0));
    let power = match letter {
        "" if base < 1001.0 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return Err(format!("unhandled size name: {unit}")),
    };
    let bytes = number * base.powi(power);
    if bytes >= 18_446_744_073_709_551_616.0 {
        return Err(format!("too large: {text}"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "Go truncates, too; in range by now")]
    Ok(bytes as u64)
}
