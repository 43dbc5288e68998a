//! What the server says about itself: TEI's `/info` with more, and OpenAI's list of models.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use tamis_model::{Activation, Precision};
use utoipa::ToSchema;

use super::App;
use crate::model::Model;

/// TEI's fields of the first model, then all models and all limits.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info {
    model_id: String,
    model_sha: Option<String>,
    model_dtype: &'static str,
    served_model_name: String,
    #[schema(value_type = Object)]
    model_type: Value,
    max_concurrent_requests: usize,
    max_input_length: usize,
    max_batch_tokens: usize,
    max_batch_requests: Option<usize>,
    max_client_batch_size: usize,
    auto_truncate: bool,
    tokenization_workers: usize,
    version: &'static str,
    /// Whether requests need a key.
    keys: bool,
    models: Vec<ModelInfo>,
    limits: LimitsInfo,
}

#[derive(Debug, Serialize, ToSchema)]
struct ModelInfo {
    name: String,
    is_default: bool,
    max_input_length: usize,
    max_query_length: usize,
    activation: &'static str,
    precision: &'static str,
    /// Depths that give scores; none where a model has but one end.
    depths: Vec<usize>,
    /// Whether documents can be shortened.
    has_ratio: bool,
    term_store: Option<StoreInfo>,
}

#[derive(Debug, Serialize, ToSchema)]
struct StoreInfo {
    documents: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct LimitsInfo {
    max_documents: usize,
    max_body_bytes: usize,
    max_queue_tokens: usize,
    max_queue_ms: u64,
    default_timeout_ms: u64,
    max_timeout_ms: u64,
}

impl ModelInfo {
    fn new(model: &Model, is_default: bool) -> Self {
        let reranker = model.reranker();
        let settings = reranker.settings();
        let terms = reranker.terms();
        Self {
            name: model.name().to_owned(),
            is_default,
            max_input_length: settings.max_length,
            max_query_length: settings.query_max_length,
            activation: match model.activation() {
                Activation::None => "none",
                Activation::Sigmoid => "sigmoid",
            },
            precision: match model.precision() {
                Precision::F32 => "f32",
                Precision::Bf16 => "bf16",
                Precision::Int8 => "int8",
            },
            depths: reranker.depths(),
            has_ratio: !settings.effort.compress_layers.is_empty(),
            term_store: terms.map(|store| StoreInfo { documents: store.len() as u64 }),
        }
    }
}

/// The models and the limits.
#[utoipa::path(get, path = "/info", tag = "operations", responses((status = 200, description = "Models and limits.", body = Info)))]
pub(super) async fn info(State(app): State<Arc<App>>) -> Json<Info> {
    let models = app.service.models().list();
    let (limits, engine) = (app.service.limits(), app.service.engine().config());
    let own: Vec<ModelInfo> =
        models.iter().enumerate().map(|(place, model)| ModelInfo::new(model, place == 0)).collect();
    let first = models.first();
    let ms = |duration: std::time::Duration| duration.as_millis() as u64;
    Json(Info {
        model_id: first.map_or_else(String::new, |model| model.name().to_owned()),
        model_sha: None,
        model_dtype: match first.map(|model| model.precision()) {
            Some(Precision::Bf16) => "bfloat16",
            Some(Precision::Int8) => "int8",
            _ => "float32",
        },
        served_model_name: first.map_or_else(String::new, |model| model.name().to_owned()),
        model_type: json!({ "reranker": { "id2label": { "0": "LABEL_0" }, "label2id": { "LABEL_0": 0 } } }),
        max_concurrent_requests: app.config.max_connections,
        max_input_length: own.first().map_or(0, |model| model.max_input_length),
        max_batch_tokens: engine.max_batch_tokens,
        max_batch_requests: None,
        max_client_batch_size: limits.max_documents,
        auto_truncate: app.config.auto_truncate,
        tokenization_workers: limits.n_tokenizers,
        version: env!("CARGO_PKG_VERSION"),
        keys: !app.keys.load().is_open(),
        models: own,
        limits: LimitsInfo {
            max_documents: limits.max_documents,
            max_body_bytes: limits.max_body_bytes,
            max_queue_tokens: engine.max_queue_tokens,
            max_queue_ms: ms(engine.max_queue_delay),
            default_timeout_ms: ms(limits.timeout),
            max_timeout_ms: ms(limits.max_timeout),
        },
    })
}

/// The names of the models, as OpenAI lists them.
#[utoipa::path(get, path = "/v1/models", tag = "operations", responses((status = 200, description = "The names of the models.", body = Object)))]
pub(super) async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let list = app.service.models().list();
    let data: Vec<Value> = list
        .iter()
        .map(|model| json!({ "id": model.name(), "root": model.name(), "object": "model", "owned_by": "tamis" }))
        .collect();
    Json(json!({ "object": "list", "data": data }))
}
