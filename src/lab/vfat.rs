//! The root directory of a FAT volume: what nocloud needs of one that is labelled `cidata`.
//!
//! FAT12, FAT16 and FAT32 with long names, as Microsoft's FAT specification (1.03) has them. Read by hand,
//! because the crates for it write as well, want a seekable device, and are no
//! longer kept. A broken volume has no files; it is never more than what it was given.

use std::collections::BTreeMap;

/// A volume's label and the files of its root, by the names that Linux shows.
pub(super) struct Volume {
    pub(super) label: String,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

const DIRECTORY: u8 = 0x10;
const LABEL: u8 = 0x08;
const LONG: u8 = 0x0f;
const ENTRY: usize = 32;

struct Fat<'a> {
    bytes: &'a [u8],
    cluster: usize,
    /// Where the table begins, and where the data of cluster 2.
    table: usize,
    data: usize,
    /// Bits of a table entry: 12, 16 or 32.
    width: usize,
    clusters: usize,
}

/// The volume in `bytes`; `None` if it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Volume> {
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let word = |at: usize| usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok();
    if bytes.get(510..512)? != [0x55, 0xaa] || !matches!(bytes[0], 0xeb | 0xe9) {
        return None;
    }
    let sector = half(11).filter(|sector| matches!(sector, 512 | 1024 | 2048 | 4096))?;
    let per_cluster = usize::from(bytes[13]);
    if !per_cluster.is_power_of_two() || bytes[16] == 0 {
        return None;
    }
    let or = |short: usize, long: usize| if short == 0 { long } else { short };
    let (reserved, entries) = (half(14)?, half(17)?);
    let table_size = or(half(22)?, word(36)?);
    let root = reserved + usize::from(bytes[16]).checked_mul(table_size)?;
    let data = root + (entries * ENTRY).div_ceil(sector);
    let clusters = or(half(19)?, word(32)?).checked_sub(data)? / per_cluster;
    let width = match clusters {
        0..4085 => 12,
        4085..65525 => 16,
        _ => 32,
    };
    let fat = Fat {
        bytes,
        cluster: per_cluster * sector,
        table: reserved * sector,
        data: data.checked_mul(sector)?,
        width,
        clusters,
    };
    let list = if width == 32 {
        fat.chain(word(44)?, usize::MAX)?
    } else {
        bytes.get(root * sector..root * sector + entries * ENTRY)?.to_vec()
    };
    let own = bytes.get(if width == 32 { 71..82 } else { 43..54 })?;
    let mut volume = Volume { label: text(own), files: BTreeMap::new() };
    fat.entries(&list, &mut volume);
    Some(volume)
}

/// Blanks fill a name up.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

impl Fat<'_> {
    /// The cluster that follows, if one does.
    fn next(&self, cluster: usize) -> Option<usize> {
        let at = self.table + cluster * self.width / 8;
        let raw = |size: usize| {
            let bytes = self.bytes.get(at..at + size)?;
            Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
        };
        let next = match self.width {
            12 if cluster % 2 == 1 => raw(2)? >> 4,
            12 => raw(2)? & 0xfff,
            16 => raw(2)?,
            _ => raw(4)? & 0x0fff_ffff,
        };
        (2..self.clusters + 2).contains(&next).then_some(next)
    }

    /// What a chain of clusters holds, at most `size` bytes of it.
    fn chain(&self, first: usize, size: usize) -> Option<Vec<u8>> {
        let mut found = Vec::new();
        let mut cluster = Some(first).filter(|first| (2..self.clusters + 2).contains(first));
        // No chain is longer than there are clusters: one that is runs in a circle.
        for _ in 0..self.clusters {
            let Some(at) = cluster.filter(|_| found.len() < size) else { break };
            let start = self.data + (at - 2) * self.cluster;
            found.extend_from_slice(self.bytes.get(start..start + self.cluster)?);
            cluster = self.next(at);
        }
        found.truncate(size);
        Some(found)
    }

    fn entries(&self, list: &[u8], volume: &mut Volume) {
        let mut long: Vec<u16> = Vec::new();
        for entry in list.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
            let (kind, gone) = (entry[11], entry[0] == 0xe5);
            if kind == LONG && !gone {
                // The pieces of a name stand in front of it, the last one first.
                let pieces = [&entry[1..11], &entry[14..26], &entry[28..32]].concat();
                let units = pieces.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                long.splice(0..0, units.take_while(|unit| !matches!(unit, 0 | 0xffff)));
                continue;
            }
            let name = std::mem::take(&mut long);
            if gone || kind & DIRECTORY != 0 {
                continue;
            }
            if kind & LABEL != 0 {
                volume.label = text(&entry[..11]);
                continue;
            }
            let half = |at: usize| usize::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
            let size = half(28) | half(30) << 16;
            let name = if name.is_empty() { short(entry) } else { String::from_utf16_lossy(&name) };
            let Some(content) = self.chain(half(26) | half(20) << 16, size) else { continue };
            if content.len() == size {
                volume.files.insert(name, content);
            }
        }
    }
}

/// Eight letters and three, which Linux shows in small ones.
fn short(entry: &[u8]) -> String {
    let (base, ending) = (text(&entry[..8]), text(&entry[8..11]));
    if ending.is_empty() { base.to_lowercase() } else { format!("{base}.{ending}").to_lowercase() }
}
