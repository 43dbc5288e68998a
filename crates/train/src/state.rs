//! What resuming needs: weights with their identities, the optimiser's moments, the step, the best.

use std::path::Path;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};
use tamis_data::output::OutputFolder;
use tamis_model::CrossEncoder;

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::precision::LossScale;
use crate::run_directory::RunDirectory;

/// The part of the state that is not tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps taken.
    pub(crate) step: u64,
    /// The best value of the selecting measure, and the step it followed.
    pub(crate) best: Option<(f64, u64)>,
    /// Whether the recipe's last step was taken, or training stopped early.
    pub(crate) finished: bool,
    /// Evaluations since the best one.
    #[serde(default)]
    pub(crate) stale: u64,
    /// What gradients are multiplied by.
    #[serde(default)]
    pub(crate) loss_scale: Option<LossScale>,
}

/// Saves the state after a step, then removes older ones. A state has its name only when it is whole.
pub(crate) fn save(run: &RunDirectory, learner: &Learner, progress: Progress) -> Result<()> {
    let folder = OutputFolder::create(&run.state_path(progress.step), true)?;
    let path = |name: &str| folder.path().join(name);
    let failed = |error: &dyn ToString| Error::state(folder.path(), error.to_string());
    let model = learner.trained().clone();
    model.save_file(path("model")).map_err(|error| failed(&error))?;
    if let Some(average) = learner.average() {
        average.clone().save_file(path("average")).map_err(|error| failed(&error))?;
    }
    learner.optimizer().save(path("optimizer")).map_err(|error| failed(&error))?;
    let text = serde_json::to_vec(&progress).expect("progress serialises");
    std::fs::write(path("progress.json"), text).map_err(|error| failed(&error))?;
    sync(folder.path())?;
    folder.commit()?;
    for old in run.states()?.into_iter().filter(|&step| step != progress.step) {
        let path = run.state_path(old);
        std::fs::remove_dir_all(&path).map_err(|error| Error::io(&path, error))?;
    }
    Ok(())
}

/// What was read of a run's latest state.
pub(crate) struct Loaded {
    pub(crate) model: CrossEncoder,
    pub(crate) optimizer: ModuleOptimizer,
    /// The moving average, where one was kept.
    pub(crate) average: Option<CrossEncoder>,
    /// `None` when the run was stopped before it saved a state.
    pub(crate) progress: Option<Progress>,
}

/// Reads the latest state into a model and an optimiser of the same recipe.
pub(crate) fn load(
    run: &RunDirectory,
    model: CrossEncoder,
    optimizer: ModuleOptimizer,
) -> Result<Loaded> {
    let Some(step) = run.states()?.pop() else {
        return Ok(Loaded { model, optimizer, average: None, progress: None });
    };
    let folder = run.state_path(step);
    let path = |name: &str| folder.join(name);
    let failed = |error: &dyn ToString| Error::state(&folder, error.to_string());
    let text = std::fs::read(path("progress.json")).map_err(|error| failed(&error))?;
    let progress = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    let average = path("average.bpk")
        .exists()
        .then(|| model.clone().try_load_file(path("average")).map_err(|error| failed(&error)));
    let model = model.try_load_file(path("model")).map_err(|error| failed(&error))?;
    let optimizer = optimizer.load(path("optimizer")).map_err(|error| failed(&error))?;
    Ok(Loaded { model, optimizer, average: average.transpose()?, progress: Some(progress) })
}

fn sync(folder: &Path) -> Result<()> {
    let io = |error| Error::io(folder, error);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let file = std::fs::File::open(entry.map_err(io)?.path()).map_err(io)?;
        file.sync_all().map_err(io)?;
    }
    Ok(())
}
