//! The measures of trec_eval in the order in which it prints them, with names and parameters.

use super::Exit;
use super::input::{c_double, c_long};
use super::options::Options;
use super::preference::{Ratio, Scope};

/// What is computed; one entry per name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RunId,
    NumQ,
    NumRet,
    NumRel,
    NumRelRet,
    NumNonrelJudgedRet,
    Map,
    MapCut,
    Rprec,
    Bpref,
    RecipRank,
    Iprec,
    ElevenPoint,
    P,
    Relstring,
    Recall,
    InfAp,
    GmMap,
    GmBpref,
    RprecMult,
    Utility,
    BinG,
    G,
    Ndcg,
    NdcgRel,
    Rndcg,
    NdcgCut,
    RelativeP,
    Success,
    SetP,
    SetRelativeP,
    SetRecall,
    SetMap,
    SetF,
    Yaap,
    Rbp,
    RbpResid,
    Unjudged,
    PrefsPossible,
    PrefsFulfilled,
    PrefsFulfilledRet,
    Prefs(Ratio, Scope),
    PrefsRnonrel(Scope),
    MapAvgJg,
    PAvgJg,
    RprecMultAvgJg,
}

/// How values are printed and summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    Float,
    Count,
    Geometric,
    Queries,
    String,
    RunId,
}

#[derive(Debug, Clone, Copy)]
enum Defaults {
    None,
    /// Ranks; the name of each value ends in `_k`.
    Cutoffs(&'static [i64]),
    /// Shares; the name of each value ends in `_0.20`.
    Shares(&'static [f64]),
    /// Numbers that make one value.
    Numbers(&'static [f64]),
    /// `name=number` pairs that make one value.
    Pairs,
}

/// A measure that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    pub(crate) kind: Kind,
    pub(crate) print: Print,
    pub(crate) name: &'static str,
    /// The names of its values.
    pub(crate) names: Vec<String>,
    pub(crate) cutoffs: Vec<usize>,
    pub(crate) numbers: Vec<f64>,
    pub(crate) pairs: Vec<(String, f64)>,
}

const RANKS: Defaults = Defaults::Cutoffs(&[5, 10, 15, 20, 30, 100, 200, 500, 1000]);
const ELEVEN: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
const MULTIPLES: Defaults = Defaults::Shares(&[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]);

const TABLE: &[(&str, Kind, Print, Defaults)] = &[
    ("runid", Kind::RunId, Print::RunId, Defaults::None),
    ("num_q", Kind::NumQ, Print::Queries, Defaults::None),
    ("num_ret", Kind::NumRet, Print::Count, Defaults::None),
    ("num_rel", Kind::NumRel, Print::Count, Defaults::None),
    ("num_rel_ret", Kind::NumRelRet, Print::Count, Defaults::None),
    ("map", Kind::Map, Print::Float, Defaults::None),
    ("gm_map", Kind::GmMap, Print::Geometric, Defaults::None),
    ("Rprec", Kind::Rprec, Print::Float, Defaults::None),
    ("bpref", Kind::Bpref, Print::Float, Defaults::None),
    ("recip_rank", Kind::RecipRank, Print::Float, Defaults::None),
    ("iprec_at_recall", Kind::Iprec, Print::Float, Defaults::Shares(ELEVEN)),
    ("P", Kind::P, Print::Float, RANKS),
    ("relstring", Kind::Relstring, Print::String, Defaults::Numbers(&[10.0])),
    ("recall", Kind::Recall, Print::Float, RANKS),
    ("infAP", Kind::InfAp, Print::Float, Defaults::None),
    ("gm_bpref", Kind::GmBpref, Print::Geometric, Defaults::None),
    ("Rprec_mult", Kind::RprecMult, Print::Float, MULTIPLES),
    ("utility", Kind::Utility, Print::Float, Defaults::Numbers(&[1.0, -1.0, 0.0, 0.0])),
    ("11pt_avg", Kind::ElevenPoint, Print::Float, Defaults::Numbers(ELEVEN)),
    ("binG", Kind::BinG, Print::Float, Defaults::None),
    ("G", Kind::G, Print::Float, Defaults::Pairs),
    ("ndcg", Kind::Ndcg, Print::Float, Defaults::Pairs),
    ("ndcg_rel", Kind::NdcgRel, Print::Float, Defaults::Pairs),
    ("Rndcg", Kind::Rndcg, Print::Float, Defaults::Pairs),
    ("ndcg_cut", Kind::NdcgCut, Print::Float, RANKS),
    ("map_cut", Kind::MapCut, Print::Float, RANKS),
    ("relative_P", Kind::RelativeP, Print::Float, RANKS),
    ("success", Kind::Success, Print::Float, Defaults::Cutoffs(&[1, 5, 10])),
    ("set_P", Kind::SetP, Print::Float, Defaults::None),
    ("set_relative_P", Kind::SetRelativeP, Print::Float, Defaults::None),
    ("set_recall", Kind::SetRecall, Print::Float, Defaults::None),
    ("set_map", Kind::SetMap, Print::Float, Defaults::None),
    ("set_F", Kind::SetF, Print::Float, Defaults::Numbers(&[1.0])),
    ("num_nonrel_judged_ret", Kind::NumNonrelJudgedRet, Print::Count, Defaults::None),
    ("prefs_num_prefs_poss", Kind::PrefsPossible, Print::Count, Defaults::None),
    ("prefs_num_prefs_ful", Kind::PrefsFulfilled, Print::Count, Defaults::None),
    ("prefs_num_prefs_ful_ret", Kind::PrefsFulfilledRet, Print::Count, Defaults::None),
    ("prefs_simp", Kind::Prefs(Ratio::Simple, Scope::All), Print::Float, Defaults::None),
    ("prefs_pair", Kind::Prefs(Ratio::Pair, Scope::All), Print::Float, Defaults::None),
    ("prefs_avgjg", Kind::Prefs(Ratio::Group, Scope::All), Print::Float, Defaults::None),
    ("prefs_avgjg_Rnonrel", Kind::PrefsRnonrel(Scope::All), Print::Float, Defaults::None),
    ("prefs_simp_ret", Kind::Prefs(Ratio::Simple, Scope::Retrieved), Print::Float, Defaults::None),
    ("prefs_pair_ret", Kind::Prefs(Ratio::Pair, Scope::Retrieved), Print::Float, Defaults::None),
    ("prefs_avgjg_ret", Kind::Prefs(Ratio::Group, Scope::Retrieved), Print::Float, Defaults::None),
    ("prefs_avgjg_Rnonrel_ret", Kind::PrefsRnonrel(Scope::Retrieved), Print::Float, Defaults::None),
    ("prefs_simp_imp", Kind::Prefs(Ratio::Simple, Scope::Implied), Print::Float, Defaults::None),
    ("prefs_pair_imp", Kind::Prefs(Ratio::Pair, Scope::Implied), Print::Float, Defaults::None),
    ("prefs_avgjg_imp", Kind::Prefs(Ratio::Group, Scope::Implied), Print::Float, Defaults::None),
    ("map_avgjg", Kind::MapAvgJg, Print::Float, Defaults::None),
    ("P_avgjg", Kind::PAvgJg, Print::Float, RANKS),
    ("Rprec_mult_avgjg", Kind::RprecMultAvgJg, Print::Float, MULTIPLES),
    ("yaap", Kind::Yaap, Print::Float, Defaults::None),
    ("rbp", Kind::Rbp, Print::Float, Defaults::Pairs),
    ("rbp_resid", Kind::RbpResid, Print::Float, Defaults::None),
    ("unj", Kind::Unjudged, Print::Float, Defaults::Cutoffs(&[5, 10, 20])),
];

const NICKNAMES: &[(&str, &str)] = &[
    (
        "official",
        "runid num_q num_ret num_rel num_rel_ret map gm_map Rprec bpref recip_rank \
         iprec_at_recall P",
    ),
    (
        "all_trec",
        "runid num_q num_ret num_rel num_rel_ret map gm_map Rprec bpref recip_rank \
         iprec_at_recall P relstring recall unj rbp rbp_resid infAP gm_bpref utility 11pt_avg ndcg \
         relative_P Rprec_mult success map_cut ndcg_cut ndcg_rel Rndcg binG G set_P set_recall \
         set_relative_P set_map set_F num_nonrel_judged_ret",
    ),
    (
        "set",
        "runid num_q num_ret num_rel num_rel_ret utility set_P set_recall set_relative_P set_map \
         set_F",
    ),
    (
        "all_prefs",
        "runid num_q prefs_num_prefs_poss prefs_num_prefs_ful prefs_num_prefs_ful_ret prefs_simp \
         prefs_pair prefs_avgjg prefs_avgjg_Rnonrel prefs_simp_ret prefs_pair_ret prefs_avgjg_ret \
         prefs_avgjg_Rnonrel_ret prefs_simp_imp prefs_pair_imp prefs_avgjg_imp",
    ),
    (
        "prefs",
        "runid num_q prefs_num_prefs_poss prefs_num_prefs_ful prefs_num_prefs_ful_ret prefs_simp \
         prefs_pair prefs_avgjg",
    ),
    ("qrels_jg", "runid num_q map_avgjg P_avgjg Rprec_mult_avgjg"),
];

/// The members of a nickname.
pub(crate) fn members(nickname: &str) -> Option<impl Iterator<Item = &'static str>> {
    let found = NICKNAMES.iter().find(|(name, _)| *name == nickname);
    found.map(|(_, members)| members.split_whitespace())
}

/// The longest name that a text begins with, followed by nothing or by `_` or `.` and parameters.
pub(crate) fn split_name(text: &str) -> Option<(&'static str, Option<&str>)> {
    let splits = TABLE.iter().filter_map(|&(name, ..)| match text.strip_prefix(name)? {
        "" => Some((name, None)),
        rest => rest.strip_prefix(['_', '.']).map(|parameters| (name, Some(parameters))),
    });
    splits.max_by_key(|(name, _)| name.len())
}

/// A measure by name, with its parameters or the usual ones.
pub(crate) fn find(name: &str, parameters: Option<&str>) -> Option<Result<Instance, String>> {
    let entry = TABLE.iter().find(|(other, ..)| *other == name);
    entry.map(|&(name, kind, print, defaults)| instance(name, kind, print, defaults, parameters))
}

pub(crate) fn is_known(name: &str) -> bool {
    TABLE.iter().any(|entry| entry.0 == name) || NICKNAMES.iter().any(|entry| entry.0 == name)
}

/// The names of measures and nicknames, one to a line.
pub(crate) fn help() -> String {
    let mut text = String::new();
    for (nickname, members) in NICKNAMES {
        text.push_str(&format!("{nickname}: {members}\n"));
    }
    for (name, ..) in TABLE {
        text.push_str(name);
        text.push('\n');
    }
    text
}

/// The measures that were asked for, `official` where none was.
pub(crate) fn instances(options: &Options) -> Result<Vec<Instance>, Exit> {
    let mut marked: Vec<&str> = Vec::new();
    let asked: Vec<&str> = match options.measures.is_empty() {
        true => vec!["official"],
        false => options.measures.iter().map(|(name, _)| name.as_str()).collect(),
    };
    for name in asked {
        match members(name) {
            Some(members) => members.for_each(|member| marked.push(member)),
            None => marked.push(name),
        }
    }
    let wanted = TABLE.iter().filter(|(name, ..)| marked.contains(name));
    wanted
        .map(|&(name, kind, print, defaults)| {
            let given = options.measures.iter().find(|(n, p)| n == name && p.is_some());
            let text = given.and_then(|(_, parameters)| parameters.as_deref());
            instance(name, kind, print, defaults, text).map_err(|why| {
                Exit::new(2, format!("{why}trec_eval: Cannot initialize measure '{name}'\n"))
            })
        })
        .collect()
}

fn instance(
    name: &'static str,
    kind: Kind,
    print: Print,
    defaults: Defaults,
    text: Option<&str>,
) -> Result<Instance, String> {
    let mut instance = Instance {
        kind,
        print,
        name,
        names: vec![name.to_owned()],
        cutoffs: Vec::new(),
        numbers: Vec::new(),
        pairs: Vec::new(),
    };
    let duplicate = || "trec_eval: duplicate cutoffs detected\n".to_owned();
    match defaults {
        Defaults::None => {}
        Defaults::Cutoffs(cutoffs) => {
            let mut cutoffs = cutoffs.to_vec();
            if let Some(text) = text {
                cutoffs = text.split(',').map(c_long).collect();
                cutoffs.sort_unstable();
            }
            if cutoffs[0] <= 0 {
                return Err("trec_eval: Negative cutoff detected\n".to_owned());
            }
            if cutoffs.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(duplicate());
            }
            instance.names = cutoffs.iter().map(|cutoff| format!("{name}_{cutoff}")).collect();
            let ranks = cutoffs.iter().map(|&cutoff| usize::try_from(cutoff).unwrap_or(usize::MAX));
            instance.cutoffs = ranks.collect();
        }
        Defaults::Shares(shares) => {
            let mut shares = shares.to_vec();
            if let Some(text) = text {
                shares = text.split(',').map(c_double).collect();
                shares.sort_by(f64::total_cmp);
            }
            if shares.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(duplicate());
            }
            instance.names = shares.iter().map(|share| format!("{name}_{share:3.2}")).collect();
            instance.numbers = shares;
        }
        Defaults::Numbers(numbers) => {
            instance.numbers = numbers.to_vec();
            if let Some(text) = text {
                instance.numbers = text.split(',').map(c_double).collect();
                instance.names = vec![format!("{name}_{text}")];
            }
        }
        Defaults::Pairs => {
            if let Some(text) = text {
                for pair in text.split(',') {
                    let Some((key, value)) = pair.split_once('=') else {
                        return Err(format!("trec_eval: malformed pair parameters in '{text}'\n"));
                    };
                    instance.pairs.push((key.to_owned(), c_double(value)));
                }
                instance.names = vec![format!("{name}_{text}")];
            }
        }
    }
    Ok(instance)
}

impl Instance {
    /// One measure for each of its values.
    pub(crate) fn singles(self) -> Vec<Self> {
        let names = self.names.iter().enumerate();
        let single = |(at, name): (usize, &String)| {
            let mut single = Self { names: vec![name.clone()], ..self.clone() };
            if self.names.len() > 1 {
                single.cutoffs = self.cutoffs.get(at).copied().into_iter().collect();
                single.numbers = self.numbers.get(at).copied().into_iter().collect();
            }
            single
        };
        names.map(single).collect()
    }

    /// Sets to 0 what the made-up document of a missing topic brings with it. Goes by whole names,
    /// as version 10 does, so that parameters keep `utility` from being cleared.
    pub(crate) fn clear_bogus(&self, values: &mut [f64]) {
        for (name, value) in self.names.iter().zip(values) {
            let named = matches!(name.as_str(), "num_ret" | "utility" | "rbp_resid");
            if named || name.starts_with("unj") {
                *value = 0.0;
            }
        }
    }

    /// Gains by grade; other parameters, such as `p` of `rbp`, are not integers.
    pub(crate) fn gains(&self) -> Vec<(i64, f64)> {
        let grades = self.pairs.iter().filter_map(|(key, gain)| Some((key.parse().ok()?, *gain)));
        grades.collect()
    }
}
