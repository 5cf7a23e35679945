//! `ApplyConfiguration`: what is refused, in each minor's words, and what follows.

mod live;

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::Face;
use super::server::Peer;
use crate::lab::fleet::applied::Applied;
use crate::lab::fleet::{Machine, Port, Stage, System, devices};
use crate::lab::world::World;
use crate::machineconfig::{Documents, Minor, Mode as Platform, Verdict, validate};
use crate::talos::wire::machine::apply_configuration_request::Mode;
use crate::talos::wire::machine::{ApplyConfiguration, ApplyConfigurationRequest, ApplyConfigurationResponse};

/// How long a configuration is tried when nobody says (Talos: `ConfigTryTimeout`).
const TRIED: Duration = Duration::from_secs(60);

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
    if maintenance && !system.minor.unified_maintenance {
        return to_old_maintenance(face, world, request, mode);
    }
    let Read { config, verdict } = read(&request.data, system).map_err(Status::invalid_argument)?;
    if !maintenance && !config.complete {
        return Err(Status::invalid_argument(
            "the applied machine configuration doesn't contain v1alpha1 config, did you mean to patch the machine config instead?",
        ));
    }
    if mode == Mode::Reboot && !maintenance && system.minor.refuses_reboot_mode {
        let text = "the REBOOT mode is not supported, please use AUTO or NO_REBOOT modes instead";
        return Err(Status::unimplemented(text));
    }
    for problems in [&verdict.errors, &absent(&config, machine, system)] {
        if !problems.is_empty() {
            return Err(Status::invalid_argument(multierror(problems)));
        }
    }
    let before = system.config.as_ref().map(|config| config.text.clone()).unwrap_or_default();
    let checked = !maintenance && !system.minor.refuses_reboot_mode;
    let obstacle = if checked { live::obstacle(&before, &config.text) } else { None };
    let (mode, mut details) = match (mode, obstacle) {
        (Mode::Try | Mode::NoReboot, Some(obstacle)) => return Err(Status::invalid_argument(obstacle)),
        (Mode::Auto, Some(obstacle)) => (Mode::Reboot, format!("Applied configuration with a reboot: {obstacle}")),
        (Mode::Reboot, _) if !maintenance => (Mode::Reboot, "Applied configuration with a reboot".to_owned()),
        (Mode::Staged, _) => (Mode::Staged, "Staged configuration to be applied after the next reboot".to_owned()),
        (Mode::Try, None) => (Mode::Try, "Applied configuration without a reboot".to_owned()),
        (Mode::Reboot | Mode::Auto | Mode::NoReboot, _) => {
            (Mode::NoReboot, "Applied configuration without a reboot".to_owned())
        }
    };
    if request.dry_run {
        let diff = live::difference(&before, &config.text);
        let diff = if diff.is_empty() { "No changes.".to_owned() } else { diff };
        // The obstacle belongs to a real apply's words.
        let summary = details.split(':').next().unwrap_or_default();
        let details = format!("Dry run summary:\n{summary} (skipped in dry-run).\nConfig diff:\n\n{diff}");
        return Ok(answer(mode, details, Vec::new()));
    }
    let config = Arc::new(config);
    match mode {
        Mode::Staged => world.fleet.stage_config(face.vmid, &config),
        Mode::Try => {
            let span = request.try_mode_timeout.as_ref().map_or(TRIED, |span| {
                Duration::new(u64::try_from(span.seconds).unwrap_or(0), u32::try_from(span.nanos).unwrap_or(0))
            });
            details = format!(
                "{details}\nThe config is applied in 'try' mode and will be automatically reverted back in {}",
                live::spell(span)
            );
            world.fleet.try_config(face.vmid, &config, span);
        }
        Mode::Reboot => {
            world.fleet.stage_config(face.vmid, &config);
            world.fleet.reboot(face.vmid, false);
        }
        Mode::Auto | Mode::NoReboot => take(face, world, &config),
    }
    Ok(answer(mode, details, verdict.warnings))
}

/// The maintenance server of its own, up to 1.12: it knows no state and hands every configuration on.
fn to_old_maintenance(
    face: &Face,
    world: &mut World,
    request: &ApplyConfigurationRequest,
    mode: Mode,
) -> Result<ApplyConfigurationResponse, Status> {
    if let Mode::NoReboot | Mode::Staged = mode {
        let word = if mode == Mode::Staged { "staged" } else { "no-reboot" };
        let text = format!("apply configuration --mode='{word}' is not supported in maintenance mode");
        return Err(Status::unimplemented(text));
    }
    let (machine, system) = (face.machine(world)?, face.system(world)?);
    let failed = |error| Status::unknown(format!("failed to parse config: {error}"));
    let Read { config, verdict } = read(&request.data, system).map_err(failed)?;
    let absent = absent(&config, machine, system);
    for (problems, what) in [(&verdict.errors, "configuration"), (&absent, "runtime configuration")] {
        if !problems.is_empty() {
            let text = format!("{what} validation failed: {}", multierror(problems));
            return Err(Status::invalid_argument(text));
        }
    }
    let mut details = String::new();
    if request.dry_run {
        details.push_str("Dry run summary:\nNode is running in maintenance mode and does not have a config yet.");
    } else {
        take(face, world, &Arc::new(config));
    }
    // The mode is left at its default, whatever was asked for.
    Ok(answer(Mode::Reboot, details, verdict.warnings))
}

fn take(face: &Face, world: &mut World, config: &Arc<Applied>) {
    let host = world.site.factory.hosts.first().cloned().unwrap_or_default();
    world.fleet.apply(face.vmid, config, &host);
}

fn answer(mode: Mode, mode_details: String, warnings: Vec<String>) -> ApplyConfigurationResponse {
    let message = ApplyConfiguration { metadata: None, warnings, mode: mode.into(), mode_details };
    ApplyConfigurationResponse { messages: vec![message] }
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
