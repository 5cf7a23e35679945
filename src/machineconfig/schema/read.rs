//! Reads the tables. They are compiled in, so whatever is wrong with them is a bug: this panics, in the first test.

use super::{Field, Kind, Merge, Struct, Text, Type};

/// A field line split into path and fields.
type Line = (&'static str, &'static str);

pub(super) fn table(text: &'static str) -> Vec<Kind> {
    let mut blocks: Vec<(&str, u32, Vec<Line>)> = Vec::new();
    for line in text.lines() {
        if let Some(fields) = line.strip_prefix("  ") {
            let (path, fields) = fields.split_once(": ").expect("a field line is `path: fields`");
            blocks.last_mut().expect("a kind comes first").2.push((path, fields));
        } else {
            let (name, since) = line.split_once(' ').expect("a kind line is `Kind since`");
            blocks.push((name, minor(since), Vec::new()));
        }
    }
    let kind =
        |(name, since, lines): (&'static str, u32, Vec<Line>)| Kind { name, since, root: structure(".", &lines) };
    blocks.into_iter().map(kind).collect()
}

fn minor(version: &str) -> u32 {
    version.strip_prefix("1.").and_then(|minor| minor.parse().ok()).expect("a version is 1.N")
}

/// The struct at `path`; one that has no line is an empty struct, such as the `nodeID` of an encryption key.
fn structure(path: &str, lines: &[Line]) -> Struct {
    let Some((_, fields)) = lines.iter().find(|(at, _)| *at == path) else { return Struct::default() };
    Struct { fields: split(fields).into_iter().map(|code| field(code, path, lines)).collect(), nullable: false }
}

/// Splits at commas outside of braces, since `pem{crt,key}` has one inside.
fn split(fields: &'static str) -> Vec<&'static str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, byte) in fields.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(fields[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(fields[start..].trim());
    parts
}

fn field(code: &'static str, path: &str, lines: &[Line]) -> Field {
    let (name, code) = code.split_once(':').expect("a field is `name:type`");
    let (code, since) = code.split_once('@').map_or((code, 9), |(code, since)| (code, minor(since)));
    // A word of an enumeration may hold a bracket, too.
    let how = ["(R)", "(K", "(Z:"].iter().find_map(|mark| code.find(mark)).unwrap_or(code.len());
    let (code, how) = (&code[..how], code[how..].trim_start_matches('('));
    let how = how.trim_end_matches(')');
    let (merge, zero_by) = how.strip_prefix("Z:").map_or_else(|| (merge(how), ""), |fields| (Merge::ByType, fields));
    let (code, always) = code.strip_suffix('*').map_or((code, false), |code| (code, true));
    let (code, once_always) = code.strip_suffix('^').map_or((code, false), |code| (code, true));
    let (code, pointer) = code.strip_suffix('?').map_or((code, false), |code| (code, true));
    let at = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
    Field { name, kind: kind(code, &at, lines), pointer, always, once_always, zero_by, merge, since }
}

fn merge(how: &'static str) -> Merge {
    match how.split_at_checked(2) {
        None if how.is_empty() => Merge::ByType,
        Some(("K:", key)) => Merge::Keyed(key),
        Some(("K=", key)) => Merge::KeyedReplace(key),
        _ => Merge::Replace,
    }
}

fn kind(code: &'static str, path: &str, lines: &[Line]) -> Type {
    if let Some(item) = code.strip_prefix('[') {
        let item = item.strip_suffix(']').expect("a list is `[type]`");
        return Type::List(Box::new(kind(item, &format!("{path}[]"), lines)));
    }
    if let Some(item) = code.strip_prefix('{') {
        let item = item.strip_suffix('}').expect("a map is `{type}`");
        return Type::Map(Box::new(kind(item, &format!("{path}{{}}"), lines)));
    }
    if let Some(words) = code.strip_prefix("enum") {
        return Type::Text(Text::Enum(words.trim_start_matches('|')));
    }
    match code.trim_end_matches('!') {
        "s" => Type::Text(Text::Any),
        "i" => Type::Int,
        "u8" => Type::Uint(8),
        "u16" => Type::Uint(16),
        "u32" => Type::Uint(32),
        "u64" => Type::Uint(64),
        "b" => Type::Bool,
        "dur" => Type::Duration,
        "url" => Type::Url,
        "pem{crt,key}" => Type::Pem(&["crt", "key"]),
        "pem{crt}" => Type::Pem(&["crt"]),
        "pem{key}" => Type::Pem(&["key"]),
        "args" => Type::Args,
        "cel" => Type::Cel,
        "bytes" => Type::Bytes,
        "U" => Type::Free,
        "obj" => Type::Struct(structure(path, lines)),
        "obj?" => Type::Struct(Struct { nullable: true, ..structure(path, lines) }),
        "addr" => Type::Text(Text::Addr),
        "addrport" => Type::Text(Text::AddrPort),
        "b64" => Type::Text(Text::Base64),
        "mac" => Type::Text(Text::Mac),
        "mode" => Type::Text(Text::Mode),
        "port" => Type::Text(Text::Port),
        "prefix" => Type::Text(Text::Prefix),
        "disksize" => Type::Text(Text::DiskSize),
        "size" => Type::Text(Text::Size),
        "sizematch" => Type::Text(Text::SizeMatch),
        "table" => Type::Text(Text::Table),
        code => panic!("unknown type code {code:?} at {path}"),
    }
}
