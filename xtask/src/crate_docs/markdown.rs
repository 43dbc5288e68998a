//! A documentation comment into plain text: its summary sentence, and the rest without that sentence.

/// Splits cleaned documentation into its first sentence and everything after it.
pub(super) fn summary_and_rest(markdown: &str) -> (String, String) {
    let text = plain(markdown);
    let (first, others) = text.split_once("\n\n").unwrap_or((&text, ""));
    let first = fold(first);
    let end = sentence_end(&first);
    let (summary, rest_of_first) = first.split_at(end);
    let rest = fold(&format!("{rest_of_first} {others}"));
    (summary.trim().to_owned(), without(&rest, summary.trim().trim_end_matches('.')))
}

/// Markdown into text: links become their words, code stays, markup goes. Paragraphs stay apart.
fn plain(markdown: &str) -> String {
    let mut out = String::new();
    // The lines of one paragraph are joined first: links and code spans may run over their ends.
    let mut paragraph = String::new();
    let mut fence: Option<&str> = None;
    for line in markdown.lines() {
        let trimmed = line.trim();
        let marker = ["```", "~~~"].into_iter().find(|marker| trimmed.starts_with(marker));
        match (fence, marker) {
            (None, Some(_)) => {
                fence = marker;
                end_paragraph(&mut paragraph, &mut out);
            }
            (Some(open), Some(close)) if open == close => {
                fence = None;
                out.push('\n');
            }
            // Lines that rustdoc hides.
            (Some(_), _) if trimmed == "#" || trimmed.starts_with("# ") => {}
            (Some(_), _) => {
                out.push_str(trimmed);
                out.push('\n');
            }
            (None, None) => {
                let is_definition = trimmed.starts_with('[') && trimmed.contains("]: ");
                let is_rule = trimmed.len() > 2 && trimmed.chars().all(|c| "-=*|: ".contains(c));
                let is_heading = trimmed.starts_with('#');
                if trimmed.is_empty() || is_heading {
                    end_paragraph(&mut paragraph, &mut out);
                }
                if is_definition || is_rule {
                    continue;
                }
                let words = trimmed.trim_start_matches(['#', '>']).trim_start();
                let words = words.strip_prefix("* ").or(words.strip_prefix("- ")).unwrap_or(words);
                paragraph.push_str(words);
                paragraph.push(' ');
                if is_heading {
                    end_paragraph(&mut paragraph, &mut out);
                }
            }
        }
    }
    end_paragraph(&mut paragraph, &mut out);
    out.trim().to_owned()
}

fn end_paragraph(paragraph: &mut String, out: &mut String) {
    if !paragraph.trim().is_empty() {
        out.push_str(inline(paragraph).trim());
        out.push_str("\n\n");
    }
    paragraph.clear();
}

/// `[words](place)`, `[words][place]`, `` `code` ``, `*stress*`, `<tags>` and images.
fn inline(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '!' if after.starts_with('[') => {
                rest = link(after).map_or(after, |(_, after)| after);
                continue;
            }
            '[' => {
                if let Some((words, after)) = link(rest) {
                    out.push_str(&inline(words));
                    rest = after;
                    continue;
                }
                out.push(c);
            }
            '`' => {
                let n_ticks = rest.len() - rest.trim_start_matches('`').len();
                let (ticks, inside) = rest.split_at(n_ticks);
                // What a code span holds is no markup.
                if let Some(end) = inside.find(ticks) {
                    out.push_str(&inside[..end]);
                    rest = &inside[end + n_ticks..];
                    continue;
                }
            }
            '*' if !after.starts_with(' ') || out.ends_with(|c: char| !c.is_whitespace()) => {}
            '<' => {
                let end = after.find('>');
                let tag = end.map(|end| &after[..end]).filter(|tag| is_tag(tag));
                if let Some(tag) = tag {
                    rest = &after[tag.len() + 1..];
                    continue;
                }
                out.push(c);
            }
            '\\' if after.starts_with(|c: char| c.is_ascii_punctuation()) => {}
            _ => out.push(c),
        }
        rest = after;
    }
    out
}

/// At a `[`: the words of a link and what follows its place.
fn link(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => {
                depth -= 1;
                if depth == 0 {
                    let (words, after) = (&text[1..at], &text[at + 1..]);
                    let place = match after.chars().next() {
                        Some('(') => after.find(')').map_or(0, |end| end + 1),
                        Some('[') => after.find(']').map_or(0, |end| end + 1),
                        _ => 0,
                    };
                    // `[1]` and `[0, 1)` stay; `[Name]` and `[words](place)` are links.
                    let named =
                        place > 0 || words.starts_with(|c: char| c == '`' || c.is_alphabetic());
                    return named.then(|| (words, &after[place..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// HTML as it occurs in documentation, and addresses; not `<T>`.
fn is_tag(inside: &str) -> bool {
    const TAGS: [&str; 22] = [
        "a", "b", "br", "code", "details", "div", "em", "h1", "h2", "h3", "i", "img", "li", "p",
        "pre", "span", "strong", "sub", "summary", "sup", "table", "ul",
    ];
    let name = inside.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
    TAGS.contains(&name) || inside.starts_with("http") || inside.starts_with("!--")
}

/// Where the first sentence ends: after a full stop before a space, unless it belongs to `e.g.` and the like.
fn sentence_end(text: &str) -> usize {
    const ABBREVIATIONS: [&str; 7] = ["e.g", "i.e", "etc", "vs", "cf", "approx", "resp"];
    for (at, _) in text.match_indices(". ") {
        let before = text[..at].rsplit([' ', '(']).next().unwrap_or_default();
        if !ABBREVIATIONS.contains(&before) {
            return at + 1;
        }
    }
    text.len()
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Takes out every repeat of a sentence, whatever its case.
fn without(text: &str, sentence: &str) -> String {
    if sentence.len() < 12 {
        return text.to_owned();
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = find_ignoring_case(rest, sentence) {
        out.push_str(&rest[..at]);
        rest = &rest[at + sentence.len()..];
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    out.push_str(rest);
    fold(&out)
}

fn find_ignoring_case(text: &str, part: &str) -> Option<usize> {
    let (text_bytes, part_bytes) = (text.as_bytes(), part.as_bytes());
    // Only ASCII case is folded, so that places in bytes stay those of the text.
    text_bytes.windows(part_bytes.len()).position(|window| window.eq_ignore_ascii_case(part_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(markdown: &str, summary: &str, rest: &str) {
        let (found_summary, found_rest) = summary_and_rest(markdown);
        assert_eq!((found_summary.as_str(), found_rest.as_str()), (summary, rest));
    }

    #[test]
    fn the_summary_is_the_first_sentence() {
        check(
            "Reads a file. It may fail.\n\nThen ends.",
            "Reads a file.",
            "It may fail. Then ends.",
        );
        check("Reads text (e.g. a file)\nof any size", "Reads text (e.g. a file) of any size", "");
    }

    #[test]
    fn links_become_their_words() {
        check(
            "Makes a [`Vec<T>`](std::vec) of [bytes][b], see [the book] and arrays `[u8; 4]`.\n\n[b]: https://x.y",
            "Makes a Vec<T> of bytes, see the book and arrays [u8; 4].",
            "",
        );
    }

    #[test]
    fn code_stays_without_fences_and_hidden_lines() {
        check(
            "Adds two.\n\n# Examples\n```rust\n# use x;\nassert_eq!(add(1, 2), 3); // **\n```",
            "Adds two.",
            "Examples assert_eq!(add(1, 2), 3); // **",
        );
    }

    #[test]
    fn links_and_code_run_over_lines() {
        check(
            "Reads [a\nfile](x) of `Vec<\nT>`\n# Panics\nNever.",
            "Reads a file of Vec< T>",
            "Panics Never.",
        );
    }

    #[test]
    fn markup_goes() {
        check("The **best** _value_ of<br> a \\* b.", "The best _value_ of a * b.", "");
    }

    #[test]
    fn a_repeat_of_the_summary_is_taken_out() {
        check(
            "Returns the length of it.\n\nThis function returns the length of it. More.",
            "Returns the length of it.",
            "This function More.",
        );
    }
}
