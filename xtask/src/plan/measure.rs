//! A dev set into the quality and the latency of every exit and ratio.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tamis_data::{
    DocId, Qrels, QueryId, Run, ScoredDocument, TextGroup, TruncationReport, format, output,
};
use tamis_eval::{Measure, MissingQueries, evaluate};
use tamis_model::{Effort, Reranker, RowTokens};

use super::PlanArgs;
use super::grid::{Cell, Grid};
use crate::progress::{Progress, say};

/// Queries that are scored in one call, between two signs of life.
const QUERIES_PER_CALL: usize = 8;

/// Judged queries with the texts of their candidates.
pub struct Collection {
    queries: BTreeMap<QueryId, String>,
    documents: BTreeMap<DocId, String>,
    first: Run,
    qrels: Qrels,
    measure: Measure,
}

impl Collection {
    pub fn read(args: &PlanArgs) -> Result<Self> {
        let (run, judged) = (format::read_run(&args.run)?, format::read_qrels(&args.qrels)?);
        let (mut first, mut qrels) = (Run::new("first stage"), Qrels::new());
        let judged_only = run.iter().filter(|(query, _)| judged.query(query.as_str()).is_some());
        for (query, candidates) in judged_only.take(args.max_queries.unwrap_or(usize::MAX)) {
            let n = args.depth.min(candidates.len());
            first.insert(query.clone(), candidates[..n].to_vec())?;
            for (document, &relevance) in judged.query(query.as_str()).into_iter().flatten() {
                qrels.insert(query.clone(), document.clone(), relevance)?;
            }
        }
        ensure!(
            first.n_queries() > 0,
            "{}: no query of the run is judged in {}",
            args.run.display(),
            args.qrels.display()
        );
        let mut queries = BTreeMap::new();
        let all = format::read_queries(&args.queries)?;
        for (query, _) in first.iter() {
            let text = all
                .get(query.as_str())
                .with_context(|| format!("{}: unknown query `{query}`", args.run.display()))?;
            queries.insert(query.clone(), text.clone());
        }
        let corpus: Vec<&Path> = args.corpus.iter().map(|path| path.as_path()).collect();
        let documents = format::read_documents_of_run(&corpus, &first)?;
        Ok(Self { queries, documents, first, qrels, measure: args.measure.clone() })
    }

    fn group(&self, (query, candidates): (&QueryId, &[ScoredDocument])) -> TextGroup<'_> {
        let text = |c: &ScoredDocument| self.documents[c.document.as_str()].as_str();
        let documents = candidates.iter().map(text).collect();
        TextGroup { query: &self.queries[query.as_str()], documents }
    }

    fn quality(&self, run: &Run) -> Result<f64> {
        let measures = [self.measure.clone()];
        Ok(evaluate(&self.qrels, run, &measures, MissingQueries::Zero)?.summary(0))
    }

    /// Fills in the quality of every cell: one pass for each ratio, which gives all exits.
    pub fn qualities(
        &self,
        reranker: &Reranker,
        grid: &mut Grid,
        out: Option<&Path>,
    ) -> Result<()> {
        grid.first_stage = self.quality(&self.first)?;
        let ratios = grid.ratios();
        let total = (ratios.len() * self.first.n_candidates()) as u64;
        let mut progress = Progress::new("quality", "pairs", 0, total);
        let (mut done, mut report) = (0, TruncationReport::default());
        for &ratio in &ratios {
            let exits: Vec<usize> = grid
                .cells
                .iter()
                .filter(|cell| cell.ratio == ratio)
                .map(|cell| cell.exit)
                .collect();
            let effort = Effort { exits, ratio, compress_layers: grid.compress_layers.clone() };
            let mut runs: BTreeMap<usize, Run> = BTreeMap::new();
            let entries: Vec<_> = self.first.iter().collect();
            for entries in entries.chunks(QUERIES_PER_CALL) {
                let groups: Vec<_> = entries.iter().map(|&entry| self.group(entry)).collect();
                let (exits, cut) = reranker.score_at(&groups, &effort)?;
                report.merge(&cut);
                for exit in exits {
                    let tag = format!("exit-{}-ratio-{ratio}", exit.depth);
                    let run = runs.entry(exit.depth).or_insert_with(|| Run::new(&tag));
                    for (&(query, candidates), scores) in entries.iter().zip(exit.scores) {
                        let scored = candidates.iter().zip(scores).map(|(c, score)| {
                            let score = f64::from(score);
                            ScoredDocument { document: c.document.clone(), score }
                        });
                        run.insert(query.clone(), scored.collect())?;
                    }
                }
                done += entries.iter().map(|(_, candidates)| candidates.len() as u64).sum::<u64>();
                progress.set(done, &format!("ratio {ratio}"));
            }
            for (exit, run) in &runs {
                let quality = self.quality(run)?;
                let is_it = |cell: &&mut Cell| (cell.exit, cell.ratio) == (*exit, ratio);
                let cell = grid.cells.iter_mut().find(is_it);
                cell.expect("every exit that was asked for is a cell").quality = quality;
                if let Some(out) = out {
                    let folder = out.join("runs");
                    std::fs::create_dir_all(&folder)
                        .with_context(|| folder.display().to_string())?;
                    let path = folder.join(format!("{}.run", run.tag()));
                    output::write_file(&path, |file| format::trec::write_run(run, file))?;
                }
            }
        }
        progress.finish();
        say(&format!(
            "{} queries; {} rows were cut to {} tokens",
            self.first.n_queries(),
            report.truncated_rows,
            reranker.settings().max_length
        ));
        Ok(())
    }
}

/// Some queries of the dev set, evenly spread.
pub struct Timing<'a> {
    collection: &'a Collection,
    queries: Vec<(&'a QueryId, &'a [ScoredDocument])>,
}

impl<'a> Timing<'a> {
    pub fn of(collection: &'a Collection, n: usize) -> Self {
        let all: Vec<_> = collection.first.iter().collect();
        let n = n.min(all.len());
        let queries = (0..n).map(|i| all[i * all.len() / n]).collect();
        Self { collection, queries }
    }

    /// Fills in latency and cost. Every query goes through all cells in turn, so that whatever else the
    /// machine does falls on all of them.
    pub fn run(&self, reranker: &Reranker, grid: &mut Grid) -> Result<()> {
        let efforts: Vec<Effort> = grid
            .cells
            .iter()
            .map(|cell| Effort {
                exits: vec![cell.exit],
                ratio: cell.ratio,
                compress_layers: grid.compress_layers.clone(),
            })
            .collect();
        let mut seconds = vec![Vec::with_capacity(self.queries.len()); efforts.len()];
        let mut progress = Progress::new("latency", "queries", 0, self.queries.len() as u64);
        for (index, &entry) in self.queries.iter().enumerate() {
            let group = [self.collection.group(entry)];
            if index == 0 {
                reranker.score_at(&group, &efforts[efforts.len() - 1])?;
            }
            for (effort, seconds) in efforts.iter().zip(&mut seconds) {
                let start = Instant::now();
                reranker.score_at(&group, effort)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
            progress.set(index as u64 + 1, "");
        }
        progress.finish();
        let costs = self.costs(reranker, &efforts);
        let whole = costs.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        for ((cell, mut seconds), cost) in grid.cells.iter_mut().zip(seconds).zip(costs) {
            seconds.sort_by(f64::total_cmp);
            let at =
                |part: f64| 1e3 * seconds[(part * (seconds.len() - 1) as f64).round() as usize];
            (cell.ms, cell.ms_90) = (at(0.5), at(0.9));
            cell.relative_cost = cost / whole;
        }
        Ok(())
    }

    /// What the cost model says of every effort, for rows of the greatest length.
    fn costs(&self, reranker: &Reranker, efforts: &[Effort]) -> Vec<f64> {
        let Some(model) = reranker.cost_model() else { return vec![1.0; efforts.len()] };
        let settings = reranker.settings();
        let before = settings.query_max_length.min(settings.max_length / 4);
        let row = RowTokens { before, document: settings.max_length - before - 1, after: 1 };
        let rows = vec![row; self.queries.first().map_or(1, |(_, candidates)| candidates.len())];
        efforts.iter().map(|effort| model.operations(&rows, before, effort)).collect()
    }
}
