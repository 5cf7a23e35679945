//! `ApplyConfiguration`: what is refused, in each minor's words, and what follows.

use std::sync::Arc;

use tonic::Status;

use super::Face;
use super::server::Peer;
use crate::lab::fleet::applied::Applied;
use crate::lab::fleet::{Machine, Port, Stage, System, devices};
use crate::lab::world::World;
use crate::machineconfig::{Documents, Minor, Mode as Platform, Verdict, validate};
use crate::talos::wire::machine::apply_configuration_request::Mode;
use crate::talos::wire::machine::{ApplyConfiguration, ApplyConfigurationRequest, ApplyConfigurationResponse};

pub(super) fn apply(
    face: &Face,
    world: &mut World,
    request: &ApplyConfigurationRequest,
    _: &Peer,
) -> Result<ApplyConfigurationResponse, Status> {
    let machine = face.machine(world)?;
    let system = face.system(world)?;
    let maintenance = face.port == Port::Maintenance;
    if maintenance && machine.stage != Stage::Maintenance {
        // One complete configuration was accepted: the caller has to come back with a certificate.
        return Err(if system.minor.unified_maintenance {
            Status::permission_denied("not authorized")
        } else {
            Status::unavailable("the maintenance service is shutting down")
        });
    }
    let mode = Mode::try_from(request.mode).map_err(|_| Status::invalid_argument("unknown apply mode"))?;
    check_mode(mode, maintenance, system)?;
    let old = maintenance && !system.minor.unified_maintenance;
    let read = read(&request.data, system).map_err(|error| {
        if old { Status::unknown(format!("failed to parse config: {error}")) } else { Status::invalid_argument(error) }
    })?;
    let Read { config, verdict } = read;
    if !maintenance && !config.complete {
        return Err(Status::invalid_argument(
            "the applied machine configuration doesn't contain v1alpha1 config, did you mean to patch the machine config instead?",
        ));
    }
    let absent = absent(&config, machine, system);
    for (problems, what) in [(&verdict.errors, "configuration"), (&absent, "runtime configuration")] {
        if !problems.is_empty() {
            let text = multierror(problems);
            return Err(Status::invalid_argument(if old { format!("{what} validation failed: {text}") } else { text }));
        }
    }
    let (mode, details) = match (maintenance, old, mode) {
        _ if request.dry_run && old => {
            (mode, "Dry run summary:\nNode is running in maintenance mode and does not have a config yet.".to_owned())
        }
        _ if request.dry_run => (
            Mode::NoReboot,
            "Dry run summary:\nApplied configuration without a reboot (skipped in dry-run).\n".to_owned(),
        ),
        (true, true, mode) => (mode, String::new()),
        (_, _, Mode::Staged) => (Mode::Staged, "Staged configuration to be applied after the next reboot".to_owned()),
        (_, _, Mode::Try) => (Mode::Try, "Applied configuration without a reboot".to_owned()),
        (false, _, Mode::Reboot) => (Mode::Reboot, "Applied configuration with a reboot".to_owned()),
        _ => (Mode::NoReboot, "Applied configuration without a reboot".to_owned()),
    };
    // What is tried is rolled back, and what is staged in memory is lost with it: neither leaves maintenance mode.
    let acts = !request.dry_run && !matches!(mode, Mode::Try | Mode::Staged);
    if acts {
        let host = world.site.factory.hosts.first().cloned().unwrap_or_default();
        world.fleet.apply(face.vmid, &Arc::new(config), &host);
        if mode == Mode::Reboot && !maintenance {
            world.fleet.reboot(face.vmid, false);
        }
    }
    let message =
        ApplyConfiguration { metadata: None, warnings: verdict.warnings, mode: mode.into(), mode_details: details };
    Ok(ApplyConfigurationResponse { messages: vec![message] })
}

fn check_mode(mode: Mode, maintenance: bool, system: &System) -> Result<(), Status> {
    match mode {
        Mode::NoReboot | Mode::Staged if maintenance && !system.minor.unified_maintenance => {
            let word = if mode == Mode::Staged { "staged" } else { "no-reboot" };
            Err(Status::unimplemented(format!(
                "apply configuration --mode='{word}' is not supported in maintenance mode"
            )))
        }
        Mode::Reboot if !maintenance && system.minor.refuses_reboot_mode => {
            Err(Status::unimplemented("the REBOOT mode is not supported, please use AUTO or NO_REBOOT modes instead"))
        }
        _ => Ok(()),
    }
}

/// A configuration, and what the machine thinks of it by itself.
struct Read {
    config: Applied,
    verdict: Verdict,
}

/// Reads and validates as strictly as a machine of this version and platform does.
fn read(data: &[u8], system: &System) -> Result<Read, String> {
    let text = std::str::from_utf8(data).map_err(|error| format!("yaml: {error}"))?;
    let minor = Minor::parse(&system.image.version).unwrap_or(Minor::NEWEST);
    let documents = Documents::parse_for(text, &minor).map_err(|error| error.to_string())?;
    let mode = if system.image.platform == "metal" { Platform::Metal } else { Platform::Cloud };
    let verdict = validate(&documents, mode, false, &minor);
    let config = Applied::parse(text).map_err(|error| error.to_string())?;
    Ok(Read { config, verdict })
}

/// What is wrong with it on this machine.
fn absent(config: &Applied, machine: &Machine, system: &System) -> Vec<String> {
    let mut problems = Vec::new();
    // Only metal has to be installed; elsewhere a wrong disk is found out by the installer.
    if let (true, Some(path)) =
        (system.image.platform == "metal", config.install.as_ref().and_then(|install| install.disk.as_ref()))
        && !devices(&machine.hardware).iter().any(|device| format!("/dev/{}", device.name) == *path)
    {
        problems.push(format!("no disks matched the expression: disk.dev_path == \"{path}\""));
    }
    let minor = config.kubernetes_version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if let (Some((oldest, newest)), Some(minor)) = (system.minor.kubernetes, minor) {
        let talos = system.image.version.trim_start_matches('v');
        let wrong = |how: &str| {
            format!(
                "kubelet image is not valid: version of Kubernetes {} is too {how} to be used with Talos {talos}",
                config.kubernetes_version
            )
        };
        if minor < oldest {
            problems.push(wrong("old"));
        } else if minor > newest {
            problems.push(wrong("new"));
        }
    }
    problems
}

/// As hashicorp/go-multierror prints.
fn multierror(problems: &[String]) -> String {
    let count = problems.len();
    let head = if count == 1 { "1 error occurred:".to_owned() } else { format!("{count} errors occurred:") };
    format!("{head}\n\t* {}\n\n", problems.join("\n\t* "))
}
