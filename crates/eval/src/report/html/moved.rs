//! The queries that moved most, with their texts and the top documents of both runs side by side.

use std::collections::BTreeMap;

use tamis_data::Run;

use super::{Page, escape};

/// Longer texts are cut to this many characters.
const SHOWN: usize = 280;

/// One card per query, for each system.
pub(super) fn cards(
    page: &Page<'_>,
    queries: &BTreeMap<String, String>,
    documents: &BTreeMap<String, String>,
) -> String {
    let mut out = String::new();
    for (index, comparison) in page.comparisons.iter().enumerate() {
        let moved = comparison.most_moved(0, page.config.n_moved);
        if moved.is_empty() {
            continue;
        }
        let (baseline, system) = (&page.systems[0], &page.systems[index + 1]);
        out.push_str(&format!(
            "<h2>Queries that moved most: {} against {}</h2>\n",
            escape(system.name),
            escape(baseline.name)
        ));
        for (query, difference) in moved {
            let id = query.as_str();
            let (before, after) =
                (baseline.evaluation.value(0, id), system.evaluation.value(0, id));
            let text = queries.get(id).map_or("", String::as_str);
            let class = if difference > 0.0 { "up" } else { "down" };
            let arrow = if difference > 0.0 { "▲" } else { "▼" };
            out.push_str(&format!(
                "<details>\n<summary><b class=\"{class}\">{arrow} {difference:+.4}</b> \
                 <span class=\"soft\">{:.4} → {:.4}, query {}</span><br>{}</summary>\n\
                 <div class=\"sides\">\n{}{}</div>\n</details>\n",
                before.unwrap_or(0.0),
                after.unwrap_or(0.0),
                escape(id),
                escape(text),
                side(page, baseline.name, baseline.run, id, documents),
                side(page, system.name, system.run, id, documents),
            ));
        }
    }
    out
}

fn side(
    page: &Page<'_>,
    name: &str,
    run: &Run,
    query: &str,
    documents: &BTreeMap<String, String>,
) -> String {
    let mut out = format!("<section><h3>{}</h3>\n<ol>\n", escape(name));
    let top = run.query(query).unwrap_or(&[]);
    for (rank, candidate) in (1..).zip(top.iter().take(page.config.n_documents)) {
        let id = candidate.document.as_str();
        let (class, grade, title) = match page.qrels.relevance(query, id) {
            Some(grade) if grade > 0 => ("grade relevant", grade.to_string(), "relevant"),
            Some(grade) => ("grade", grade.to_string(), "judged, not relevant"),
            None => ("grade unjudged", "?".to_owned(), "not judged"),
        };
        let text = documents.get(id).map_or(String::new(), |text| cut(text));
        out.push_str(&format!(
            "<li>{rank}. <span class=\"{class}\" title=\"{title}\">{grade}</span>\
             <span class=\"soft\">{}</span><br>{}</li>\n",
            escape(id),
            escape(&text),
        ));
    }
    if top.is_empty() {
        out.push_str("<li class=\"soft\">no candidates</li>\n");
    }
    out.push_str("</ol></section>\n");
    out
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{} …", text[..at].trim_end()),
        None => text.to_owned(),
    }
}
