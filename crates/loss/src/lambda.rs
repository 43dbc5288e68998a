//! LambdaLoss: pairs weighted by what swapping them would do to nDCG.

use burn::tensor::{Bool, Tensor, activation::log_sigmoid};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{masked, pairs};

/// How pairs are weighted; `G` are gains, `D` discounts by rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// 1: RankNet.
    None,
    /// `G_i / D_i`, over all pairs whatever their labels.
    NdcgLoss1,
    /// `|1/D_|i-j| - 1/D_(|i-j|+1)| · |G_i - G_j|`
    NdcgLoss2,
    /// `|1/D_i - 1/D_j| · |G_i - G_j|`
    LambdaRank,
    /// `mu · ndcg-loss2 + lambda-rank`
    #[default]
    NdcgLoss2pp,
}

/// Pairs by the logistic loss, weighted for nDCG: the mean over pairs of the batch.
///
/// # Formula
/// ```text
/// G_i = (2^y_i - 1) / maxDCG@k,  D_r = log2(1 + r),  r the rank of i by score
/// L = -mean over (i, j) with y_i > y_j of  w_ij log2 σ(sigma (s_i - s_j))
/// ```
///
/// # Source
/// Wang, Li, Golbandi, Bendersky and Najork 2018, "The LambdaLoss Framework for Ranking Metric
/// Optimization", sections 4 to 6. As in sentence-transformers 6, a pair counts when one of the two is
/// among the `k` highest scores; differs from version 5, where both had to be, and where `log σ` was
/// clamped and the gradient vanished for far scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LambdaLoss {
    /// `none`, `ndcg-loss1`, `ndcg-loss2`, `lambda-rank` or `ndcg-loss2pp`.
    pub weighting: Weighting,
    /// The share of `ndcg-loss2` in `ndcg-loss2pp`.
    pub mu: f64,
    /// The cutoff of nDCG; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Steepness of the logistic function; above 0.
    pub sigma: f64,
}

impl Default for LambdaLoss {
    fn default() -> Self {
        Self { weighting: Weighting::default(), mu: 10.0, k: None, sigma: 1.0 }
    }
}

/// The smallest ideal DCG that gains are divided by.
const SMALLEST_DCG: f64 = 1e-10;

impl LambdaLoss {
    /// Returns the mean over pairs: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let (scores, mask) = (input.candidate_scores(), input.mask());
        let ranks = pairs::ranks(scores.clone(), mask.clone());
        let mut counted = match self.weighting {
            Weighting::NdcgLoss1 => pairs::present(mask),
            _ => pairs::preferred(input),
        };
        if let Some(k) = self.k {
            let (i, j) = (pairs::first(ranks.clone()), pairs::second(ranks.clone()));
            let top = i.lower_equal_elem(k as f64).bool_or(j.lower_equal_elem(k as f64));
            counted = counted.bool_and(top);
        }
        let terms = log_sigmoid(pairs::difference(scores) * self.sigma).neg();
        let terms = match self.weights(self.gains(input), ranks, &counted) {
            Some(weights) => terms * weights,
            None => terms,
        };
        masked::mean(terms / std::f64::consts::LN_2, counted)
    }

    /// `G`: `[groups, candidates]`.
    fn gains(&self, input: &LossInput) -> Tensor<2> {
        let absent = input.mask().bool_not();
        let gains = (pairs::exp2(input.labels()) - 1.0).mask_fill(absent, 0.0);
        let ideal = pairs::ranks(input.labels(), input.mask());
        let mut discounted = gains.clone() * pairs::discount(ideal.clone());
        if let Some(k) = self.k {
            discounted = discounted.mask_fill(ideal.greater_elem(k as f64), 0.0);
        }
        gains / discounted.sum_dim(1).clamp_min(SMALLEST_DCG)
    }

    /// The weight of every pair, 0 where none is counted; `None` when all are 1.
    fn weights(
        &self,
        gains: Tensor<2>,
        ranks: Tensor<2>,
        counted: &Tensor<3, Bool>,
    ) -> Option<Tensor<3>> {
        let gap = || pairs::difference(gains.clone()).abs();
        let near = || {
            // The diagonal is never counted here; a distance of 1 keeps its logarithm finite.
            let distance = pairs::difference(ranks.clone()).abs().clamp_min(1.0);
            (pairs::discount(distance.clone()) - pairs::discount(distance + 1.0)).abs() * gap()
        };
        let swap = || pairs::difference(pairs::discount(ranks.clone())).abs() * gap();
        let weights = match self.weighting {
            Weighting::None => return None,
            Weighting::NdcgLoss1 => pairs::first(gains.clone() * pairs::discount(ranks.clone())),
            Weighting::NdcgLoss2 => near(),
            Weighting::LambdaRank => swap(),
            Weighting::NdcgLoss2pp => near() * self.mu + swap(),
        };
        Some(weights.mask_fill(counted.clone().bool_not(), 0.0))
    }
}
