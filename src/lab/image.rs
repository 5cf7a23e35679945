//! What a lab image file is: a header that says what a real one would be, then zeroes.
//!
//! The factory face writes these bytes, they travel by download or upload like
//! any image, and a machine that boots a medium reads them back. Nothing else
//! tells the machine what it is booting.

use serde::{Deserialize, Serialize};

/// The identity of a Talos boot asset or of an installation on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// With the leading `v`.
    pub version: String,
    /// `metal`, `nocloud`, …
    pub platform: String,
    pub arch: String,
    pub secureboot: bool,
    /// The schematic's id, 64 hex digits.
    pub schematic: String,
    /// Official extensions of the schematic, such as `siderolabs/qemu-guest-agent`.
    pub extensions: Vec<String>,
    pub kernel_args: Vec<String>,
}

const MAGIC: &str = "talos-lab-image ";

/// Real ones are some 100 to 300 MB; nothing is proven by moving zeroes.
pub const SIZE: usize = 256 * 1024;

impl Image {
    /// The file, [`SIZE`] bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = serde_json::to_string(self).expect("strings and booleans serialise");
        let mut bytes = format!("{MAGIC}{header}\n").into_bytes();
        bytes.resize(SIZE, 0);
        bytes
    }

    /// Reads the header back from the first bytes of a file; `None` for anything that is no lab image.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        let header = line.strip_prefix(MAGIC.as_bytes())?;
        serde_json::from_slice(header).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_what_it_is() {
        let image = Image {
            version: "v1.12.4".into(),
            platform: "nocloud".into(),
            arch: "amd64".into(),
            secureboot: true,
            schematic: "a7".into(),
            extensions: vec!["siderolabs/qemu-guest-agent".into()],
            kernel_args: vec![],
        };
        assert_eq!(Image::parse(&image.to_bytes()), Some(image));
        assert_eq!(Image::parse(&[0; 4096]), None);
    }
}
