//! Candidates of a first stage, reranked and measured beside it.

use std::collections::BTreeMap;

use burn::tensor::Device;
use tamis_data::{
    Dataset, DocId, Group, PairEncoder, Qrels, QueryId, Run, ScoredDocument, TokenStore,
};
use tamis_eval::{Evaluation, Measure, MissingQueries, evaluate};
use tamis_model::{Config, CrossEncoder, IdGroup, Reranker, Settings};

use crate::error::{Error, Result};

/// Groups that are scored in one call, between two signs of life.
const GROUPS_PER_CALL: usize = 16;

/// A dev set, ready to be reranked again and again.
pub struct Reranking<'a> {
    dataset: &'a Dataset,
    tokens: &'a TokenStore,
    encoder: PairEncoder,
    config: Config,
    settings: Settings,
    device: Device,
    measures: Vec<Measure>,
    /// Groups with the candidates that the first stage proposed, the best first.
    groups: Vec<Group>,
    qrels: Qrels,
    first_stage: Evaluation,
}

impl<'a> Reranking<'a> {
    /// Takes the groups of a prepared dataset: candidates with a first-stage score are reranked, the
    /// labels are the judgements.
    ///
    /// # Errors
    /// When no candidate has a first-stage score or no group has a label.
    pub fn new(
        dataset: &'a Dataset,
        tokens: &'a TokenStore,
        encoder: PairEncoder,
        (config, settings): (Config, Settings),
        device: Device,
        measures: Vec<Measure>,
        (depth, max_queries): (usize, Option<usize>),
    ) -> Result<Self> {
        let mut groups = Vec::new();
        let mut qrels = Qrels::new();
        let mut first = Run::new("first stage");
        let n_groups = max_queries.unwrap_or(usize::MAX).min(dataset.groups().len());
        for mut group in dataset.groups().iter().take(n_groups) {
            let query = QueryId::new(dataset.queries().id(group.query))
                .map_err(|error| dataset_error(dataset, error.to_string()))?;
            for candidate in &group.candidates {
                if let Some(label) = candidate.label {
                    let document = document_id(dataset, candidate.document)?;
                    qrels.insert(query.clone(), document, label as i32)?;
                }
            }
            group.candidates.retain(|candidate| candidate.first_stage.is_some());
            let score = |c: &tamis_data::Candidate| c.first_stage.unwrap_or(f32::NEG_INFINITY);
            group.candidates.sort_by(|a, b| score(b).total_cmp(&score(a)));
            group.candidates.truncate(depth);
            let scored = group
                .candidates
                .iter()
                .map(|c| {
                    Ok(ScoredDocument {
                        document: document_id(dataset, c.document)?,
                        score: f64::from(score(c)),
                    })
                })
                .collect::<Result<_>>()?;
            first.insert(query, scored)?;
            groups.push(group);
        }
        if first.n_candidates() == 0 {
            let problem = "no candidate has a first-stage score; prepare it with --run, or measure the loss alone: measures = [], loss = true";
            return Err(dataset_error(dataset, problem.to_owned()));
        }
        let first_stage = evaluate(&qrels, &first, &measures, MissingQueries::Zero)?;
        Ok(Self {
            dataset,
            tokens,
            encoder,
            config,
            settings,
            device,
            measures,
            groups,
            qrels,
            first_stage,
        })
    }

    /// Reranks every group; `progress` is told groups done, of how many.
    ///
    /// # Errors
    /// When a score is not a number.
    pub fn rerank(
        &self,
        model: CrossEncoder,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation> {
        let reranker = Reranker::new(
            model,
            &self.config,
            self.encoder.clone(),
            self.settings.clone(),
            &self.device,
        )?;
        let mut run = Run::new("reranked");
        for (call, groups) in self.groups.chunks(GROUPS_PER_CALL).enumerate() {
            progress(call * GROUPS_PER_CALL, self.groups.len());
            let ids: Vec<IdGroup<'_>> = groups
                .iter()
                .map(|group| IdGroup {
                    query: self.tokens.query(group.query),
                    documents: group
                        .candidates
                        .iter()
                        .map(|c| self.tokens.document(c.document))
                        .collect(),
                })
                .collect();
            let (scores, _) = reranker.score_ids(&ids)?;
            for (group, scores) in groups.iter().zip(scores) {
                let query = QueryId::new(self.dataset.queries().id(group.query))
                    .expect("ids were checked when the dev set was made");
                let scored = group
                    .candidates
                    .iter()
                    .zip(scores)
                    .map(|(candidate, score)| {
                        let document = document_id(self.dataset, candidate.document)?;
                        Ok(ScoredDocument { document, score: f64::from(score) })
                    })
                    .collect::<Result<_>>()?;
                run.insert(query, scored)?;
            }
        }
        Ok(evaluate(&self.qrels, &run, &self.measures, MissingQueries::Zero)?)
    }

    /// How the first stage ranked.
    #[must_use]
    pub fn first_stage(&self) -> &Evaluation {
        &self.first_stage
    }
}

/// The mean of every measure by its name.
pub(super) fn means(evaluation: &Evaluation) -> BTreeMap<String, f64> {
    let measures = evaluation.measures().iter().enumerate();
    measures.map(|(index, measure)| (measure.to_string(), evaluation.summary(index))).collect()
}

fn document_id(dataset: &Dataset, row: u32) -> Result<DocId> {
    DocId::new(dataset.corpus().id(row)).map_err(|error| dataset_error(dataset, error.to_string()))
}

fn dataset_error(dataset: &Dataset, problem: String) -> Error {
    Error::Dataset { path: dataset.path().to_owned(), problem }
}
