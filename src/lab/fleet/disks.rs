//! What survives a power cut: disks and variable stores, by volume id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::applied::Applied;
use super::cluster::EtcdId;
use super::upgrade::Renewal;
use crate::lab::cidata;
use crate::lab::hardware::{Hardware, Medium};
use crate::lab::image::Image;

/// What is on a disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// What was installed.
    pub image: Option<Image>,
    /// What was written to it from outside, if that is a `cidata` volume.
    pub cidata: Option<Arc<[u8]>>,
    /// What was installed before that, and is still there.
    pub previous: Option<Image>,
    /// What the next boot is to replace it by.
    pub staged: Option<Renewal>,
    /// The configuration in the STATE partition.
    pub config: Option<Arc<Applied>>,
    /// The keys of the META partition.
    pub meta: BTreeMap<u8, Vec<u8>>,
    /// Whose etcd data lies in EPHEMERAL, and under which member id.
    pub etcd: Option<(EtcdId, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Disks {
    written: BTreeMap<String, Disk>,
    /// Variable stores that hold Talos's keys.
    enrolled: BTreeSet<String>,
}

impl Disks {
    pub(super) fn get(&self, volid: &str) -> Option<&Disk> {
        self.written.get(volid)
    }

    pub(super) fn write(&mut self, volid: &str) -> &mut Disk {
        self.written.entry(volid.to_owned()).or_default()
    }

    pub(super) fn erase(&mut self, volid: &str) {
        self.written.remove(volid);
        self.enrolled.remove(volid);
    }

    /// The volume has another name now.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(disk) = self.written.remove(from) {
            self.written.insert(to.to_owned(), disk);
        }
        if self.enrolled.remove(from) {
            self.enrolled.insert(to.to_owned());
        }
    }

    pub(super) fn imprint(&mut self, volid: &str, head: &[u8]) {
        self.erase(volid);
        if let Some(image) = Image::parse(head) {
            self.write(volid).image = Some(image);
        } else if cidata::parse(head).is_some() {
            self.write(volid).cidata = Some(head.into());
        }
    }

    pub(super) fn installed(&self, volid: &str) -> Option<&Image> {
        self.written.get(volid)?.image.as_ref()
    }

    pub(super) fn enrol(&mut self, store: &str) {
        self.enrolled.insert(store.to_owned());
    }

    pub(super) fn is_enrolled(&self, store: &str) -> bool {
        self.enrolled.contains(store)
    }
}

/// A disk as Linux names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// `sda`.
    pub name: String,
    pub volid: &'a str,
    pub bytes: u64,
    pub serial: Option<&'a str>,
    /// virtio-blk, which has names and no models of its own.
    pub virtio_blk: bool,
}

/// The disks of a VM in the order in which Linux finds them: `sda…` for scsi, sata and ide, `vda…` for virtio.
pub fn devices(hardware: &Hardware) -> Vec<Device<'_>> {
    let mut found = Vec::new();
    for (buses, prefix) in [(&["scsi", "sata", "ide"][..], "sd"), (&["virtio"][..], "vd")] {
        let mut letters = b'a'..=b'z';
        for bus in buses {
            for drive in hardware.drives.iter().filter(|drive| drive.device.starts_with(bus)) {
                let Medium::Disk { volid, bytes, serial } = &drive.medium else { continue };
                let Some(letter) = letters.next() else { continue };
                found.push(Device {
                    name: format!("{prefix}{}", char::from(letter)),
                    volid,
                    bytes: *bytes,
                    serial: serial.as_deref(),
                    virtio_blk: prefix == "vd",
                });
            }
        }
    }
    found
}
