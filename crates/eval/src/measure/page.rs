//! The measures into the page `docs/measures.md`.

use super::name::NAMES;

/// The page on all measures: names, parameters, definitions and authorities, in Markdown.
///
/// `docs/measures.md` is this text; a test fails where the two differ.
#[must_use]
pub fn measures_page() -> String {
    let mut out = String::from(INTRODUCTION);
    out.push_str("\n| name | parameters | definition | agrees with |\n|---|---|---|---|\n");
    for name in NAMES {
        let (parameters, definition, authority) = entry(name);
        out.push_str(&format!("| `{name}` | {parameters} | {definition} | {authority} |\n"));
    }
    out.push_str(TREC_EVAL);
    for (names, definition) in TREC_NAMES {
        let names: Vec<String> = names.split(' ').map(|name| format!("`{name}`")).collect();
        out.push_str(&format!("| {} | {definition} |\n", names.join(", ")));
    }
    out.push_str(
        "\nEvery name that `--trec -m` knows; before a colon stands a nickname.\n\n```text\n",
    );
    out.push_str(&crate::trec::measure_names());
    out.push_str("```\n");
    out
}

const TREC_EVAL: &str = "
## trec_eval's own names

`cargo xtask eval -m NAME` knows every measure of `-m all_trec` under its own name, with `_` or `.` before its parameters (`ndcg_cut_10`, `P.5,10`, `set_F_0.5`, `utility_1,-1,0,0`).
A name without cutoffs stands for all that trec_eval prints (`recall`), a nickname for its members (`official`, `set`, `all_trec`).
Definitions are those of version 10; `(rel=2)` is trec_eval's `-l 2`, `(judged_only=True)` its `-J`.
`runid` and `relstring`, which are text, and measures of preferences and judgement groups need `--trec`.

| names | definition |
|---|---|
";

/// Measures of `all_trec` that are numbers, and what they are.
const TREC_NAMES: &[(&str, &str)] = &[
    ("num_q num_ret num_rel num_rel_ret", "`NumQ`, `NumRet`, `NumRel`, `NumRelRet`; summed"),
    ("num_nonrel_judged_ret", "retrieved documents judged not relevant; summed"),
    ("map map_cut_k", "`AP`, `AP@k`"),
    (
        "gm_map gm_bpref",
        "geometric means of `AP` and `Bpref` over queries, values below 0.00001 taken as that",
    ),
    ("Rprec bpref recip_rank infAP", "`Rprec`, `Bpref`, `RR`, `infAP`"),
    ("iprec_at_recall_x", "`IPrec@x`, but x R is rounded to the nearest"),
    ("11pt_avg", "mean of `iprec_at_recall` at 0, 0.1, ... 1"),
    ("P_k recall_k success_k", "`P@k`, `R@k`, `Success@k`"),
    ("relative_P_k", "relevant in the first k / min(k, R)"),
    ("Rprec_mult_x", "precision at x R documents"),
    ("ndcg ndcg_cut_k", "`nDCG`, `nDCG@k`; `ndcg_1=3,2=9` sets gains of grades"),
    ("ndcg_rel", "nDCG averaged over the ranks of documents with a gain"),
    ("Rndcg", "nDCG averaged over the ranks where the ideal gain falls"),
    ("G", "gains / log2(2 + cost of the ideal up to there - gains so far), / sum of all gains"),
    ("binG", "mean over relevant documents of 1 / log2(2 + not relevant ones above)"),
    (
        "rbp",
        "(1 - p) sum of p^(i-1) gain, p = 0.9 (`rbp_p=0.8`); gains are scaled to [0, 1] where they are not in it",
    ),
    ("rbp_resid", "how much of `rbp` hangs on documents without judgement"),
    ("unj_k", "documents without judgement in the first k / k"),
    ("utility", "a found + b false + c missed + d rest, of documents; 1, -1, 0, 0 unless given"),
    ("set_P set_recall set_relative_P set_map", "`SetP`, `SetR`, `SetRelP`, `SetAP`"),
    ("set_F", "`SetF`; `set_F_x` sets the weight"),
];

const INTRODUCTION: &str = "\
<!-- Made from crates/eval/src/measure/page.rs: UPDATE_DOCS=1 cargo nextest run -p tamis-eval page. Do not edit. -->
# Measures

A measure is written `Name(parameter=value, ...)@cutoff`, as in ir_measures: `nDCG@10`, `AP(rel=2)@100`, `RBP(p=0.9)`.

- *Order*: score descending, then document id descending by bytes. The rank column of a file plays no part.
- *Relevant* means a grade of at least `rel` (1 if not given). It plays no part in measures made of gains.
- *Unjudged* documents are not relevant. A negative grade says that a document was pooled but not judged: not relevant either, and passed over by `Bpref` and `infAP`.
- `judged_only=True` takes unjudged documents out before ranks are counted (not for counts of queries or relevant documents).
- Where a definition has nothing to divide by, the value is 0.
- Summaries are means over queries; those of `NumQ`, `NumRet`, `NumRel` and `NumRelRet` are sums.

R is the number of relevant documents of a query, i a rank from 1, g a grade, n the number of documents retrieved.
";

/// Parameters, definition, and what it was held against.
fn entry(name: &str) -> (&'static str, &'static str, &'static str) {
    match name {
        "nDCG" => (
            "`dcg='log2'` or `'exp-log2'`, cutoff",
            "sum of gain / log2(i + 1), divided by that of all judged documents in the best order; gain is g, or 2^g - 1",
            "trec_eval `ndcg`, `ndcg_cut`; gdeval for `exp-log2`",
        ),
        "RR" => (
            "`rel`, cutoff",
            "1 / rank of the first relevant document, 0 if there is none",
            "trec_eval `recip_rank` (with `-M` for a cutoff)",
        ),
        "AP" => (
            "`rel`, cutoff",
            "sum over relevant documents of the precision at their rank, / R",
            "trec_eval `map`, `map_cut`",
        ),
        "P" => (
            "`rel`, cutoff (needed)",
            "relevant in the first k / k, even where fewer were retrieved",
            "trec_eval `P`",
        ),
        "R" => ("`rel`, cutoff (needed)", "relevant in the first k / R", "trec_eval `recall`"),
        "Success" => (
            "`rel`, cutoff (needed)",
            "1 if a relevant document is in the first k",
            "trec_eval `success`",
        ),
        "Rprec" => ("`rel`", "relevant in the first R / R", "trec_eval `Rprec`"),
        "Bpref" => (
            "`rel`",
            "1/R sum over retrieved relevant documents of 1 - min(a, R) / min(N, R); a judged non-relevant ones above, N of the query",
            "trec_eval `bpref`",
        ),
        "infAP" => (
            "`rel`",
            "average precision estimated from a judged sample of the pool",
            "trec_eval `infAP`",
        ),
        "IPrec" => (
            "`rel`, recall after `@` (needed)",
            "highest precision at or after the rank where floor(recall R + 0.9) relevant documents were seen",
            "pytrec_eval; trec_eval from 9.0.8 on rounds recall R to the nearest",
        ),
        "RBP" => (
            "`p=0.8`, `rel`, cutoff",
            "(1 - p) sum of p^(i-1) gain; gain is 1 for relevant documents where `rel` is given, else g / highest grade of the query",
            "cwl_eval with `rel`; no other tool has graded RBP",
        ),
        "ERR" => (
            "`max_rel=4`, cutoff",
            "sum of (1/i) s_i prod over j < i of (1 - s_j), s = (2^g - 1) / 2^max_rel",
            "gdeval",
        ),
        "NERR8" => (
            "`max_rel` (needed), `min_rel=0`, cutoff (needed)",
            "nearly ERR: the user goes on with 1 - gain, up to the cutoff",
            "cwl_eval",
        ),
        "NERR9" => (
            "`max_rel` (needed), `min_rel=0`, cutoff (needed)",
            "the same with i / (i + 1) (1 - gain)",
            "cwl_eval",
        ),
        "NERR10" => (
            "`p=0.9`, `max_rel` (needed), `min_rel=0`",
            "the same with p (1 - gain), no cutoff",
            "cwl_eval",
        ),
        "NERR11" => (
            "`T=1`, `max_rel` (needed), `min_rel=0`",
            "the same with ((i + 2T - 1) / (i + 2T))^2 (1 - gain), no cutoff",
            "cwl_eval",
        ),
        "Compat" => (
            "`p=0.95`, `normalize=True`",
            "rank-biased overlap with the nearest ideal ranking",
            "ir_measures, whose ties stand by id ascending and where unretrieved documents have score 0",
        ),
        "Judged" => (
            "cutoff",
            "judged in the first k / min(k, n); a negative grade counts as judged",
            "ir_measures",
        ),
        "SetP" => {
            ("`rel`, `relative=True` for `SetRelP`", "relevant retrieved / n", "trec_eval `set_P`")
        }
        "SetRelP" => ("`rel`", "relevant retrieved / min(n, R)", "trec_eval `set_relative_P`"),
        "SetR" => ("`rel`", "relevant retrieved / R", "trec_eval `set_recall`"),
        "SetF" => (
            "`beta=1`, `rel`",
            "(x + 1) P R / (R + x P), x = `beta`: trec_eval's weight, the square of the usual beta",
            "trec_eval `set_F`",
        ),
        "SetAP" => ("`rel`", "SetP times SetR", "trec_eval `set_map`"),
        "NumQ" => ("", "1 per query", "trec_eval `num_q`"),
        "NumRet" => ("`rel`", "n; with `rel`, relevant retrieved", "trec_eval `num_ret`"),
        "NumRel" => (
            "`rel`",
            "R",
            "trec_eval `num_rel`; ir_measures gives 0 for queries missing from the run",
        ),
        "NumRelRet" => ("`rel`", "relevant retrieved", "trec_eval `num_rel_ret`"),
        "MSMARCO_RR" => (
            "cutoff",
            "1 / rank of the first document with a judgement of any grade",
            "ms_marco_eval.py on runs without ties; `--msmarco official` for its own files and faults",
        ),
        _ => ("", "", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_complete_and_current() {
        assert!(NAMES.iter().all(|name| !entry(name).1.is_empty()));
        let described: Vec<&str> =
            TREC_NAMES.iter().flat_map(|(names, _)| names.split(' ')).collect();
        for measure in super::super::Measure::parse_all("all_trec").unwrap() {
            let name = measure.to_string();
            let known = |described: &&str| match described.strip_suffix(['k', 'x']) {
                Some(stem) if stem.ends_with('_') => name.starts_with(stem),
                _ => name == *described,
            };
            assert!(described.iter().any(known), "{name} is not described");
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/measures.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, measures_page()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap();
        assert!(found == measures_page(), "docs/measures.md is old: run with UPDATE_DOCS=1");
    }
}
