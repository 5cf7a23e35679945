//! What a person wrote beside a node: its anchor, and comments. No configuration keeps them, but where Talos shows a
//! part of a patch that it does not know, it shows them, too.

/// Each as it stands there, comments from their `#` to the end of the line.
#[derive(Clone, Debug, Default)]
pub(in crate::machineconfig) struct Notes {
    pub(in crate::machineconfig) anchor: Option<Box<str>>,
    /// Lines of their own above the key, or above an item of a list.
    pub(in crate::machineconfig) above: Vec<Box<str>>,
    /// Behind the colon of a key whose value begins on the next line.
    pub(in crate::machineconfig) behind_key: Option<Box<str>>,
    pub(in crate::machineconfig) behind: Option<Box<str>>,
}

impl Notes {
    /// Nothing is kept of nothing: nearly every node has none.
    pub(super) fn kept(self) -> Option<Box<Self>> {
        let none = self.anchor.is_none() && self.above.is_empty() && self.behind_key.is_none() && self.behind.is_none();
        (!none).then(|| Box::new(self))
    }
}

/// The comment in the rest of a line.
pub(super) fn behind(source: &str, at: usize) -> Option<Box<str>> {
    let rest = source.get(at..)?.lines().next()?;
    let comment = rest.trim_start();
    (comment.starts_with('#') && comment.len() < rest.len()).then(|| comment.trim_end().into())
}

/// The comment behind the colon of a key that ends at `at`.
pub(super) fn behind_key(source: &str, at: usize) -> Option<Box<str>> {
    let blanks = source.get(at..)?.bytes().take_while(|byte| *byte == b' ').count();
    source.get(at + blanks..)?.starts_with(':').then(|| behind(source, at + blanks + 1)).flatten()
}

/// The comment behind the `|` or `>` in the rest of the line at `from`.
pub(super) fn behind_block(source: &str, from: usize) -> Option<Box<str>> {
    let sign = from + source.get(from..)?.lines().next()?.find(['|', '>'])?;
    let marks = source.get(sign..)?.bytes().take_while(|byte| b"|>+-0123456789".contains(byte)).count();
    behind(source, sign + marks)
}

/// The comment that ends right above the line of what begins at `at`, with nothing but comments since `from`.
pub(super) fn above(source: &str, from: usize, at: usize) -> Vec<Box<str>> {
    let gap = source.get(from..at).unwrap_or_default();
    // What is left of the line before is not above anything, and neither is the blank in front of this.
    let mut lines: Vec<&str> = gap.split('\n').skip(usize::from(from > 0)).collect();
    lines.pop();
    let comments = lines.iter().rev().map(|line| line.trim()).take_while(|line| line.starts_with('#'));
    let mut comments: Vec<Box<str>> = comments.map(Into::into).collect();
    comments.reverse();
    comments
}
