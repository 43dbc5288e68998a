//! `train.jsonl` into the steps and dev evaluations so far, read on as it grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use tamis_train::{DevRecord, StepRecord};

/// Steps that the shown loss and speed are means over.
const RECENT: usize = 25;

/// What a run has logged.
pub struct History {
    path: PathBuf,
    /// Bytes that have been read: whole lines.
    read: u64,
    measure: Option<String>,
    pub steps: Vec<StepRecord>,
    pub devs: Vec<DevRecord>,
}

/// One value over steps.
pub type Curve = Vec<(f64, f64)>;

impl History {
    pub fn new(path: PathBuf, measure: Option<String>) -> Self {
        Self { path, read: 0, measure, steps: Vec::new(), devs: Vec::new() }
    }

    /// Reads the lines that have come since the last call.
    pub fn read(&mut self) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            // The log comes with the first step.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context(format!("{}", self.path.display())),
        };
        if file.metadata()?.len() < self.read {
            // A run that goes on drops the lines after its state.
            let (path, measure) = (self.path.clone(), self.measure.take());
            *self = Self::new(path, measure);
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("{}", self.path.display()))?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            self.read += line.len() as u64;
            self.take(line)?;
        }
        Ok(())
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let wrong = || format!("{}: not a line of a run's log: {line}", self.path.display());
        let value: serde_json::Value = serde_json::from_str(line).with_context(wrong)?;
        if value.get("dev").is_some() {
            let record: DevRecord = serde_json::from_value(value).with_context(wrong)?;
            if self.measure.is_none() {
                self.measure = record.dev.keys().next().cloned();
            }
            self.devs.push(record);
        } else if value.get("loss").is_some() {
            self.steps.push(serde_json::from_value(value).with_context(wrong)?);
        }
        Ok(())
    }

    /// The dev measure that is drawn.
    pub fn measure(&self) -> Option<&str> {
        self.measure.as_deref()
    }

    /// The last steps, over which means are taken.
    fn recent(&self) -> &[StepRecord] {
        &self.steps[self.steps.len().saturating_sub(RECENT)..]
    }

    /// The mean loss of the last steps.
    pub fn recent_loss(&self) -> Option<f64> {
        let recent = self.recent();
        let sum: f64 = recent.iter().map(|step| step.loss).sum();
        (!recent.is_empty()).then(|| sum / recent.len() as f64)
    }

    /// Groups and tokens a second over the last steps.
    pub fn speed(&self) -> Option<(f64, f64)> {
        let recent = self.recent();
        let seconds: f64 = recent.iter().map(|step| step.seconds).sum();
        let groups: usize = recent.iter().map(|step| step.groups).sum();
        let tokens: usize = recent.iter().map(|step| step.tokens).sum();
        (seconds > 0.0).then(|| (groups as f64 / seconds, tokens as f64 / seconds))
    }

    /// The loss of every step.
    pub fn losses(&self) -> Curve {
        self.steps.iter().map(|step| (step.step as f64, step.loss)).collect()
    }

    /// The mean loss of the last steps, at every step.
    pub fn mean_losses(&self) -> Curve {
        let mut sum = 0.0;
        let mut curve = Vec::with_capacity(self.steps.len());
        for (index, step) in self.steps.iter().enumerate() {
            sum += step.loss;
            if index >= RECENT {
                sum -= self.steps[index - RECENT].loss;
            }
            curve.push((step.step as f64, sum / (index + 1).min(RECENT) as f64));
        }
        curve
    }

    /// The learning rate of every step.
    pub fn rates(&self) -> Curve {
        self.steps.iter().map(|step| (step.step as f64, step.lr)).collect()
    }

    /// The drawn dev measure after reranking, and that of the first stage.
    pub fn dev_curves(&self) -> (Curve, Curve) {
        let Some(measure) = &self.measure else {
            return (Vec::new(), Vec::new());
        };
        let curve = |values: fn(&DevRecord) -> &std::collections::BTreeMap<String, f64>| {
            let points = self
                .devs
                .iter()
                .filter_map(|dev| Some((dev.step as f64, *values(dev).get(measure)?)));
            points.collect()
        };
        (curve(|dev| &dev.dev), curve(|dev| &dev.first_stage))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::io::Write;

    /// A line of a step whose loss is given.
    pub fn step(step: u64, loss: f64) -> String {
        let record = StepRecord {
            step,
            epoch: 0,
            loss,
            lr: 1e-5,
            grad_norm: 1.0,
            groups: 4,
            tokens: 1000,
            truncated_rows: 0,
            truncated_queries: 0,
            data_seconds: 0.0,
            loss_scale: None,
            skipped: false,
            seconds: 0.5,
        };
        serde_json::to_string(&record).unwrap() + "\n"
    }

    pub const DEV: &str = "{\"step\":2,\"dev\":{\"nDCG@10\":0.5},\"first_stage\":{\"nDCG@10\":0.4},\
                           \"best\":true,\"seconds\":1.0}\n";

    #[test]
    fn lines_are_read_as_they_come_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        let mut history = History::new(path.clone(), None);
        history.read().unwrap();
        assert!(history.steps.is_empty());

        let mut log = File::create(&path).unwrap();
        let (first, second) = (step(1, 2.0), step(2, 1.0));
        log.write_all(first.as_bytes()).unwrap();
        log.write_all(&second.as_bytes()[..10]).unwrap();
        history.read().unwrap();
        assert_eq!(history.losses(), [(1.0, 2.0)]);

        log.write_all(&second.as_bytes()[10..]).unwrap();
        log.write_all(DEV.as_bytes()).unwrap();
        history.read().unwrap();
        assert_eq!(history.mean_losses(), [(1.0, 2.0), (2.0, 1.5)]);
        assert_eq!(history.measure(), Some("nDCG@10"));
        assert_eq!(history.dev_curves(), (vec![(2.0, 0.5)], vec![(2.0, 0.4)]));
        assert_eq!(history.speed(), Some((8.0, 2000.0)));

        // A run that goes on from an earlier state writes a shorter log.
        std::fs::write(&path, &first).unwrap();
        history.read().unwrap();
        assert_eq!((history.steps.len(), history.devs.len()), (1, 0));

        std::fs::write(&path, "{\"step\":1}\nnonsense\n").unwrap();
        let error = History::new(path, None).read().unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}
