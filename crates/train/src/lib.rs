#![doc = include_str!("../README.md")]

mod average;
mod backward;
mod batches;
mod card;
mod collective;
mod dev;
mod error;
mod event;
mod gradients;
mod identity;
mod learner;
mod log;
mod optimizer;
mod plateau;
mod precision;
mod recipe;
mod run_directory;
mod schedule;
mod source;
mod state;
mod team;
mod tensorboard;
mod training;
mod validation;
mod workers;

pub use batches::{Batches, Drawing, Drawn, MicroBatch};
pub use collective::{Collective, Threads, WorkerLost};
pub use dev::{DevRecord, LOSS, Reranking};
pub use error::{Error, Result};
pub use event::{Event, Plan, StepRecord};
pub use learner::{Learner, StepError, Taken};
pub use optimizer::{
    AdafactorRecipe, AdamWRecipe, LayerRates, LionRecipe, MuonRecipe, OptimizerRecipe,
};
pub use precision::{LossScale, Precision};
pub use recipe::{
    DataRecipe, DevRecipe, ExitRecipe, Folders, Init, ModelRecipe, Recipe, SplitRecipe,
    TemplateRecipe, TrainRecipe,
};
pub use run_directory::RunDirectory;
pub use schedule::{Schedule, ScheduleKind};
pub use source::Source;
pub use tensorboard::EventFile;
pub use training::{Outcome, train};
pub use workers::{Split, Worker};
