//! The losses into the page `docs/losses.md`.

/// The page on all losses: names, formulas, sources, parameters and labels, in Markdown.
///
/// `docs/losses.md` is this text; a test fails where the two differ.
#[must_use]
pub fn losses_page() -> String {
    let mut out = String::from(INTRODUCTION);
    for entry in ENTRIES {
        let Entry { name, title, formula, source, labels, parameters } = entry;
        out.push_str(&format!("\n## `{name}`: {title}\n\n```text\n{formula}\n```\n\n"));
        out.push_str(&format!("- *Labels*: {labels}\n- *Source*: {source}\n"));
        for (parameter, meaning) in *parameters {
            out.push_str(&format!("- `{parameter}`: {meaning}\n"));
        }
    }
    out
}

const INTRODUCTION: &str = "\
<!-- Made from crates/loss/src/page.rs: UPDATE_DOCS=1 cargo nextest run --workspace losses_page. Do not edit. -->
# Losses

A recipe names one or several losses, which are summed:

```toml
[train]
loss = [{ name = \"lce\" }, { name = \"kl\", weight = 0.5, temperature = 2.0 }]
```

Every term takes `weight` (1 if not given) and `target`: `\"label\"` (if not given), or `\"teacher-score\"`, with which the loss reads the teacher's scores where it says labels.
`{ name = \"ranknet\", target = \"teacher-score\" }` distils the order of a teacher, for example.

- *Groups* are a query and its candidates, q; s are scores (raw logits), y labels, t teacher scores, n the candidates of a group, σ the logistic function.
- Places without a candidate are never read, and a group with padding has the same loss as one without.
- Where there is nothing to compare (no positive, no two labels that differ) a group adds nothing; where no group adds anything the loss is 0, with a gradient of 0.
- All are finite, with finite gradients, for scores of ±10 000.
- Equal scores or labels that must be ordered keep the order of the candidates.
";

struct Entry {
    name: &'static str,
    title: &'static str,
    formula: &'static str,
    source: &'static str,
    labels: &'static str,
    parameters: &'static [(&'static str, &'static str)],
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: "lce",
        title: "localised contrastive estimation",
        formula: "L = -mean over q of 1/|P| Σ_{p in P} log softmax(s / temperature)_p,  P = {d: y_d > 0}",
        source: "Gao, Dai and Callan 2021, *Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline*, section 3",
        labels: "above 0 for positives, 0 for negatives",
        parameters: &[("temperature", "divides scores in the loss only; 1")],
    },
    Entry {
        name: "cross-entropy",
        title: "softmax cross-entropy with a target distribution",
        formula: "p = (1 - label_smoothing) y / Σ y + label_smoothing / n\nL = -mean over q of Σ_d p_d log softmax(s)_d",
        source: "`torch.nn.CrossEntropyLoss`; smoothing after Szegedy et al. 2016, *Rethinking the Inception Architecture*, section 7",
        labels: "0 or above, scaled to sum to 1. A head with several labels has one group per row and one candidate per class, with label 1 for the right class",
        parameters: &[("label_smoothing", "the part of the target spread over all candidates; 0")],
    },
    Entry {
        name: "multiple-negatives",
        title: "multiple-negatives ranking, in the batch",
        formula: "a(s) = σ(s) or s\nL = -mean over q of log softmax(scale · a(s))_+",
        source: "Henderson et al. 2017, *Efficient Natural Language Response Suggestion for Smart Reply*, section 4.4; sentence-transformers' `MultipleNegativesRankingLoss`",
        labels: "above 0 for the positive; `data.in_batch_negatives` of a recipe adds documents of the batch's other queries with label 0",
        parameters: &[
            ("scale", "multiplies activated scores; 10"),
            ("space", "`sigmoid` or `logit`, what a is; `sigmoid`"),
        ],
    },
    Entry {
        name: "bce",
        title: "binary cross-entropy",
        formula: "L = -mean over d of  pos_weight · y log σ(s) + (1 - y) log(1 - σ(s))",
        source: "`torch.nn.BCEWithLogitsLoss`; RAG-Retrieval's `point_ce`",
        labels: "in [0, 1]",
        parameters: &[("pos_weight", "weight of the positive part; 1")],
    },
    Entry {
        name: "mse",
        title: "mean squared error",
        formula: "L = mean over d of (a(s) - y)²,  a(s) = s or σ(s)",
        source: "RAG-Retrieval's `point_mse`; sentence-transformers' `MSELoss`",
        labels: "any number; in [0, 1] with `sigmoid`",
        parameters: &[("space", "`logit` or `sigmoid`, what a is; `logit`")],
    },
    Entry {
        name: "ranknet",
        title: "RankNet",
        formula: "L = mean over (i, j) with y_i > y_j of  w log(1 + exp(-sigma (s_i - s_j))),  w = 1 or y_i - y_j",
        source: "Burges et al. 2005, *Learning to Rank using Gradient Descent*, section 3. sentence-transformers' `RankNetLoss` has base 2: `weight = 1.4426950408889634`",
        labels: "any number; only their order counts, and their distance with `weigh_by_gap`",
        parameters: &[
            ("sigma", "steepness; 1"),
            ("k", "only pairs with one of the two among the k highest scores; all if not given"),
            ("weigh_by_gap", "whether w is y_i - y_j; false"),
        ],
    },
    Entry {
        name: "lambda",
        title: "LambdaLoss",
        formula: "G_i = (2^y_i - 1) / maxDCG@k,  D_r = log2(1 + r),  i and j also stand for ranks by score\nL = -mean over (i, j) with y_i > y_j of  w_ij log2 σ(sigma (s_i - s_j))\nnone          w = 1\nndcg-loss1    w = G_i / D_i, over all (i, j)\nndcg-loss2    w = |1/D_|i-j| - 1/D_(|i-j|+1)| |G_i - G_j|\nlambda-rank   w = |1/D_i - 1/D_j| |G_i - G_j|\nndcg-loss2pp  w = mu · ndcg-loss2 + lambda-rank",
        source: "Wang et al. 2018, *The LambdaLoss Framework for Ranking Metric Optimization*, sections 4 to 6; pairs and cutoff as in sentence-transformers 6",
        labels: "grades, 0 or above",
        parameters: &[
            (
                "weighting",
                "`none`, `ndcg-loss1`, `ndcg-loss2`, `lambda-rank` or `ndcg-loss2pp`; `ndcg-loss2pp`",
            ),
            ("mu", "share of ndcg-loss2 in ndcg-loss2pp; 10"),
            (
                "k",
                "cutoff of nDCG: only pairs with one of the two among the k highest scores; all if not given",
            ),
            ("sigma", "steepness; 1"),
        ],
    },
    Entry {
        name: "hinge",
        title: "pairwise hinge",
        formula: "L = mean over (i, j) with y_i > y_j of  max(0, margin - (s_i - s_j))",
        source: "Herbrich, Graepel and Obermayer 2000, *Large Margin Rank Boundaries for Ordinal Regression*, section 3; `torch.nn.MarginRankingLoss`",
        labels: "any number; only their order counts",
        parameters: &[("margin", "the distance that is enough; 1")],
    },
    Entry {
        name: "listnet",
        title: "ListNet",
        formula: "L = -mean over q of Σ_d softmax(y / label_temperature)_d log softmax(s / temperature)_d",
        source: "Cao et al. 2007, *Learning to Rank: From Pairwise Approach to Listwise Approach*, section 4.2; with `positives_only` RAG-Retrieval's `listwise_ce`",
        labels: "any number",
        parameters: &[
            ("temperature", "divides scores; 1"),
            ("label_temperature", "divides labels; 1"),
            ("positives_only", "whether labels of 0 get no part of the target; false"),
        ],
    },
    Entry {
        name: "listmle",
        title: "ListMLE",
        formula: "L = -mean over q of Σ_i ( s_π(i) - log Σ_{j ≥ i} exp s_π(j) ),  π sorts by label, the highest first",
        source: "Xia et al. 2008, *Listwise Approach to Learning to Rank: Theory and Algorithm*, section 4",
        labels: "any number; only their order counts",
        parameters: &[],
    },
    Entry {
        name: "p-listmle",
        title: "position-aware ListMLE",
        formula: "w_i = (2^(n-i) - 1) / Σ_j (2^(n-j) - 1)\nL = -mean over q of Σ_i w_i ( a(s_π(i)) - log Σ_{j ≥ i} exp a(s_π(j)) ),  a(s) = s or σ(s)",
        source: "Lan et al. 2014, *Position-Aware ListMLE: A Sequential Learning Process for Ranking*, section 4; weights sum to 1 as in sentence-transformers 6",
        labels: "any number; only their order counts",
        parameters: &[("space", "`logit` or `sigmoid`, what a is; `logit`")],
    },
    Entry {
        name: "approx-ndcg",
        title: "ApproxNDCG",
        formula: "r_i = 1 + Σ_{j ≠ i} σ((s_j - s_i) / temperature)\nL = mean over q of 1 - 1/maxDCG Σ_i g(y_i) / log2(1 + r_i),  g(y) = 2^y - 1 or y",
        source: "Qin, Liu and Li 2010, *A general approximation framework for direct optimization of information retrieval measures*, section 4",
        labels: "grades, 0 or above",
        parameters: &[
            ("temperature", "the lower, the closer r is to whole ranks; 1"),
            ("gain", "`exponential` or `linear`; `exponential`"),
        ],
    },
    Entry {
        name: "approx-mrr",
        title: "ApproxMRR",
        formula: "r_i = 1 + Σ_{j ≠ i} σ((s_j - s_i) / temperature)\nL = mean over q of 1 - max over y_i > 0 of 1 / r_i",
        source: "the ranks of Qin, Liu and Li 2010, section 4, in the reciprocal rank; lightning-ir's `ApproxMRR`",
        labels: "above 0 for positives, 0 for negatives",
        parameters: &[("temperature", "the lower, the closer r is to whole ranks; 1")],
    },
    Entry {
        name: "adr-mse",
        title: "approximate discounted rank MSE",
        formula: "r̂_i = 1 + Σ_{j ≠ i} σ(alpha (s_j - s_i)),  r_i the rank by label, shared by equal labels\nL = mean over d of (r_d - r̂_d)² / log2(1 + r_d)",
        source: "Schlatt et al. 2025, *Rank-DistiLLM*, section 3",
        labels: "any number; only their order counts",
        parameters: &[("alpha", "steepness; 1")],
    },
    Entry {
        name: "pearson",
        title: "linear correlation",
        formula: "L = mean over q of 1 - cov(s, y) / √((var s + ε) var y)",
        source: "Pearson 1895; lightning-ir's `PearsonCorrelation`. ε is 1e-6 / n",
        labels: "any number; groups of equal labels add nothing",
        parameters: &[],
    },
    Entry {
        name: "margin-mse",
        title: "Margin-MSE, a distillation",
        formula: "L = mean over (p, d) with y_p > 0, y_d ≤ 0 of ( (s_p - s_d) - (t_p - t_d) )²",
        source: "Hofstätter et al. 2020, *Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation*, section 3.1",
        labels: "above 0 for positives, 0 for negatives; teacher scores of every candidate, any number",
        parameters: &[],
    },
    Entry {
        name: "kl",
        title: "Kullback-Leibler divergence from the teacher, a distillation",
        formula: "p = softmax(t / teacher_temperature),  L = mean over q of Σ_d p_d (log p_d - log softmax(s / temperature)_d)",
        source: "Hinton, Vinyals and Dean 2015, *Distilling the Knowledge in a Neural Network*, section 2; the factor temperature² is left to `weight`",
        labels: "none; teacher scores of every candidate, any number",
        parameters: &[
            ("temperature", "divides scores; 1"),
            ("teacher_temperature", "divides the teacher's; 1"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{LambdaLoss, Loss, RankNet};

    #[test]
    fn losses_page_is_complete_and_current() {
        let mut all = Loss::all();
        for loss in &mut all {
            // Keys that are left out when absent.
            match loss {
                Loss::RankNet(RankNet { k, .. }) | Loss::LambdaLoss(LambdaLoss { k, .. }) => {
                    *k = Some(10);
                }
                _ => {}
            }
        }
        assert_eq!(all.len(), ENTRIES.len());
        for (loss, entry) in all.iter().zip(ENTRIES) {
            let value = serde_json::to_value(loss).unwrap();
            assert_eq!(value["name"], entry.name);
            let keys: BTreeSet<&str> =
                value.as_object().unwrap().keys().map(String::as_str).collect();
            let mut described: BTreeSet<&str> = entry.parameters.iter().map(|(p, _)| *p).collect();
            described.insert("name");
            assert_eq!(keys, described, "{}", entry.name);
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/losses.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, losses_page()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap();
        assert!(found == losses_page(), "docs/losses.md is old: run with UPDATE_DOCS=1");
    }
}
