//! What fields there are: the one table that decoding, merging, deleting, encoding and `explain`ing all read.
//!
//! The table is data (`v1alpha1.fields`, `documents.fields`), because Go's behaviour hangs on each field's exact type:
//! a pointer's zero overwrites, a plain zero does not; a list appends unless it is marked; a CEL text is cleared by
//! omission. Typed Rust structs would hide that, and JSON schemas lack every deprecated field.
//!
//! A block is `Kind since`, then indented `path: name:type, …` lines (`.` is the document itself). Type codes:
//! `s` text, `i` integer, `u8` … `u64` unsigned ones, `b` boolean, `dur`, `url`, `pem{…}` base64 of PEM, `b64`, `args`, `cel`, `bytes`, `obj`,
//! `U` free-form, `[x]` list, `{x}` map; `enum` (with its words where they are known: `enum|a|b~12|c~9-11`, zero first; 1.12 brought the second and lost the third), `table`, `addr`, `prefix`, `addrport`, `mac`, `port`, `mode`, `size`, `disksize`,
//! `sizematch` are texts that have to parse. Suffixes: `?` Go pointer, `*` always written, `^` so until 1.13, `(R)` merging replaces,
//! `(K:key)` elements merge by that key, `(K=key)` elements are replaced by that key, `(Z:a+b)` zero when these fields
//! are, `[obj?]` a list of pointers, `@1.N` first version, `!` a bare (not nullable) network type, which differs nowhere here.

mod read;

use std::sync::LazyLock;

/// The value side of a field.
#[derive(Debug)]
pub(super) enum Type {
    Text(Text),
    Int,
    /// An integer of so many bits that is never negative.
    Uint(u32),
    Bool,
    Duration,
    Url,
    /// Base64 of PEM, with these halves always written.
    Pem(&'static [&'static str]),
    /// Command-line arguments: text, or from 1.13.6 list of texts.
    Args,
    /// A CEL expression: absent on the right clears the left.
    Cel,
    /// A human size: as `Cel` in merging.
    Bytes,
    Free,
    Struct(Struct),
    List(Box<Type>),
    Map(Box<Type>),
}

/// What a text has to be to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Any,
    Addr,
    AddrPort,
    Base64,
    /// A size that is written as a number of bytes, or rounded where that loses nothing.
    DiskSize,
    /// One of these words, in any case, the zero one first; `=Word` is a zero that is written, but cannot be read.
    /// `word~12` is known from Talos 1.12 on. Without words Talos has a list that this table does not know.
    Enum(&'static str),
    Mac,
    Mode,
    Port,
    Prefix,
    Size,
    SizeMatch,
    /// A routing table: a number from 1 to 252, or a name.
    Table,
}

/// Fields in the order in which Go writes them.
#[derive(Debug, Default)]
pub(super) struct Struct {
    pub(super) fields: Vec<Field>,
    /// As an element of a list it is a Go pointer: a null is kept, where it is left out otherwise.
    pub(super) nullable: bool,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Type,
    /// A Go pointer: absent and zero differ.
    pub(super) pointer: bool,
    /// Written even when zero.
    pub(super) always: bool,
    /// Written even when zero by Talos 1.13 and earlier.
    pub(super) once_always: bool,
    /// The fields that say whether the struct is zero, joined by `+`, where not all of them do.
    pub(super) zero_by: &'static str,
    /// How merging treats what is on both sides.
    pub(super) merge: Merge,
    /// First Talos minor that knows it; 9 stands for "1.9 or earlier".
    pub(super) since: u32,
}

/// What merging does with a field beyond what its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    ByType,
    /// The right takes the place of the left.
    Replace,
    /// Elements of a list with the same value under this key merge; others append.
    Keyed(&'static str),
    /// Elements of a list with the same value under this key take each other's place; others append.
    KeyedReplace(&'static str),
}

impl Struct {
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// One kind of document.
#[derive(Debug)]
pub(super) struct Kind {
    /// Empty for the v1alpha1 document, which names no kind.
    pub(super) name: &'static str,
    pub(super) since: u32,
    pub(super) root: Struct,
}

impl Kind {
    /// Named kinds may occur more than once; the name is part of their identity.
    pub(super) fn is_named(&self) -> bool {
        !self.name.is_empty() && self.root.field("name").is_some()
    }
}

static V1ALPHA1: LazyLock<Kind> = LazyLock::new(|| {
    let kind = read::table(include_str!("v1alpha1.fields")).pop().expect("the file has one block");
    Kind { name: "", ..kind }
});

static DOCUMENTS: LazyLock<Vec<Kind>> = LazyLock::new(|| read::table(include_str!("documents.fields")));

/// The kind called `name`; the empty name is v1alpha1.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    if name.is_empty() {
        return Some(&V1ALPHA1);
    }
    DOCUMENTS.iter().find(|kind| kind.name == name)
}

static LEFTOVER: Kind = Kind { name: "$patch: delete", since: 9, root: Struct { fields: Vec::new(), nullable: false } };

/// What stands for a kind where a deletion was left over.
pub(super) fn leftover() -> &'static Kind {
    &LEFTOVER
}

/// Every kind, v1alpha1 first.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static Kind> {
    std::iter::once(&*V1ALPHA1).chain(DOCUMENTS.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(root: &Struct) -> usize {
        root.fields.iter().map(|field| 1 + inner(&field.kind)).sum()
    }

    fn inner(kind: &Type) -> usize {
        match kind {
            Type::Struct(root) => count(root),
            Type::List(item) | Type::Map(item) => inner(item),
            _ => 0,
        }
    }

    #[test]
    fn the_tables_read_whole() {
        assert_eq!(DOCUMENTS.len(), 89, "a kind was lost");
        assert_eq!(count(&V1ALPHA1.root), 387, "Talos 1.14 has 387 v1alpha1 paths");
        let install = V1ALPHA1.root.field("machine").expect("machine");
        let Type::Struct(machine) = &install.kind else { panic!("machine is a struct") };
        assert!(install.pointer && install.always);
        let Type::Struct(install) = &machine.field("install").expect("install").kind else { panic!("struct") };
        assert_eq!(install.field("grubUseUKICmdline").expect("field").since, 12);
    }
}
