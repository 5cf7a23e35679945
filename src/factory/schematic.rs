//! A schematic: what goes into an image, its canonical text, its id.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde::Deserialize;

use super::emit::{Unsupported, scalar};

/// The text is no schematic.
#[derive(Debug, thiserror::Error)]
#[error("read the schematic: {reason}")]
pub struct SchematicError {
    /// With line and column.
    reason: String,
}

/// What an image is customised with. The factory's own format, read as strictly as the factory reads it.
#[derive(Clone, Debug)]
pub struct Schematic {
    doc: Document,
    /// As it was given: what is sent when the canonical text cannot be written.
    source: Option<String>,
}

// The order of the fields is the order in which the factory writes them (image-factory: pkg/schematic/schematic.go).

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    owner: Option<String>,
    overlay: Option<Overlay>,
    customization: Option<Customization>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Overlay {
    image: Option<String>,
    name: Option<String>,
    options: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Customization {
    embedded_machine_configuration: Option<String>,
    extra_kernel_args: Option<Vec<Option<String>>>,
    meta: Option<Vec<Option<Meta>>>,
    system_extensions: Option<SystemExtensions>,
    bootloader: Option<Bootloader>,
    secureboot: Option<SecureBoot>,
    disk_image: Option<DiskImage>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Meta {
    key: u8,
    value: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct SystemExtensions {
    official_extensions: Option<Vec<Option<String>>>,
}

/// The boot loader that the image is asked to carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootloader {
    /// The factory's own choice.
    #[default]
    None,
    DualBoot,
    SdBoot,
    Grub,
}

impl<'de> Deserialize<'de> for Bootloader {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = [Self::None, Self::DualBoot, Self::SdBoot, Self::Grub];
        known.into_iter().find(|known| known.name().eq_ignore_ascii_case(&text)).ok_or_else(|| {
            // `auto` stands in image-factory's docs/api.md and not in its code.
            serde::de::Error::custom(format!("bootloader {text:?} is none of none, dual-boot, sd-boot, grub"))
        })
    }
}

impl Bootloader {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DualBoot => "dual-boot",
            Self::SdBoot => "sd-boot",
            Self::Grub => "grub",
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct SecureBoot {
    enroll_keys: Option<String>,
    include_well_known_certificates: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct DiskImage {
    sector_size: Option<u32>,
}

impl Schematic {
    /// Reads the first document of `yaml`, as the factory does. Unknown and repeated keys are errors.
    pub fn parse(yaml: &str) -> Result<Self, SchematicError> {
        let options = serde_saphyr::options! {
            strict_booleans: true,
            legacy_octal_numbers: true,
            with_snippet: false,
        };
        let documents: Vec<Option<Document>> = serde_saphyr::from_multiple_with_options(yaml, options)
            .map_err(|error| SchematicError { reason: error.without_snippet().to_string() })?;
        let doc = documents.into_iter().next().flatten().unwrap_or_default();
        Ok(Self { doc, source: Some(yaml.to_owned()) })
    }

    /// A schematic of our own making. Kernel arguments keep their order, which means something to the kernel;
    /// extensions are sorted and made unique, so that one set has one id and one cached image.
    pub fn new(kernel_args: Vec<String>, extensions: Vec<String>) -> Self {
        let mut extensions = extensions;
        extensions.sort();
        extensions.dedup();
        let customization = Customization {
            extra_kernel_args: Some(kernel_args.into_iter().map(Some).collect()),
            system_extensions: Some(SystemExtensions {
                official_extensions: Some(extensions.into_iter().map(Some).collect()),
            }),
            ..Customization::default()
        };
        Self { doc: Document { customization: Some(customization), ..Document::default() }, source: None }
    }

    /// Whether it names an owner, which only Enterprise factories take.
    pub fn has_owner(&self) -> bool {
        self.doc.owner.as_ref().is_some_and(|owner| !owner.is_empty())
    }

    /// The official extensions, in the order of the schematic.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        let customization = self.doc.customization.as_ref();
        let extensions = customization.and_then(|custom| custom.system_extensions.as_ref());
        present(extensions.and_then(|extensions| extensions.official_extensions.as_ref()))
    }

    /// The kernel arguments, in the order of the schematic.
    pub fn kernel_args(&self) -> impl Iterator<Item = &str> {
        present(self.doc.customization.as_ref().and_then(|custom| custom.extra_kernel_args.as_ref()))
    }

    /// Lower-case hexadecimal SHA-256 of [`Self::canonical`]: 64 digits.
    pub fn id(&self) -> Result<String, Unsupported> {
        let text = self.canonical()?;
        Ok(hex::encode(digest::digest(&digest::SHA256, text.as_bytes())))
    }

    /// What is POSTed: the canonical text where it is known, else the text as it was given.
    pub fn body(&self) -> String {
        self.canonical().unwrap_or_else(|_| self.source.clone().unwrap_or_default())
    }

    /// The text whose hash is the id: exactly the bytes that the factory writes.
    pub fn canonical(&self) -> Result<String, Unsupported> {
        let mut out = Writer::default();
        if self.has_owner() {
            return Err(refuse("owner", "an Enterprise factory stamps its own user there"));
        }
        if let Some(overlay) = &self.doc.overlay {
            out.overlay(overlay)?;
        }
        let head = out.text.len();
        out.text.push_str("customization:\n");
        let body = out.text.len();
        if let Some(customization) = &self.doc.customization {
            out.customization(customization)?;
        }
        if out.text.len() == body {
            out.text.truncate(head);
            out.text.push_str("customization: {}\n");
        }
        Ok(out.text)
    }
}

/// Null items of a list vanish, as in the factory.
fn present(list: Option<&Vec<Option<String>>>) -> impl Iterator<Item = &str> {
    list.into_iter().flatten().filter_map(Option::as_deref)
}

fn refuse(field: &str, why: &'static str) -> Unsupported {
    Unsupported { field: field.to_owned(), why }
}

/// Everything empty is left out; what is left stands in the order and at the columns of the factory's own text.
#[derive(Default)]
struct Writer {
    text: String,
}

impl Writer {
    /// `head` and the scalar after it, as one line or with a block whose lines begin at `column`.
    fn line(&mut self, head: &str, value: &str, column: usize, field: &str) -> Result<(), Unsupported> {
        self.text.push_str(head);
        scalar(&mut self.text, value, column).map_err(|why| refuse(field, why))?;
        self.text.push('\n');
        Ok(())
    }

    fn overlay(&mut self, overlay: &Overlay) -> Result<(), Unsupported> {
        if overlay.options.as_ref().is_some_and(|options| !options.is_empty()) {
            return Err(refuse("overlay.options", "its free form was never verified"));
        }
        let (image, name) = (overlay.image.as_deref().unwrap_or(""), overlay.name.as_deref().unwrap_or(""));
        if !image.is_empty() || !name.is_empty() {
            self.text.push_str("overlay:\n");
            self.line("    image: ", image, 8, "overlay.image")?;
            self.line("    name: ", name, 8, "overlay.name")?;
        }
        Ok(())
    }

    fn customization(&mut self, custom: &Customization) -> Result<(), Unsupported> {
        if let Some(config) = custom.embedded_machine_configuration.as_deref().filter(|config| !config.is_empty()) {
            let field = "customization.embeddedMachineConfiguration";
            self.line("    embeddedMachineConfiguration: ", config, 8, field)?;
        }
        let args = present(custom.extra_kernel_args.as_ref());
        self.list("    extraKernelArgs:\n", "        - ", 10, args, "customization.extraKernelArgs")?;
        let meta: Vec<&Meta> = custom.meta.iter().flatten().flatten().collect();
        if !meta.is_empty() {
            self.text.push_str("    meta:\n");
        }
        for (index, Meta { key, value }) in meta.into_iter().enumerate() {
            let _infallible = writeln!(self.text, "        - key: {key}");
            let field = format!("customization.meta[{index}].value");
            self.line("          value: ", value.as_deref().unwrap_or(""), 12, &field)?;
        }
        let official = custom.system_extensions.as_ref().and_then(|extensions| extensions.official_extensions.as_ref());
        let head = "    systemExtensions:\n        officialExtensions:\n";
        let field = "customization.systemExtensions.officialExtensions";
        self.list(head, "            - ", 14, present(official), field)?;
        if let Some(loader) = custom.bootloader.filter(|loader| *loader != Bootloader::None) {
            let _infallible = writeln!(self.text, "    bootloader: {}", loader.name());
        }
        self.secureboot(custom.secureboot.as_ref())?;
        if let Some(size) = custom.disk_image.as_ref().and_then(|disk| disk.sector_size).filter(|size| *size != 0) {
            let _infallible = write!(self.text, "    diskImage:\n        sectorSize: {size}\n");
        }
        Ok(())
    }

    fn secureboot(&mut self, secureboot: Option<&SecureBoot>) -> Result<(), Unsupported> {
        let Some(secureboot) = secureboot else { return Ok(()) };
        let keys = secureboot.enroll_keys.as_deref().filter(|keys| !keys.is_empty());
        let known = secureboot.include_well_known_certificates.unwrap_or(false);
        if keys.is_some() || known {
            self.text.push_str("    secureboot:\n");
        }
        if let Some(keys) = keys {
            self.line("        enrollKeys: ", keys, 12, "customization.secureboot.enrollKeys")?;
        }
        if known {
            self.text.push_str("        includeWellKnownCertificates: true\n");
        }
        Ok(())
    }

    fn list<'a>(
        &mut self,
        head: &str,
        item: &str,
        column: usize,
        values: impl Iterator<Item = &'a str>,
        field: &str,
    ) -> Result<(), Unsupported> {
        for (index, value) in values.enumerate() {
            if index == 0 {
                self.text.push_str(head);
            }
            self.line(item, value, column, &format!("{field}[{index}]"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
