//! Who may call what: one row for every method.

use tonic::Status;

use crate::lab::fleet::minor::Minor;

/// What a caller's certificate has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    Reader,
    Operator,
    Admin,
}

/// Whether a method answers in maintenance mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// In every version.
    Always,
    /// Where maintenance mode is the ordinary API.
    Unified,
    /// Where disks may be wiped, and always where it is the ordinary API.
    Wipe,
    Never,
}

/// Why the old maintenance server refuses: it knew the method but not in this mode, or did not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Old {
    Mode,
    Method,
    Service,
}

/// The row of `method`, such as `machine.MachineService/Version`.
fn row(method: &str) -> (Need, Open, Old) {
    let (service, name) = method.split_once('/').unwrap_or(("", method));
    match (service, name) {
        ("machine.MachineService", "ApplyConfiguration") => (Need::Admin, Open::Always, Old::Method),
        ("machine.MachineService", "Version") => (Need::Reader, Open::Unified, Old::Mode),
        ("machine.MachineService", "Upgrade" | "Reset" | "MetaWrite" | "MetaDelete") => {
            (Need::Admin, Open::Never, Old::Mode)
        }
        ("machine.MachineService", "Reboot" | "Shutdown" | "Rollback") => (Need::Operator, Open::Never, Old::Method),
        (
            "machine.MachineService",
            "ServiceList" | "Events" | "Dmesg" | "Logs" | "Memory" | "Hostname" | "EtcdMemberList" | "EtcdStatus",
        ) => (Need::Reader, Open::Unified, Old::Method),
        ("storage.StorageService", "Disks") | ("cosi.resource.State", _) => (Need::Reader, Open::Always, Old::Method),
        ("storage.StorageService", "BlockDeviceWipe") => (Need::Admin, Open::Wipe, Old::Mode),
        ("cluster.ClusterService" | "time.TimeService", _) => (Need::Reader, Open::Unified, Old::Service),
        _ => (Need::Admin, Open::Never, Old::Method),
    }
}

/// Whether a caller without any certificate may call `method` in maintenance mode.
pub(super) fn in_maintenance(method: &str, minor: &Minor) -> Result<(), Status> {
    let (_, open, old) = row(method);
    let allowed = match open {
        Open::Always => true,
        Open::Unified => minor.unified_maintenance,
        Open::Wipe => minor.wipe_in_maintenance,
        Open::Never => false,
    };
    if allowed {
        return Ok(());
    }
    if minor.unified_maintenance {
        return Err(Status::permission_denied("not authorized"));
    }
    let (service, name) = method.split_once('/').unwrap_or(("", method));
    Err(Status::unimplemented(match old {
        Old::Mode => "API is not implemented in maintenance mode".to_owned(),
        Old::Method => format!("method {name} not implemented"),
        Old::Service => format!("unknown service {service}"),
    }))
}

/// Whether a caller with these roles may call `method`.
pub(super) fn with_roles(method: &str, roles: &[String]) -> Result<(), Status> {
    let (need, _, _) = row(method);
    if rank(roles).is_some_and(|rank| rank >= need) { Ok(()) } else { Err(Status::permission_denied("not authorized")) }
}

/// Whether `method` may change the world: no reader may.
pub(super) fn changes(method: &str) -> bool {
    row(method).0 > Need::Reader
}

pub(super) fn is_admin(roles: &[String]) -> bool {
    rank(roles) == Some(Need::Admin)
}

fn rank(roles: &[String]) -> Option<Need> {
    roles
        .iter()
        .filter_map(|role| match role.as_str() {
            "os:admin" => Some(Need::Admin),
            "os:operator" => Some(Need::Operator),
            "os:reader" => Some(Need::Reader),
            _ => None,
        })
        .max()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::lab::fleet::minor;

    #[test]
    fn maintenance_refuses_as_each_minor_does() {
        let refusal = |method, version| in_maintenance(method, minor::of(version)).err().map(|status| status.code());
        for (method, old, new) in [
            ("machine.MachineService/ApplyConfiguration", None, None),
            ("machine.MachineService/Version", Some(Code::Unimplemented), None),
            ("machine.MachineService/Reboot", Some(Code::Unimplemented), Some(Code::PermissionDenied)),
            ("machine.MachineService/Bootstrap", Some(Code::Unimplemented), Some(Code::PermissionDenied)),
            ("machine.MachineService/ServiceList", Some(Code::Unimplemented), None),
            ("storage.StorageService/Disks", None, None),
            ("cluster.ClusterService/HealthCheck", Some(Code::Unimplemented), None),
            ("time.TimeService/Time", Some(Code::Unimplemented), None),
            ("cosi.resource.State/Get", None, None),
        ] {
            assert_eq!((refusal(method, "v1.12.4"), refusal(method, "v1.13.0")), (old, new), "{method}");
        }
        assert!(refusal("storage.StorageService/BlockDeviceWipe", "v1.10.0").is_some());
    }

    #[test]
    fn roles_add_up() {
        let roles = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(with_roles("machine.MachineService/Bootstrap", &roles(&["os:reader"])).is_err());
        assert!(with_roles("machine.MachineService/Bootstrap", &roles(&["os:reader", "os:admin"])).is_ok());
        assert!(with_roles("machine.MachineService/Reboot", &roles(&["os:operator"])).is_ok());
        assert!(with_roles("machine.MachineService/Version", &roles(&["system:masters"])).is_err());
    }
}
