//! Logs and metrics of the process, and traces for a collector.

use std::io::{IsTerminal, stdout};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::options::ServeOptions;

/// Seconds: from half a millisecond to half a minute.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Tokens of a batch.
const TOKENS: [f64; 9] = [64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

/// Requests of a batch.
const REQUESTS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Shares of a whole.
const SHARES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 1.0];

/// Collects metrics from now on, for all servers of the process.
///
/// # Errors
/// When something else collects them already.
pub(crate) fn metrics() -> Result<PrometheusHandle> {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = handle.as_ref() {
        return Ok(handle.clone());
    }
    let new = install()?;
    *handle = Some(new.clone());
    Ok(new)
}

fn install() -> Result<PrometheusHandle> {
    let suffix = |text: &str| Matcher::Suffix(text.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS)?
        .set_buckets_for_metric(suffix("_batch_tokens"), &TOKENS)?
        .set_buckets_for_metric(suffix("_batch_requests"), &REQUESTS)?
        .set_buckets_for_metric(suffix("_batch_fill"), &SHARES)?
        .install_recorder()
        .context("metrics are collected already in this process")?;
    describe();
    Ok(handle)
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("tamis_requests_total", "Requests that were answered");
    describe_histogram!(
        "tamis_request_seconds",
        Unit::Seconds,
        "From a request's head to its answer"
    );
    describe_histogram!(
        "tamis_tokenization_seconds",
        Unit::Seconds,
        "Texts of a request into tokens"
    );
    describe_histogram!(
        "tamis_queue_seconds",
        Unit::Seconds,
        "Until the first row of a request was taken"
    );
    describe_histogram!(
        "tamis_inference_seconds",
        Unit::Seconds,
        "From the first row of a request to its last score"
    );
    describe_gauge!("tamis_queue_tokens", "Tokens of the requests that wait or are computed");
    describe_gauge!("tamis_queue_requests", "Requests that wait or are computed");
    describe_histogram!("tamis_batch_tokens", "Tokens of a batch");
    describe_histogram!("tamis_batch_requests", "Requests that share a batch");
    describe_histogram!("tamis_batch_fill", "Tokens of a batch as a share of the most");
    describe_counter!("tamis_documents_total", "Documents that were scored");
    describe_counter!("tamis_tokens_total", "Tokens that were scored");
    describe_counter!("tamis_refused_total", "Requests that were refused, by reason");
    describe_counter!(
        "tamis_cancelled_total",
        "Requests whose client went away before they were computed"
    );
    describe_counter!(
        "tamis_disconnected_total",
        "Requests whose client went away before the answer"
    );
    describe_counter!("tamis_worker_panics_total", "Times that a model panicked");
    describe_counter!("tamis_reloads_total", "Models that were read again, by outcome");
    describe_gauge!("tamis_ready", "1 while requests are taken");
    describe_gauge!("tamis_connections", "Open connections");
    describe_gauge!("tamis_padding_share", "Padding as a share of all tokens that were computed");
    // Rows are packed: there is none, and dashboards that ask hear so.
    metrics::gauge!("tamis_padding_share").set(0.0);
    // What has not happened yet is 0 and not absent: a rate sees its first time.
    metrics::counter!("tamis_refused_total", "reason" => "overloaded").increment(0);
    metrics::counter!("tamis_worker_panics_total").increment(0);
    metrics::counter!("tamis_cancelled_total").increment(0);
}

/// What must be kept while the server runs: without it the last lines are lost.
pub(crate) struct Telemetry {
    _lines: WorkerGuard,
    #[cfg(feature = "otel")]
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Writes logs to standard output from a thread of its own: a full disk or a slow terminal delays no request,
/// it loses lines.
///
/// # Errors
/// When the filter is none, or a collector's address is wrong.
pub(crate) fn logs(options: &ServeOptions) -> Result<Telemetry> {
    let filter = EnvFilter::try_new(&options.log)
        .with_context(|| format!("--log `{}`: not a filter", options.log))?;
    let (writer, lines) = tracing_appender::non_blocking(stdout());
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    let layer = if options.json_output {
        layer.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        layer.with_ansi(stdout().is_terminal()).boxed()
    };
    let registry = tracing_subscriber::registry().with(layer.with_filter(filter));
    #[cfg(feature = "otel")]
    let traces = match &options.otlp_endpoint {
        None => None,
        Some(endpoint) => Some(collector(endpoint)?),
    };
    #[cfg(feature = "otel")]
    let registry = {
        use opentelemetry::trace::TracerProvider;
        let spans = traces
            .as_ref()
            .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("tamis-serve")));
        registry.with(spans)
    };
    // Tests of one process start several servers; the first one's log is everybody's.
    let _ = registry.try_init();
    Ok(Telemetry {
        _lines: lines,
        #[cfg(feature = "otel")]
        traces,
    })
}

#[cfg(feature = "otel")]
fn collector(endpoint: &str) -> Result<opentelemetry_sdk::trace::SdkTracerProvider> {
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .with_context(|| format!("--otlp-endpoint `{endpoint}`"))?;
    let name = opentelemetry_sdk::Resource::builder().with_service_name("tamis-serve").build();
    Ok(opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(name)
        .build())
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces.take() {
            // The collector may be gone; there is nobody else to tell.
            let _ = traces.shutdown();
        }
    }
}
