//! What is known about a checkpoint into its model card, `README.md`.

use std::path::Path;

use tamis_data::{Dataset, output};

use crate::dev::DevRecord;
use crate::error::Result;
use crate::recipe::Recipe;

/// The version of burn that the workspace pins.
const BURN: &str = "0.22.1";

/// What a card tells.
pub(crate) struct Card<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) datasets: &'a [Dataset],
    pub(crate) groups: usize,
    pub(crate) parameters: usize,
    pub(crate) step: u64,
    pub(crate) steps: u64,
    /// The evaluation of this step, if there was one.
    pub(crate) dev: Option<&'a DevRecord>,
}

impl Card<'_> {
    /// Writes `README.md` into a checkpoint.
    pub(crate) fn write(&self, checkpoint: &Path) -> Result<()> {
        let text = self.text();
        output::write_file(&checkpoint.join("README.md"), |out| out.write_all(text.as_bytes()))?;
        Ok(())
    }

    fn text(&self) -> String {
        let Self { recipe, datasets, groups, parameters, step, steps, dev } = self;
        let losses: Vec<String> = recipe
            .train
            .loss
            .terms
            .iter()
            .map(|term| {
                let value = serde_json::to_value(term).expect("a term serialises");
                value["name"].as_str().unwrap_or("?").to_owned()
            })
            .collect();
        let mut text = format!(
            "---\nlibrary_name: tamis\npipeline_tag: text-ranking\ntags:\n- cross-encoder\n- reranker\n---\n\
             # Reranker\n\n\
             A cross-encoder of {:.1} million parameters: it reads a query and a document together and \
             returns one score, the higher the more relevant.\n\n\
             It began from `{}` ({}) and was trained with `{}` for {step} of {steps} steps.\n",
            *parameters as f64 / 1e6,
            recipe.model.path.display(),
            match recipe.model.init {
                crate::Init::Checkpoint => "weights and head",
                crate::Init::NewHead => "weights, with a new head",
                crate::Init::Scratch => "its configuration only, weights drawn from the seed",
            },
            losses.join("` + `"),
        );
        if let Some(dev) = dev {
            text += "\n## Measures\n\nOn the dev set; measures are those of the first stage's candidates, reranked:\n\n";
            text += "| measure | first stage | reranked |\n|---|---|---|\n";
            for (name, value) in &dev.dev {
                let first = dev.first_stage.get(name);
                let first = first.map_or_else(String::new, |value| format!("{value:.4}"));
                text += &format!("| {name} | {first} | {value:.4} |\n");
            }
        }
        text += &format!("\n## Data\n\n{groups} groups were trained on, made from:\n\n");
        text += "| role | file | sha256 |\n|---|---|---|\n";
        for source in datasets.iter().flat_map(|dataset| &dataset.manifest().sources) {
            text += &format!("| {} | `{}` | `{}` |\n", source.role, source.path, source.sha256);
        }
        text += "\n## Recipe\n\n```toml\n";
        text += &recipe.to_toml();
        text +=
            &format!("```\n\n## Versions\n\ntamis {}, burn {BURN}\n", env!("CARGO_PKG_VERSION"));
        text
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_burn_is_the_one_that_is_pinned() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        let version = table["workspace"]["dependencies"]["burn"]["version"].as_str().unwrap();
        assert_eq!(version, format!("={}", super::BURN));
    }
}
