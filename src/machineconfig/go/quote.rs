//! Texts between quotes as Go's `%q` writes them. Rust's `{:?}` does the same for what people type, but escapes
//! what does not print in a way of its own.

use std::fmt::{self, Display, Write};

/// A text that shows as Go quotes it.
pub struct Quoted<'a>(&'a str);

/// `strconv.Quote`.
pub fn quoted(text: &(impl AsRef<str> + ?Sized)) -> Quoted<'_> {
    Quoted(text.as_ref())
}

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.0.chars().try_for_each(|char| escape(char, f))?;
        f.write_char('"')
    }
}

fn escape(char: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let short = match char {
        '"' | '\\' => char,
        '\x07' => 'a',
        '\x08' => 'b',
        '\x0c' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x0b' => 'v',
        ' '..='~' => return f.write_char(char),
        '\0'..='\x7f' => return write!(f, "\\x{:02x}", u32::from(char)),
        char if prints(char) => return f.write_char(char),
        '\0'..='\u{ffff}' => return write!(f, "\\u{:04x}", u32::from(char)),
        _ => return write!(f, "\\U{:08x}", u32::from(char)),
    };
    write!(f, "\\{short}")
}

/// Go's `unicode.IsPrint` is Rust's rule for what need not be escaped, once a letter before it keeps accents whole.
fn prints(char: char) -> bool {
    let pair = String::from_iter(['a', char]);
    pair.escape_debug().eq(pair.chars())
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_as_go_does() {
        for (text, written) in [
            ("a\"b\\c'", r#""a\"b\\c'""#),
            ("\0\x07\x1b\x7f\t\r\n\x0b", r#""\x00\a\x1b\x7f\t\r\n\v""#),
            ("é😀\u{301}", "\"é😀\u{301}\""),
            (
                "\u{a0}\u{ad}\u{200b}\u{2028}\u{feff}\u{e000}\u{fffd}",
                "\"\\u00a0\\u00ad\\u200b\\u2028\\ufeff\\ue000\u{fffd}\"",
            ),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
        ] {
            assert_eq!(quoted(text).to_string(), written);
        }
    }
}
