//! Where the messages are in what an HTTP/2 server writes, so that one of them can be damaged.

use std::ops::Range;

/// RFC 9113: length (3 bytes), type, flags, stream (4 bytes).
const HEAD: usize = 9;
const DATA: u8 = 0;
/// gRPC: a message begins with one byte of compression and four of length.
const PREFIX: usize = 5;

/// How far a connection has come in its frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head that came so far.
    have: usize,
    /// Bytes of the payload that came so far, and bytes of it that are to come.
    came: usize,
    left: usize,
}

impl Frames {
    /// Goes on by `bytes`; `message` hears of each run of bytes that belong to messages.
    fn walk(&mut self, bytes: &[u8], mut message: impl FnMut(Range<usize>)) {
        let mut at = 0;
        while at < bytes.len() {
            if self.left == 0 {
                self.head[self.have] = bytes[at];
                self.have += 1;
                at += 1;
                if self.have == HEAD {
                    self.have = 0;
                    self.came = 0;
                    self.left =
                        usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
                }
                continue;
            }
            let run = self.left.min(bytes.len() - at);
            let prefix = PREFIX.saturating_sub(self.came).min(run);
            if self.head[3] == DATA && prefix < run {
                message(at + prefix..at + run);
            }
            self.came += run;
            self.left -= run;
            at += run;
        }
    }

    /// `bytes` are about to be written: the same with other messages, if there is any in them.
    pub(super) fn garbled(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut other = bytes.to_vec();
        let mut found = false;
        self.clone().walk(bytes, |run| {
            found = true;
            for byte in &mut other[run] {
                *byte |= 0x80;
            }
        });
        found.then_some(other)
    }

    /// `bytes` were written.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        self.walk(bytes, drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_change_wherever_the_writes_are_cut() {
        let frame = |kind: u8, payload: &[u8]| {
            let length = u8::try_from(payload.len()).unwrap();
            [&[0, 0, length, kind, 0, 0, 0, 0, 1], payload].concat()
        };
        let sent = [frame(4, &[]), frame(1, b"head"), frame(DATA, b"\0\0\0\0\x03abc"), frame(1, b"end")].concat();
        let expected = [frame(4, &[]), frame(1, b"head"), frame(DATA, b"\0\0\0\0\x03\xe1\xe2\xe3"), frame(1, b"end")];
        for cut in 0..sent.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for part in [&sent[..cut], &sent[cut..]] {
                seen.extend(frames.garbled(part).unwrap_or_else(|| part.to_vec()));
                frames.advance(part);
            }
            assert_eq!(seen, expected.concat(), "cut at {cut}");
        }
    }
}
