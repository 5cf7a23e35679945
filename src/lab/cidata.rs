//! What is on a `cidata` drive, which nocloud reads: three files in the root of an ISO image or of a FAT volume.
//!
//! Proxmox's own cloud-init drive never leaves the lab, so it holds the files
//! as one line of JSON behind a magic word, as [`crate::lab::image`] does it for
//! boot images. An ISO that a client made and uploaded is read as Linux reads
//! it, because such clients exist: Omni's provider for Proxmox hands the whole
//! machine configuration over in one.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use hadris_io::Cursor;
use hadris_iso::read::{IsoDirEntry, IsoNamespace, IsoReader, IsoRoot};

use super::vfat;

/// File name to text.
pub type Files = BTreeMap<String, String>;

const MAGIC: &str = "talos-lab-cidata ";
/// Talos 1.13: internal/app/machined/pkg/runtime/v1alpha1/platform/nocloud/metadata.go.
const NAMES: [&str; 3] = ["meta-data", "network-config", "user-data"];
/// Talos looks for exactly these two spellings of the volume's label.
const LABELS: [&[u8]; 2] = [b"cidata", b"CIDATA"];
/// Where the label of the primary volume descriptor is: 32 bytes, filled up with blanks (ECMA-119, 8.4.7).
const LABEL: std::ops::Range<usize> = 0x8028..0x8048;
/// The largest file that is read: what a client can upload is bounded as well, what it says of a length is not.
const MOST: u64 = 16 << 20;

/// The drive that Proxmox writes.
pub fn to_bytes(files: &BTreeMap<&str, String>) -> Vec<u8> {
    format!("{MAGIC}{}\n", serde_json::json!(files)).into_bytes()
}

/// The files of a drive; `None` when it is no `cidata` volume, or is broken.
pub fn parse(bytes: &[u8]) -> Option<Files> {
    if let Some(rest) = bytes.strip_prefix(MAGIC.as_bytes()) {
        return serde_json::from_slice(rest.split(|byte| *byte == b'\n').next()?).ok();
    }
    if let Some(volume) = vfat::read(bytes) {
        return LABELS.contains(&volume.label.as_bytes()).then(|| of_volume(volume)).flatten();
    }
    if !LABELS.contains(&bytes.get(LABEL)?.trim_ascii_end()) {
        return None;
    }
    let mut image = IsoReader::open(Cursor::new(bytes)).ok()?;
    // Linux takes Rock Ridge names when there are some, then Joliet's, then those of ISO 9660 in small letters.
    let roots = [Some(image.primary_root()), image.joliet_root()];
    let mut files = Files::new();
    for root in roots.into_iter().flatten() {
        for entry in entries(&mut image, root) {
            let Some(name) = NAMES.into_iter().find(|name| is_named(&entry, root, name)) else { continue };
            if !files.contains_key(name) {
                files.insert(name.to_owned(), content(&mut image, &entry, name)?);
            }
        }
    }
    Some(files)
}

fn entries(image: &mut IsoReader<Cursor<'_>>, root: IsoRoot) -> Vec<IsoDirEntry> {
    image.open_dir(root).map_while(Result::ok).filter(IsoDirEntry::is_file).collect()
}

fn is_named(entry: &IsoDirEntry, root: IsoRoot, name: &str) -> bool {
    if entry.rrip_name_matches(name) {
        return true;
    }
    let mut buffer = [0; 512];
    let plain = entry.name().decode_into(&mut buffer).unwrap_or_default();
    let plain = plain.split_once(';').map_or(plain, |(plain, _version)| plain).trim_end_matches('.');
    plain == name || root.namespace() == IsoNamespace::Primary && plain.eq_ignore_ascii_case(name)
}

fn content(image: &mut IsoReader<Cursor<'_>>, entry: &IsoDirEntry, name: &str) -> Option<String> {
    let mut file = image.open_file(entry).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len()).ok().filter(|_| file.len() <= MOST)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_chunk(&mut bytes[filled..]).ok()? {
            0 => return None,
            more => filled += more,
        }
    }
    readable(bytes, name)
}

fn of_volume(mut volume: vfat::Volume) -> Option<Files> {
    let mut files = Files::new();
    for name in NAMES {
        if let Some(bytes) = volume.files.remove(name) {
            files.insert(name.to_owned(), readable(bytes, name)?);
        }
    }
    Some(files)
}

/// A file as text. Talos unpacks the machine configuration, and nothing else.
fn readable(bytes: Vec<u8>, name: &str) -> Option<String> {
    if name == "user-data" && bytes.starts_with(&[0x1f, 0x8b]) {
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).take(MOST).read_to_string(&mut text).ok()?;
        return Some(text);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ISO of `tests/fixtures/cidata`, where a README says how it was made.
    fn iso(name: &str) -> Vec<u8> {
        unpacked(&format!("{name}.iso.gz"))
    }

    fn unpacked(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/fixtures/cidata/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = Vec::new();
        MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_iso_is_read_with_the_names_that_linux_sees() {
        for name in ["both", "rock-ridge", "joliet", "xorriso"] {
            let files = parse(&iso(name)).expect(name);
            assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), NAMES, "{name}");
            assert_eq!(files["user-data"], "#cloud-config\nhostname: from-iso\n", "{name}");
            assert_eq!(files["network-config"], "version: 1\n", "{name}");
        }
        // Without an extension a name has no dash: the files are there, and are not those that Talos looks for.
        assert_eq!(parse(&iso("plain")), Some(Files::new()));
        assert_eq!(parse(&iso("packed")).unwrap()["user-data"], "#cloud-config\nhostname: from-iso\n");
    }

    #[test]
    fn a_fat_volume_is_read_as_well() {
        for name in ["fat12", "fat16", "fat32"] {
            let bytes = unpacked(&format!("{name}.img.gz"));
            let files = parse(&bytes).expect(name);
            assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), NAMES, "{name}");
            assert_eq!(files["user-data"], "#cloud-config\nhostname: from-iso\n", "{name}");
            let volume = vfat::read(&bytes).expect(name);
            assert_eq!(volume.files["big.txt"].len(), 9001, "{name}: a file of several clusters");
        }
        let whole = unpacked("fat12.img.gz");
        let mut other = whole.clone();
        let labels: Vec<usize> = (0..other.len() - 6).filter(|at| other[*at..].starts_with(b"cidata")).collect();
        for at in labels {
            other[at..at + 6].copy_from_slice(b"backup");
        }
        assert_eq!(parse(&other), None);
        // A volume that was cut, or whose table leads in circles, has fewer files and ends all the same.
        for cut in (0..whole.len()).step_by(509) {
            drop(parse(&whole[..cut]));
        }
        for at in (0..2048).step_by(3) {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            drop(parse(&broken));
        }
    }

    #[test]
    fn what_is_no_cidata_is_none() {
        assert_eq!(parse(&iso("other-label")), None);
        let whole = iso("both");
        for cut in (0..whole.len()).step_by(509) {
            if let Some(files) = parse(&whole[..cut]) {
                assert!(files.values().all(|text| whole.windows(text.len()).any(|part| part == text.as_bytes())));
            }
        }
        assert_eq!(parse(b"talos-lab-cidata {"), None);
        assert_eq!(parse(&vec![0; 0x9000]), None);
    }
}
