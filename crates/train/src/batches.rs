//! Prepared datasets into the micro-batches of every step: a pure function of seed and step.

use tamis_data::{
    Batch, Curriculum, GroupSampler, MixedGroup, Mixing, PairEncoder, SampledGroup, TextShuffle,
    TruncationReport, mix,
};
use tamis_loss::Objective;

use crate::error::Result;
use crate::source::Source;

/// Groups that go through the model together.
#[derive(Debug, Clone)]
pub struct MicroBatch {
    /// Their rows.
    pub batch: Batch,
    /// Labels: `[groups, candidates]`, row after row, 0 where a group is shorter.
    pub labels: Vec<f32>,
    /// Teacher scores in the same places, where training distils.
    pub teacher_scores: Option<Vec<f32>>,
}

impl MicroBatch {
    /// How many things every term of an objective is the mean of.
    pub(crate) fn counts(&self, objective: &Objective) -> Vec<f64> {
        let offsets = self.batch.group_offsets();
        let width = self.labels.len() / self.batch.n_groups().max(1);
        let mut counts = vec![0.0; objective.terms.len()];
        for (group, pair) in offsets.windows(2).enumerate() {
            let places = group * width..group * width + (pair[1] - pair[0]) as usize;
            let teacher = self.teacher_scores.as_ref().map(|scores| &scores[places.clone()]);
            for (sum, count) in
                counts.iter_mut().zip(objective.counts(&self.labels[places.clone()], teacher))
            {
                *sum += count;
            }
        }
        counts
    }
}

/// How groups are drawn and put together.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// Which candidates of a group.
    pub sampler: GroupSampler,
    /// How several datasets share an epoch.
    pub mixing: Mixing,
    /// Groups that go through the model together.
    pub groups_per_batch: usize,
    /// Batches of a step.
    pub accumulation: usize,
    /// Whether candidates need teacher scores.
    pub with_teacher: bool,
    /// Documents of other queries of the batch that are added to every group as negatives.
    pub in_batch_negatives: usize,
    /// The part of long documents whose text is cut into parts and shuffled.
    pub shuffle: f64,
}

/// A group as it was drawn.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The dataset, from 0.
    pub source: usize,
    /// The candidates, as rows of that dataset.
    pub group: SampledGroup,
    /// The group's place in the order of its epoch.
    position: u64,
    /// All positives of the query, drawn or not.
    positives: Vec<u32>,
}

/// Hands out the micro-batches of any step.
pub struct Batches<'a> {
    sources: Vec<Source<'a>>,
    encoder: &'a PairEncoder,
    drawing: Drawing,
    /// A depth of negatives that changes from the first step to the last, and the number of steps.
    curriculum: Option<(Curriculum, u64)>,
    /// The order of the epoch last asked for.
    order: Option<(u64, Vec<MixedGroup>)>,
    steps_per_epoch: u64,
}

impl<'a> Batches<'a> {
    /// Takes datasets whose groups can be sampled.
    ///
    /// # Errors
    /// When not even one step can be filled.
    pub fn new(
        sources: Vec<Source<'a>>,
        encoder: &'a PairEncoder,
        drawing: Drawing,
    ) -> Result<Self> {
        let mut batches =
            Self { sources, encoder, drawing, curriculum: None, order: None, steps_per_epoch: 0 };
        let per_step = batches.per_step();
        let n_groups = batches.order_of(0)?.len();
        if n_groups < per_step {
            let problem = format!(
                "a step takes {per_step} groups with a positive and a negative, found {n_groups}"
            );
            return Err(batches.sources[0].error(problem));
        }
        batches.steps_per_epoch = (n_groups / per_step) as u64;
        Ok(batches)
    }

    /// The same with a depth of negatives that changes over so many steps, in place of the sampler's.
    #[must_use]
    pub fn with_curriculum(mut self, curriculum: Curriculum, steps: u64) -> Self {
        self.curriculum = Some((curriculum, steps));
        self
    }

    /// Groups that training draws from.
    #[must_use]
    pub fn n_groups(&self) -> usize {
        self.sources.iter().map(Source::n_groups).sum()
    }

    /// Groups without a positive or without enough negatives.
    #[must_use]
    pub fn n_left_out(&self) -> usize {
        self.sources.iter().map(Source::n_left_out).sum()
    }

    /// Whole steps in one pass; groups that do not fill a step wait for another epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// The epoch of a step, both counted from 0.
    #[must_use]
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.steps_per_epoch
    }

    /// The groups of a step as they were drawn.
    ///
    /// # Errors
    /// When a group cannot be sampled.
    pub fn groups(&mut self, step: u64) -> Result<Vec<Drawn>> {
        let epoch = self.epoch(step);
        if self.order.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.order = Some((epoch, self.order_of(epoch)?));
        }
        let (_, order) = self.order.as_ref().expect("the order was just drawn");
        let first = (step % self.steps_per_epoch) * self.per_step() as u64;
        let sampler = self.sampler(step);
        let mut drawn = (first..first + self.per_step() as u64)
            .map(|position| {
                let place = order[position as usize];
                let source = &self.sources[place.dataset as usize];
                let (group, positives) =
                    source.sample(&sampler, place.group as usize, epoch, position)?;
                Ok(Drawn { source: place.dataset as usize, group, position, positives })
            })
            .collect::<Result<Vec<Drawn>>>()?;
        if self.drawing.in_batch_negatives > 0 {
            for batch in drawn.chunks_mut(self.drawing.groups_per_batch) {
                add_in_batch_negatives(batch, self.drawing.in_batch_negatives);
            }
        }
        Ok(drawn)
    }

    /// The micro-batches of a step, counted from 0, and what was cut to make them.
    ///
    /// # Errors
    /// When a group cannot be sampled.
    pub fn step(&mut self, step: u64) -> Result<(Vec<MicroBatch>, TruncationReport)> {
        let (groups, epoch) = (self.groups(step)?, self.epoch(step));
        let mut report = TruncationReport::default();
        let micro_batches = groups
            .chunks(self.drawing.groups_per_batch)
            .map(|groups| self.encode(groups, epoch, &mut report))
            .collect::<Result<_>>()?;
        Ok((micro_batches, report))
    }

    /// Every group once, in the order of the datasets, for a loss that is only measured: the same
    /// micro-batches whenever they are asked for.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = Result<MicroBatch>> {
        let places: Vec<(usize, usize)> = (0..)
            .zip(&self.sources)
            .flat_map(|(source, of)| (0..of.n_groups()).map(move |group| (source, group)))
            .collect();
        let size = self.drawing.groups_per_batch;
        (0..places.len()).step_by(size).map(move |start| {
            let end = (start + size).min(places.len());
            let drawn = (start..end)
                .map(|place| {
                    let (source, group) = places[place];
                    let (group, positives) = self.sources[source].sample(
                        &self.drawing.sampler,
                        group,
                        0,
                        place as u64,
                    )?;
                    Ok(Drawn { source, group, position: place as u64, positives })
                })
                .collect::<Result<Vec<Drawn>>>()?;
            self.encode(&drawn, 0, &mut TruncationReport::default())
        })
    }

    fn per_step(&self) -> usize {
        self.drawing.groups_per_batch * self.drawing.accumulation
    }

    /// The sampler as it is at a step.
    fn sampler(&self, step: u64) -> GroupSampler {
        let mut sampler = self.drawing.sampler;
        if let Some((curriculum, steps)) = self.curriculum {
            let part = step as f64 / steps.saturating_sub(1).max(1) as f64;
            sampler.negatives_depth = Some(curriculum.depth(part));
        }
        sampler
    }

    fn order_of(&self, epoch: u64) -> Result<Vec<MixedGroup>> {
        let sampler = &self.drawing.sampler;
        if let [source] = self.sources.as_slice() {
            let order = sampler.epoch_order(source.n_groups(), epoch);
            return Ok(order.into_iter().map(|group| MixedGroup { dataset: 0, group }).collect());
        }
        let sizes: Vec<usize> = self.sources.iter().map(Source::n_groups).collect();
        Ok(mix(&sizes, self.drawing.mixing, sampler.seed, epoch)?)
    }

    fn encode(
        &self,
        groups: &[Drawn],
        epoch: u64,
        report: &mut TruncationReport,
    ) -> Result<MicroBatch> {
        let width = groups.iter().map(|drawn| drawn.group.documents.len()).max().unwrap_or(0);
        let mut batch = Batch::new();
        let mut labels = Vec::with_capacity(groups.len() * width);
        let mut teacher_scores = Vec::with_capacity(groups.len() * width);
        for Drawn { source, group, position, .. } in groups {
            let source = &self.sources[*source];
            let query = source.tokens().query(group.query);
            for (place, &document) in group.documents.iter().enumerate() {
                let shuffled =
                    self.shuffled(source, document, epoch, position * width as u64 + place as u64);
                match shuffled {
                    Some(text) => {
                        let tokens = self.encoder.tokenize(&text)?;
                        self.encoder.encode_ids(query, &tokens, &mut batch, report);
                    }
                    None => {
                        let tokens = source.tokens().document(document);
                        self.encoder.encode_ids(query, tokens, &mut batch, report);
                    }
                }
            }
            batch.end_group();
            labels.extend_from_slice(&group.labels);
            labels.resize(labels.len() + width - group.labels.len(), 0.0);
            teacher_scores.extend(group.teacher_scores.iter().map(|s| s.unwrap_or(0.0)));
            teacher_scores.resize(labels.len(), 0.0);
        }
        self.encoder.align(&mut batch);
        let teacher_scores = self.drawing.with_teacher.then_some(teacher_scores);
        Ok(MicroBatch { batch, labels, teacher_scores })
    }

    /// The text of a document with its parts in another order, where the draw says so.
    fn shuffled(&self, source: &Source<'_>, document: u32, epoch: u64, at: u64) -> Option<String> {
        let (rate, seed) = (self.drawing.shuffle, self.drawing.sampler.seed);
        if rate == 0.0 {
            return None;
        }
        TextShuffle { rate, seed }.apply(source.dataset().corpus().text(document), epoch, at)
    }
}

/// Adds up to `n` documents of the other groups of a batch to each group, with label 0: first those
/// that the next groups have in their first place, then those in their second, and so on. A document
/// that is in the group already, or a positive of its query, is passed over, and so are groups of
/// another dataset.
fn add_in_batch_negatives(groups: &mut [Drawn], n: usize) {
    let own: Vec<(usize, Vec<u32>)> =
        groups.iter().map(|drawn| (drawn.source, drawn.group.documents.clone())).collect();
    let widest = own.iter().map(|(_, documents)| documents.len()).max().unwrap_or(0);
    for (index, Drawn { source, group, positives, .. }) in groups.iter_mut().enumerate() {
        let others = |place: usize| {
            let n_groups = own.len();
            (1..n_groups).map(move |distance| ((index + distance) % n_groups, place))
        };
        let mut n_left = n;
        for (other, place) in (0..widest).flat_map(others) {
            let (of, documents) = &own[other];
            let Some(&document) = documents.get(place) else { continue };
            if n_left == 0 {
                break;
            }
            let is_known = group.documents.contains(&document) || positives.contains(&document);
            if of != source || is_known {
                continue;
            }
            group.documents.push(document);
            group.labels.push(0.0);
            group.teacher_scores.push(None);
            n_left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_in_the_batch_are_never_positives_of_the_query() {
        let drawn = |source: usize, query: u32, documents: &[u32], positives: &[u32]| Drawn {
            source,
            group: SampledGroup {
                query,
                documents: documents.to_vec(),
                labels: (0..documents.len()).map(|i| if i == 0 { 1.0 } else { 0.0 }).collect(),
                teacher_scores: vec![None; documents.len()],
            },
            position: 0,
            positives: positives.to_vec(),
        };
        // Query 0 has 3 for a positive too, query 1 has 5.
        let mut groups = vec![
            drawn(0, 0, &[1, 2], &[1, 3]),
            drawn(0, 1, &[3, 4], &[3, 5]),
            drawn(0, 2, &[5, 2], &[5]),
            // The rows of another dataset are other documents.
            drawn(1, 0, &[8, 9], &[8]),
        ];
        add_in_batch_negatives(&mut groups, 3);
        let documents = |index: usize| groups[index].group.documents.clone();
        assert_eq!(documents(0), [1, 2, 5, 4]);
        assert_eq!(documents(1), [3, 4, 1, 2]);
        assert_eq!(documents(2), [5, 2, 1, 3, 4]);
        assert_eq!(documents(3), [8, 9]);
        assert_eq!(groups[2].group.labels, [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(groups[2].group.teacher_scores.len(), 5);
    }
}
