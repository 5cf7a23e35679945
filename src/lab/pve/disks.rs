//! Turning requested drives into volumes, and requested options into stored ones.

use std::collections::BTreeSet;

use super::drive::{self, Source};
use super::incident::lock_timeout;
use super::property::Properties;
use super::release::Release;
use super::schema::Schema;
use super::size;
use super::verify::Params;
use super::volume::{self, Volumes, Wanted};
use crate::lab::image::Image;
use crate::lab::site::Site;

/// The firmware's variable store for efitype 4m, and TPM state.
const EFI_VARS: u64 = 540_672;
/// The same for efitype 2m.
const OLD_EFI_VARS: u64 = 131_072;
const TPM_STATE: u64 = 4 << 20;
const CLOUD_INIT: u64 = 4 << 20;

/// Where disks are made.
pub(super) struct Workshop<'a> {
    pub site: &'a Site,
    pub volumes: &'a mut Volumes,
    /// Storages whose lock somebody else holds.
    pub locked: &'a BTreeSet<String>,
    pub schema: &'static Schema,
    pub nine: bool,
    pub node: &'a str,
    pub vmid: u32,
    pub now: i64,
    /// Lines for the task's log.
    pub log: Vec<String>,
    /// What the VM has already, pending changes included.
    pub present: Params,
    /// New disks are bases for others.
    pub template: bool,
    /// Volumes that this job made: to be freed if it fails.
    pub made: Vec<String>,
    /// Volumes that hold an image, with its beginning.
    pub imprints: Vec<(String, Vec<u8>)>,
}

impl<'a> Workshop<'a> {
    /// A workshop for the VM of a node: `(node, vmid)`.
    pub(super) fn new(
        site: &'a Site,
        volumes: &'a mut Volumes,
        locked: &'a BTreeSet<String>,
        release: Release,
        (node, vmid): (&'a str, u32),
        now: i64,
    ) -> Self {
        let (schema, nine) = (release.schema(), release.nine());
        let (log, made, imprints) = (Vec::new(), Vec::new(), Vec::new());
        let (present, template) = (Params::new(), false);
        Self { site, volumes, locked, schema, nine, node, vmid, now, log, present, template, made, imprints }
    }

    /// Makes or looks up the volume of every drive in `params`; the result is the stored text by drive.
    pub(super) fn drives(&mut self, params: &Params) -> Result<Params, String> {
        let mut stored = Params::new();
        for (option, text) in params.iter().filter(|(option, _)| drive::is_name(option)) {
            let Some(drive) = drive::parse(self.schema, option, text) else { continue };
            let text = self.drive(option, drive)?;
            self.present.insert(option.clone(), text.clone());
            stored.insert(option.clone(), text);
        }
        Ok(stored)
    }

    fn drive(&mut self, option: &str, mut drive: Properties) -> Result<String, String> {
        let file = drive.get("file").cloned().unwrap_or_default();
        match drive::source(&file) {
            Source::New { storage, gib } => self.new_disk(option, &mut drive, storage, gib)?,
            Source::CloudInit { storage } => {
                self.only_cloudinit(option)?;
                if drive::members(self.schema, option).is_some_and(|members| !members.contains_key("media")) {
                    let unknown =
                        "property is not defined in schema and the schema does not allow additional properties";
                    return Err(format!("unable to parse value of '{option}' - format error\nmedia: {unknown}\n"));
                }
                let format = drive.remove("format");
                let volid = self.allocate(storage, format.as_deref(), CLOUD_INIT, true)?;
                drive.insert("file".into(), volid);
                drive.insert("media".into(), "cdrom".into());
            }
            Source::Volume(volid) => {
                let storage = volid.split(':').next().unwrap_or_default();
                let told = volume::image_format(volid).filter(|_| !drive::is_cdrom(&drive));
                if let (Some(asked), Some(told)) = (drive.get("format"), told)
                    && asked != told
                {
                    let differs = format!("'format={asked}' option different from storage format '{told}'");
                    return Err(format!("drive '{option}' - volume '{volid}' - {differs}"));
                }
                if drive::is_cloudinit(volid) {
                    self.only_cloudinit(option)?;
                }
                volume::usable(self.site, self.node, storage)?;
                let place = volume::place(self.site, self.node, volid);
                let found = place.and_then(|place| self.volumes.get(&place));
                let found = found.ok_or_else(|| format!("volume '{volid}' does not exist"))?;
                if !drive::is_cloudinit(volid) {
                    drive.insert("size".into(), size::print(found.bytes));
                }
                return Ok(drive::print(self.schema, option, &drive));
            }
            Source::Path => return Err(format!("volume {file} does not exist")),
            Source::Nothing | Source::Physical => {
                drive.remove("size");
                return Ok(drive::print(self.schema, option, &drive));
            }
        }
        let text = drive::print(self.schema, option, &drive);
        self.log.push(format!("{option}: successfully created disk '{text}'"));
        Ok(text)
    }

    fn new_disk(&mut self, option: &str, drive: &mut Properties, storage: &str, gib: &str) -> Result<(), String> {
        let format = drive.remove("format");
        let (volid, bytes) = if let Some(from) = drive.remove("import-from") {
            self.import(storage, format.as_deref(), &from)?
        } else {
            let bytes = match option {
                "efidisk0" if drive.get("efitype").is_none_or(|kind| kind == "2m") => OLD_EFI_VARS,
                "efidisk0" => EFI_VARS,
                "tpmstate0" => TPM_STATE,
                // In whole KiB: what is left over is rounded up.
                _ => size::scaled(gib, 1 << 30)
                    .and_then(|bytes| bytes.checked_next_multiple_of(1024))
                    .ok_or_else(|| format!("unable to parse size '{gib}'"))?,
            };
            let volid = self.allocate(storage, format.as_deref(), bytes, false)?;
            let volid = if self.template { self.as_base(&volid) } else { volid };
            if option == "efidisk0" {
                self.transferred(bytes);
                if self.nine && drive.get("pre-enrolled-keys").is_some_and(|keys| keys == "1") {
                    drive.entry("ms-cert".into()).or_insert_with(|| "2023k".into());
                }
            }
            (volid, bytes)
        };
        drive.insert("file".into(), volid);
        drive.insert("size".into(), size::print(bytes));
        Ok(())
    }

    /// A VM has one cloud-init image at most.
    fn only_cloudinit(&self, option: &str) -> Result<(), String> {
        let schema = self.schema;
        let there = |(other, text): (&String, &String)| {
            other != option && drive::parse(schema, other, text).is_some_and(|drive| drive::holds_cloudinit(&drive))
        };
        match self.present.iter().find(|found| there(*found)) {
            Some((other, _)) => Err(format!("{option} - cloud-init drive is already attached at '{other}'")),
            None => Ok(()),
        }
    }

    /// The new volume under the name of one that others stand on.
    fn as_base(&mut self, volid: &str) -> String {
        let base = volid.replace(&format!("vm-{}-disk", self.vmid), &format!("base-{}-disk", self.vmid));
        let at = |volid: &str| volume::place(self.site, self.node, volid);
        if let (Some(from), Some(to)) = (at(volid), at(&base))
            && let Some(found) = self.volumes.remove(&from)
        {
            self.volumes.insert(to, found);
        }
        self.made.retain(|known| known != volid);
        self.made.push(base.clone());
        base
    }

    /// `import-from`: a full copy with the source's size, in the source's format unless another is asked for.
    fn import(&mut self, storage: &str, format: Option<&str>, from: &str) -> Result<(String, u64), String> {
        let place = volume::place(self.site, self.node, from);
        let source = place.as_ref().and_then(|place| self.volumes.get(place));
        let of_vm = source.is_some_and(|source| source.content == "images");
        self.copy(if of_vm { " scsi0" } else { "" }, from, storage, format)
    }

    /// A full copy of `from` with its size. `label` stands before its name in the log.
    pub(super) fn copy(
        &mut self,
        label: &str,
        from: &str,
        storage: &str,
        format: Option<&str>,
    ) -> Result<(String, u64), String> {
        let place = volume::place(self.site, self.node, from);
        let source = place.as_ref().and_then(|place| self.volumes.get(place)).cloned();
        let source = source.ok_or_else(|| format!("volume '{from}' does not exist"))?;
        let bytes = if source.format == "qcow2" && source.content == "import" {
            match qcow2_size(&source.data) {
                Some(bytes) => bytes,
                None => return Err(self.not_qcow2(from)),
            }
        } else {
            source.bytes
        };
        self.log.push(format!("create full clone of drive{label} ({from})"));
        let definition = volume::usable(self.site, self.node, storage)?;
        let same = volume::is_file_based(definition).then_some(source.format.as_str());
        let volid = self.allocate(storage, format.or(same), bytes, drive::is_cloudinit(from))?;
        if self.nine {
            self.log.push(format!("allocated target volume '{volid}'"));
        }
        self.transferred(bytes);
        self.imprint(&volid, source.data);
        Ok((volid, bytes))
    }

    /// A disk that stands on the base volume `base`.
    pub(super) fn link(&mut self, option: &str, base: &str) -> Result<(String, u64), String> {
        let place =
            volume::place(self.site, self.node, base).ok_or_else(|| format!("volume '{base}' does not exist"))?;
        let source = self.volumes.get(&place).cloned().ok_or_else(|| format!("volume '{base}' does not exist"))?;
        self.log.push(format!("create linked clone of drive {option} ({base})"));
        let file = volume::is_file_based(volume::usable(self.site, self.node, &place.storage)?);
        let format = if file { "qcow2" } else { "raw" };
        let plain = self.allocate(&place.storage, Some(format), source.bytes, false)?;
        let Some(made) = volume::place(self.site, self.node, &plain) else { return Ok((plain, source.bytes)) };
        let mut found = self.volumes.remove(&made).ok_or_else(|| format!("volume '{plain}' does not exist"))?;
        found.parent = Some(place.name.clone());
        let name = volume::linked_name(self.site, &place, &made.name);
        let volid = format!("{}:{name}", place.storage);
        self.volumes.insert(volume::Place { name, ..made }, found);
        self.made.retain(|known| *known != plain);
        self.made.push(volid.clone());
        self.imprint(&volid, source.data);
        Ok((volid, source.bytes))
    }

    /// What the copied disk holds, the copy holds.
    fn imprint(&mut self, volid: &str, data: bytes::Bytes) {
        if let Some(copy) = volume::place(self.site, self.node, volid).and_then(|place| self.volumes.get_mut(&place)) {
            let head = data[..data.len().min(4096)].to_vec();
            copy.data = data;
            self.imprints.push((volid.to_owned(), head));
        }
    }

    fn not_qcow2(&mut self, volid: &str) -> String {
        let (storage, name) = volid.split_once(':').unwrap_or_default();
        let path = self.site.storages.get(storage).map_or_else(String::new, |storage| volume::path(storage, name));
        self.log.push(format!("command '/usr/bin/qemu-img info '--output=json' {path} -f qcow2' failed: exit code 1"));
        format!("qemu-img: Could not open '{path}': Image is not in qcow2 format")
    }

    fn allocate(&mut self, storage: &str, format: Option<&str>, bytes: u64, cloudinit: bool) -> Result<String, String> {
        if self.locked.contains(storage) {
            let shared = self.site.storages.get(storage).is_some_and(|known| known.shared);
            return Err(lock_timeout(storage, shared));
        }
        let wanted = Wanted { vmid: self.vmid, storage, format, bytes, cloudinit };
        let (volid, line) = volume::allocate(self.site, self.volumes, self.node, &wanted, self.now)?;
        self.log.push(line);
        self.made.push(volid.clone());
        Ok(volid)
    }

    /// The image tool's own progress, which ends with everything.
    fn transferred(&mut self, bytes: u64) {
        let all = human(bytes);
        self.log.push(format!("transferred 0.0 B of {all} (0.00%)"));
        self.log.push(format!("transferred {all} of {all} (100.00%)"));
        self.log.push(format!("transferred {all} of {all} (100.00%)"));
    }

    /// Frees what this job made.
    pub(super) fn undo(&mut self) {
        for volid in std::mem::take(&mut self.made) {
            if let Some(place) = volume::place(self.site, self.node, &volid) {
                self.volumes.remove(&place);
            }
        }
    }
}

fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let step = (0..units.len()).rev().find(|step| bytes >> (10 * step) > 0).unwrap_or(0);
    let tenths = u128::from(bytes) * 10 / (1_u128 << (10 * step));
    format!("{}.{} {}", tenths / 10, tenths % 10, units[step])
}

/// The smallest disk that Talos makes its images for (Talos 1.13: pkg/imager/profile).
const TALOS_DISK: u64 = 1246 << 20;

/// The size of the disk in a lab image, which stands for an image of any format.
pub(super) fn lab_image_size(data: &[u8]) -> Option<u64> {
    Image::parse(data).map(|_| TALOS_DISK)
}

/// The virtual size in the header of a qcow2 image; `None` when it is none.
pub(super) fn qcow2_size(head: &[u8]) -> Option<u64> {
    if let Some(size) = lab_image_size(head) {
        return Some(size);
    }
    let size = head.get(24..32)?.try_into().ok()?;
    head.starts_with(b"QFI\xfb").then(|| u64::from_be_bytes(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_progress_lines_are_rounded_down_to_tenths() {
        assert_eq!((human(540_672), human(1 << 30), human(0)), ("528.0 KiB".into(), "1.0 GiB".into(), "0.0 B".into()));
    }
}
