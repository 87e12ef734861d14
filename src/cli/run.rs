//! `tidings run`: the supervisor, or the process it supervises.

use std::io;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;

use crate::config::{Config, Loaded};
use crate::ops::client::held;
use crate::ops::data_dir::{DataDir, Opened};
use crate::ops::exit::{Exit, Failure};
use crate::ops::failpoint::{self, DieAt};
use crate::ops::health::{self, Health};
use crate::ops::http::{self, Access};
use crate::ops::node::{Node, Role};
use crate::ops::openapi::Routes;
use crate::ops::shutdown::Shutdown;
use crate::ops::supervise::{StopSignals, follow_supervisor, supervise};
use crate::ops::{logging, metrics};
use crate::run;

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Parts to run, separated by commas; all of them by default
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    pub roles: Vec<Role>,
    /// Replaces a live set that runs on the same log
    #[arg(long)]
    pub takeover: bool,
    /// Runs without a supervisor: for systemd and Kubernetes, which are one
    #[arg(long)]
    pub no_supervise: bool,
    /// Set by the supervisor for its child: how often it was started again.
    #[arg(long, hide = true, value_name = "RESTARTS")]
    pub supervised: Option<u32>,
    /// For tests: where the process is to be killed.
    #[arg(long, hide = true, value_name = "POINT")]
    pub die_at: Option<DieAt>,
}

pub(super) fn run(loaded: Loaded, args: &RunArgs) -> Result<ExitCode, Failure> {
    let _logging = logging::start(&loaded.config.logging)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot start logging: {error}")))?;
    if args.no_supervise || args.supervised.is_some() {
        return serve(loaded, args).map(ExitCode::from);
    }
    let code = supervise(&loaded.config.supervise, child)?;
    Ok(ExitCode::from(code))
}

/// This very command again, as a supervised child. A process group of its own, so
/// that Ctrl-C reaches it through the supervisor only.
fn child(restarts: u32) -> io::Result<Command> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--supervised").arg(restarts.to_string()).process_group(0);
    command.envs(ALLOCATORS);
    Ok(command)
}

/// How the two allocators of the process hold less than they may; read before `main`.
///
/// ONNX Runtime takes its memory from glibc, which without a fixed threshold learns from every
/// large run to give back less (100 MB after an hour), and gives each thread an arena of its
/// own. Everything else takes it from mimalloc, which by default gives back what is free a
/// second later, and only to who asks for more: a fifth less in the process at once, for no
/// time that shows (`cargo bench --bench throughput` with and without).
const ALLOCATORS: [(&str, &str); 3] =
    [("MALLOC_TRIM_THRESHOLD_", "131072"), ("MALLOC_ARENA_MAX", "2"), ("MIMALLOC_PURGE_DELAY", "0")];

/// The process that does the work, until it is told to stop.
fn serve(loaded: Loaded, args: &RunArgs) -> Result<Exit, Failure> {
    args.die_at.iter().cloned().for_each(failpoint::arm);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let shutdown = Shutdown::new();
    runtime.block_on(async { stop_on_signals(shutdown.clone()) })?;
    if args.supervised.is_some() {
        let grace = Duration::from_secs(loaded.config.supervise.grace_s);
        follow_supervisor(shutdown.clone(), grace)
            .map_err(|error| Failure::failed(format!("cannot follow the supervisor: {error}")))?;
    }
    for notice in &loaded.notices {
        tracing::info!(variables = notice.names.join(", "), "{}", notice.why);
    }
    let (config, config_dir) = (Arc::new(loaded.config), loaded.config_dir);
    let folder = open(&config)?;
    metrics::describe_process(folder.path().to_path_buf(), args.supervised.unwrap_or(0));
    let health = Health::new(&config.health);
    let (path, settings) = (folder.path().to_path_buf(), config.health.clone());
    health.component("disk", move || health::disk(&path, &settings));
    let roles = if args.roles.is_empty() { Role::value_variants().to_vec() } else { args.roles.clone() };
    let node = Node { config, config_dir, folder, health, shutdown, roles, takeover: args.takeover };
    let mut parts = run::start(&node, runtime.handle())?;
    let routes = std::mem::take(&mut parts.routes);
    let served = runtime.block_on(listen(&node, routes));
    node.shutdown.trigger();
    parts.stop().and(served)?;
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

/// From here on a signal is a wish: start-up may take a while and is not cut off.
fn stop_on_signals(shutdown: Shutdown) -> Result<(), Failure> {
    let mut signals =
        StopSignals::new().map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))?;
    tokio::spawn(async move {
        signals.told().await;
        tracing::info!("told to stop");
        shutdown.trigger();
    });
    Ok(())
}

fn open(config: &Config) -> Result<DataDir, Failure> {
    match DataDir::open(&config.data_dir) {
        Ok(Opened::Held(folder)) => Ok(folder),
        Ok(Opened::HeldBy(holder)) => Err(match holder.url {
            Some(url) => Failure::new(
                Exit::FolderHeld,
                format!("a Tidings runs on {} already, at {url}", config.data_dir.display()),
            ),
            None => held(config, holder.pid),
        }),
        Err(error) => {
            let path = config.data_dir.display();
            Err(Failure::new(Exit::Usage, format!("cannot open the data folder {path}: {error}")))
        }
    }
}

/// Serves HTTP until the process is told to stop.
async fn listen(node: &Node, mut routes: Vec<Routes>) -> Result<(), Failure> {
    let address = node.config.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::AddrInUse => Exit::AddressInUse,
            _ => Exit::Usage,
        };
        Failure::new(exit, format!("cannot listen on {address}: {error}"))
    })?;
    let announced = listener.local_addr().and_then(|bound| node.folder.announce(bound).map(|()| bound));
    let bound =
        announced.map_err(|error| Failure::failed(format!("cannot announce the address: {error}")))?;
    tracing::info!(address = %bound, version = crate::VERSION, commit = crate::COMMIT, "serving");
    let access =
        Access { api_token: node.config.api_token.clone(), folder_token: Some(node.folder.token().clone()) };
    routes.push(health::routes(node.health.clone()));
    http::serve(listener, routes, node.config.http.clone(), access, node.shutdown.clone())
        .await
        .map_err(|error| Failure::failed(format!("the HTTP server failed: {error}")))
}
