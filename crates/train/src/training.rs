//! The training loop: reads top to bottom.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use tamis_data::{Dataset, PairEncoder, RowTemplate, TokenStore, output};
use tamis_loss::Objective;
use tamis_model::{Activation, Config, CrossEncoder, Settings, adapter, checkpoint};

use crate::batches::{Batches, Drawing, Drawn};
use crate::card::Card;
use crate::dev::{Dev, Reranking};
use crate::error::{Error, Result};
use crate::event::{Event, Plan, StepRecord};
use crate::identity::Identity;
use crate::learner::{Learner, StepError};
use crate::log::Log;
use crate::optimizer::{LayerRates, n_layers};
use crate::plateau::Plateau;
use crate::precision::Precision;
use crate::recipe::{Init, Recipe, SplitRecipe, TrainRecipe};
use crate::run_directory::RunDirectory;
use crate::schedule::Schedule;
use crate::source::Source;
use crate::state::{self, Progress};
use crate::team::{Team, replica};
use crate::validation::Validation;

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// All steps were taken.
    Finished {
        /// How many.
        steps: u64,
        /// The best value of the selecting measure and the step it followed, with a dev set.
        best: Option<(f64, u64)>,
    },
    /// The caller asked to stop; the state is saved.
    Interrupted {
        /// The last step taken.
        step: u64,
    },
}

/// Trains as the recipe says, from the latest state in the run directory where there is one.
///
/// `stop` is looked at after every step.
///
/// # Errors
/// When a file is missing or wrong, the data does not fit the recipe, or a loss is not finite.
pub fn train(
    recipe: &Recipe,
    run: &RunDirectory,
    device: &Device,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Outcome> {
    let source = &recipe.model.path;
    if let Some(dtype) = recipe.train.precision.dtype()
        && !device.supports_dtype(dtype)
    {
        let problem = format!("train.precision: this device does not compute in {dtype:?}");
        return Err(Error::recipe(&run.recipe_path(), problem));
    }
    Identity::of(recipe)?.check(run)?;
    run.clean()?;
    let (mut model, config, drawn, left_out_tensors) = initial_model(recipe, device)?;
    if let Some(lora) = &recipe.train.lora {
        model = adapter::attach(model, &config, lora, recipe.seed)
            .map_err(|problem| Error::recipe(&run.recipe_path(), format!("train.{problem}")))?;
    }
    if recipe.train.match_attention && !model.can_match_attention() {
        let problem = "train.match_attention: expected a compressor (model.split.compress) with a layer \
                       above it, in an encoder of BERT's kind";
        return Err(Error::recipe(&run.recipe_path(), problem.to_owned()));
    }
    if let Some(exits) = &recipe.train.exits
        && let Some(problem) = exits.problem(&model.depths(), model.encoder().n_layers())
    {
        return Err(Error::recipe(&run.recipe_path(), problem));
    }
    let of_source = Settings::read(source, &config)?;
    let settings = Settings {
        max_length: recipe.data.max_length,
        query_max_length: recipe.data.query_max_length,
        truncation: recipe.data.truncation,
        activation: activation(&recipe.train.loss),
        parts: recipe.model.split.map(|split| split.parts()).or(of_source.parts),
        ..of_source
    };
    let settings = match &recipe.model.template {
        Some(template) => {
            let bad = |problem| Error::recipe(&run.recipe_path(), problem);
            Settings { template: Some(template.find().map_err(bad)?), ..settings }
        }
        None => settings,
    };
    let encoder = settings.encoder(source)?;
    let template = settings.template.as_ref();
    encoder.check_vocabulary(config.vocab_size())?;
    if encoder.n_positions() > config.max_positions() {
        let (found, limit) = (encoder.n_positions(), config.max_positions());
        return Err(tamis_model::Error::TooLong { found, limit }.into());
    }

    let folders = recipe.data.train.as_slice();
    let datasets =
        folders.iter().map(|folder| Ok(Dataset::open(folder)?)).collect::<Result<Vec<_>>>()?;
    let tokens = datasets
        .iter()
        .map(|dataset| tokenise(dataset, &encoder, template, source, observe))
        .collect::<Result<Vec<_>>>()?;
    let drawing = drawing(recipe);
    let (sampler, with_teacher) = (&drawing.sampler, drawing.with_teacher);
    let sources = datasets
        .iter()
        .zip(&tokens)
        .map(|(dataset, tokens)| Source::new(dataset, tokens, sampler, with_teacher))
        .collect::<Result<Vec<_>>>()?;
    let mut batches = Batches::new(sources, &encoder, drawing.clone())?;
    let total_steps = total_steps(&recipe.train, batches.steps_per_epoch());
    if let Some(curriculum) = recipe.data.curriculum {
        batches = batches.with_curriculum(curriculum, total_steps);
    }

    let dev_dataset = recipe.dev.as_ref().map(|dev| Dataset::open(&dev.dataset)).transpose()?;
    let dev_tokens = dev_dataset
        .as_ref()
        .map(|dataset| tokenise(dataset, &encoder, template, source, observe))
        .transpose()?;
    let mut dev = None;
    if let (Some(asked), Some(dataset), Some(tokens)) = (&recipe.dev, &dev_dataset, &dev_tokens) {
        let measures = asked
            .parsed_measures()
            .map_err(|problem| Error::recipe(&run.recipe_path(), problem))?;
        let reranking = (!measures.is_empty())
            .then(|| {
                Reranking::new(
                    dataset,
                    tokens,
                    encoder.clone(),
                    (config.clone(), settings.clone()),
                    device.clone(),
                    measures,
                    (asked.depth, asked.max_queries),
                )
            })
            .transpose()?;
        let validation = asked
            .loss
            .then(|| {
                let source = Source::new(dataset, tokens, sampler, with_teacher)?;
                let objective = recipe.train.loss.clone();
                Validation::new(source, &encoder, &drawing, objective, device.clone())
            })
            .transpose()?;
        dev = Some(Dev { reranking, validation });
    }

    let (n_parameters, n_groups) = (model.num_params(), batches.n_groups());
    let (mut team, resumed) = team(recipe, run, &model, total_steps, device)?;
    let mut progress = resumed.unwrap_or_default();
    let mut log = Log::open(&run.log_path(), progress.step)?;
    let contents = SavedWith { config: &config, settings: &settings, tokenizer: source };
    observe(Event::Started(Plan {
        steps: total_steps,
        resumed_at: progress.step,
        groups: batches.n_groups(),
        left_out: batches.n_left_out(),
        steps_per_epoch: batches.steps_per_epoch(),
        parameters: n_parameters,
        drawn,
        left_out_tensors,
        cut_documents: tokens.iter().map(TokenStore::cut_documents).sum(),
    }));

    let mut plateau = Plateau::new(&recipe.train.loss, schedule(&recipe.train, total_steps));
    while progress.step < total_steps && !progress.finished {
        let start = Instant::now();
        let index = progress.step;
        let (micro_batches, truncated) = batches.step(index)?;
        let data_seconds = start.elapsed().as_secs_f64();
        let taken = match team.step(index, &micro_batches) {
            Ok(taken) => taken,
            Err(StepError::NotFinite { what, value }) => {
                let bad = (what, value);
                return Err(report_bad_batch(run, &datasets, &mut batches, index, bad)?);
            }
            Err(StepError::WorkerLost(lost)) => return Err(lost.into()),
        };
        progress.step += 1;
        let record = StepRecord {
            step: progress.step,
            epoch: batches.epoch(index),
            loss: taken.loss,
            lr: taken.lr,
            grad_norm: taken.grad_norm,
            loss_scale: (recipe.train.precision == Precision::F16)
                .then(|| team.lead().loss_scale().factor()),
            skipped: taken.skipped,
            groups: micro_batches.iter().map(|m| m.batch.n_groups()).sum(),
            tokens: micro_batches.iter().map(|m| m.batch.n_tokens()).sum(),
            truncated_rows: truncated.truncated_rows,
            truncated_queries: truncated.truncated_queries,
            data_seconds,
            seconds: start.elapsed().as_secs_f64(),
        };
        log.write(&record)?;
        let warning = plateau.look(&record, &micro_batches);
        observe(Event::Step(record));
        if let Some(text) = warning {
            observe(Event::Warning { step: progress.step, text });
        }

        let last = progress.step == total_steps;
        let taken_steps = progress.step;
        let is_due = |every: u64| last || (every > 0 && taken_steps.is_multiple_of(every));
        let card = Card {
            recipe,
            datasets: &datasets,
            groups: n_groups,
            parameters: n_parameters,
            step: taken_steps,
            steps: total_steps,
            dev: None,
        };
        let mut evaluated = None;
        if let (Some(dev), Some(asked)) = (&dev, &recipe.dev)
            && is_due(asked.every)
        {
            let record = dev.evaluate(team.lead(), &mut progress, observe)?;
            if record.best {
                contents.save(
                    team.lead(),
                    &run.checkpoint_path(),
                    &Card { dev: Some(&record), ..card },
                )?;
            }
            log.write(&record)?;
            progress.finished = asked.patience.is_some_and(|patience| progress.stale >= patience);
            evaluated = Some(record.clone());
            observe(Event::Dev(record));
        }
        if last && dev.is_none() {
            contents.save(team.lead(), &run.checkpoint_path(), &card)?;
        }
        let stopping = stop.load(Ordering::Relaxed);
        let stopped_early = progress.finished && !last;
        if is_due(recipe.train.save_every) || stopping || stopped_early {
            progress.finished |= last;
            if recipe.train.keep_last > 0 {
                let path = run.step_checkpoint_path(progress.step);
                contents.save(team.lead(), &path, &Card { dev: evaluated.as_ref(), ..card })?;
                forget_checkpoints(run, recipe.train.keep_last, progress.step)?;
            }
            progress.loss_scale = Some(team.lead().loss_scale());
            state::save(run, team.lead(), progress)?;
            observe(Event::Saved { step: progress.step });
        }
        if stopped_early {
            observe(Event::StoppedEarly { step: progress.step, evaluations: progress.stale });
            break;
        }
        if stopping && !last {
            return Ok(Outcome::Interrupted { step: progress.step });
        }
    }
    Ok(Outcome::Finished { steps: progress.step, best: progress.best })
}

fn drawing(recipe: &Recipe) -> Drawing {
    Drawing {
        sampler: recipe.sampler(),
        mixing: recipe.data.mixing,
        groups_per_batch: recipe.train.groups_per_batch,
        accumulation: recipe.train.accumulation,
        with_teacher: recipe.needs_teacher(),
        in_batch_negatives: recipe.data.in_batch_negatives,
        shuffle: recipe.data.shuffle_documents,
    }
}

/// The learners of the recipe, as the run's latest state left them where there is one.
fn team(
    recipe: &Recipe,
    run: &RunDirectory,
    model: &CrossEncoder,
    total_steps: u64,
    device: &Device,
) -> Result<(Team, Option<Progress>)> {
    let TrainRecipe { max_grad_norm, workers, split, .. } = recipe.train;
    let rates = LayerRates {
        decay: recipe.train.layer_decay,
        head: recipe.train.head_lr,
        n_layers: n_layers(model),
    };
    let mut learners = Vec::with_capacity(workers);
    let mut progress: Option<Progress> = None;
    for _ in 0..workers {
        let optimizer = recipe.train.optimizer.build();
        let loaded = state::load(run, replica(model, device), optimizer)?;
        progress = loaded.progress;
        // What is frozen has no gradient, no moments and no step.
        let model = match &recipe.train.lora {
            Some(lora) => adapter::freeze_base(loaded.model, lora.train_head),
            None if recipe.train.match_attention => loaded.model.learning_compressor(),
            None => loaded.model,
        };
        let learner = Learner::resumed(
            model,
            loaded.optimizer,
            recipe.train.loss.clone(),
            schedule(&recipe.train, total_steps),
            (max_grad_norm > 0.0).then_some(max_grad_norm),
            recipe.seed,
            device,
        );
        let learner = learner
            .with_gradient_cache(recipe.train.gradient_cache)
            .with_recomputation(recipe.train.recompute)
            .with_attention_matching(recipe.train.match_attention)
            .with_exits(recipe.train.exits.clone())
            .with_precision(recipe.train.precision, progress.and_then(|p| p.loss_scale))
            .with_layer_rates(rates)
            .with_average(recipe.train.ema_decay, loaded.average);
        learners.push(learner);
    }
    Ok((Team::new(learners, split), progress))
}

/// The model as the recipe starts it, and the names of tensors that were drawn or left out.
fn initial_model(
    recipe: &Recipe,
    device: &Device,
) -> Result<(CrossEncoder, Config, Vec<String>, Vec<String>)> {
    let source = &recipe.model.path;
    let split = recipe.model.split.as_ref().map(SplitRecipe::config);
    let new_head = match recipe.model.init {
        Init::Checkpoint => None,
        Init::NewHead => Some(checkpoint::NewHead { seed: recipe.seed }),
        Init::Scratch => {
            let path = source.join("config.json");
            let mut config = Config::read(&path)?.with_labels(1);
            if let Some(split) = split {
                config = config.with_split(split, true).map_err(|p| Error::recipe(&path, p))?;
            }
            let zeros = CrossEncoder::zeros(&config, device);
            let model = checkpoint::initialise(zeros, &config, recipe.seed);
            return Ok((model, config, Vec::new(), Vec::new()));
        }
    };
    let loaded = match split {
        Some(split) => checkpoint::load_split(source, new_head, split, recipe.seed, device)?,
        None => checkpoint::load(source, new_head, device)?,
    };
    if loaded.config.n_labels != 1 {
        let problem = format!(
            "{}: a reranker has one label, found {}; model.init = \"new-head\" makes one",
            source.display(),
            loaded.config.n_labels
        );
        return Err(Error::recipe(Path::new("recipe.toml"), problem));
    }
    let (mut model, mut config) = (loaded.model, loaded.config);
    if let Some(exits) = recipe.model.exits {
        (model, config) = model
            .with_exits(&config, exits)
            .map_err(|problem| Error::recipe(Path::new("recipe.toml"), problem))?;
    }
    for adapter in &recipe.model.adapters {
        model = adapter::merge(adapter::load(model, &config, adapter)?);
    }
    Ok((model, config, loaded.drawn, loaded.left_out))
}

/// What serving applies to scores of a model trained with this loss.
fn activation(objective: &Objective) -> Activation {
    let pointwise = objective.terms.iter().any(|term| term.loss.is_calibrated());
    if pointwise { Activation::Sigmoid } else { Activation::None }
}

fn tokenise(
    dataset: &Dataset,
    encoder: &PairEncoder,
    template: Option<&RowTemplate>,
    source: &Path,
    observe: &mut dyn FnMut(Event),
) -> Result<TokenStore> {
    let hash = encoding_hash(source, template)?;
    let max_tokens = encoder.config().max_length;
    let mut progress = |done, total| observe(Event::Tokenising { done, total });
    Ok(TokenStore::open_or_build_for(dataset, encoder, &hash, max_tokens, &mut progress)?)
}

/// What tells the tokens of one checkpoint's texts from another's.
fn encoding_hash(source: &Path, template: Option<&RowTemplate>) -> Result<String> {
    let hash = checkpoint::tokenizer_hash(source)?;
    let Some(template) = template else { return Ok(hash) };
    let template = serde_json::to_string(template).expect("a template is text and numbers");
    Ok(checkpoint::hash(format!("{hash} {template}").as_bytes()))
}

fn total_steps(recipe: &TrainRecipe, steps_per_epoch: u64) -> u64 {
    recipe.steps.unwrap_or_else(|| ((recipe.epochs * steps_per_epoch as f64) as u64).max(1))
}

fn schedule(recipe: &TrainRecipe, total_steps: u64) -> Schedule {
    let warmup_steps =
        recipe.warmup_steps.unwrap_or((recipe.warmup_ratio * total_steps as f64) as u64);
    Schedule {
        kind: recipe.schedule,
        peak: recipe.lr,
        warmup_steps,
        total_steps,
        floor: recipe.lr_floor,
        cycles: recipe.lr_cycles,
        decay_ratio: recipe.decay_ratio,
    }
}

/// What every checkpoint of a run has in common.
struct SavedWith<'a> {
    config: &'a Config,
    settings: &'a Settings,
    tokenizer: &'a Path,
}

impl SavedWith<'_> {
    fn save(&self, learner: &Learner, path: &Path, card: &Card<'_>) -> Result<()> {
        let model = learner.model();
        let contents = checkpoint::Contents {
            model: &adapter::merge(model.clone()),
            config: self.config,
            settings: self.settings,
            tokenizer: self.tokenizer,
        };
        checkpoint::save(contents, path)?;
        if let Some(lora) = &card.recipe.train.lora {
            let base = card.recipe.model.path.display().to_string();
            adapter::save(&model, self.config, lora, &base, &path.join("adapter"))?;
        }
        card.write(path)
    }
}

/// Removes the checkpoints before the last `keep`, and those of steps that a resume has not reached.
fn forget_checkpoints(run: &RunDirectory, keep: usize, step: u64) -> Result<()> {
    let (kept, later): (Vec<u64>, Vec<u64>) =
        run.step_checkpoints()?.into_iter().partition(|&of| of <= step);
    let old = kept.len().saturating_sub(keep);
    for step in kept[..old].iter().chain(&later) {
        let path = run.step_checkpoint_path(*step);
        std::fs::remove_dir_all(&path).map_err(|error| Error::io(&path, error))?;
    }
    Ok(())
}

/// Writes the groups of a step that failed, with their texts, and makes the error.
fn report_bad_batch(
    run: &RunDirectory,
    datasets: &[Dataset],
    batches: &mut Batches<'_>,
    step: u64,
    (what, value): (&'static str, f64),
) -> Result<Error> {
    let describe = |Drawn { source, group, .. }: &Drawn| {
        let dataset = &datasets[*source];
        let documents: Vec<serde_json::Value> = group
            .documents
            .iter()
            .zip(&group.labels)
            .map(|(&row, label)| {
                let (id, text) = (dataset.corpus().id(row), dataset.corpus().text(row));
                serde_json::json!({"id": id, "label": label, "text": text})
            })
            .collect();
        let queries = dataset.queries();
        let (id, text) = (queries.id(group.query), queries.text(group.query));
        serde_json::json!({"id": id, "text": text, "documents": documents})
    };
    let groups: Vec<serde_json::Value> = batches.groups(step)?.iter().map(describe).collect();
    let report = serde_json::json!({"step": step + 1, "groups": groups});
    let path = run.bad_batch_path();
    output::write_file(&path, |out| writeln!(out, "{report:#}"))?;
    Ok(Error::NotFinite { step: step + 1, what, value, batch: path })
}
