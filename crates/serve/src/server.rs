//! From options to a running server, and from a signal to its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum_server::Handle;
use metrics_exporter_prometheus::PrometheusHandle;
use tamis_model::hub::{self, DownloadProgress, HubConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::Engine;
use crate::http::{App, Keys, router};
use crate::listen::{Doorman, bind, impatient};
use crate::models::Models;
use crate::options::ServeOptions;
use crate::service::Service;
use crate::telemetry;

/// Serves until SIGTERM or Ctrl-C, then finishes what was accepted.
///
/// # Errors
/// When a model, a store or the keys cannot be read, or the address is taken.
pub fn serve(options: &ServeOptions) -> Result<()> {
    options.check()?;
    let telemetry = telemetry::logs(options)?;
    let metrics = telemetry::metrics()?;
    // A connection is an open file; systems start with few.
    let files = rlimit::increase_nofile_limit(2 * options.max_connections as u64 + 256);
    if let Ok(files) = files
        && files < options.max_connections as u64 + 64
    {
        tracing::warn!(files, "the system allows fewer open files than --max-connections needs");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let server = Server::start(options, metrics).await?;
        tracing::info!(address = %server.address(), "listening");
        server.run(options).await
    });
    // A tokeniser may be at work for a client that has gone.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(telemetry);
    result
}

/// Says whether a server could start: reads everything that it would read.
///
/// # Errors
/// With what is wrong.
pub fn check(options: &ServeOptions) -> Result<()> {
    use std::io::Write;
    options.check()?;
    if let Some(path) = &options.api_keys {
        Keys::read(path)?;
    }
    let models = Models::open(&options.model, &options.terms, options.models()?, locate)?;
    let mut out = std::io::stdout().lock();
    for model in models.list().iter() {
        let settings = model.reranker().settings();
        writeln!(
            out,
            "model {}: {}, rows of up to {} tokens, {}",
            model.name(),
            model.directory().display(),
            settings.max_length,
            model.precision(),
        )?;
    }
    writeln!(out, "the configuration is valid")?;
    Ok(())
}

/// A server that listens.
pub struct Server {
    app: Arc<App>,
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the models and binds the address; requests are answered once it [`run`](Self::run)s.
    ///
    /// # Errors
    /// When a model, a store or the keys cannot be read, or the address is taken.
    async fn start(options: &ServeOptions, metrics: PrometheusHandle) -> Result<Self> {
        let keys = keys(options.api_keys.as_deref())?;
        // Before the models: that an address is taken should not take minutes to find out.
        let address = options.address();
        let listener =
            bind(address).with_context(|| format!("--port: {address} cannot be listened on"))?;
        let address = listener.local_addr()?;
        let (own, model_options) = (options.clone(), options.models()?);
        let open = move || Models::open(&own.model, &own.terms, model_options, locate);
        let models = tokio::task::spawn_blocking(open).await??;
        Self::assemble(models, keys, (listener, address), options, metrics)
    }

    /// The same with models that are open already, on an address that is free.
    ///
    /// # Errors
    /// When the keys cannot be read, or the address is taken.
    pub fn with_models(models: Models, options: &ServeOptions) -> Result<Self> {
        let listener = bind(options.address())?;
        let address = listener.local_addr()?;
        let keys = keys(options.api_keys.as_deref())?;
        Self::assemble(models, keys, (listener, address), options, telemetry::metrics()?)
    }

    fn assemble(
        models: Models,
        keys: Keys,
        (listener, address): (std::net::TcpListener, SocketAddr),
        options: &ServeOptions,
        metrics: PrometheusHandle,
    ) -> Result<Self> {
        let models = Arc::new(models);
        let engine = Engine::start(options.engine())?;
        let service = Arc::new(Service::new(models, engine, options.limits()));
        let app = Arc::new(App::new(service, keys, options.http(), metrics));
        Ok(Self { app, listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until a signal ends it.
    ///
    /// # Errors
    /// When a model fails at its first rows, signals cannot be waited for, or the listener breaks.
    pub async fn run(self, options: &ServeOptions) -> Result<()> {
        let handle = Handle::new();
        let doorman = Doorman::new(options.max_connections, patience(options));
        let mut server = axum_server::from_tcp(self.listener)?.handle(handle.clone());
        impatient(server.http_builder(), patience(options));
        let service = router(self.app.clone()).into_make_service();
        let serving = async {
            #[cfg(feature = "tls")]
            if let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) {
                let tls = crate::tls::acceptor(cert, key).await?.acceptor(doorman);
                return anyhow::Ok(server.acceptor(tls).serve(service).await?);
            }
            anyhow::Ok(server.acceptor(doorman).serve(service).await?)
        };
        let service = self.app.service.clone();
        let warm = async {
            service.warm_up().await?;
            tracing::info!("ready");
            anyhow::Ok(())
        };
        let background = async {
            tokio::try_join!(
                warm,
                stop(self.app.clone(), handle.clone(), options.clone()),
                reload(self.app.clone(), options.clone()),
                procedures(self.app.clone(), options.clone()),
            )
        };
        tokio::select! {
            served = serving => served?,
            // None of these ends but by an error.
            failed = background => {
                failed?;
            }
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// TEI's gRPC service, on its own port.
#[cfg(feature = "grpc")]
async fn procedures(app: Arc<App>, options: ServeOptions) -> Result<()> {
    if let Some(port) = options.grpc_port {
        crate::grpc::serve(app, SocketAddr::new(options.hostname, port)).await?;
    }
    std::future::pending().await
}

#[cfg(not(feature = "grpc"))]
async fn procedures(_: Arc<App>, _: ServeOptions) -> Result<()> {
    std::future::pending().await
}

fn patience(options: &ServeOptions) -> Duration {
    Duration::from_millis(options.read_timeout_ms)
}

fn keys(path: Option<&Path>) -> Result<Keys> {
    path.map_or_else(|| Ok(Keys::default()), Keys::read)
}

/// Waits for SIGTERM or Ctrl-C, and lets what was accepted be finished; a second signal ends it at once.
async fn stop(app: Arc<App>, handle: Handle<SocketAddr>, options: ServeOptions) -> Result<()> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    next().await;
    app.service.drain();
    let drain = Duration::from_millis(options.drain_timeout_ms);
    tracing::info!(timeout_ms = options.drain_timeout_ms, "stopping: finishing what was accepted");
    tokio::time::sleep(Duration::from_millis(options.drain_delay_ms)).await;
    handle.graceful_shutdown(Some(drain));
    next().await;
    tracing::warn!("stopping at once");
    handle.shutdown();
    std::future::pending().await
}

/// Reads models and keys again on SIGHUP, and models when their files change.
async fn reload(app: Arc<App>, options: ServeOptions) -> Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let watches = options.watch_ms > 0;
    let mut tick = tokio::time::interval(Duration::from_millis(options.watch_ms.max(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let only_stale = tokio::select! {
            _ = hang_up.recv() => false,
            _ = tick.tick(), if watches => true,
        };
        if !only_stale {
            match keys(options.api_keys.as_deref()) {
                Ok(keys) => app.keys.store(Arc::new(keys)),
                Err(error) => {
                    let problem = format!("{error:#}");
                    tracing::error!(problem, "the keys could not be read again");
                }
            }
        }
        app.service.models().reload(app.service.engine(), only_stale).await;
    }
}

/// The folder of a model; one that is named as on the hub is fetched first.
fn locate(model: &Path) -> Result<PathBuf> {
    if model.is_dir() {
        return Ok(model.to_owned());
    }
    let config = HubConfig::from_variables(|name| std::env::var(name).ok())?;
    Ok(hub::locate(model, &config, &mut Fetching)?)
}

/// Says which files are fetched.
struct Fetching;

impl DownloadProgress for Fetching {
    fn start(&mut self, file: &str, n_bytes: u64) {
        tracing::info!(file, n_bytes, "fetching");
    }

    fn advance(&mut self, _: u64) {}

    fn finish(&mut self) {}
}
