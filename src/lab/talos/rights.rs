//! Who may call what: one row for every method that a machine knows, whether or not the lab serves it.
//!
//! Talos: internal/app/machined/pkg/system/services/machined.go (roles) and, for maintenance mode up to 1.12,
//! internal/app/maintenance/server.go.

use tonic::Status;

use crate::lab::fleet::minor::Minor;

/// A set of roles, one bit for each.
type Roles = u8;

const ADMIN: Roles = 1;
const OPERATOR: Roles = 1 << 1;
const READER: Roles = 1 << 2;
const BACKUP: Roles = 1 << 3;
const VERIFIER: Roles = 1 << 4;
const META: Roles = 1 << 5;

const READ: Roles = ADMIN | OPERATOR | READER;
const OPERATE: Roles = ADMIN | OPERATOR;

/// What the maintenance server of its own, up to 1.12, says to everybody on the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Old {
    Open,
    /// Open where disks may be wiped without a certificate.
    Wipe,
    /// It has the method and refuses it.
    Mode,
    /// It has the service and not the method, or not even the service.
    Absent,
    Talosconfig,
}

/// From when on there is such a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Ever,
    /// The services of 1.13.
    Lifecycle,
    /// The services and methods of 1.14.
    Removal,
}

/// How the lab answers those who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Served,
    /// Nobody may write resources, whatever their role (Talos: internal/app/resources/access.go).
    ReadOnly,
    /// A real machine does something here that the lab does not play.
    Nothing,
}

struct Row {
    service: &'static str,
    methods: &'static [&'static str],
    roles: Roles,
    /// Without a certificate, and without `READER`, it may be called in the maintenance mode of 1.13 and later.
    in_maintenance: bool,
    since: Since,
    old: Old,
    answer: Answer,
}

const MACHINE: &str = "machine.MachineService";
const STATE: &str = "cosi.resource.State";
const STORAGE: &str = "storage.StorageService";

const fn served(service: &'static str, methods: &'static [&'static str], roles: Roles) -> Row {
    Row { service, methods, roles, in_maintenance: false, since: Since::Ever, old: Old::Absent, answer: Answer::Served }
}

const fn absent(service: &'static str, methods: &'static [&'static str], roles: Roles) -> Row {
    Row { answer: Answer::Nothing, ..served(service, methods, roles) }
}

#[rustfmt::skip]
static ROWS: [Row; 27] = [
    Row { in_maintenance: true, old: Old::Open, ..served(MACHINE, &["ApplyConfiguration"], ADMIN) },
    Row { old: Old::Mode, ..served(MACHINE, &["Version"], READ) },
    Row { old: Old::Mode, ..served(MACHINE, &["Upgrade", "Reset"], ADMIN) },
    Row { old: Old::Mode, ..served(MACHINE, &["MetaWrite", "MetaDelete"], ADMIN | META) },
    Row { old: Old::Talosconfig, ..served(MACHINE, &["GenerateClientConfiguration"], ADMIN) },
    served(MACHINE, &["EtcdMemberList", "EtcdStatus", "EtcdAlarmList"], READ | BACKUP),
    served(MACHINE, &["EtcdSnapshot"], OPERATE | BACKUP),
    served(MACHINE, &[
        "Containers", "CPUFreqStats", "CPUInfo", "DiskStats", "DiskUsage", "Dmesg", "Events", "Hostname", "ImageList", "List",
        "LoadAvg", "Logs", "LogsContainers", "Memory", "Mounts", "Netstat", "NetworkDeviceStats", "Processes",
        "ServiceList", "Stats", "SystemStat",
    ], READ),
    served(MACHINE, &[
        "EtcdAlarmDisarm", "EtcdDefragment", "Reboot", "ServiceRestart", "ServiceStart", "ServiceStop", "Shutdown",
    ], OPERATE),
    served(MACHINE, &[
        "Bootstrap", "Copy", "EtcdForfeitLeadership", "EtcdLeaveCluster", "EtcdRemoveMemberByID", "Kubeconfig", "Read",
        "Rollback",
    ], ADMIN),
    served(MACHINE, &["ImagePull"], OPERATE),
    absent(MACHINE, &["PacketCapture", "Restart"], OPERATE),
    absent(MACHINE, &[
        "EtcdDowngradeCancel", "EtcdDowngradeEnable", "EtcdDowngradeValidate", "EtcdRecover",
    ], ADMIN),
    Row { old: Old::Open, ..served(STATE, &["Get", "List", "Watch"], READ) },
    Row { old: Old::Open, answer: Answer::ReadOnly, ..served(STATE, &["Create", "Update", "Destroy"], ADMIN) },
    Row { since: Since::Removal, answer: Answer::ReadOnly, ..served(STATE, &["Teardown", "TeardownAndDestroy"], ADMIN) },
    Row { old: Old::Open, ..served(STORAGE, &["Disks"], READ) },
    Row { in_maintenance: true, old: Old::Wipe, ..served(STORAGE, &["BlockDeviceWipe"], ADMIN) },
    served("cluster.ClusterService", &["HealthCheck"], READ),
    served("time.TimeService", &["Time", "TimeCheck"], READ),
    absent("inspect.InspectService", &["ControllerRuntimeDependencies"], READ),
    Row { since: Since::Lifecycle, ..served("machine.ImageService", &["List"], READ | VERIFIER) },
    Row { since: Since::Lifecycle, ..absent("machine.ImageService", &["Verify"], READ | VERIFIER) },
    Row { since: Since::Lifecycle, ..served("machine.ImageService", &["Pull", "Remove"], OPERATE) },
    Row { since: Since::Lifecycle, ..absent("machine.ImageService", &["Import"], OPERATE) },
    Row { since: Since::Lifecycle, ..served("machine.LifecycleService", &["Install", "Upgrade"], ADMIN) },
    Row { since: Since::Removal, in_maintenance: true, ..absent("machine.LVMService", &[
        "LogicalVolumeRemove", "VolumeGroupRemove", "PhysicalVolumeRemove",
    ], ADMIN) },
];

/// The row of `method`, such as `machine.MachineService/Version`, if this minor has it.
fn row(method: &str, minor: &Minor) -> Option<&'static Row> {
    let (service, name) = method.split_once('/')?;
    ROWS.iter().find(|row| row.service == service && row.methods.contains(&name) && row.exists(minor))
}

impl Row {
    fn exists(&self, minor: &Minor) -> bool {
        match self.since {
            Since::Ever => true,
            Since::Lifecycle => minor.lifecycle_service,
            Since::Removal => minor.volume_removal,
        }
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller<'a> {
    /// Somebody without a certificate, who may do what maintenance mode lets everybody do.
    Anybody,
    /// Somebody whose certificate has these roles.
    With(&'a [String]),
}

/// Whether `caller` may call `method` on a machine of this minor.
pub(super) fn admit(method: &str, minor: &Minor, caller: Caller<'_>) -> Result<(), Status> {
    let Some(row) = row(method, minor) else { return Err(unknown(method, minor)) };
    let roles = match caller {
        Caller::Anybody if !minor.unified_maintenance => return row.in_old_maintenance(method, minor),
        Caller::Anybody if row.in_maintenance => return Ok(()),
        Caller::Anybody => READER,
        Caller::With(names) => roles(names),
    };
    if roles & row.roles == 0 { Err(Status::permission_denied("not authorized")) } else { Ok(()) }
}

impl Row {
    fn in_old_maintenance(&self, method: &str, minor: &Minor) -> Result<(), Status> {
        let (_, name) = method.split_once('/').unwrap_or(("", method));
        Err(Status::unimplemented(match self.old {
            Old::Open => return Ok(()),
            Old::Wipe if minor.wipe_in_maintenance => return Ok(()),
            Old::Mode | Old::Wipe => "API is not implemented in maintenance mode".to_owned(),
            Old::Talosconfig => {
                "client configuration (talosconfig) can't be generated in the maintenance mode".to_owned()
            }
            Old::Absent if self.service == MACHINE => format!("method {name} not implemented"),
            Old::Absent => format!("unknown service {}", self.service),
        }))
    }
}

/// As grpc-go says it.
fn unknown(method: &str, minor: &Minor) -> Status {
    let (service, name) = method.split_once('/').unwrap_or((method, ""));
    let known = ROWS.iter().any(|row| row.service == service && row.exists(minor));
    Status::unimplemented(if known {
        format!("unknown method {name} for service {service}")
    } else {
        format!("unknown service {service}")
    })
}

/// What the lab says, instead of a handler, to a caller who was admitted; `None` if there is a handler.
pub(super) fn without_handler(method: &str, minor: &Minor) -> Option<Status> {
    match row(method, minor).map(|row| row.answer) {
        Some(Answer::Served) => None,
        Some(Answer::ReadOnly) => Some(Status::permission_denied("write access is not allowed")),
        Some(Answer::Nothing) => Some(Status::unimplemented(format!("the lab's machines do not serve {method}"))),
        None => Some(unknown(method, minor)),
    }
}

/// Whether `method` may change the world: nothing that a reader may call does.
pub(super) fn changes(method: &str, minor: &Minor) -> bool {
    row(method, minor).is_some_and(|row| row.roles & READER == 0)
}

pub(super) fn is_admin(names: &[String]) -> bool {
    roles(names) & ADMIN != 0
}

fn roles(names: &[String]) -> Roles {
    names.iter().fold(0, |all, name| {
        all | match name.as_str() {
            "os:admin" => ADMIN,
            "os:operator" => OPERATOR,
            "os:reader" => READER,
            "os:etcd:backup" => BACKUP,
            "os:image:verifier" => VERIFIER,
            "os:meta:writer" => META,
            _ => 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::lab::fleet::minor;

    fn refusal(method: &str, version: &str, caller: Caller<'_>) -> Option<(Code, String)> {
        let refused = admit(method, minor::of(version), caller).err()?;
        Some((refused.code(), refused.message().to_owned()))
    }

    #[test]
    fn maintenance_refuses_as_each_minor_does() {
        let (old, denied) = (Code::Unimplemented, Code::PermissionDenied);
        let mode = "API is not implemented in maintenance mode";
        for (method, in_1_12, in_1_13) in [
            ("machine.MachineService/ApplyConfiguration", None, None),
            ("machine.MachineService/Version", Some(mode), None),
            ("machine.MachineService/Reset", Some(mode), Some(denied)),
            ("machine.MachineService/Reboot", Some("method Reboot not implemented"), Some(denied)),
            ("machine.MachineService/Bootstrap", Some("method Bootstrap not implemented"), Some(denied)),
            ("machine.MachineService/ServiceList", Some("method ServiceList not implemented"), None),
            ("machine.MachineService/Mounts", Some("method Mounts not implemented"), None),
            ("machine.MachineService/EtcdSnapshot", Some("method EtcdSnapshot not implemented"), Some(denied)),
            ("storage.StorageService/Disks", None, None),
            ("storage.StorageService/BlockDeviceWipe", None, None),
            ("cluster.ClusterService/HealthCheck", Some("unknown service cluster.ClusterService"), None),
            (
                "inspect.InspectService/ControllerRuntimeDependencies",
                Some("unknown service inspect.InspectService"),
                None,
            ),
            ("machine.LifecycleService/Install", Some("unknown service machine.LifecycleService"), Some(denied)),
            ("machine.ImageService/List", Some("unknown service machine.ImageService"), None),
            ("cosi.resource.State/Get", None, None),
            ("cosi.resource.State/Create", None, Some(denied)),
        ] {
            let expected = in_1_12.map(|text| (old, text.to_owned()));
            assert_eq!(refusal(method, "v1.12.4", Caller::Anybody), expected, "{method}");
            let code = refusal(method, "v1.13.0", Caller::Anybody).map(|(code, _)| code);
            assert_eq!(code, in_1_13, "{method}");
        }
        let wipe = "storage.StorageService/BlockDeviceWipe";
        assert_eq!(refusal(wipe, "v1.10.0", Caller::Anybody), Some((old, mode.to_owned())));
        assert_eq!(refusal("machine.LVMService/VolumeGroupRemove", "v1.14.0", Caller::Anybody), None);
    }

    #[test]
    fn roles_add_up() {
        let call = |method: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            refusal(method, "v1.13.0", Caller::With(&names)).map(|(code, _)| code)
        };
        let denied = Some(Code::PermissionDenied);
        assert_eq!(call("machine.MachineService/Bootstrap", &["os:reader"]), denied);
        assert_eq!(call("machine.MachineService/Bootstrap", &["os:reader", "os:admin"]), None);
        assert_eq!(call("machine.MachineService/Reboot", &["os:operator"]), None);
        assert_eq!(call("machine.MachineService/Version", &["system:masters"]), denied);
        assert_eq!(call("machine.MachineService/EtcdSnapshot", &["os:etcd:backup"]), None);
        assert_eq!(call("machine.MachineService/EtcdStatus", &["os:etcd:backup"]), None);
        assert_eq!(call("machine.MachineService/Version", &["os:etcd:backup"]), denied);
        // What maintenance mode lets everybody do, a certificate has to allow.
        assert_eq!(call("machine.MachineService/ApplyConfiguration", &["os:reader"]), denied);
        assert_eq!(call("storage.StorageService/BlockDeviceWipe", &["os:operator"]), denied);
        assert_eq!(call("machine.MachineService/MetaWrite", &["os:meta:writer"]), None);
    }

    #[test]
    fn a_minor_knows_the_services_of_its_time() {
        let admin = ["os:admin".to_owned()];
        let text = |method, version| refusal(method, version, Caller::With(&admin)).map(|(_, text)| text);
        let lifecycle = "machine.LifecycleService/Upgrade";
        assert_eq!(text(lifecycle, "v1.12.4").as_deref(), Some("unknown service machine.LifecycleService"));
        assert_eq!(text(lifecycle, "v1.13.0"), None);
        let teardown = "cosi.resource.State/Teardown";
        let expected = "unknown method Teardown for service cosi.resource.State";
        assert_eq!(text(teardown, "v1.13.0").as_deref(), Some(expected));
        assert_eq!(
            without_handler(teardown, minor::of("v1.14.0")).map(|status| status.code()),
            Some(Code::PermissionDenied)
        );
        assert!(without_handler("cosi.resource.State/Get", minor::of("v1.14.0")).is_none());
    }
}
