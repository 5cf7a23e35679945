//! Symbols to tokens.

use super::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Int,
    Uint,
    Float,
    Text,
    Bytes,
    /// An operator or bracket, or a word that is one: `in`, `true`, `false`, `null`.
    Mark,
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Position of the first symbol.
    pub(super) at: usize,
}

impl Token {
    pub(super) fn is(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }

    /// Whether an operand may begin here.
    pub(super) fn begins_operand(&self) -> bool {
        match self.kind {
            Kind::End => false,
            Kind::Mark => {
                matches!(self.text.as_str(), "[" | "{" | "(" | "." | "-" | "!" | "true" | "false" | "null")
            }
            _ => true,
        }
    }
}

/// Longest first.
const MARKS: [&str; 23] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "-", "+", "*", "/", "%", "(", ")", "[", "]", "{", "}", ".", ",",
    "?",
];

/// The tokens, with an end after them, and what could not be read.
pub(super) fn lex(source: &str) -> (Vec<Token>, Vec<Fault>) {
    let symbols: Vec<char> = source.chars().collect();
    let (mut tokens, mut faults) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < symbols.len() {
        let rest = &symbols[at..];
        if rest[0].is_whitespace() {
            at += 1;
        } else if rest.starts_with(&['/', '/']) {
            at += rest.iter().take_while(|symbol| **symbol != '\n').count();
        } else {
            match one(rest) {
                Ok((kind, length)) => {
                    let text: String = rest[..length].iter().collect();
                    let word = kind == Kind::Word && matches!(text.as_str(), "in" | "true" | "false" | "null");
                    tokens.push(Token { kind: if word { Kind::Mark } else { kind }, text, at });
                    at += length;
                }
                Err(length) => {
                    let text: String = rest[..length].iter().collect();
                    faults.push(Fault { at, text: format!("Syntax error: token recognition error at: '{text}'") });
                    at += length;
                }
            }
        }
    }
    tokens.push(Token { kind: Kind::End, text: "<EOF>".to_owned(), at: symbols.len() });
    (tokens, faults)
}

/// The kind and length of the token at the start, or the length of what is none.
fn one(rest: &[char]) -> Result<(Kind, usize), usize> {
    let digits = |from: usize| rest[from.min(rest.len())..].iter().take_while(|symbol| symbol.is_ascii_digit()).count();
    let first = rest[0];
    if let Some(found) = quoted(rest) {
        return found;
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.iter().take_while(|symbol| symbol.is_ascii_alphanumeric() || **symbol == '_').count();
        return Ok((Kind::Word, length));
    }
    if first.is_ascii_digit() || (first == '.' && digits(1) > 0) {
        return Ok(number(rest));
    }
    if rest[0] == ':' {
        return Ok((Kind::Mark, 1));
    }
    let mark = MARKS.iter().find(|mark| mark.chars().eq(rest.iter().copied().take(mark.len())));
    // A single `=`, `&` or `|` takes the symbol after it along: the reader hoped for a pair.
    mark.map(|mark| (Kind::Mark, mark.len())).ok_or(if "=&|".contains(first) { rest.len().min(2) } else { 1 })
}

fn number(rest: &[char]) -> (Kind, usize) {
    let run = |from: usize, ok: fn(char) -> bool| rest[from.min(rest.len())..].iter().take_while(|s| ok(**s)).count();
    let is_digit = |symbol: char| symbol.is_ascii_digit();
    let unsigned = |length: usize| match rest.get(length) {
        Some('u' | 'U') => (Kind::Uint, length + 1),
        _ => (Kind::Int, length),
    };
    if rest.starts_with(&['0', 'x']) && run(2, |symbol| symbol.is_ascii_hexdigit()) > 0 {
        return unsigned(2 + run(2, |symbol| symbol.is_ascii_hexdigit()));
    }
    let mut length = run(0, is_digit);
    let mut kind = Kind::Int;
    if rest.get(length) == Some(&'.') && run(length + 1, is_digit) > 0 {
        length += 1 + run(length + 1, is_digit);
        kind = Kind::Float;
    }
    if matches!(rest.get(length), Some('e' | 'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some('+' | '-')));
        let digits = run(length + 1 + sign, is_digit);
        if digits > 0 {
            return (Kind::Float, length + 1 + sign + digits);
        }
    }
    if kind == Kind::Int { unsigned(length) } else { (kind, length) }
}

/// A text or bytes; an `Err` is the length of one that does not end, up to where it cannot go on.
fn quoted(rest: &[char]) -> Option<Result<(Kind, usize), usize>> {
    let prefix = rest.iter().take_while(|symbol| "rRbB".contains(**symbol)).count().min(2);
    let quote = *rest.get(prefix).filter(|symbol| matches!(symbol, '"' | '\''))?;
    let raw = rest[..prefix].iter().any(|symbol| matches!(symbol, 'r' | 'R'));
    let kind = if rest[..prefix].iter().any(|symbol| matches!(symbol, 'b' | 'B')) { Kind::Bytes } else { Kind::Text };
    let triple = rest[prefix..].starts_with(&[quote; 3]);
    let width = if triple { 3 } else { 1 };
    let mut at = prefix + width;
    while at < rest.len() {
        if rest[at..].starts_with(&vec![quote; width]) {
            return Some(Ok((kind, at + width)));
        }
        match rest[at] {
            '\\' if !raw => match rest.get(at + 1) {
                Some(symbol) if "abfnrtv\\?\"'`xXuU0123".contains(*symbol) => at += 2,
                Some(_) => return Some(Err(at + 2)),
                None => break,
            },
            '\n' | '\r' if !triple => return Some(Err(at + 1)),
            _ => at += 1,
        }
    }
    Some(Err(rest.len()))
}
