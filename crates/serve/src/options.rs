//! What the server is told when it starts: flags, each also an environment variable.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::HeaderValue;
use tamis_model::{Activation, Precision, device};

use crate::engine::EngineConfig;
use crate::http::HttpConfig;
use crate::model::{ModelOptions, ModelSpec};
use crate::service::Limits;

/// Tokens of a batch on the CPU: a few passes for every core, and a tenth of a second of a small model.
const CPU_BATCH_TOKENS: usize = 4096;

/// Tokens of a batch on any other device.
const DEVICE_BATCH_TOKENS: usize = 16_384;

/// Serve rerankers over HTTP.
///
///   tamis-serve --model runs/medquad/checkpoint --port 3000
#[derive(Debug, Clone, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ServeOptions {
    /// A checkpoint folder, NAME=FOLDER, or a name on the hub; may be repeated. The first serves requests
    /// that name no model
    #[arg(
        long,
        env = "TAMIS_MODEL",
        value_name = "[NAME=]MODEL",
        value_delimiter = ',',
        required = true
    )]
    pub model: Vec<ModelSpec>,

    /// A store of documents that `index` made with a model: MODEL=STORE; may be repeated
    #[arg(long, env = "TAMIS_TERMS", value_name = "MODEL=STORE", value_delimiter = ',')]
    pub terms: Vec<ModelSpec>,

    /// Where to compute: cpu, cuda, cuda:1, wgpu ...; several by comma, each a worker with every model
    #[arg(long, env = "TAMIS_DEVICE", default_value = "cpu", value_delimiter = ',')]
    pub device: Vec<String>,

    /// The numbers that linear maps multiply: f32, bf16 or int8
    #[arg(long, env = "TAMIS_PRECISION", default_value_t)]
    pub precision: Precision,

    /// What is applied to scores: checkpoint (what it says itself), none or sigmoid
    #[arg(long, env = "TAMIS_ACTIVATION", default_value = "checkpoint", value_parser = activation)]
    pub activation: Shown,

    /// The address to listen on
    #[arg(long, env = "TAMIS_HOSTNAME", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub hostname: IpAddr,

    /// The port to listen on; 0 takes a free one and says which
    #[arg(long, env = "TAMIS_PORT", default_value_t = 3000)]
    pub port: u16,

    /// A file of keys, one a line; without it the server is open
    #[arg(long, env = "TAMIS_API_KEYS", value_name = "FILE")]
    pub api_keys: Option<PathBuf>,

    /// Documents of one request
    #[arg(long, env = "TAMIS_MAX_DOCUMENTS", default_value_t = 2000)]
    pub max_documents: usize,

    /// Bytes of one body
    #[arg(long, env = "TAMIS_MAX_BODY_BYTES", default_value_t = 16 << 20)]
    pub max_body_bytes: usize,

    /// Bytes of all bodies that are being read or served
    #[arg(long, env = "TAMIS_MAX_BODIES_BYTES", default_value_t = 512 << 20)]
    pub max_bodies_bytes: usize,

    /// Tokens of one batch [default: 4096 on the CPU, 16384 elsewhere]
    #[arg(long, env = "TAMIS_MAX_BATCH_TOKENS", value_name = "TOKENS")]
    pub max_batch_tokens: Option<usize>,

    /// Tokens of all requests that wait; beyond it new ones are refused with 429
    #[arg(long, env = "TAMIS_MAX_QUEUE_TOKENS", value_name = "TOKENS", default_value_t = 4 << 20)]
    pub max_queue_tokens: usize,

    /// How long a request should have to wait for its turn; beyond it new ones are refused with 429
    #[arg(long, env = "TAMIS_MAX_QUEUE_MS", value_name = "MS", default_value_t = 2000)]
    pub max_queue_ms: u64,

    /// How long a request may take when it does not say
    #[arg(long, env = "TAMIS_TIMEOUT_MS", value_name = "MS", default_value_t = 30_000)]
    pub timeout_ms: u64,

    /// The longest that a request may say
    #[arg(long, env = "TAMIS_MAX_TIMEOUT_MS", value_name = "MS", default_value_t = 300_000)]
    pub max_timeout_ms: u64,

    /// How long a client may take to send a body, or the head of a request
    #[arg(long, env = "TAMIS_READ_TIMEOUT_MS", value_name = "MS", default_value_t = 15_000)]
    pub read_timeout_ms: u64,

    /// Connections at a time; more wait to be accepted
    #[arg(long, env = "TAMIS_MAX_CONNECTIONS", default_value_t = 16_384)]
    pub max_connections: usize,

    /// Threads that tokenise [default: one a core]
    #[arg(long, env = "TAMIS_TOKENIZATION_WORKERS")]
    pub tokenization_workers: Option<usize>,

    /// Whether texts that do not fit are cut where a request does not say
    #[arg(long, env = "TAMIS_AUTO_TRUNCATE", default_value_t = true, action = clap::ArgAction::Set)]
    pub auto_truncate: bool,

    /// Memory for documents that a store lacks, per model and device
    #[arg(long, env = "TAMIS_TERM_CACHE_BYTES", default_value_t = 256 << 20)]
    pub term_cache_bytes: usize,

    /// How long what was accepted may take after SIGTERM
    #[arg(long, env = "TAMIS_DRAIN_TIMEOUT_MS", value_name = "MS", default_value_t = 30_000)]
    pub drain_timeout_ms: u64,

    /// How long requests are still taken after SIGTERM, until balancers have seen that /ready says no
    #[arg(long, env = "TAMIS_DRAIN_DELAY_MS", value_name = "MS", default_value_t = 0)]
    pub drain_delay_ms: u64,

    /// Looks this often whether the files of a model have changed, and reads them again; 0 for on SIGHUP
    /// only
    #[arg(long, env = "TAMIS_WATCH_MS", value_name = "MS", default_value_t = 0)]
    pub watch_ms: u64,

    /// Origins of other pages that may ask, such as `https://example.org`, or *; several by comma
    #[arg(long, env = "TAMIS_CORS_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_allow_origin: Vec<HeaderValue>,

    /// Log lines as JSON
    #[arg(long, env = "TAMIS_JSON_OUTPUT", default_value_t = false)]
    pub json_output: bool,

    /// What is logged: error, warn, info, debug, or tracing's directives
    #[arg(long, env = "TAMIS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// The certificate chain, in PEM
    #[arg(long, env = "TAMIS_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Its private key, in PEM
    #[arg(long, env = "TAMIS_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// The port of TEI's gRPC service; without it there is none
    #[arg(long, env = "TAMIS_GRPC_PORT", value_name = "PORT")]
    pub grpc_port: Option<u16>,

    /// An OpenTelemetry collector that takes traces, such as `http://collector:4318`
    #[arg(long, env = "TAMIS_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// What is applied to scores: what the checkpoint says, or this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown(Option<Activation>);

fn activation(text: &str) -> Result<Shown, String> {
    match text {
        "checkpoint" => Ok(Shown(None)),
        "none" => Ok(Shown(Some(Activation::None))),
        "sigmoid" => Ok(Shown(Some(Activation::Sigmoid))),
        _ => Err(format!("expected checkpoint, none or sigmoid, found `{text}`")),
    }
}

impl ServeOptions {
    /// Refuses numbers that do not go together.
    pub(crate) fn check(&self) -> Result<()> {
        for (flag, is_given, feature, is_built) in [
            ("--tls-cert", self.tls_cert.is_some(), "tls", cfg!(feature = "tls")),
            ("--grpc-port", self.grpc_port.is_some(), "grpc", cfg!(feature = "grpc")),
            ("--otlp-endpoint", self.otlp_endpoint.is_some(), "otel", cfg!(feature = "otel")),
        ] {
            ensure!(
                !is_given || is_built,
                "{flag}: this binary is built without --features {feature}"
            );
        }
        ensure!(self.max_documents > 0, "--max-documents: expected 1 or more, found `0`");
        ensure!(
            self.max_body_bytes >= 1024,
            "--max-body-bytes: expected 1024 or more, found `{}`",
            self.max_body_bytes
        );
        ensure!(
            self.max_bodies_bytes >= self.max_body_bytes,
            "--max-bodies-bytes `{}` is less than --max-body-bytes `{}`",
            self.max_bodies_bytes,
            self.max_body_bytes
        );
        ensure!(
            self.max_timeout_ms >= self.timeout_ms && self.timeout_ms > 0,
            "--timeout-ms `{}`: expected 1 to --max-timeout-ms `{}`",
            self.timeout_ms,
            self.max_timeout_ms
        );
        ensure!(self.max_connections > 0, "--max-connections: expected 1 or more, found `0`");
        ensure!(self.read_timeout_ms > 0, "--read-timeout-ms: expected 1 or more, found `0`");
        ensure!(
            self.max_batch_tokens != Some(0),
            "--max-batch-tokens: expected 1 or more, found `0`"
        );
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.hostname, self.port)
    }

    pub(crate) fn models(&self) -> Result<ModelOptions> {
        let one = |name: &String| device(name).context("--device");
        Ok(ModelOptions {
            devices: self.device.iter().map(one).collect::<Result<_>>()?,
            precision: self.precision,
            activation: self.activation.0,
            term_cache_bytes: self.term_cache_bytes,
        })
    }

    fn is_on_cpu(&self) -> bool {
        self.device.iter().all(|name| name.starts_with("cpu"))
    }

    pub(crate) fn engine(&self) -> EngineConfig {
        let default = if self.is_on_cpu() { CPU_BATCH_TOKENS } else { DEVICE_BATCH_TOKENS };
        EngineConfig {
            n_workers: self.device.len(),
            max_batch_tokens: self.max_batch_tokens.unwrap_or(default),
            max_queue_tokens: self.max_queue_tokens,
            max_queue_delay: Duration::from_millis(self.max_queue_ms),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        let cores = available_parallelism().map_or(1, usize::from);
        Limits {
            max_documents: self.max_documents,
            max_body_bytes: self.max_body_bytes,
            max_bodies_bytes: self.max_bodies_bytes,
            timeout: Duration::from_millis(self.timeout_ms),
            max_timeout: Duration::from_millis(self.max_timeout_ms),
            n_tokenizers: self.tokenization_workers.unwrap_or(cores),
        }
    }

    pub(crate) fn http(&self) -> HttpConfig {
        HttpConfig {
            compute: if self.is_on_cpu() { "cpu" } else { "gpu" },
            auto_truncate: self.auto_truncate,
            body_timeout: Duration::from_millis(self.read_timeout_ms),
            cors_origins: self.cors_allow_origin.clone(),
            max_connections: self.max_connections,
        }
    }
}
