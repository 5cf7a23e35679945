//! SMBIOS.

use serde_json::json;

use super::{Rows, View, row};

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    let hardware = &view.machine.hardware;
    Some(match kind {
        "SystemInformations.hardware.talos.dev" => {
            let value = json!({
                "manufacturer": "QEMU", "productName": "Standard PC (Q35 + ICH9, 2009)", "version": "pc-q35-10.1",
                "serialnumber": hardware.serial.clone().unwrap_or_default(),
                "uuid": hardware.uuid.unwrap_or_default().to_string(), "wakeUpType": "Power Switch",
            });
            vec![row("systeminformation", value)]
        }
        "Processors.hardware.talos.dev" => {
            let value = json!({
                "socket": "CPU 0", "manufacturer": "QEMU", "productName": hardware.cpu, "maxSpeedMhz": 2000,
                "bootSpeedMhz": 2000, "status": 65, "coreCount": hardware.cores, "coreEnabled": hardware.cores,
                "threadCount": hardware.cores,
            });
            vec![row("CPU-0", value)]
        }
        "MemoryModules.hardware.talos.dev" => {
            // QEMU shows modules of at most 16 GiB.
            let mut left = hardware.memory_mib;
            let mut rows = Rows::new();
            while left > 0 {
                let size = left.min(16 << 10);
                let value =
                    json!({"sizeMiB": size, "deviceLocator": format!("DIMM {}", rows.len()), "manufacturer": "QEMU"});
                rows.push(row(format!("DIMM-{}", rows.len()), value));
                left -= size;
            }
            rows
        }
        _ => return None,
    })
}
