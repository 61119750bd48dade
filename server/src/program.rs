//! The server binary, which reads arguments, sets up logging, and runs `boot`, `follow`, `gateway` or `offline`.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use tokio::runtime::Builder;
use witan_base::{panics, version};
use witan_config::{self as config, Config, Invocation};
use witan_follow::{
    SeedError,
    command::{self, FollowCommandError},
};
use witan_gateway::{self as gateway, GatewayError};
use witan_logging as logging;
use witan_offline::{self as offline, OfflineError};

use crate::{boot, systemd};

/// Runs the command that the program's name or the first argument selects; by default, a member.
pub fn main() -> ExitCode {
    panics::install_hook();
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    if Path::new(&called)
        .file_name()
        .is_some_and(|name| name == offline::ETCDUTL)
    {
        return without_member(offline::etcdutl(arguments));
    }
    let mut arguments = arguments.peekable();
    let command = arguments.peek().and_then(|word| word.to_str());
    let command = command.unwrap_or_default().to_owned();
    if command == command::FOLLOW {
        return follow(arguments.skip(1));
    }
    if command == gateway::GATEWAY {
        return forward(arguments.skip(1));
    }
    if command == gateway::GRPC_PROXY {
        return failed(&GatewayError::GrpcProxy, ExitCode::FAILURE);
    }
    if let Some(outcome) = offline::run(&command, arguments.by_ref().skip(1)) {
        return without_member(outcome);
    }
    member(arguments, false)
}

/// Loads a member's configuration and runs the member, or prints the help or the version. If `follows` is set, the
/// configuration must name a source.
fn member(arguments: impl Iterator<Item = OsString>, follows: bool) -> ExitCode {
    match Config::load(arguments, &config::environment()) {
        Ok(Invocation::Version) => show(&version::text()),
        Ok(Invocation::Help(help)) => show(&help),
        Ok(Invocation::Start(config)) if follows && config.follow.is_none() => {
            report_error(&SeedError::NoSource)
        }
        Ok(Invocation::Start(config)) => start(*config),
        Err(error) => report_error(&error),
    }
}

/// Runs `witan follow`. With a subcommand, calls a running member. Without arguments, prints the usage. With flags, starts a
/// member, which requires a source.
fn follow(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.peekable();
    let asks = |word: &OsString| command::VERBS.iter().any(|verb| word == verb);
    if arguments.peek().is_none_or(asks) {
        return called_member(command::run(arguments));
    }
    member(arguments, true)
}

/// Sets up logging, logs the configuration's warnings, raises the limit of open files, and runs a member until it ends. Returns
/// the exit code for the reason.
fn start(config: Config) -> ExitCode {
    let log_level = match logging::init(&config.log) {
        Ok(log_level) => log_level,
        Err(error) => return report_error(&error),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    match block_on(boot::run(config, log_level)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "failed to run the member");
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}

/// Runs `witan gateway start` until a signal stops it. Sets up logging, and notifies systemd when the gateway is ready.
fn forward(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let asked = match gateway::parse(arguments) {
        Ok(asked) => asked,
        Err(error) => return usage(&error),
    };
    // As in etcd, the gateway has no flags for its log.
    if let Err(error) = logging::init(&Config::default().log) {
        return report_error(&error);
    }
    raise_file_limit();
    let socket = std::env::var("NOTIFY_SOCKET").ok();
    let socket = socket.filter(|path| !path.is_empty());
    let ready = || systemd::notify(socket.as_deref(), systemd::READY);
    match block_on(gateway::run(asked, ready)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, ExitCode::FAILURE),
    }
}

/// Runs `work` on this thread, which becomes an actix system, and then ends all tasks. Does not wait for blocked threads,
/// because the lookup of a host name can take minutes without name servers. The caller must then end the process.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = Arc::new(runtime.expect("the system allows a runtime"));
    let system = actix_rt::System::with_tokio_rt(|| runtime.clone());
    let output = system.block_on(work);
    // Tasks remove their temporary files when they are dropped.
    drop(system);
    if let Some(runtime) = Arc::into_inner(runtime) {
        runtime.shutdown_background();
    }
    output
}

/// Raises the soft limit of open files to the hard limit. The soft limit only protects programs that use select(). Only logs a
/// failure.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}

/// Prints the result of an offline command and returns its exit code.
fn without_member(outcome: Result<String, OfflineError>) -> ExitCode {
    match outcome {
        Ok(text) => show(&text),
        Err(OfflineError::Usage(error)) => usage(&error),
        Err(error) => failed(&error, ExitCode::from(error.exit_code())),
    }
}

/// Prints the response of a running member and returns the exit code.
fn called_member(outcome: Result<String, FollowCommandError>) -> ExitCode {
    match outcome {
        Ok(text) => show(&text),
        Err(FollowCommandError::Usage(error)) => usage(&error),
        Err(error) => failed(&error, ExitCode::FAILURE),
    }
}

/// Prints why the arguments are invalid, or the requested help. Returns 1 for invalid arguments and 0 for help.
fn usage(error: &clap::Error) -> ExitCode {
    // An unknown command has etcdutl's exit code, 1. Help is not an error.
    let code = ExitCode::from(u8::from(error.use_stderr()));
    match error.print() {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints the error of a command to stderr and returns `code`.
fn failed(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    // If this fails, there is no other place to report it.
    let _ = writeln!(io::stderr(), "Error: {error}");
    code
}

/// Prints `text` to stdout. Returns a failure if stdout cannot be written.
fn show(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints why a member cannot start to stderr and returns a failure.
fn report_error(error: &dyn std::error::Error) -> ExitCode {
    // If this fails, there is no other place to report it.
    let _ = writeln!(io::stderr(), "witan: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::mpsc::{TryRecvError, sync_channel},
        time::Duration,
    };

    use super::*;

    #[test]
    fn the_end_does_not_wait_for_a_blocked_thread() {
        let (begin, begun) = sync_channel(1);
        let (release, released) = sync_channel::<()>(1);
        let wait = move || {
            begin.send(()).unwrap();
            let _ = released.recv_timeout(Duration::from_secs(30));
        };
        let running = block_on(async {
            drop(panics::spawn(wait));
            begun.recv()
        });
        running.expect("the thread runs");
        assert!(release.try_send(()).is_ok(), "the end waited");
    }

    /// A task that copies the source's users deletes the downloaded snapshot when it is dropped.
    #[test]
    fn the_end_drops_all_tasks() {
        let (kept, dropped) = sync_channel::<()>(1);
        let task = async move {
            pending::<()>().await;
            drop(kept);
        };
        block_on(async { drop(actix_rt::spawn(task)) });
        assert_eq!(dropped.try_recv(), Err(TryRecvError::Disconnected));
    }
}
