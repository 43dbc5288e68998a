//! A server of a tiny model on a free port, and a client of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use clap::Parser;
use serde_json::Value;
use tamis_model::encoder::bert::BertConfig;
use tamis_model::{
    Activation, Config, CrossEncoder, Reranker, Settings, SplitConfig, SplitScore, checkpoint,
};
use tamis_serve::{Model, ModelOptions, Models, Scorer, ServeOptions, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Words that the tiny model knows.
pub(crate) const WORDS: [&str; 8] =
    ["alpha", "beta", "gamma", "delta", "fever", "cold", "rain", "sun"];

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: ServeOptions,
}

/// Options as a command line says them.
pub(crate) fn options(arguments: &[&str]) -> ServeOptions {
    let line = ["tamis-serve", "--hostname", "127.0.0.1", "--port", "0"];
    Line::parse_from(line.iter().chain(arguments)).options
}

/// A server, its model's folder and a client.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    agent: ureq::Agent,
    runtime: Option<Runtime>,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: ureq::http::HeaderMap,
}

impl Site {
    /// A server with these flags.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self::with(arguments, |scorer| scorer)
    }

    /// The same with something between the engine and the model.
    pub(crate) fn with(
        arguments: &[&str],
        wrap: impl FnOnce(Arc<dyn Scorer>) -> Arc<dyn Scorer>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        save_tiny(folder.path(), 7);
        let options = options(&[&["--model", "tiny"], arguments].concat());
        let how = how(&options);
        let model = Model::open("tiny", folder.path(), None, &how).unwrap().with_scorer(wrap);
        let site = Self::start(folder, Models::new(vec![model], how), options);
        site.wait(|site| site.get("/ready").status == 200);
        site
    }

    /// A server with these flags that speaks no plain HTTP; it may not be ready.
    #[cfg(feature = "tls")]
    pub(crate) fn encrypted(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        save_tiny(folder.path(), 7);
        let options = options(&[&["--model", "tiny"], arguments].concat());
        let how = how(&options);
        let model = Model::open("tiny", folder.path(), None, &how).unwrap();
        Self::start(folder, Models::new(vec![model], how), options)
    }

    /// A server of the model in a folder, with a store.
    pub(crate) fn with_terms(folder: TempDir, terms: &Path) -> Self {
        let options = options(&["--model", "split"]);
        let how = how(&options);
        let model = Model::open("split", folder.path(), Some(terms), &how).unwrap();
        let site = Self::start(folder, Models::new(vec![model], how), options);
        site.wait(|site| site.get("/ready").status == 200);
        site
    }

    /// A server of the model in a folder.
    pub(crate) fn of(folder: TempDir, name: &str) -> Self {
        let options = options(&["--model", name]);
        let how = how(&options);
        let model = Model::open(name, folder.path(), None, &how).unwrap();
        let site = Self::start(folder, Models::new(vec![model], how), options);
        site.wait(|site| site.get("/ready").status == 200);
        site
    }

    fn start(folder: TempDir, models: Models, options: ServeOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(async { Server::with_models(models, &options) }).unwrap();
        let address = server.address();
        runtime.spawn(async move { server.run(&options).await });
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Self { address, folder, agent, runtime: Some(runtime) }
    }

    /// Waits until something holds.
    pub(crate) fn wait(&self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if holds(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it never came to hold");
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Got {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        let request = self.agent.get(self.url(path));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        got(request.call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Got {
        self.post_with(path, body.to_string().as_bytes(), &[("content-type", "application/json")])
    }

    pub(crate) fn post_with(&self, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Got {
        let request = self.agent.post(self.url(path));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        got(request.send(body).unwrap())
    }

    /// One number of `/metrics`, summed over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut response = self.agent.get(self.url("/metrics")).call().unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let value = |line: &str| -> Option<f64> {
            let (found, value) = line.rsplit_once(' ')?;
            (found == name || found.starts_with(&format!("{name}{{")))
                .then(|| value.parse().unwrap())
        };
        text.lines().filter_map(value).sum()
    }

    /// The model, opened apart.
    pub(crate) fn reranker(&self) -> Reranker {
        Reranker::open(self.folder.path(), &Device::flex()).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn how(options: &ServeOptions) -> ModelOptions {
    ModelOptions {
        devices: vec![Device::flex()],
        precision: options.precision,
        activation: None,
        term_cache_bytes: 1 << 20,
    }
}

fn got(mut response: ureq::http::Response<ureq::Body>) -> Got {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Got { status, body, headers }
}

/// A tiny BERT with weights from a seed, saved with a tokenizer; scores are shown through a sigmoid.
pub(crate) fn save_tiny(directory: &Path, seed: u64) {
    let texts: Vec<String> =
        WORDS.iter().flat_map(|a| WORDS.iter().map(move |b| format!("{a} {b}"))).collect();
    let texts = texts.iter().map(String::as_str);
    let tokenizer = tamis_data::vocabulary::train(texts, &Default::default()).unwrap();
    let source = tempfile::tempdir().unwrap();
    tamis_data::vocabulary::save(&tokenizer, 32, source.path()).unwrap();
    let config: BertConfig = serde_json::from_value(serde_json::json!({
        "vocab_size": tokenizer.get_vocab_size(true), "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 32,
    }))
    .unwrap();
    let config = Config::bert(&config);
    let model = CrossEncoder::zeros(&config, &Device::flex());
    let model = checkpoint::initialise(model, &config, seed);
    let settings = Settings {
        max_length: 32,
        query_max_length: 8,
        activation: Activation::Sigmoid,
        ..Settings::of_model(&config)
    };
    save(&model, &config, &settings, source.path(), directory);
}

/// The same, split after its first layer, so that its documents can be computed once.
pub(crate) fn save_split(directory: &Path) {
    let plain = tempfile::tempdir().unwrap();
    save_tiny(plain.path(), 7);
    let split = SplitConfig { join_layer: 1, compressor: None, score: SplitScore::FirstToken };
    let loaded = checkpoint::load_split(plain.path(), None, split, 3, &Device::flex()).unwrap();
    let settings = Settings {
        max_length: 20,
        query_max_length: 8,
        parts: Some(tamis_data::PairParts {
            position: tamis_data::DocumentPosition::Fixed(11),
            query_masks: 1,
            ..Default::default()
        }),
        ..Settings::of_model(&loaded.config)
    };
    save(&loaded.model, &loaded.config, &settings, plain.path(), directory);
}

fn save(
    model: &CrossEncoder,
    config: &Config,
    settings: &Settings,
    tokenizer: &Path,
    directory: &Path,
) {
    checkpoint::save(checkpoint::Contents { model, config, settings, tokenizer }, directory)
        .unwrap();
}
