//! A prepared dataset into the groups that training can draw from.

use tamis_data::{Dataset, GroupSampler, Positives, SampledGroup, Shortage, TokenStore};

use crate::error::{Error, Result};

/// A dataset, its tokens, and which of its groups can be sampled.
pub struct Source<'a> {
    dataset: &'a Dataset,
    tokens: &'a TokenStore,
    usable: Vec<u32>,
}

impl<'a> Source<'a> {
    /// Looks through the groups once for those that can be sampled.
    ///
    /// # Errors
    /// When teacher scores are needed and one is missing.
    pub fn new(
        dataset: &'a Dataset,
        tokens: &'a TokenStore,
        sampler: &GroupSampler,
        with_teacher: bool,
    ) -> Result<Self> {
        let mut source = Self { dataset, tokens, usable: Vec::new() };
        if with_teacher && sampler.shortage == Shortage::Fill {
            let problem = "the loss needs teacher scores, which documents that fill groups up lack";
            return Err(source.error(problem.to_owned()));
        }
        for (index, group) in dataset.groups().iter().enumerate() {
            let positives =
                group.candidates.iter().filter(|c| c.label.is_some_and(|l| l > 0.0)).count();
            let negatives = group.candidates.len() - positives;
            let negatives = negatives.min(sampler.negatives_depth.unwrap_or(usize::MAX));
            let wanted = match sampler.shortage {
                // Next to one positive, or of all candidates.
                Shortage::Skip if sampler.positives == Positives::Any => sampler.group_size,
                Shortage::Skip => sampler.group_size - 1,
                Shortage::Keep | Shortage::Repeat => usize::from(sampler.group_size > 1),
                Shortage::Fill => 0,
            };
            let is_usable = match sampler.positives {
                Positives::Any => positives + negatives >= wanted.max(1),
                Positives::One | Positives::All => positives > 0 && negatives >= wanted,
            };
            if is_usable {
                source.usable.push(u32::try_from(index).expect("groups are counted in u32"));
            }
            let lacks = with_teacher && group.candidates.iter().any(|c| c.teacher_score.is_none());
            if lacks {
                let query = dataset.queries().id(group.query);
                return Err(source.error(format!(
                    "the loss needs teacher scores, but query `{query}` has candidates without"
                )));
            }
        }
        Ok(source)
    }

    /// Groups that can be sampled.
    #[must_use]
    pub fn n_groups(&self) -> usize {
        self.usable.len()
    }

    /// Groups that cannot.
    #[must_use]
    pub fn n_left_out(&self) -> usize {
        self.dataset.groups().len() - self.usable.len()
    }

    pub(crate) fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    pub(crate) fn tokens(&self) -> &'a TokenStore {
        self.tokens
    }

    /// Draws from one of the groups that can be sampled; also returns all positives of its query.
    pub(crate) fn sample(
        &self,
        sampler: &GroupSampler,
        group: usize,
        epoch: u64,
        position: u64,
    ) -> Result<(SampledGroup, Vec<u32>)> {
        let group = self.dataset.groups().get(self.usable[group] as usize);
        let n_documents = self.dataset.corpus().len() as u32;
        let sampled = sampler.sample_from(&group, n_documents, epoch, position)?;
        let positives = group.candidates.iter().filter(|c| c.label.is_some_and(|l| l > 0.0));
        let positives = positives.map(|c| c.document).collect();
        Ok((sampled.expect("groups that would be skipped are not usable"), positives))
    }

    pub(crate) fn error(&self, problem: String) -> Error {
        Error::Dataset { path: self.dataset.path().to_owned(), problem }
    }
}
