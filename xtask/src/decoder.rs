//! What a command may ask of a decoder: its template, how deep it goes, how many tokens it carries.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tamis_data::RowTemplate;
use tamis_model::adapter::AdapterUse;
use tamis_model::{Reranker, Settings};

/// Options of decoders; without them the checkpoint's own.
#[derive(clap::Args)]
pub struct DecoderArgs {
    /// What stands around query and document: bge, bge-predict, qwen3-reranker, rag-retrieval, or a
    /// JSON file with segments [default: the checkpoint's]
    #[arg(long, value_name = "NAME")]
    template: Option<String>,

    /// An adapter on the weights, for all requests or for some: PATH, PATH@ratio=2, PATH@exit=4; may be
    /// repeated, and those for all are added to the weights in their order
    #[arg(long = "adapter", value_name = "PATH")]
    adapters: Vec<AdapterUse>,

    /// The depth whose scores are taken: so many layers are computed [default: the checkpoint's]
    #[arg(long, value_name = "DEPTH")]
    exit: Option<usize>,

    /// So many tokens of a document become one at every compress layer
    #[arg(long, value_name = "N")]
    ratio: Option<usize>,

    /// Depths at which documents are shortened, such as 8,16
    #[arg(long, value_name = "DEPTHS", value_delimiter = ',')]
    compress_layers: Vec<usize>,
}

impl DecoderArgs {
    /// The model with what the options say.
    pub fn apply(&self, reranker: Reranker) -> Result<Reranker> {
        let old = reranker.settings();
        let settings = self.settings(old.clone())?;
        if settings == *old { Ok(reranker) } else { Ok(reranker.with_settings(settings)?) }
    }

    /// Adapters that are put on the model when it is opened.
    pub fn adapters(&self) -> &[AdapterUse] {
        &self.adapters
    }

    /// All that scores depend on, for records.
    pub fn describe(&self) -> Result<String> {
        let template = self.template.as_deref().map(template).transpose()?;
        Ok(format!(
            "template {template:?}, exit {:?}, ratio {:?}, compress_layers {:?}, adapters {:?}",
            self.exit,
            self.ratio,
            self.compress_layers,
            self.adapters.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ))
    }

    fn settings(&self, mut settings: Settings) -> Result<Settings> {
        if let Some(name) = &self.template {
            settings.template = Some(template(name)?);
        }
        if let Some(exit) = self.exit {
            settings.effort.exits = vec![exit];
        }
        if let Some(ratio) = self.ratio {
            settings.effort.ratio = ratio;
        }
        if !self.compress_layers.is_empty() {
            settings.effort.compress_layers.clone_from(&self.compress_layers);
        }
        if self.ratio.is_some_and(|ratio| ratio > 1) && settings.effort.compress_layers.is_empty() {
            bail!("--ratio: say where documents are shortened with --compress-layers");
        }
        Ok(settings)
    }
}

/// A template by its name, or from a file.
fn template(name: &str) -> Result<RowTemplate> {
    let mut named = RowTemplate::named();
    if let Some(template) = named.remove(name) {
        return Ok(template);
    }
    if !Path::new(name).exists() {
        let known: Vec<&str> = named.into_keys().collect();
        bail!("--template: expected {} or a file, found `{name}`", known.join(", "));
    }
    let text = std::fs::read_to_string(name).with_context(|| name.to_owned())?;
    serde_json::from_str(&text).with_context(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_names_or_are_files() {
        assert!(template("bge").is_ok());
        let error = template("bgee").unwrap_err().to_string();
        assert!(error.contains("bge, bge-predict") && error.ends_with("found `bgee`"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"segments": [{"text": "{query}"}, {"txt": "{document}"}]}"#)
            .unwrap();
        let name = file.path().to_str().unwrap();
        let error = format!("{:#}", template(name).unwrap_err());
        assert!(error.contains(name) && error.contains("unknown variant `txt`"), "{error}");
    }
}
