//! The command line: one file per command.
//!
//! Stdout is the result, stderr the conversation. No prompt blocks when stdin is
//! no terminal.

mod config;
mod connect;
mod create;
mod destroy;
mod discover;
mod doctor;
mod failure;
mod lab;
mod plan;
mod profile;
mod prompt;
mod render;
mod schematic;
mod status;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

pub use failure::{Code, Failure};

use crate::report::{LogWriter, Style};
use crate::secrets::env;

/// Talos clusters on Proxmox VE, from nothing to healthy and back to nothing.
#[derive(Parser)]
#[command(name = "pvetalos", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args, Clone)]
struct Global {
    /// How results and progress are written; json is one event per line on stdout
    #[arg(long, global = true, value_enum, default_value = "human")]
    output: Output,
    /// What is logged to stderr, as in `debug` or `pvetalos::pve=trace`
    #[arg(long, global = true, value_name = "FILTER", env = "PVETALOS_LOG", default_value = "off")]
    log: String,
    /// When to use colour (`NO_COLOR` is obeyed)
    #[arg(long, global = true, value_enum, default_value = "auto")]
    color: Colour,
    /// Where journals and lab state are kept [default: $XDG_STATE_HOME/pvetalos]
    #[arg(long, global = true, value_name = "DIR", env = "PVETALOS_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Human,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    /// Make a healthy cluster from a profile, or leave nothing
    Create(create::Args),
    /// Take a cluster away and prove that nothing is left
    Destroy(destroy::Args),
    /// Show what create would do; reads only
    Plan(plan::Args),
    /// Machines, addresses and health gates
    Status(status::Args),
    /// Everything that can be known before a VM exists
    Doctor(doctor::Args),
    /// The machines that answer on the profile's network
    Discover(discover::Args),
    /// The machine configurations, talosconfig and schematic of a profile, as files
    Render(render::Args),
    /// The Proxmox API token: keep it in the keyring, try it
    #[command(subcommand)]
    Token(token::Command),
    /// Check a profile, or print its JSON Schema
    #[command(subcommand)]
    Profile(profile::Command),
    /// The schematic's id, canonical text and references
    #[command(subcommand)]
    Schematic(schematic::Command),
    /// Talos machine configurations by themselves: no profile, no network
    #[command(subcommand)]
    Config(config::Command),
    /// The simulated site
    #[command(subcommand)]
    Lab(lab::Command),
    /// Print shell completions
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

/// Parses the command line, runs the command, prints the failure.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(config::talosctl_spelling(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; clap knows where each goes.
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { Code::Usage as u8 } else { 0 });
        }
    };
    match cli.global.color {
        Colour::Auto => {}
        chosen => {
            console::set_colors_enabled(chosen == Colour::Always);
            console::set_colors_enabled_stderr(chosen == Colour::Always);
        }
    }
    let log = LogWriter::new();
    if let Err(failure) = logging(&cli.global.log, &log) {
        return complain(&failure, cli.global.output);
    }
    let output = cli.global.output;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli, log)),
        Err(error) => Err(Failure::of(Code::Defect, &error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure, output),
    }
}

/// The two long ones are boxed: the future of a whole run is larger than a stack frame should be.
async fn dispatch(cli: Cli, log: LogWriter) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Create(args) => Box::pin(create::run(&global, args, &log)).await,
        Command::Destroy(args) => Box::pin(destroy::run(&global, args, &log)).await,
        Command::Plan(args) => plan::run(&global, args).await,
        Command::Status(args) => status::run(&global, args).await,
        Command::Doctor(args) => doctor::run(&global, args).await,
        Command::Discover(args) => discover::run(&global, args).await,
        Command::Render(args) => render::run(&global, args).await,
        Command::Token(command) => token::run(&global, command).await,
        Command::Profile(command) => profile::run(&global, command),
        Command::Schematic(command) => schematic::run(&global, command),
        Command::Config(command) => config::run(&global, command),
        Command::Lab(command) => lab::run(&global, command).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pvetalos", &mut text);
            print(&String::from_utf8_lossy(&text));
            Ok(())
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut text)
                .map_err(|error| Failure::of(Code::Defect, &error))?;
            print(&String::from_utf8_lossy(&text));
            Ok(())
        }
    }
}

impl Global {
    /// Where journals and lab state are kept.
    fn state_dir(&self) -> Result<PathBuf, Failure> {
        use etcetera::BaseStrategy;
        if let Some(dir) = &self.state_dir {
            return std::path::absolute(dir).map_err(|error| Failure::of(Code::Usage, &error));
        }
        let base = etcetera::choose_base_strategy().map_err(|error| Failure::of(Code::Usage, &error))?;
        let dir = base.state_dir().unwrap_or_else(|| base.data_dir());
        Ok(dir.join("pvetalos"))
    }

    fn style(&self) -> Style {
        use std::io::IsTerminal;
        match self.output {
            Output::Json => Style::Json,
            Output::Human if std::io::stderr().is_terminal() => Style::Live,
            Output::Human => Style::Lines,
        }
    }

    fn is_json(&self) -> bool {
        self.output == Output::Json
    }
}

/// Where profiles are looked for: `./profiles`, then the user's config directory.
fn profile_dirs() -> Vec<PathBuf> {
    use etcetera::BaseStrategy;
    let mut dirs = vec![PathBuf::from("profiles")];
    if let Ok(base) = etcetera::choose_base_strategy() {
        dirs.push(base.config_dir().join("pvetalos").join("profiles"));
    }
    dirs
}

/// `$HOME`, for the user's own files.
fn home() -> Option<PathBuf> {
    env::var("HOME").map(PathBuf::from)
}

fn logging(filter: &str, writer: &LogWriter) -> Result<(), Failure> {
    if filter == "off" {
        return Ok(());
    }
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
        Failure::of(Code::Usage, &error).hint("--log takes a filter such as info or pvetalos=debug")
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer.clone()).init();
    Ok(())
}

/// A command's result, on stdout. A reader that went away (`| head`) is no failure.
fn print(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    write!(stdout, "{text}{newline}").and_then(|()| stdout.flush()).ok();
}

/// A remark of the conversation, on stderr.
fn say(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

fn complain(failure: &Failure, output: Output) -> ExitCode {
    if output == Output::Json && !failure.told {
        let failure = serde_json::json!({
            "failure": { "code": failure.code as u8, "message": failure.message, "hints": failure.hints }
        });
        print(&failure.to_string());
    }
    say(&format!("{} {}", console::style("error:").for_stderr().red().bold(), failure.message));
    for hint in &failure.hints {
        say(&format!("  {} {hint}", console::style("hint:").for_stderr().cyan()));
    }
    ExitCode::from(failure.code as u8)
}
