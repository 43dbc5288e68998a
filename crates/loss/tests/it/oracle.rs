//! Every loss once more in 64-bit floats and plain loops, and its slope by central differences.

use tamis_loss::{Gain, LambdaLoss, Loss, RankNet, Space, Weighting};

use crate::Batch;

/// The candidates of one group: score, label, teacher's score.
type Group = Vec<[f64; 3]>;

fn groups(batch: &Batch) -> Vec<Group> {
    let row = |row: usize| {
        let places = (0..batch.mask[row].len()).filter(|&place| batch.mask[row][place]);
        let values = |place: usize| {
            [&batch.scores, &batch.labels, &batch.teacher].map(|rows| f64::from(rows[row][place]))
        };
        places.map(values).collect()
    };
    (0..batch.scores.len()).map(row).collect()
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// `-log σ(x)`
fn softplus_of_minus(x: f64) -> f64 {
    if x >= 0.0 { (-x).exp().ln_1p() } else { -x + x.exp().ln_1p() }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let highest = values.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    highest + values.iter().map(|v| (v - highest).exp()).sum::<f64>().ln()
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let total = log_sum_exp(values);
    values.iter().map(|v| (v - total).exp()).collect()
}

fn log_softmax(values: &[f64]) -> Vec<f64> {
    let total = log_sum_exp(values);
    values.iter().map(|v| v - total).collect()
}

/// Places sorted by value, the highest first; equal values keep their order.
fn order(values: &[f64]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    places
}

fn mean(terms: &[f64]) -> f64 {
    if terms.is_empty() { 0.0 } else { terms.iter().sum::<f64>() / terms.len() as f64 }
}

fn column(group: &Group, index: usize) -> Vec<f64> {
    group.iter().map(|candidate| candidate[index]).collect()
}

fn activate(values: &[f64], space: Space) -> Vec<f64> {
    match space {
        Space::Logit => values.to_vec(),
        Space::Sigmoid => values.iter().map(|&v| sigmoid(v)).collect(),
    }
}

fn discount(rank: f64) -> f64 {
    1.0 / (1.0 + rank).log2()
}

/// The value of a loss.
pub(crate) fn value(loss: &Loss, batch: &Batch) -> f64 {
    let groups = groups(batch);
    match loss {
        // A mean over candidates or pairs of the whole batch.
        Loss::Bce(_)
        | Loss::Mse(_)
        | Loss::AdrMse(_)
        | Loss::MarginMse(_)
        | Loss::RankNet(_)
        | Loss::LambdaLoss(_)
        | Loss::Hinge(_) => {
            mean(&groups.iter().flat_map(|group| terms(loss, group)).collect::<Vec<_>>())
        }
        _ => mean(&groups.iter().filter_map(|group| of_group(loss, group)).collect::<Vec<_>>()),
    }
}

/// The terms of one group in a mean over the batch.
fn terms(loss: &Loss, group: &Group) -> Vec<f64> {
    let (s, y, t) = (column(group, 0), column(group, 1), column(group, 2));
    let n = s.len();
    let all_pairs = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
    let preferred = || all_pairs().filter(|&(i, j)| y[i] > y[j]);
    match loss {
        Loss::Bce(bce) => (0..n)
            .map(|i| {
                let positive = bce.pos_weight * y[i] * softplus_of_minus(s[i]);
                positive + (1.0 - y[i]) * softplus_of_minus(-s[i])
            })
            .collect(),
        Loss::Mse(mse) => {
            activate(&s, mse.space).iter().zip(&y).map(|(a, b)| (a - b).powi(2)).collect()
        }
        Loss::AdrMse(adr) => (0..n)
            .map(|i| {
                let above = y.iter().filter(|&&other| other > y[i]).count() as f64;
                let level = y.iter().filter(|&&other| other == y[i]).count() as f64;
                let rank = above + (level + 1.0) / 2.0;
                (rank - smooth_rank(&s, i, adr.alpha)).powi(2) * discount(rank)
            })
            .collect(),
        Loss::MarginMse(_) => all_pairs()
            .filter(|&(i, j)| y[i] > 0.0 && y[j] <= 0.0)
            .map(|(i, j)| ((s[i] - s[j]) - (t[i] - t[j])).powi(2))
            .collect(),
        Loss::Hinge(hinge) => {
            preferred().map(|(i, j)| (hinge.margin - s[i] + s[j]).max(0.0)).collect()
        }
        Loss::RankNet(RankNet { sigma, k, weigh_by_gap }) => {
            let rank = ranks(&s);
            preferred()
                .filter(|&(i, j)| k.is_none_or(|k| rank[i] <= k || rank[j] <= k))
                .map(|(i, j)| {
                    let weight = if *weigh_by_gap { y[i] - y[j] } else { 1.0 };
                    weight * softplus_of_minus(sigma * (s[i] - s[j]))
                })
                .collect()
        }
        Loss::LambdaLoss(lambda) => lambda_terms(lambda, &s, &y),
        _ => unreachable!("a mean over groups"),
    }
}

fn ranks(values: &[f64]) -> Vec<usize> {
    let mut ranks = vec![0; values.len()];
    for (position, place) in order(values).into_iter().enumerate() {
        ranks[place] = position + 1;
    }
    ranks
}

fn lambda_terms(lambda: &LambdaLoss, s: &[f64], y: &[f64]) -> Vec<f64> {
    let (n, rank) = (s.len(), ranks(s));
    let k = lambda.k.unwrap_or(n);
    let mut labels = y.to_vec();
    labels.sort_by(|a, b| b.total_cmp(a));
    let ideal: f64 = labels
        .iter()
        .take(k)
        .enumerate()
        .map(|(i, y)| (y.exp2() - 1.0) * discount(i as f64 + 1.0))
        .sum();
    let gain: Vec<f64> = y.iter().map(|y| (y.exp2() - 1.0) / ideal.max(1e-10)).collect();
    let of = |i: usize| discount(rank[i] as f64);
    let mut terms = Vec::new();
    for i in 0..n {
        for j in 0..n {
            let compared = lambda.weighting == Weighting::NdcgLoss1 || y[i] > y[j];
            if !compared || (rank[i] > k && rank[j] > k) {
                continue;
            }
            let gap = (gain[i] - gain[j]).abs();
            let distance = rank[i].abs_diff(rank[j]) as f64;
            let near = (discount(distance) - discount(distance + 1.0)).abs() * gap;
            let swap = (of(i) - of(j)).abs() * gap;
            let weight = match lambda.weighting {
                Weighting::None => 1.0,
                Weighting::NdcgLoss1 => gain[i] * of(i),
                Weighting::NdcgLoss2 => near,
                Weighting::LambdaRank => swap,
                Weighting::NdcgLoss2pp => lambda.mu * near + swap,
            };
            let bits = softplus_of_minus(lambda.sigma * (s[i] - s[j])) / std::f64::consts::LN_2;
            terms.push(weight * bits);
        }
    }
    terms
}

fn smooth_rank(s: &[f64], i: usize, sharpness: f64) -> f64 {
    let others = (0..s.len()).filter(|&j| j != i);
    1.0 + others.map(|j| sigmoid(sharpness * (s[j] - s[i]))).sum::<f64>()
}

/// The loss of one group in a mean over groups; `None` when it does not count.
fn of_group(loss: &Loss, group: &Group) -> Option<f64> {
    let (s, y, t) = (column(group, 0), column(group, 1), column(group, 2));
    if s.is_empty() {
        return None;
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let divided = |values: &[f64], by: f64| values.iter().map(|v| v / by).collect::<Vec<_>>();
    let positives: Vec<usize> = (0..s.len()).filter(|&i| y[i] > 0.0).collect();
    match loss {
        Loss::Lce(lce) => {
            let log_p = log_softmax(&divided(&s, lce.temperature));
            let chosen: Vec<f64> = positives.iter().map(|&i| -log_p[i]).collect();
            (!chosen.is_empty()).then(|| mean(&chosen))
        }
        Loss::MultipleNegatives(multiple) => {
            let scaled = divided(&activate(&s, multiple.space), 1.0 / multiple.scale);
            let log_p = log_softmax(&scaled);
            let chosen: Vec<f64> = positives.iter().map(|&i| -log_p[i]).collect();
            (!chosen.is_empty()).then(|| mean(&chosen))
        }
        Loss::CrossEntropy(cross) => {
            let total: f64 = y.iter().sum();
            let smooth = cross.label_smoothing;
            let target: Vec<f64> =
                y.iter().map(|y| (1.0 - smooth) * y / total + smooth / s.len() as f64).collect();
            (total > 0.0).then(|| -dot(&target, &log_softmax(&s)))
        }
        Loss::KlDivergence(kl) => {
            let log_p = log_softmax(&divided(&t, kl.teacher_temperature));
            let log_q = log_softmax(&divided(&s, kl.temperature));
            Some(log_p.iter().zip(&log_q).map(|(p, q)| p.exp() * (p - q)).sum())
        }
        Loss::ListNet(net) => {
            let log_q = log_softmax(&divided(&s, net.temperature));
            let counted: Vec<usize> =
                (0..s.len()).filter(|&i| !net.positives_only || y[i] != 0.0).collect();
            let labels: Vec<f64> = counted.iter().map(|&i| y[i] / net.label_temperature).collect();
            let p = softmax(&labels);
            (!counted.is_empty())
                .then(|| -counted.iter().zip(p).map(|(&i, p)| p * log_q[i]).sum::<f64>())
        }
        Loss::ListMle(_) => Some(choices(&s, &y).iter().sum()),
        Loss::PListMle(mle) => {
            let n = s.len();
            let weights: Vec<f64> = (1..=n).map(|i| ((n - i) as f64).exp2() - 1.0).collect();
            let total: f64 = weights.iter().sum();
            let terms = choices(&activate(&s, mle.space), &y);
            Some(if total > 0.0 { dot(&weights, &terms) / total } else { 0.0 })
        }
        Loss::ApproxNdcg(ndcg) => {
            let gains: Vec<f64> = y
                .iter()
                .map(|&y| if ndcg.gain == Gain::Linear { y } else { y.exp2() - 1.0 })
                .collect();
            let by_label = order(&y);
            let ideal: f64 = by_label
                .iter()
                .enumerate()
                .map(|(r, &i)| gains[i] * discount(r as f64 + 1.0))
                .sum();
            let found: f64 = (0..s.len())
                .map(|i| gains[i] * discount(smooth_rank(&s, i, 1.0 / ndcg.temperature)))
                .sum();
            (ideal > 0.0).then(|| 1.0 - found / ideal)
        }
        Loss::ApproxMrr(mrr) => {
            let best = positives
                .iter()
                .map(|&i| 1.0 / smooth_rank(&s, i, 1.0 / mrr.temperature))
                .fold(f64::NEG_INFINITY, f64::max);
            (!positives.is_empty()).then_some(1.0 - best)
        }
        Loss::Pearson(_) => {
            let centred = |v: &[f64]| v.iter().map(|x| x - mean(v)).collect::<Vec<_>>();
            let (s, y) = (centred(&s), centred(&y));
            let (ss, yy) = (dot(&s, &s), dot(&y, &y));
            (yy > 1e-12).then(|| 1.0 - dot(&s, &y) / ((ss + 1e-6) * yy).sqrt())
        }
        _ => unreachable!("a mean over the batch"),
    }
}

/// What each choice of ListMLE costs, in the order of the labels.
fn choices(s: &[f64], y: &[f64]) -> Vec<f64> {
    let sorted: Vec<f64> = order(y).into_iter().map(|i| s[i]).collect();
    (0..sorted.len()).map(|i| log_sum_exp(&sorted[i..]) - sorted[i]).collect()
}
