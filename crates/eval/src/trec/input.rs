//! trec_eval's files, read as its C code reads them.

use std::collections::BTreeMap;
use std::path::Path;

use super::Exit;
use super::options::{Format, Options};

/// A line of judgements: the group (jg), the sub-group (jsg), the document and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) group: String,
    pub(crate) sub_group: String,
    pub(crate) document: String,
    pub(crate) value: f64,
}

/// The judgements of every topic, topics in byte order, documents of a topic in byte order.
pub(crate) struct Judgements {
    format: Format,
    topics: BTreeMap<String, Vec<Judgement>>,
    only: Option<String>,
}

impl Judgements {
    pub(crate) fn read(options: &Options) -> Result<Self, Exit> {
        let format = options.format;
        let reader = match format {
            Format::Qrels => "get_qrels",
            Format::QrelsJg => "get_qrels_jg",
            Format::Prefs => "get_prefs",
            Format::QrelsPrefs => "get_qrels_prefs",
        };
        let n_columns = if format == Format::Prefs { 5 } else { 4 };
        let path = &options.qrels;
        let text = read(
            path,
            &format!("trec_eval.{reader}: Cannot read qrels file '{}'\n", path.display()),
        )?;
        let mut topics: BTreeMap<String, Vec<Judgement>> = BTreeMap::new();
        let mut n_lines = 0;
        for line in text.lines() {
            if options.compat.comments() && line.starts_with('#') {
                continue;
            }
            n_lines += 1;
            let columns: Vec<&str> = line.split(is_space).filter(|c| !c.is_empty()).collect();
            if columns.len() != n_columns {
                return Err(malformed(reader, n_lines, path));
            }
            let value = columns[n_columns - 1];
            let whole = matches!(format, Format::Qrels | Format::QrelsJg);
            topics.entry(columns[0].to_owned()).or_default().push(Judgement {
                group: columns[1].to_owned(),
                sub_group: if n_columns == 5 { columns[2].to_owned() } else { "0".to_owned() },
                document: columns[n_columns - 2].to_owned(),
                value: if whole { c_long(value) as f64 } else { c_double(value) },
            });
        }
        for lines in topics.values_mut() {
            match format {
                Format::QrelsJg => {
                    lines.sort_by(|a, b| {
                        a.group.cmp(&b.group).then_with(|| a.document.cmp(&b.document))
                    });
                    let twice = |a: &Judgement, b: &Judgement| {
                        a.group == b.group && a.document == b.document
                    };
                    if let Some(pair) = lines.windows(2).find(|pair| twice(&pair[0], &pair[1])) {
                        let document = &pair[0].document;
                        let message = format!(
                            "trec_eval.get_qrels: duplicate docs {document}\n{}",
                            quit(path)
                        );
                        return Err(Exit::new(2, message));
                    }
                }
                _ => lines.sort_by(|a, b| a.document.cmp(&b.document)),
            }
        }
        Ok(Self { format, topics, only: options.only.clone() })
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, &[Judgement])> {
        let wanted = |query: &str| self.only.as_deref().is_none_or(|only| only == query);
        let all = self.topics.iter().map(|(query, lines)| (query.as_str(), lines.as_slice()));
        all.filter(move |(query, _)| wanted(query))
    }

    pub(crate) fn n_topics(&self) -> usize {
        self.topics.len()
    }

    /// Documents with a positive grade, whatever the level: what `-c` sums as `num_rel`.
    pub(crate) fn n_relevant(&self) -> Option<f64> {
        let all = self.topics.values().flatten();
        (self.format == Format::Qrels).then(|| all.filter(|line| line.value > 0.0).count() as f64)
    }
}

/// A run: the retrieved documents of each topic with their scores, in no order.
pub(crate) struct RunFile {
    pub(crate) topics: BTreeMap<String, Vec<(String, f64)>>,
    /// The last line's last column.
    pub(crate) id: String,
}

impl RunFile {
    pub(crate) fn read(options: &Options) -> Result<Self, Exit> {
        let path = &options.run;
        let text = read(
            path,
            &format!("trec_eval.get_results: Cannot read results file '{}'\n", path.display()),
        )?;
        let mut run = Self { topics: BTreeMap::new(), id: String::new() };
        let mut n_lines = 0;
        for line in text.lines() {
            let line = line.trim_start_matches(is_space);
            if line.is_empty() || (options.compat.comments() && line.starts_with('#')) {
                continue;
            }
            n_lines += 1;
            let mut columns = line.split(is_space).filter(|column| !column.is_empty());
            let mut column = || columns.next();
            let (Some(query), _, Some(document), _, Some(score), Some(id)) =
                (column(), column(), column(), column(), column(), column())
            else {
                return Err(malformed("get_results", n_lines, path));
            };
            let mut score = c_double(score);
            if options.compat.single_precision() {
                score = f64::from(score as f32);
            }
            if run.id != id {
                id.clone_into(&mut run.id);
            }
            match run.topics.get_mut(query) {
                Some(documents) => documents.push((document.to_owned(), score)),
                None => {
                    run.topics.insert(query.to_owned(), vec![(document.to_owned(), score)]);
                }
            }
        }
        for documents in run.topics.values_mut() {
            documents.sort_by(|(a, x), (b, y)| {
                // A NaN is neither above nor below anything in C; here it goes last.
                let by_score = y.partial_cmp(x).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()));
                by_score.then_with(|| b.cmp(a))
            });
        }
        Ok(run)
    }
}

/// Means and standard deviations of measures on a reference set of runs.
pub(crate) struct Zscores(BTreeMap<(String, String), (f64, f64)>);

impl Zscores {
    /// Turns values into deviations from the mean; -1000000 where the file has none.
    pub(crate) fn convert(&self, query: &str, names: &[String], values: &mut [f64]) {
        const MISSING: f64 = -1_000_000.0;
        for (name, value) in names.iter().zip(values) {
            *value = match self.0.get(&(query.to_owned(), name.clone())) {
                Some(&(mean, deviation)) if deviation != 0.0 => (*value - mean) / deviation,
                Some(&(mean, _)) if *value == mean => 0.0,
                _ => MISSING,
            };
        }
    }
}

pub(crate) fn read_zscores(path: &Path) -> Result<Zscores, Exit> {
    let text = read(
        path,
        &format!("trec_eval.get_zscores: Cannot read zscores file '{}'\n", path.display()),
    )?;
    let mut scores = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let columns: Vec<&str> = line.split(is_space).filter(|c| !c.is_empty()).collect();
        let [query, name, mean, deviation] = columns[..] else {
            let message = format!("trec_eval.get_zscores: Malformed line {}\n", index + 1);
            return Err(Exit::new(255, message));
        };
        let key = (query.to_owned(), name.to_owned());
        scores.insert(key, (c_double(mean), c_double(deviation)));
    }
    Ok(Zscores(scores))
}

/// The whole file; bytes that are not UTF-8 become one replacement each, which keeps columns apart.
fn read(path: &Path, cannot: &str) -> Result<String, Exit> {
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    match bytes {
        Ok(bytes) if !bytes.is_empty() => Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())),
        _ => Err(Exit::new(2, format!("{cannot}{}", quit(path)))),
    }
}

fn malformed(reader: &str, line: usize, path: &Path) -> Exit {
    Exit::new(2, format!("trec_eval.{reader}: Malformed line {line}\n{}", quit(path)))
}

fn quit(path: &Path) -> String {
    format!("trec_eval: Quit in file '{}'\n", path.display())
}

/// C's `isspace`, the line feed aside.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// C's `atol`: as many digits as there are, else 0.
pub(crate) fn c_long(text: &str) -> i64 {
    let text = text.trim_start_matches(is_space);
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit);
    let value = digits
        .fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    sign * value
}

/// C's `atof`: the longest prefix that is a number (decimal, hexadecimal, inf, nan), else 0.
pub(crate) fn c_double(text: &str) -> f64 {
    let text = text.trim_start_matches(is_space);
    if let Ok(value) = text.parse::<f64>() {
        return value;
    }
    let unsigned = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if text.len() - unsigned.len() > 1 {
        return 0.0;
    }
    if unsigned.starts_with("inf") {
        return sign * f64::INFINITY;
    }
    if unsigned.starts_with("nan") {
        return f64::NAN;
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return sign * hexadecimal(digits);
    }
    // Every prefix of a number that ends in a digit or a point is one too, but for the exponent.
    let end = unsigned.bytes().take_while(|b| b.is_ascii_digit() || b".e+-".contains(b)).count();
    let longest = (0..=end).rev().find_map(|end| unsigned[..end].parse::<f64>().ok());
    sign * longest.unwrap_or(0.0)
}

fn hexadecimal(text: &str) -> f64 {
    let (mut value, mut scale, mut point) = (0.0, 1.0, false);
    for c in text.chars() {
        match c.to_digit(16) {
            Some(digit) if point => {
                scale /= 16.0;
                value += f64::from(digit) * scale;
            }
            Some(digit) => value = value * 16.0 + f64::from(digit),
            None if c == '.' && !point => point = true,
            None => break,
        }
    }
    match text.split_once('p') {
        Some((_, exponent)) => value * 2f64.powi(c_long(exponent) as i32),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, expect) in [
            ("1.7", 1.7),
            ("1e", 1.0),
            ("1e+", 1.0),
            ("2.5x", 2.5),
            ("x", 0.0),
            ("-3.5e2z", -350.0),
            ("0x1p4", 16.0),
            (".5", 0.5),
            ("--1", 0.0),
            ("-inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(c_double(text), expect, "{text}");
        }
        assert_eq!((c_long("1.7"), c_long("-2"), c_long("x"), c_long("+3")), (1, -2, 0, 3));
    }
}
