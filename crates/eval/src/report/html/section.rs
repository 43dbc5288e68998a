//! The parts of the page above the queries: header, means, tests and curves.

use super::{CUTOFFS, Page, chart, escape};
use crate::evaluate::MissingQueries;
use crate::report::terminal::{mean, p_value, stars};

/// What a table lies in that may be wider than the screen; the keyboard can scroll it.
const SCROLL: &str = "<div class=\"scroll\" tabindex=\"0\">";

/// Heading, what was measured on what, and the legend.
pub(super) fn header(page: &Page<'_>) -> String {
    let base = &page.systems[0].evaluation;
    let mut out = format!("<h1>{}</h1>\n", escape(&page.config.title));
    let missing = match page.config.missing {
        MissingQueries::Zero => "judged queries that a run lacks count as 0",
        MissingQueries::Skip => "judged queries that a run lacks are left out",
        MissingQueries::Error => "every judged query is in every run",
    };
    out.push_str(&format!(
        "<p class=\"soft\">{} queries, {} judgements; {missing}. Definitions and order of ties are \
         trec_eval's.</p>\n",
        base.queries().len(),
        page.qrels.n_judgements(),
    ));
    for system in &page.systems {
        let n = system.evaluation.absence().absent.len();
        if n > 0 {
            let name = escape(system.name);
            out.push_str(&format!("<p class=\"soft\">{name} lacks {n} judged queries.</p>\n"));
        }
    }
    out.push_str(&legend(page));
    out
}

fn legend(page: &Page<'_>) -> String {
    let mut out = String::from("<ul class=\"legend\">\n");
    for (index, system) in page.systems.iter().enumerate() {
        let role = if index == 0 && page.systems.len() > 1 { " (baseline)" } else { "" };
        let name = escape(system.name);
        out.push_str(&format!("<li>{}{name}{role}</li>\n", chart::swatch(index)));
    }
    out.push_str("</ul>\n");
    out
}

/// The table of means, and bars with confidence intervals.
pub(super) fn summary(page: &Page<'_>) -> String {
    let measures = &page.config.measures;
    let mut out = format!("<h2>Means</h2>\n{SCROLL}<table>\n<tr><th>system</th>");
    for measure in measures {
        out.push_str(&format!("<th>{}</th>", escape(&measure.to_string())));
    }
    out.push_str("</tr>\n");
    let summary = |system: usize, measure: usize| page.systems[system].evaluation.summary(measure);
    for (index, system) in page.systems.iter().enumerate() {
        out.push_str(&format!("<tr><td>{}</td>", escape(system.name)));
        for measure in 0..measures.len() {
            let best = (0..page.systems.len())
                .all(|other| summary(other, measure) <= summary(index, measure));
            let class = if best && page.systems.len() > 1 { " class=\"best\"" } else { "" };
            let comparison = index.checked_sub(1).map(|index| &page.comparisons[index]);
            let marks = comparison.map_or("", |c| stars(c.measures[measure].adjusted_p));
            out.push_str(&format!("<td{class}>{}{marks}</td>", mean(&system.evaluation, measure)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
    let confidence = page.config.compare.confidence * 100.0;
    if page.systems.len() > 1 {
        out.push_str(
            "<p class=\"soft\">* p &lt; .05, ** p &lt; .01 against the baseline: paired \
             randomisation test, adjusted for the number of systems.</p>\n",
        );
    }
    let shown: Vec<usize> = (0..measures.len()).filter(|&m| !measures[m].is_count()).collect();
    out.push_str("<div class=\"grid\">\n");
    for part in shown.chunks(3) {
        let groups: Vec<(String, Vec<chart::Bar>)> = part
            .iter()
            .map(|&measure| {
                let bars = page.systems.iter().map(|system| chart::Bar {
                    value: system.evaluation.summary(measure),
                    interval: Some((system.intervals[measure].low, system.intervals[measure].high)),
                });
                (measures[measure].to_string(), bars.collect())
            })
            .collect();
        let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        let title = names.join(", ");
        let caption = format!("Means with {confidence:.0} % bootstrap intervals (BCa)");
        out.push_str(&figure(&title, &chart::bars(&groups, false), &caption));
    }
    out.push_str("</div>\n");
    out
}

/// The tests of every system against the baseline.
pub(super) fn tests(page: &Page<'_>) -> String {
    const HEAD: [&str; 10] = [
        "measure",
        "difference",
        "interval",
        "p",
        "adjusted p",
        "t-test",
        "Wilcoxon",
        "sign",
        "effect d",
        "won/tied/lost",
    ];
    let head: String = HEAD.iter().map(|name| format!("<th>{name}</th>")).collect();
    let mut out = format!("<h2>Against the baseline</h2>\n{SCROLL}<table>\n<tr>{head}</tr>\n");
    for comparison in &page.comparisons {
        let name = escape(&comparison.system);
        out.push_str(&format!(
            "<tr><th class=\"group\" colspan=\"{}\">{name}</th></tr>\n",
            HEAD.len()
        ));
        for entry in &comparison.measures {
            let difference = entry.system - entry.baseline;
            out.push_str(&format!(
                "<tr><td>{}</td><td class=\"{}\">{difference:+.4}</td><td>{:+.4} to {:+.4}</td>\
                 <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:+.2}</td>\
                 <td>{}/{}/{}</td></tr>\n",
                escape(&entry.measure.to_string()),
                if difference < 0.0 { "down" } else { "up" },
                entry.interval.low,
                entry.interval.high,
                escape(&p_value(entry.randomisation.p)),
                escape(&p_value(entry.adjusted_p)),
                escape(&p_value(entry.student.p)),
                escape(&p_value(entry.wilcoxon_p)),
                escape(&p_value(entry.sign_p)),
                entry.effect_size,
                entry.wins,
                entry.ties,
                entry.losses,
            ));
        }
    }
    out.push_str("</table></div>\n");
    out
}

/// The difference of every query, sorted.
pub(super) fn differences(page: &Page<'_>) -> String {
    let measure = escape(&page.config.measures[0].to_string());
    let mut out = format!("<h2>{measure}, query by query</h2>\n<div class=\"grid\">\n");
    // One range for all, so that charts beside each other can be compared.
    let all = page.comparisons.iter().flat_map(|comparison| &comparison.measures[0].differences);
    let (low, high) =
        all.fold((-0.05, 0.05), |(low, high): (f64, f64), &d| (low.min(d), high.max(d)));
    for comparison in &page.comparisons {
        let entry = &comparison.measures[0];
        let mut sorted = entry.differences.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let title = format!("{} minus {}", comparison.system, comparison.baseline);
        let caption = format!(
            "One bar per query, sorted: {} better, {} equal, {} worse",
            entry.wins, entry.ties, entry.losses
        );
        out.push_str(&figure(&title, &chart::differences(&sorted, (low, high)), &caption));
    }
    out.push_str("</div>\n");
    out
}

/// Precision by recall, nDCG by cutoff, and where the first relevant document stands.
pub(super) fn curves(page: &Page<'_>) -> String {
    let curve = |from: usize, to: usize| -> Vec<Vec<f64>> {
        let of =
            |system: &super::System<'_>| (from..to).map(|m| system.curves.summary(m)).collect();
        page.systems.iter().map(of).collect()
    };
    let mut out = String::from("<h2>Curves</h2>\n<div class=\"grid\">\n");
    let recalls: Vec<String> = (0..=10)
        .map(|tenth| if tenth % 2 == 0 { format!(".{tenth}") } else { String::new() })
        .collect();
    let recalls: Vec<String> = recalls
        .into_iter()
        .map(|label| match label.as_str() {
            ".0" => "0".to_owned(),
            ".10" => "1".to_owned(),
            _ => label,
        })
        .collect();
    let svg = chart::curves(&recalls, &curve(0, 11), "recall");
    out.push_str(&figure(
        "Precision by recall",
        &svg,
        "Interpolated precision at 11 recall points",
    ));
    let cutoffs: Vec<String> = CUTOFFS.iter().map(ToString::to_string).collect();
    let svg = chart::curves(&cutoffs, &curve(11, 11 + CUTOFFS.len()), "cutoff");
    out.push_str(&figure("nDCG by cutoff", &svg, "Mean nDCG of the first k documents"));
    let (svg, caption) = first_ranks(page);
    out.push_str(&figure("Rank of the first relevant document", &svg, &caption));
    out.push_str("</div>\n");
    out
}

/// How many queries find their first relevant document at which rank.
fn first_ranks(page: &Page<'_>) -> (String, String) {
    const BUCKETS: [(&str, usize); 7] =
        [("1", 1), ("2", 2), ("3", 3), ("≤5", 5), ("≤10", 10), ("≤100", 100), ("rest", usize::MAX)];
    let reciprocal = 11 + CUTOFFS.len();
    let mut groups: Vec<(String, Vec<chart::Bar>)> =
        BUCKETS.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    for system in &page.systems {
        let mut counts = [0usize; BUCKETS.len()];
        for &value in system.curves.values(reciprocal) {
            let rank = if value > 0.0 { (1.0 / value).round() as usize } else { usize::MAX };
            let bucket = BUCKETS.iter().position(|&(_, last)| rank <= last);
            counts[bucket.unwrap_or(BUCKETS.len() - 1)] += 1;
        }
        for ((_, bars), count) in groups.iter_mut().zip(counts) {
            bars.push(chart::Bar { value: count as f64, interval: None });
        }
    }
    let caption =
        "Queries by rank (the reciprocal rank is 1 divided by it); rest: later or none".to_owned();
    (chart::bars(&groups, true), caption)
}

fn figure(title: &str, svg: &str, caption: &str) -> String {
    format!(
        "<figure role=\"group\" aria-label=\"{0}\">\n<h3>{0}</h3>\n{svg}\n<figcaption>{1}</figcaption>\n\
         </figure>\n",
        escape(title),
        escape(caption),
    )
}
