//! Grades with set gains into trec_eval's gain measures, with the rules of its C code.

use crate::measure::discount;
use crate::ranking::Ranking;

/// The gain of each grade of a topic, and how many documents have it, lowest gain first.
pub(crate) struct Gains {
    levels: Vec<Level>,
}

#[derive(Clone, Copy)]
struct Level {
    grade: i64,
    n: usize,
    gain: f64,
}

impl Gains {
    /// Gains are the grades, but for those that `pairs` set.
    pub(crate) fn new(ranking: &Ranking, pairs: &[(i64, f64)]) -> Self {
        let mut levels: Vec<Level> =
            pairs.iter().map(|&(grade, gain)| Level { grade, n: 0, gain }).collect();
        let highest = ranking.judged().first().copied().unwrap_or(-1);
        for grade in 0..=i64::from(highest) {
            let n = ranking.judged().iter().filter(|&&g| i64::from(g) == grade).count();
            match levels.iter_mut().find(|level| level.grade == grade) {
                Some(level) => level.n = n,
                None => levels.push(Level { grade, n, gain: grade as f64 }),
            }
        }
        // The C code compares by the difference cut to an integer, which is no order: gains that
        // differ by less than 1 keep their places. Insertion accepts that as it accepts any order.
        for end in 1..levels.len() {
            for at in (0..end).rev() {
                if (levels[at].gain - levels[at + 1].gain) as i64 <= 0 {
                    break;
                }
                levels.swap(at, at + 1);
            }
        }
        Self { levels }
    }

    /// The gain of a retrieved document.
    pub(crate) fn of(&self, grade: Option<i32>) -> f64 {
        let class = match grade {
            None => -1,
            Some(grade) if grade < 0 => -2,
            Some(grade) => i64::from(grade),
        };
        self.levels.iter().find(|level| level.grade == class).map_or(0.0, |level| level.gain)
    }

    /// The positive gains of all judged documents, best first.
    fn ideal(&self) -> Vec<f64> {
        let positive = self.levels.iter().rev().take_while(|level| level.gain > 0.0);
        positive.flat_map(|level| std::iter::repeat_n(level.gain, level.n)).collect()
    }

    fn retrieved(&self, ranking: &Ranking) -> Vec<f64> {
        ranking.grades().iter().map(|&grade| self.of(grade)).collect()
    }
}

/// `ndcg`.
pub(crate) fn ndcg(ranking: &Ranking, gains: &Gains) -> f64 {
    let ideal = dcg(&gains.ideal());
    if ideal > 0.0 { dcg(&gains.retrieved(ranking)) / ideal } else { 0.0 }
}

/// `ndcg_rel`: nDCG averaged over the ranks of documents with a gain.
pub(crate) fn ndcg_rel(ranking: &Ranking, gains: &Gains) -> f64 {
    let (ideal, retrieved) = (gains.ideal(), gains.retrieved(ranking));
    let (mut sum, mut n_retrieved) = (0.0, 0.0);
    let (mut results, mut best) = (0.0, 0.0);
    for (index, &gain) in retrieved.iter().enumerate() {
        results += term(gain, index);
        best += ideal.get(index).map_or(0.0, |&gain| term(gain, index));
        if gain > 0.0 {
            sum += results / best;
            n_retrieved += 1.0;
        }
    }
    let whole = dcg(&ideal);
    sum += (ideal.len() as f64 - n_retrieved) * results / whole;
    if sum > 0.0 { sum / ideal.len() as f64 } else { 0.0 }
}

/// `Rndcg`: nDCG averaged over the ranks where the ideal gain falls.
pub(crate) fn r_ndcg(ranking: &Ranking, gains: &Gains, level: i32) -> f64 {
    if ranking.n_relevant(level) == 0 {
        return 0.0;
    }
    let (ideal, retrieved) = (gains.ideal(), gains.retrieved(ranking));
    let (mut sum, mut n_points) = (0.0, 0.0);
    let (mut results, mut best) = (0.0, 0.0);
    let mut point = |results: f64, best: f64| {
        if best > 0.0 {
            sum += results / best;
            n_points += 1.0;
        }
    };
    for index in 0..retrieved.len().max(ideal.len() + 1) {
        if index > 0 && index <= ideal.len() && ideal.get(index) != Some(&ideal[index - 1]) {
            point(results, best);
        }
        results += retrieved.get(index).map_or(0.0, |&gain| term(gain, index));
        best += ideal.get(index).map_or(0.0, |&gain| term(gain, index));
    }
    if ideal.len() + 1 < retrieved.len() {
        point(results, best);
    }
    sum / n_points
}

/// `G`: gains discounted by the cost of what the ideal ranking would have found by then.
pub(crate) fn g(ranking: &Ranking, gains: &Gains) -> f64 {
    let ideal = gains.ideal();
    let (mut sum, mut found, mut cost) = (0.0, 0.0, 0.0);
    for (index, gain) in gains.retrieved(ranking).into_iter().enumerate() {
        found += gain;
        cost += ideal.get(index).map_or(1.0, |&gain| f64::max(gain, 1.0));
        if gain != 0.0 {
            sum += gain / (2.0 + cost - found).log2();
        }
    }
    let best: f64 = ideal.iter().sum();
    if best > 0.0 { sum / best } else { 0.0 }
}

/// `binG`: the mean over relevant documents of 1 / log2(2 + non-relevant ones before it).
pub(crate) fn binary_g(ranking: &Ranking, level: i32) -> f64 {
    let ranks = ranking.relevant_ranks(level, None).zip(1..);
    let sum = ranks.fold(0.0, |sum, (rank, n)| sum + 1.0 / ((2 + rank - n) as f64).log2());
    let n_relevant = ranking.n_relevant(level);
    if sum > 0.0 { sum / n_relevant as f64 } else { 0.0 }
}

/// `rbp`: rank-biased precision with gains brought into `[0, 1]` where they are not.
///
/// Differs: the C code reads its lowest and highest gain uninitialised; they start from 0 here.
pub(crate) fn rbp(ranking: &Ranking, mut gains: Gains, p: f64) -> f64 {
    let values = || gains.levels.iter().map(|level| level.gain);
    let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    if low < 0.0 || high > 1.0 {
        for level in &mut gains.levels {
            level.gain = (level.gain - low) / (high - low);
        }
    }
    let (mut sum, mut weight) = (0.0, 1.0);
    for gain in gains.retrieved(ranking) {
        sum += gain * weight;
        weight *= p;
    }
    (1.0 - p) * sum
}

/// `rbp_resid`: how much of `rbp` hangs on documents without judgement.
pub(crate) fn rbp_residual(ranking: &Ranking) -> f64 {
    const P: f64 = 0.9;
    let (mut sum, mut weight, mut any) = (0.0, 1.0, false);
    for grade in ranking.grades() {
        if grade.is_none_or(|grade| grade < 0) {
            sum += weight;
            any = true;
        }
        weight *= P;
    }
    if any { weight + (1.0 - P) * sum } else { 0.0 }
}

fn dcg(gains: &[f64]) -> f64 {
    gains.iter().enumerate().fold(0.0, |sum, (index, &gain)| sum + term(gain, index))
}

fn term(gain: f64, index: usize) -> f64 {
    if gain == 0.0 { 0.0 } else { gain / discount(index + 1) }
}
