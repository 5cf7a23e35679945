//! Turning requested drives into volumes, and requested options into stored ones.

use std::collections::BTreeSet;

use base64::Engine as _;

use super::answer::Failure;
use super::drive::{self, Source};
use super::incident::lock_timeout;
use super::property::{self, Properties};
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

/// `cdrom` is another name for `ide2`.
pub(super) fn resolve_cdrom(params: &mut Params) {
    if let Some(text) = params.remove("cdrom").filter(|text| !text.is_empty()) {
        let media = if text.contains("media=") { "" } else { ",media=cdrom" };
        params.insert("ide2".into(), text + media);
    }
}

/// What is looked at, and put right, before anything else.
pub(super) fn prepare(params: &mut Params) -> Result<(), Failure> {
    if let Some(keys) = params.get("sshkeys") {
        let keys = percent_encoding::percent_decode_str(keys).decode_utf8_lossy();
        let mut lines = keys.split('\n').filter(|line| !line.trim().is_empty());
        if !lines.all(is_public_key) {
            return Err(Failure::die("SSH public key validation error"));
        }
    }
    if let Some(units) = params.get_mut("cpuunits")
        && units.parse::<u64>().is_ok_and(|units| units > 10_000)
    {
        // pve-common 9.1: src/PVE/CGroup.pm. What version 2 of control groups cannot take is cut.
        "10000".clone_into(units);
    }
    Ok(())
}

/// A line of `authorized_keys`: a kind, and the key whose first word is that kind.
fn is_public_key(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("ssh-") && !word.contains("-sha2-"));
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return false };
    let Ok(key) = base64::prelude::BASE64_STANDARD.decode(key) else { return false };
    key.get(4..).is_some_and(|rest| rest.len() > kind.len() && rest.starts_with(kind.as_bytes()))
}

/// Options in their stored form: cards get a MAC, tags are sorted, descriptions lose their tail.
pub(super) fn canonical(schema: &Schema, option: &str, text: &str) -> String {
    match option {
        "tags" => tags(text),
        "description" => text.trim_end().to_owned(),
        "smbios1" => match drive::members(schema, option) {
            Some(members) => property::split(members, text)
                .map_or_else(|_| text.to_owned(), |properties| property::print(members, &properties)),
            None => text.to_owned(),
        },
        _ if drive::indexed(option, "net") => {
            let Some(members) = drive::members(schema, option) else { return text.to_owned() };
            let Ok(mut net) = property::split(members, text) else { return text.to_owned() };
            net.entry("macaddr".into()).or_insert_with(random_mac);
            property::print(members, &net)
        }
        _ => text.to_owned(),
    }
}

/// Lower-cased, unique and sorted; a blank for none.
fn tags(text: &str) -> String {
    let mut tags: Vec<String> = super::formats::split_list(text).into_iter().map(str::to_lowercase).collect();
    tags.sort();
    tags.dedup();
    if tags.is_empty() { " ".to_owned() } else { tags.join(";") }
}

/// Under Proxmox's own prefix, upper case. Nobody checks that it is unique.
fn random_mac() -> String {
    let bytes = *uuid::Uuid::new_v4().as_bytes();
    format!("BC:24:11:{:02X}:{:02X}:{:02X}", bytes[0], bytes[1], bytes[2])
}

/// The boot order when none was asked for: first disk, first CD-ROM, first card; a blank when there is nothing.
pub(super) fn default_boot(schema: &Schema, config: &Params) -> String {
    let drives = || {
        let all = drive::names().take_while(|name| name != "efidisk0");
        all.filter_map(|name| Some((drive::parse(schema, &name, config.get(&name)?)?, name)))
    };
    let disk = drives().find(|(drive, _)| !drive::is_cdrom(drive)).map(|(_, name)| name);
    let cdrom = drives().find(|(drive, _)| drive::is_cdrom(drive)).map(|(_, name)| name);
    let net = (0..32).map(|index| format!("net{index}")).find(|name| config.contains_key(name));
    let order: Vec<String> = [disk, cdrom, net].into_iter().flatten().collect();
    if order.is_empty() { " ".to_owned() } else { format!("order={}", order.join(";")) }
}

#[cfg(test)]
mod tests {
    use super::super::schema::schema;
    use super::*;

    #[test]
    fn options_are_stored_as_upstream_prints_them() {
        let schema = schema(9);
        for (option, asked, stored) in [
            ("tags", "b;a;A", "a;b"),
            ("tags", "talos cluster-x", "cluster-x;talos"),
            ("tags", "", " "),
            ("smbios1", "serial=YWJj,base64=1", "base64=1,serial=YWJj"),
            (
                "net0",
                "model=virtio,macaddr=BC:24:11:AA:BB:CC,bridge=vmbr0,mtu=1",
                "virtio=BC:24:11:AA:BB:CC,bridge=vmbr0,mtu=1",
            ),
            ("description", "  lead\ntrail  \n\n", "  lead\ntrail"),
            ("agent", "enabled=1", "enabled=1"),
        ] {
            assert_eq!(canonical(schema, option, asked), stored, "{option}");
        }
        let net = canonical(schema, "net1", "e1000,bridge=vmbr0,firewall=on");
        assert!(net.starts_with("e1000=BC:24:11:") && net.ends_with(",bridge=vmbr0,firewall=1"), "{net}");
    }

    #[test]
    fn sizes_in_progress_lines_are_rounded_down_to_tenths() {
        assert_eq!((human(540_672), human(1 << 30), human(0)), ("528.0 KiB".into(), "1.0 GiB".into(), "0.0 B".into()));
    }
}
