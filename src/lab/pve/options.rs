//! Options as requests write them and as configurations keep them.

use base64::Engine as _;

use super::answer::Failure;
use super::drive;
use super::property;
use super::schema::Schema;
use super::verify::Params;

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
}
