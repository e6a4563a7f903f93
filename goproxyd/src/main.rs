//! The server: reads its settings, sets up telemetry, runs the role that was asked for, drains, ends with an exit code.
//! Nothing is decided here; this file only wires.

#![forbid(unsafe_code)]

mod args;
mod build;
mod config;
mod descriptors;
mod ending;
mod fork;
mod log_loss;
mod otlp;
mod recover;
mod roles;
mod settings;
mod telemetry_metrics;
mod tls_metrics;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use common::error_chain::ErrorChain;
use common::shutdown::Shutdown;
use common::telemetry::{Telemetry, TelemetryOptions};
use dataplane::admin::DebugPage;
use tracing::{info, warn};

use args::{Action, Role};
use build::BUILD;
use config::{Loaded, Surroundings};
use ending::{EXIT_FAILED, EXIT_USAGE, conclude, report, say};
use roles::{Seeing, ServeError};
use settings::{LogFormat, Settings};

/// The system's allocator keeps several times the live memory after chunks of 256 KiB have come and gone from
/// many threads (ADR 0004).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Tasks polled between two looks at the sockets. By tokio's default of 61 a worker with a thousand busy connections
/// keeps its own queue full and starves what has overflowed into the shared one: the 99th percentile was 250 ms
/// where it is 24 ms with this.
const EVENT_INTERVAL: u32 = 1024;

/// The longest that spans may take to be sent at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest that tasks and threads may take to stop at the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _scenario = die_at_failpoints();
    let around = Surroundings::of_process();
    match args::parse(std::env::args_os(), &around) {
        Action::Print(text) => say(&mut std::io::stdout(), &text, ExitCode::SUCCESS),
        Action::Refuse(text) => say(&mut std::io::stderr(), &text, ExitCode::from(EXIT_USAGE)),
        Action::Fork { loaded, clear } => conclude(fork::run(&loaded.settings, clear)),
        Action::Recover { loaded, asked } => conclude(recover::run(&loaded.settings, asked)),
        Action::Serve { role, loaded } => {
            let colours = around.terminal && !around.variables.contains_key("NO_COLOR");
            run(role, *loaded, colours).unwrap_or_else(|error| {
                let text = format!("error: {}\n", ErrorChain::new(error.as_ref()));
                say(&mut std::io::stderr(), &text, ExitCode::from(EXIT_FAILED))
            })
        }
    }
}

/// Takes up the points named in `FAILPOINTS`; a panic at one of them ends the process as `kill -9` would.
#[cfg(feature = "failpoints")]
fn die_at_failpoints() -> fail::FailScenario<'static> {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    fail::FailScenario::setup()
}

fn run(role: Role, loaded: Loaded, colours: bool) -> anyhow::Result<ExitCode> {
    let shown = config::show(&loaded);
    let Loaded { settings, mut warnings, .. } = loaded;
    warnings.extend(descriptors::shortage(role, &settings, descriptors::raise()));
    rustls::crypto::ring::default_provider().install_default().ok().context("set the TLS provider")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.worker_threads as usize)
        .event_interval(EVENT_INTERVAL)
        .thread_name("worker")
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = runtime.block_on(async {
        // Before the first log line: whoever reads that may send a signal.
        let shutdown = Shutdown::on_signals().context("listen for signals")?;
        let telemetry = Telemetry::install(&telemetry_options(&settings, colours), std::io::stderr())
            .context("set up telemetry")?;
        info!(version = %BUILD, name = %settings.name, data_dir = %settings.data_dir.display(), "starting");
        for warning in warnings {
            warn!("{warning}");
        }
        let seeing = Seeing { telemetry: telemetry.counters(), pages: debug_pages(shown) };
        let ended = tokio::select! {
            ended = roles::serve(role, settings, seeing, &shutdown) => ended,
            () = shutdown.force().cancelled() => Err(ServeError::Forced),
        };
        let code = report(&ended);
        telemetry.shutdown(FLUSH_TIMEOUT).await;
        Ok(code)
    });
    // What still runs must not hold up the end, but while a thread is inside RocksDB the process may not end either: its
    // static parts are taken down under that thread, and the process aborts.
    runtime.shutdown_timeout(STOP_TIMEOUT);
    code
}

/// What `/debug/` tells of every process.
fn debug_pages(settings: String) -> Vec<DebugPage> {
    let runtime = tokio::runtime::Handle::current();
    let tasks = move || {
        let metrics = runtime.metrics();
        let (workers, tasks) = (metrics.num_workers(), metrics.num_alive_tasks());
        format!("{tasks} tasks on {workers} threads; {} wait for one\n", metrics.global_queue_depth())
    };
    vec![
        DebugPage::new("settings", "every setting, and where it comes from", move || settings.clone()),
        DebugPage::new("tasks", "what the runtime has to do", tasks),
    ]
}

fn telemetry_options(settings: &Settings, colours: bool) -> TelemetryOptions {
    TelemetryOptions {
        format: settings.log_format.into(),
        colours: colours && settings.log_format == LogFormat::Text,
        directives: settings.log_level.clone(),
        otlp: otlp::options(settings),
    }
}
