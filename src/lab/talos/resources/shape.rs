//! How specs look: the table in `shapes.txt`, read once.
//!
//! A spec goes over the wire twice, as protobuf and as YAML. Written out by hand, the two
//! were told apart by whoever last added a field to one of them; here both come
//! from one value and one line of the table.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Uint,
    Int,
    Float,
    Text,
    /// A list of numbers in YAML.
    Bytes,
    Ip,
    Prefix,
    /// An address with a port.
    Endpoint,
    /// Six bytes on the wire, colons in YAML.
    Mac,
    /// As Go prints it.
    Duration,
    /// Any mapping.
    Free,
    Enum(&'static str),
    Message(&'static str),
    List(Box<Self>),
    Optional(Box<Self>),
    Map(Box<Self>),
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) key: &'static str,
    /// Left out of the YAML when it is zero.
    pub(super) omitted: bool,
    /// Its fields are its parent's in YAML.
    pub(super) merged: bool,
    pub(super) kind: Type,
    pub(super) since: u32,
    pub(super) until: u32,
}

/// Words by number, either one of them or some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) flags: bool,
    pub(super) words: Vec<(u64, &'static str)>,
}

/// The whole table.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// Type to its canonical name, its controller and its message.
    kinds: HashMap<&'static str, (&'static str, &'static str)>,
    messages: HashMap<&'static str, Vec<Field>>,
    words: HashMap<&'static str, Words>,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::parse(include_str!("shapes.txt")));

/// The table of this build.
pub(super) fn shapes() -> &'static Shapes {
    &SHAPES
}

/// The controller that keeps resources of a type; empty for those that none keeps.
pub(in crate::lab::talos) fn owner(kind: &str) -> &'static str {
    SHAPES.kinds.get(kind).map_or("", |(owner, _)| owner)
}

impl Shapes {
    /// The message of a type of resource.
    pub(super) fn message_of(&self, kind: &str) -> &'static str {
        self.kinds.get(kind).map_or("", |(_, message)| message)
    }

    /// The fields of a message that a minor has, in the order of the YAML.
    pub(super) fn fields(&self, message: &str, minor: u32) -> impl Iterator<Item = &Field> {
        let all = self.messages.get(message).map_or(&[][..], Vec::as_slice);
        all.iter().filter(move |field| (field.since..=field.until).contains(&minor))
    }

    pub(super) fn words(&self, name: &str) -> Option<&Words> {
        self.words.get(name)
    }

    fn parse(text: &'static str) -> Self {
        let mut shapes = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ' ');
            let (Some(word), Some(name)) = (parts.next(), parts.next()) else { continue };
            let rest = parts.next().unwrap_or_default();
            match word {
                "kind" => {
                    let (owner, message) = rest.split_once(' ').unwrap_or((rest, ""));
                    shapes.kinds.insert(name, (owner.trim_matches('-'), message));
                }
                "message" => {
                    let fields = rest.split("; ").filter_map(Field::parse).collect();
                    shapes.messages.insert(name, fields);
                }
                "enum" | "flags" => {
                    let pairs = rest.split("; ").filter_map(|pair| pair.split_once(' '));
                    let words = pairs.filter_map(|(number, word)| Some((number.parse().ok()?, word))).collect();
                    shapes.words.insert(name, Words { flags: word == "flags", words });
                }
                _ => {}
            }
        }
        shapes
    }
}

impl Field {
    fn parse(text: &'static str) -> Option<Self> {
        let mut words = text.split(' ');
        let number = words.next()?.parse().ok()?;
        let (key, kind) = (words.next()?, Type::parse(words.next()?));
        let (mut since, mut until) = (0, u32::MAX);
        for word in words {
            match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(minor), _) => since = minor.parse().ok()?,
                (_, Some(minor)) => until = minor.parse().ok()?,
                _ => return None,
            }
        }
        let (omitted, merged) = (key.contains('~'), key.ends_with('!'));
        let key = key.trim_end_matches(['~', '!']);
        Some(Self { number, key, omitted, merged, kind, since, until })
    }
}

impl Type {
    fn parse(text: &'static str) -> Self {
        if let Some(inner) = text.strip_prefix("[]") {
            return Self::List(Box::new(Self::parse(inner)));
        }
        if let Some(inner) = text.strip_prefix('?') {
            return Self::Optional(Box::new(Self::parse(inner)));
        }
        if let Some(inner) = text.strip_prefix("{}") {
            return Self::Map(Box::new(Self::parse(inner)));
        }
        match text {
            "bool" => Self::Bool,
            "uint" => Self::Uint,
            "int" => Self::Int,
            "float" => Self::Float,
            "str" => Self::Text,
            "bytes" => Self::Bytes,
            "ip" => Self::Ip,
            "prefix" => Self::Prefix,
            "addrport" => Self::Endpoint,
            "mac" => Self::Mac,
            "duration" => Self::Duration,
            "struct" => Self::Free,
            other => match other.strip_prefix("enum:") {
                Some(name) => Self::Enum(name),
                None => Self::Message(other),
            },
        }
    }
}

impl Words {
    /// What a word, or words with commas between them, mean.
    pub(super) fn number(&self, text: &str) -> Option<u64> {
        let one = |text: &str| self.words.iter().find(|(_, word)| *word == text).map(|(number, _)| *number);
        if !self.flags {
            return one(text);
        }
        text.split(',').filter(|word| !word.is_empty()).map(one).sum()
    }

    /// The word for zero.
    pub(super) fn zero(&self) -> &'static str {
        self.words.iter().find(|(number, _)| *number == 0 && !self.flags).map_or("", |(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_its_lines_say() {
        let text = "kind A.x.dev area.AController ASpec\nkind B.x.dev - BSpec\n\
                    message ASpec 1 name str; 2 parts~ []?BSpec +12; 3 old {}int -12\n\
                    enum Word 0 none; 2 two words\nflags Flag 1 UP; 4 DOWN";
        let shapes = Shapes::parse(text);
        assert_eq!(shapes.message_of("A.x.dev"), "ASpec");
        let fields = |minor| shapes.fields("ASpec", minor).map(|field| field.key).collect::<Vec<_>>();
        assert_eq!(
            (fields(11), fields(12), fields(13)),
            (vec!["name", "old"], vec!["name", "parts", "old"], vec!["name", "parts"])
        );
        let parts = shapes.fields("ASpec", 13).nth(1).unwrap();
        assert!(parts.omitted && !parts.merged);
        assert_eq!(parts.kind, Type::List(Box::new(Type::Optional(Box::new(Type::Message("BSpec"))))));
        assert_eq!(shapes.words("Word").unwrap().number("two words"), Some(2));
        assert_eq!(shapes.words("Flag").unwrap().number("UP,DOWN"), Some(5));
        assert_eq!(
            (owner("LinkStatuses.net.talos.dev"), owner("MetaKeys.runtime.talos.dev")),
            ("network.LinkStatusController", "")
        );
    }

    /// The types that a type is made of.
    fn names<'a>(kind: &'a Type, found: &mut Vec<&'a Type>) {
        match kind {
            Type::List(inner) | Type::Optional(inner) | Type::Map(inner) => names(inner, found),
            other => found.push(other),
        }
    }

    #[test]
    fn the_table_is_complete() {
        let shapes = shapes();
        for field in shapes.messages.values().flatten() {
            let mut found = Vec::new();
            names(&field.kind, &mut found);
            for kind in found {
                match kind {
                    Type::Message(name) => assert!(shapes.messages.contains_key(name), "{name}"),
                    Type::Enum(name) => assert!(shapes.words.contains_key(name), "{name}"),
                    _ => {}
                }
            }
        }
    }
}
