//! What was measured of every exit and ratio, and the best of it within a budget.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::PlanArgs;

/// The grid of a checkpoint on a dev set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// What tells this measurement from others.
    pub key: String,
    /// The measure of quality.
    pub measure: String,
    /// Candidates per query.
    pub depth: usize,
    /// Where documents are shortened.
    pub compress_layers: Vec<usize>,
    /// The first stage's own quality.
    pub first_stage: f64,
    pub cells: Vec<Cell>,
}

/// One exit and ratio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub exit: usize,
    pub ratio: usize,
    /// The mean of the measure over all queries.
    pub quality: f64,
    /// The median of one query.
    pub ms: f64,
    /// The time that nine queries of ten stay below.
    pub ms_90: f64,
    /// Operations of the timed queries, as the cost model counts them, beside those of the deepest exit.
    pub relative_cost: f64,
}

impl Grid {
    /// All cells, nothing measured yet. An exit below every compress layer is the same at any ratio, and is
    /// there once.
    pub fn new(key: String, args: &PlanArgs, exits: &[usize], compress_layers: Vec<usize>) -> Self {
        let (mut exits, mut ratios) = (exits.to_vec(), args.ratios.clone());
        for values in [&mut exits, &mut ratios] {
            values.sort_unstable();
            values.dedup();
        }
        let first = compress_layers.iter().copied().min().unwrap_or(usize::MAX);
        let cells = exits
            .iter()
            .flat_map(|&exit| ratios.iter().map(move |&ratio| (exit, ratio)))
            .filter(|&(exit, ratio)| exit > first || ratio == ratios[0])
            .map(|(exit, ratio)| Cell {
                exit,
                ratio,
                quality: 0.0,
                ms: 0.0,
                ms_90: 0.0,
                relative_cost: 0.0,
            })
            .collect();
        let measure = args.measure.to_string();
        Self { key, measure, depth: args.depth, compress_layers, first_stage: 0.0, cells }
    }

    /// The grid of a file, if it is of this measurement.
    pub fn read(path: &Path, key: &str) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let grid: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok((grid.key == key).then_some(grid))
    }

    /// The ratios, the smallest first.
    pub fn ratios(&self) -> Vec<usize> {
        let mut ratios: Vec<usize> = self.cells.iter().map(|cell| cell.ratio).collect();
        ratios.sort_unstable();
        ratios.dedup();
        ratios
    }

    /// The best cell whose median is within a budget; of two that rank equally well the faster one.
    pub fn pick(&self, budget_ms: f64) -> Option<&Cell> {
        let within = self.cells.iter().filter(|cell| cell.ms <= budget_ms);
        within.max_by(|a, b| a.quality.total_cmp(&b.quality).then(b.ms.total_cmp(&a.ms)))
    }

    /// The cells that no other beats in both quality and latency, the fastest first.
    pub fn front(&self) -> Vec<&Cell> {
        let mut cells: Vec<&Cell> = self.cells.iter().collect();
        cells.sort_by(|a, b| a.ms.total_cmp(&b.ms).then(b.quality.total_cmp(&a.quality)));
        let mut best = f64::NEG_INFINITY;
        cells.retain(|cell| {
            let is_better = cell.quality > best;
            best = best.max(cell.quality);
            is_better
        });
        cells
    }

    /// The grid as a Markdown table.
    pub fn table(&self) -> String {
        let front = self.front();
        let mut table = format!(
            "| exit | ratio | {} | ms, median | ms, 90 % | cost | on the front |\n\
             |---:|---:|---:|---:|---:|---:|---|\n",
            self.measure
        );
        for cell in &self.cells {
            let Cell { exit, ratio, quality, ms, ms_90, relative_cost } = cell;
            let mark = if front.contains(&cell) { "yes" } else { "" };
            writeln!(
                table,
                "| {exit} | {ratio} | {quality:.4} | {ms:.1} | {ms_90:.1} | {relative_cost:.3} | {mark} |"
            )
            .expect("writing to a string succeeds");
        }
        writeln!(table, "\nfirst stage: {} {:.4}", self.measure, self.first_stage)
            .expect("writing to a string succeeds");
        table
    }
}

impl Cell {
    /// The options that ask for this cell.
    pub fn options(&self, compress_layers: &[usize]) -> String {
        if self.ratio == 1 {
            return format!("--exit {}", self.exit);
        }
        let layers: Vec<String> = compress_layers.iter().map(usize::to_string).collect();
        format!(
            "--exit {} --ratio {} --compress-layers {}",
            self.exit,
            self.ratio,
            layers.join(",")
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::plan) fn grid() -> Grid {
        let cell = |(exit, ratio, quality, ms): (usize, usize, f64, f64)| Cell {
            exit,
            ratio,
            quality,
            ms,
            ms_90: ms * 1.2,
            relative_cost: ms / 40.0,
        };
        let cells =
            [(2, 1, 0.30, 10.0), (4, 1, 0.50, 20.0), (4, 2, 0.45, 25.0), (8, 1, 0.50, 40.0)];
        Grid {
            key: "k".into(),
            measure: "nDCG@10".into(),
            depth: 50,
            compress_layers: vec![2],
            first_stage: 0.4,
            cells: cells.map(cell).to_vec(),
        }
    }

    #[test]
    fn the_best_within_a_budget_is_picked() {
        let grid = grid();
        let pick = |budget| grid.pick(budget).map(|cell| (cell.exit, cell.ratio));
        assert_eq!(pick(9.0), None);
        assert_eq!(pick(10.0), Some((2, 1)));
        assert_eq!(pick(30.0), Some((4, 1)));
        // The deepest exit is no better, so that its time is not spent.
        assert_eq!(pick(100.0), Some((4, 1)));
    }

    #[test]
    fn the_front_has_what_nothing_beats() {
        let grid = grid();
        let front: Vec<_> = grid.front().iter().map(|cell| (cell.exit, cell.ratio)).collect();
        assert_eq!(front, [(2, 1), (4, 1)]);
        assert!(grid.table().contains("| 4 | 2 | 0.4500 | 25.0 | 30.0 | 0.625 |  |"));
        let options = grid.cells[2].options(&grid.compress_layers);
        assert_eq!(options, "--exit 4 --ratio 2 --compress-layers 2");
    }

    #[test]
    fn a_grid_of_other_inputs_is_measured_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.json");
        assert_eq!(Grid::read(&path, "k").unwrap(), None);
        std::fs::write(&path, serde_json::to_vec(&grid()).unwrap()).unwrap();
        assert_eq!(Grid::read(&path, "k").unwrap(), Some(grid()));
        assert_eq!(Grid::read(&path, "other").unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert!(format!("{:#}", Grid::read(&path, "k").unwrap_err()).contains("grid.json"));
    }
}
