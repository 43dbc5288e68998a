//! The models that are served, by name; each can be replaced while requests are under way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::model::{Model, ModelOptions, ModelSpec};

/// All models; the first is the one of requests that name none.
pub struct Models {
    list: ArcSwap<Vec<Arc<Model>>>,
    options: ModelOptions,
}

impl Models {
    /// Opens all of them.
    ///
    /// # Errors
    /// When there is none, two have one name, a store is of no model, or one cannot be opened.
    pub fn open(
        specs: &[ModelSpec],
        terms: &[ModelSpec],
        options: ModelOptions,
        locate: impl Fn(&Path) -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<Self> {
        check(specs, terms)?;
        let mut models = Vec::with_capacity(specs.len());
        for spec in specs {
            let directory = locate(&spec.place)?;
            let terms = terms.iter().find(|store| store.name == spec.name);
            let terms = terms.map(|store| store.place.as_path());
            models.push(Model::open(&spec.name, &directory, terms, &options)?);
        }
        Ok(Self::new(models, options))
    }

    /// Serves models that are open already.
    #[must_use]
    pub fn new(models: Vec<Model>, options: ModelOptions) -> Self {
        let list = models.into_iter().map(Arc::new).collect();
        Self { list: ArcSwap::from_pointee(list), options }
    }

    /// All models as they are now.
    #[must_use]
    pub fn list(&self) -> Arc<Vec<Arc<Model>>> {
        self.list.load_full()
    }

    /// The model of that name, or the first where no name is given.
    pub(crate) fn get(&self, name: Option<&str>) -> Result<Arc<Model>, Failure> {
        let list = self.list.load();
        let found = match name {
            None => list.first(),
            Some(name) => list.iter().find(|model| model.name() == name),
        };
        found.cloned().ok_or_else(|| Failure::UnknownModel {
            name: name.unwrap_or_default().to_owned(),
            known: list.iter().map(|model| model.name()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Reads models again: all, or only those whose files have changed. One that cannot be read stays as it
    /// is; requests that are under way end with the model that they began with.
    pub(crate) async fn reload(self: &Arc<Self>, engine: &Engine, only_stale: bool) {
        for old in self.list().iter() {
            let (models, before) = (self.clone(), old.clone());
            let read = tokio::task::spawn_blocking(move || {
                if only_stale && !before.is_stale() {
                    return None;
                }
                let directory = before.directory().to_owned();
                Some(Model::open(before.name(), &directory, before.terms(), &models.options))
            });
            let opened = match read.await {
                Ok(None) => continue,
                Ok(Some(opened)) => opened.map_err(Failure::from),
                Err(error) => Err(Failure::Internal(error.to_string())),
            };
            // It is warm before the first request sees it.
            let ready = match opened {
                Ok(model) => engine.warm_up(model.scorer()).await.map(|()| model),
                Err(failure) => Err(failure),
            };
            let outcome = match ready {
                Ok(model) => {
                    self.replace(model);
                    tracing::info!(model = old.name(), "the model was read again");
                    "replaced"
                }
                Err(failure) => {
                    let problem = failure.to_string();
                    tracing::error!(
                        model = old.name(),
                        problem,
                        "the model could not be read again"
                    );
                    "failed"
                }
            };
            let labels = [("model", old.name().to_owned()), ("outcome", outcome.to_owned())];
            metrics::counter!("tamis_reloads_total", &labels).increment(1);
        }
    }

    fn replace(&self, model: Model) {
        let model = Arc::new(model);
        self.list.rcu(|list| {
            let next = |old: &Arc<Model>| {
                if old.name() == model.name() { model.clone() } else { old.clone() }
            };
            list.iter().map(next).collect::<Vec<_>>()
        });
    }
}

fn check(specs: &[ModelSpec], terms: &[ModelSpec]) -> anyhow::Result<()> {
    anyhow::ensure!(!specs.is_empty(), "no model; expected --model FOLDER or NAME=FOLDER");
    for (index, spec) in specs.iter().enumerate() {
        let twice = specs.iter().take(index).any(|other| other.name == spec.name);
        anyhow::ensure!(!twice, "--model {spec}: two models are called `{}`", spec.name);
    }
    for store in terms {
        let known = specs.iter().any(|spec| spec.name == store.name);
        anyhow::ensure!(
            known,
            "--terms {store}: there is no model `{}`; expected --terms MODEL=STORE with the name of a --model",
            store.name,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let specs = |texts: &[&str]| -> Vec<ModelSpec> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(check(&specs(&["a=x", "b=x"]), &specs(&["b=store"])).is_ok());
        let problem = |models, terms| check(&specs(models), &specs(terms)).unwrap_err().to_string();
        assert_eq!(problem(&[], &[]), "no model; expected --model FOLDER or NAME=FOLDER");
        assert_eq!(problem(&["x/a", "a=y"], &[]), "--model a=y: two models are called `a`");
        assert!(problem(&["a"], &["b=store"]).contains("there is no model `b`"));
    }
}
