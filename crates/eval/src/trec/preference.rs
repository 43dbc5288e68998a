//! Preferences between documents into how many of them a ranking fulfils.
//!
//! # Source
//! trec_eval's `form_prefs_counts.c` (Buckley 2008) for what is counted where.

use std::collections::BTreeMap;

use super::input::Judgement;
use super::table::Kind;

/// Over what a ratio of fulfilled to possible preferences is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ratio {
    /// All preferences alike.
    Simple,
    /// Averaged over pairs of documents.
    Pair,
    /// Averaged over judgement groups.
    Group,
}

/// Which preferences count, by how many of their two documents were retrieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Any.
    All,
    /// At least one.
    Implied,
    /// Both.
    Retrieved,
}

/// The preferences of one topic. A document is known by its place: retrieved ones first, in rank
/// order, then the others by id.
pub(crate) struct Preferences {
    groups: Vec<Group>,
    n_retrieved: usize,
    /// `counts[a][b]` = groups in which the document at place a is preferred to that at b.
    counts: Vec<Vec<u32>>,
}

/// One judgement group: one information need of one user.
struct Group {
    shape: Shape,
    tally: Tally,
}

enum Shape {
    /// One sub-group: classes of equal value, highest first, each a list of places in order.
    Classes(Vec<(f64, Vec<usize>)>),
    /// Several sub-groups: a relation closed under transitivity, and the value of each place
    /// (negative where the group has none).
    Relation(Vec<Vec<bool>>, Vec<f64>),
}

#[derive(Debug, Default)]
struct Tally {
    fulfilled_retrieved: i64,
    possible_retrieved: i64,
    fulfilled_implied: i64,
    possible_implied: i64,
    absent: i64,
    relevant: i64,
    relevant_retrieved: i64,
    nonrelevant: i64,
    nonrelevant_retrieved: i64,
}

impl Preferences {
    pub(crate) fn new(judged: &[Judgement], top: &[(String, f64)]) -> Result<Self, String> {
        let mut top: Vec<&(String, f64)> = top.iter().collect();
        // Equal scores stand by document id ascending here, unlike everywhere else.
        top.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
        let known: std::collections::BTreeSet<&str> =
            judged.iter().map(|line| line.document.as_str()).collect();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (document, _) in top {
            if known.contains(document.as_str()) {
                let next = places.len();
                places.insert(document, next);
            }
        }
        let n_retrieved = places.len();
        for document in known {
            let next = places.len();
            places.entry(document).or_insert(next);
        }
        let n_judged = places.len();
        let mut lines: Vec<(&Judgement, usize)> =
            judged.iter().map(|line| (line, places[line.document.as_str()])).collect();
        lines.sort_by(|(a, x), (b, y)| {
            let by_group = a.group.cmp(&b.group).then_with(|| a.sub_group.cmp(&b.sub_group));
            by_group.then_with(|| b.value.total_cmp(&a.value)).then_with(|| x.cmp(y))
        });
        let mut preferences =
            Self { groups: Vec::new(), n_retrieved, counts: vec![vec![0; n_judged]; n_judged] };
        for lines in lines.chunk_by(|(a, _), (b, _)| a.group == b.group) {
            let one = lines.iter().all(|(line, _)| line.sub_group == lines[0].0.sub_group);
            let group =
                if one { preferences.classes(lines)? } else { preferences.relation(lines)? };
            preferences.groups.push(group);
        }
        Ok(preferences)
    }

    fn classes(&mut self, lines: &[(&Judgement, usize)]) -> Result<Group, String> {
        let mut tally = Tally::default();
        let classes: Vec<(f64, Vec<usize>)> = lines
            .chunk_by(|(a, _), (b, _)| a.value == b.value)
            .map(|class| (class[0].0.value, class.iter().map(|&(_, place)| place).collect()))
            .collect();
        for (index, (value, places)) in classes.iter().enumerate() {
            for &place in places {
                tally.document(*value, place < self.n_retrieved);
            }
            for (_, lower) in &classes[index + 1..] {
                for &a in places {
                    for &b in lower {
                        if a == b {
                            return Err(format!(
                                "trec_eval.form_prefs_counts: Internal docid {a} occurs with \
                                 different rel_level in same jsg\n"
                            ));
                        }
                        self.counts[a][b] += 1;
                        tally.preference(a, b, self.n_retrieved);
                    }
                }
            }
        }
        tally.close();
        Ok(Group { shape: Shape::Classes(classes), tally })
    }

    fn relation(&mut self, lines: &[(&Judgement, usize)]) -> Result<Group, String> {
        let n = self.counts.len();
        let mut tally = Tally::default();
        let mut values = vec![-1.0; n];
        let mut preferred = vec![vec![false; n]; n];
        for (index, &(line, place)) in lines.iter().enumerate() {
            let before: f64 = values[place];
            if (before > 0.0 && line.value == 0.0) || (before == 0.0 && line.value > 0.0) {
                let document = &line.document;
                return Err(format!(
                    "trec_eval.form_prefs_counts: doc '{document}' has both 0 and non-0 rel_level \
                     assigned\n"
                ));
            }
            values[place] = line.value;
            let same = lines[index + 1..].iter().filter(|(o, _)| o.sub_group == line.sub_group);
            for &(_, lower) in same.filter(|(other, _)| other.value < line.value) {
                preferred[place][lower] = true;
            }
        }
        for middle in 0..n {
            let below = preferred[middle].clone();
            for row in preferred.iter_mut().filter(|row| row[middle]) {
                for (entry, below) in row.iter_mut().zip(&below) {
                    *entry |= below;
                }
            }
        }
        for (a, row) in preferred.iter_mut().enumerate() {
            row[a] = false;
        }
        for (a, row) in preferred.iter().enumerate() {
            tally.document(values[a], a < self.n_retrieved);
            for (b, _) in row.iter().enumerate().filter(|(_, preferred)| **preferred) {
                if preferred[b][a] {
                    return Err(format!(
                        "trec_eval.form_prefs_counts: Pref inconsistency found\n      internal \
                         rank {a} and internal rank {b} are conflicted\n"
                    ));
                }
                self.counts[a][b] += 1;
                tally.preference(a, b, self.n_retrieved);
            }
        }
        tally.close();
        Ok(Group { shape: Shape::Relation(preferred, values), tally })
    }

    /// The value of a preference measure; `None` for the others.
    pub(crate) fn value(&self, kind: Kind) -> Option<f64> {
        let sum = |f: fn(&Tally) -> i64| self.groups.iter().map(|g| f(&g.tally)).sum::<i64>();
        Some(match kind {
            Kind::PrefsPossible => sum(|t| t.possible(Scope::All)) as f64,
            Kind::PrefsFulfilled => sum(|t| t.fulfilled(Scope::All)) as f64,
            Kind::PrefsFulfilledRet => sum(|t| t.fulfilled(Scope::Retrieved)) as f64,
            Kind::Prefs(Ratio::Pair, scope) => self.pairs(scope),
            Kind::Prefs(Ratio::Simple, scope) => {
                let tallies = || self.groups.iter().map(|group| &group.tally);
                let possible: i64 = tallies().map(|t| t.possible(scope)).sum();
                share(tallies().map(|t| t.fulfilled(scope)).sum(), possible)
            }
            Kind::Prefs(Ratio::Group, scope) => {
                let shares = self
                    .groups
                    .iter()
                    .map(|g| share(g.tally.fulfilled(scope), g.tally.possible(scope)));
                shares.sum::<f64>() / self.groups.len() as f64
            }
            Kind::PrefsRnonrel(scope) => {
                let shares = self.groups.iter().map(|group| self.balanced(group, scope));
                let sum: f64 = shares.sum();
                // Nothing to divide by in a group makes the sum a NaN, which leaves the value 0.
                if sum > 0.0 { sum / self.groups.len() as f64 } else { 0.0 }
            }
            _ => return None,
        })
    }

    fn pairs(&self, scope: Scope) -> f64 {
        let (mut sum, mut n_pairs) = (0.0, 0.0);
        for a in 0..self.counts.len() {
            for b in a + 1..self.counts.len() {
                let n_in = usize::from(a < self.n_retrieved) + usize::from(b < self.n_retrieved);
                let wanted = match scope {
                    Scope::All => true,
                    Scope::Implied => n_in > 0,
                    Scope::Retrieved => n_in == 2,
                };
                let (for_it, against) = (self.counts[a][b], self.counts[b][a]);
                if !wanted || for_it + against == 0 {
                    continue;
                }
                n_pairs += 1.0;
                if n_in > 0 {
                    sum += f64::from(for_it) / f64::from(for_it + against);
                }
            }
        }
        if n_pairs > 0.0 { sum / n_pairs } else { 0.0 }
    }

    /// The share of a group with as many non-relevant as relevant documents.
    fn balanced(&self, group: &Group, scope: Scope) -> f64 {
        let tally = &group.tally;
        let (relevant, nonrelevant) = match scope {
            Scope::Retrieved => (tally.relevant_retrieved, tally.nonrelevant_retrieved),
            _ => (tally.relevant, tally.nonrelevant),
        };
        if relevant >= nonrelevant {
            let more = relevant - nonrelevant;
            let fulfilled = tally.fulfilled(scope) + tally.relevant_retrieved * more;
            return fulfilled as f64 / (tally.possible(scope) + tally.relevant * more) as f64;
        }
        let (fulfilled, possible) = match &group.shape {
            Shape::Classes(classes) => self.cut_classes(classes, relevant as usize, scope),
            Shape::Relation(preferred, values) => {
                self.cut_relation(preferred, values, tally.relevant as usize, scope)
            }
        };
        fulfilled as f64 / possible as f64
    }

    /// Counts anew with the first `keep` documents of the last class. The C code sets that class
    /// against every class, itself included.
    fn cut_classes(&self, classes: &[(f64, Vec<usize>)], keep: usize, scope: Scope) -> (i64, i64) {
        let retrieved = |place: &&usize| scope != Scope::Retrieved || **place < self.n_retrieved;
        let (mut fulfilled, mut possible) = (0, 0);
        let mut count = |upper: &[usize], lower: &[usize]| {
            for a in upper.iter().take_while(retrieved) {
                for b in lower.iter().take_while(retrieved) {
                    if a < b && *a < self.n_retrieved {
                        fulfilled += 1;
                    }
                    possible += 1;
                }
            }
        };
        let Some(((_, last), others)) = classes.split_last() else { return (0, 0) };
        for (index, (_, upper)) in others.iter().enumerate() {
            for (_, lower) in &others[index + 1..] {
                count(upper, lower);
            }
        }
        for (_, upper) in classes {
            count(upper, &last[..keep.min(last.len())]);
        }
        (fulfilled, possible)
    }

    fn cut_relation(
        &self,
        preferred: &[Vec<bool>],
        values: &[f64],
        keep: usize,
        scope: Scope,
    ) -> (i64, i64) {
        let n = if scope == Scope::Retrieved { self.n_retrieved } else { values.len() };
        let nonrelevant = (0..n).filter(|&place| values[place] == 0.0);
        let first_left_out = nonrelevant.clone().nth(keep).unwrap_or(n);
        let counts = |place: usize| place < first_left_out || values[place] != 0.0;
        let (mut fulfilled, mut possible) = (0, 0);
        for a in (0..n).filter(|&a| counts(a)) {
            for b in (0..n).filter(|&b| counts(b) && preferred[a][b]) {
                possible += 1;
                if a < b && a < self.n_retrieved {
                    fulfilled += 1;
                }
            }
        }
        (fulfilled, possible)
    }
}

impl Tally {
    fn document(&mut self, value: f64, retrieved: bool) {
        if value > 0.0 {
            self.relevant += 1;
            self.relevant_retrieved += i64::from(retrieved);
        } else if value == 0.0 {
            self.nonrelevant += 1;
            self.nonrelevant_retrieved += i64::from(retrieved);
        }
    }

    fn preference(&mut self, a: usize, b: usize, n_retrieved: usize) {
        let both = a.max(b) < n_retrieved;
        let none = a.min(b) >= n_retrieved;
        match (a < b, both, none) {
            (_, _, true) => self.absent += 1,
            (true, true, _) => self.fulfilled_retrieved += 1,
            (true, false, _) => self.fulfilled_implied += 1,
            (false, true, _) => self.possible_retrieved += 1,
            (false, false, _) => self.possible_implied += 1,
        }
    }

    /// Possible preferences so far are those not fulfilled: adds the others.
    fn close(&mut self) {
        self.possible_retrieved += self.fulfilled_retrieved;
        self.possible_implied += self.fulfilled_implied;
    }

    fn fulfilled(&self, scope: Scope) -> i64 {
        match scope {
            Scope::Retrieved => self.fulfilled_retrieved,
            _ => self.fulfilled_retrieved + self.fulfilled_implied,
        }
    }

    fn possible(&self, scope: Scope) -> i64 {
        match scope {
            Scope::Retrieved => self.possible_retrieved,
            Scope::Implied => self.possible_retrieved + self.possible_implied,
            Scope::All => self.possible_retrieved + self.possible_implied + self.absent,
        }
    }
}

fn share(fulfilled: i64, possible: i64) -> f64 {
    if possible == 0 { 0.0 } else { fulfilled as f64 / possible as f64 }
}
