//! Every type of resource that a machine knows, read from `kinds.txt`, where the columns are explained.

use std::sync::LazyLock;

/// Some minors, the first and the last one counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Minors {
    since: u32,
    until: u32,
}

/// One type of resource.
#[derive(Debug)]
pub(super) struct Kind {
    /// In full, as `LinkStatuses.net.talos.dev`.
    pub(super) name: &'static str,
    /// Where a client looks that was told no namespace.
    pub(super) namespace: &'static str,
    pub(super) minors: Minors,
    aliases: Vec<(&'static str, Minors)>,
    /// Title and path below the spec.
    columns: Vec<(&'static str, &'static str, Minors)>,
    sensitive: Option<u32>,
    /// It is also found by its singular, its capitals, and what precedes a dot of its name.
    pub(super) automatic: bool,
    /// Its singular, where no rule gives it.
    pub(super) display: Option<&'static str>,
}

/// In the order of their groups.
pub(super) static KINDS: LazyLock<Vec<Kind>> =
    LazyLock::new(|| include_str!("kinds.txt").lines().filter_map(Kind::parse).collect());

impl Minors {
    const ALL: Self = Self { since: 0, until: u32::MAX };

    pub(super) fn has(self, minor: u32) -> bool {
        (self.since..=self.until).contains(&minor)
    }

    /// Takes a word such as `+12` or `-13`, if it is one.
    fn take(&mut self, word: &str) -> bool {
        let number = |sign: char| word.strip_prefix(sign)?.parse().ok();
        match (number('+'), number('-')) {
            (Some(since), _) => self.since = since,
            (_, Some(until)) => self.until = until,
            _ => return false,
        }
        true
    }
}

impl Kind {
    /// Names besides its own, in a minor.
    pub(super) fn aliases(&self, minor: u32) -> impl Iterator<Item = &'static str> {
        self.aliases.iter().filter(move |(_, minors)| minors.has(minor)).map(|(alias, _)| *alias)
    }

    /// Titles and paths, in a minor.
    pub(super) fn columns(&self, minor: u32) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.columns.iter().filter(move |(.., minors)| minors.has(minor)).map(|(title, path, _)| (*title, *path))
    }

    /// Only an administrator may read it.
    pub(super) fn is_sensitive(&self, minor: u32) -> bool {
        self.sensitive.is_some_and(|since| minor >= since)
    }

    fn parse(line: &'static str) -> Option<Self> {
        let mut parts = line.split(" | ");
        let mut words = parts.next()?.split(' ');
        let (name, namespace) = (words.next().filter(|name| name.contains('.'))?, words.next()?);
        let (aliases, columns) = (Vec::new(), Vec::new());
        let mut kind = Self {
            name,
            namespace,
            minors: Minors::ALL,
            aliases,
            columns,
            sensitive: None,
            automatic: true,
            display: None,
        };
        for word in words {
            match word.split_once(['=', '@']).unwrap_or((word, "")) {
                ("sensitive", since) => kind.sensitive = Some(since.parse().unwrap_or(0)),
                ("manual", _) => kind.automatic = false,
                ("display", singular) => kind.display = Some(singular),
                ("alias", all) => kind.aliases = all.split(',').map(alias).collect(),
                _ => {
                    kind.minors.take(word);
                }
            }
        }
        for part in parts {
            let (title, rest) = part.split_once('=')?;
            // A path ends with a brace, and has no other after it.
            let (path, minors) = rest.split_at(rest.rfind('}')? + 1);
            let mut found = Minors::ALL;
            for word in minors.split(' ') {
                found.take(word);
            }
            kind.columns.push((title, path, found));
        }
        Some(kind)
    }
}

/// `module@-13`: in some minors only.
fn alias(text: &'static str) -> (&'static str, Minors) {
    let (name, minors) = text.split_once('@').unwrap_or((text, ""));
    let mut found = Minors::ALL;
    found.take(minors);
    (name, found)
}
