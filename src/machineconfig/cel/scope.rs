//! What names there are: the variables that Talos gives to an expression, by where it stands.

use super::check::Type;

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machineconfig) enum Scope {
    /// `diskSelector.match`.
    Disk,
    /// `volumeSelector.match`.
    Volume,
    /// `selector.match` of a link alias.
    Link,
    /// When out-of-memory handling sets in.
    OomTrigger,
    /// Which control group it takes first; the expression gives a number.
    OomRanking,
}

/// Talos 1.11 – 1.14: api/resource/definitions/block, DiskSpec.
const DISK: &str = "size:u io_size:u sector_size:u readonly:b model:s serial:s modalias:s wwid:s bus_path:s \
                    sub_system:s transport:s rotational:b cdrom:b dev_path:s pretty_size:s secondary_disks:l uuid:s \
                    symlinks:l firmware_version:s";
/// … DiscoveredVolumeSpec.
const VOLUME: &str = "size:u sector_size:u io_size:u name:s uuid:s label:s block_size:u filesystem_block_size:u \
                      probed_size:u partition_uuid:s partition_type:s partition_label:s partition_index:u type:s \
                      device_path:s parent:s dev_path:s parent_dev_path:s pretty_size:s offset:u";
/// … network, LinkStatusSpec. What links of one kind only have is not looked into.
const LINK: &str = "index:u type:i link_index:u flags:u hardware_addr:y broadcast_addr:y mtu:u queue_disc:s \
                    master_index:u operational_state:i kind:s slave_kind:s bus_path:s pciid:s driver:s \
                    driver_version:s firmware_version:s product_id:s vendor_id:s product:s vendor:s link_state:b \
                    speed_megabits:i port:i duplex:i vlan:d bridge_master:d bond_master:d wireguard:d \
                    permanent_addr:y alias:s alt_names:l vrf_master:d veth:d";

const UNITS: [&str; 12] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "kB", "MB", "GB", "TB", "PB", "EB"];
const CLASSES: [&str; 5] = ["Besteffort", "Burstable", "Guaranteed", "Podruntime", "System"];

impl Scope {
    /// What the expression has to give.
    pub(super) fn output(self) -> Type {
        if self == Self::OomRanking { Type::Basic("double") } else { Type::Basic("bool") }
    }

    pub(super) fn name(self, name: &str) -> Option<Type> {
        let basic = |name| Some(Type::Basic(name));
        let name = name.strip_prefix('.').unwrap_or(name);
        let oom = matches!(self, Self::OomTrigger | Self::OomRanking);
        match (self, name) {
            (Self::Disk | Self::Volume, "disk") => basic("talos.resource.definitions.block.DiskSpec"),
            (Self::Disk, "system_disk") => basic("bool"),
            (Self::Volume, "volume") => basic("talos.resource.definitions.block.DiscoveredVolumeSpec"),
            (Self::Link, "link") => basic("talos.resource.definitions.network.LinkStatusSpec"),
            (Self::OomRanking, "path") => basic("string"),
            (Self::OomRanking, "class") => basic("int"),
            (Self::OomRanking, "memory_max" | "memory_current" | "memory_peak") => {
                Some(Type::Of("optional_type", vec![Type::Basic("uint")]))
            }
            (Self::OomTrigger, "time_since_trigger") => basic("google.protobuf.Duration"),
            (Self::OomTrigger, name) if pressure(name) => {
                let by_class = name.contains("qos_");
                let double = Type::Basic("double");
                Some(if by_class { Type::Of("map", vec![Type::Basic("int"), double]) } else { double })
            }
            (_, name) if self != Self::Link && UNITS.contains(&name) => basic("uint"),
            (_, name) if oom && CLASSES.contains(&name) => basic("int"),
            (_, "bool" | "int" | "uint" | "double" | "string" | "bytes" | "list" | "map" | "null_type" | "type") => {
                Some(Type::Of("type", vec![Type::Dyn]))
            }
            _ => None,
        }
    }

    /// The type of a field of one of the objects.
    pub(super) fn field(object: &str, field: &str) -> Option<Type> {
        let fields = match object.rsplit_once('.')?.1 {
            "DiskSpec" => DISK,
            "DiscoveredVolumeSpec" => VOLUME,
            _ => LINK,
        };
        let (_, code) =
            fields.split_whitespace().filter_map(|one| one.split_once(':')).find(|(name, _)| *name == field)?;
        Some(match code {
            "u" => Type::Basic("uint"),
            "i" => Type::Basic("int"),
            "b" => Type::Basic("bool"),
            "s" => Type::Basic("string"),
            "y" => Type::Basic("bytes"),
            "l" => Type::Of("list", vec![Type::Basic("string")]),
            _ => Type::Dyn,
        })
    }

    /// Whether values that may be absent are known here.
    pub(super) fn has_optionals(self) -> bool {
        matches!(self, Self::OomTrigger | Self::OomRanking)
    }

    /// Functions of Talos's own.
    pub(super) fn has_function(self, name: &str) -> bool {
        match name {
            "glob" => matches!(self, Self::Disk | Self::Link),
            "mac" => self == Self::Link,
            "multiply_qos_vectors" => self == Self::OomTrigger,
            _ => false,
        }
    }
}

/// `memory_some_avg10`, `d_qos_memory_full_total`, `qos_memory_peak`.
fn pressure(name: &str) -> bool {
    let name = name.strip_prefix("d_").unwrap_or(name);
    let (by_class, name) = name.strip_prefix("qos_").map_or((false, name), |name| (true, name));
    let Some(what) = name.strip_prefix("memory_") else { return false };
    let gauge = what.strip_prefix("some_").or_else(|| what.strip_prefix("full_"));
    gauge.is_some_and(|gauge| matches!(gauge, "avg10" | "avg60" | "avg300" | "total"))
        || (by_class && matches!(what, "current" | "peak" | "max"))
}
