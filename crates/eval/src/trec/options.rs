//! trec_eval's arguments into options, by the rules of C's `getopt_long`.

use std::path::PathBuf;
use std::str::FromStr;

use super::Exit;
use super::input::c_long;
use crate::error::Error;

/// Which version of trec_eval to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// What calls itself 9.0.7 (tag `v9.0.8` of 2020, which pytrec_eval builds): scores in 32 bits,
    /// recall points rounded up.
    V907,
    /// What calls itself 9.0.8 (tag `trec_eval-9.0.8` of 2023): scores in 64 bits.
    V908,
    /// Version 10: comments, rows of zeros with `-c -q`, an end at the first missing topic.
    #[default]
    V10,
}

impl Compat {
    pub(crate) fn zero_rows(self) -> bool {
        self == Self::V10
    }

    pub(crate) fn aborts_on_missing(self) -> bool {
        self == Self::V10
    }

    pub(crate) fn comments(self) -> bool {
        self == Self::V10
    }

    pub(crate) fn single_precision(self) -> bool {
        self == Self::V907
    }

    pub(crate) fn rounds_up(self) -> bool {
        self == Self::V907
    }

    fn version(self) -> &'static str {
        match self {
            Self::V907 => "9.0.7",
            Self::V908 => "9.0.8",
            Self::V10 => "10.0",
        }
    }
}

impl FromStr for Compat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "9.0.7" => Ok(Self::V907),
            "9.0.8" => Ok(Self::V908),
            "10" => Ok(Self::V10),
            other => Err(Error::Option {
                option: "compat",
                expected: "`9.0.7`, `9.0.8` or `10`".to_owned(),
                found: other.to_owned(),
            }),
        }
    }
}

/// What the judgements file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Qrels,
    QrelsJg,
    Prefs,
    QrelsPrefs,
}

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) compat: Compat,
    pub(crate) by_query: bool,
    pub(crate) complete: bool,
    pub(crate) summary: bool,
    pub(crate) judged_only: bool,
    pub(crate) level: i32,
    pub(crate) n_documents: i64,
    pub(crate) depth: usize,
    pub(crate) format: Format,
    pub(crate) zscores: Option<PathBuf>,
    /// Measures and nicknames with their parameters, in the order given.
    pub(crate) measures: Vec<(String, Option<String>)>,
    pub(crate) only: Option<String>,
    pub(crate) qrels: PathBuf,
    pub(crate) run: PathBuf,
}

pub(crate) enum Parsed {
    Options(Box<Options>),
    Text(String),
}

const USAGE: &str = "\
Usage: trec_eval [-h] [-q] {-m measure}* trec_rel_file trec_top_file
   -h: Give full help information, including other options
   -q: In addition to summary evaluation, give evaluation for each query
   -m: calculate and print measures indicated by 'measure'
       ('-m all_qrels' prints all qrels measures, '-m official' is default)
";

const LONG: &[(&str, char)] = &[
    ("help", 'h'),
    ("version", 'v'),
    ("query_eval_wanted", 'q'),
    ("measure", 'm'),
    ("complete_rel_info_wanted", 'c'),
    ("level_for_rel", 'l'),
    ("nosummary", 'n'),
    ("Debug_level", 'D'),
    ("Judged_docs_only", 'J'),
    ("Number_docs_in_coll", 'N'),
    ("Max_retrieved_per_topic", 'M'),
    ("Rel_info_format", 'R'),
    ("Results_format", 'T'),
    ("Zscore", 'Z'),
];

impl Options {
    pub(crate) fn parse(arguments: &[String], compat: Compat) -> Result<Parsed, Exit> {
        let mut options = Self {
            compat,
            by_query: false,
            complete: false,
            summary: true,
            judged_only: false,
            level: 1,
            n_documents: 0,
            depth: usize::MAX,
            format: Format::Qrels,
            zscores: None,
            measures: Vec::new(),
            only: None,
            qrels: PathBuf::new(),
            run: PathBuf::new(),
        };
        let usage = || Exit::new(1, USAGE);
        let mut files: Vec<&String> = Vec::new();
        let mut help = false;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                files.extend(rest.by_ref());
            } else if let Some(long) = argument.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let flag = LONG.iter().find(|(full, _)| *full == name).ok_or_else(usage)?.1;
                let value = match takes_value(flag) {
                    true => Some(value.or_else(|| rest.next().cloned()).ok_or_else(usage)?),
                    false => None,
                };
                if let Some(text) = options.apply(flag, value.as_deref(), &mut help)? {
                    return Ok(Parsed::Text(text));
                }
            } else if argument.len() > 1 && argument.starts_with('-') {
                let mut flags = argument[1..].char_indices();
                while let Some((at, flag)) = flags.next() {
                    let value = match takes_value(flag) {
                        false => None,
                        true => {
                            let tail = &argument[1 + at + flag.len_utf8()..];
                            flags = "".char_indices();
                            let own = (!tail.is_empty()).then(|| tail.to_owned());
                            Some(own.or_else(|| rest.next().cloned()).ok_or_else(usage)?)
                        }
                    };
                    if let Some(text) = options.apply(flag, value.as_deref(), &mut help)? {
                        return Ok(Parsed::Text(text));
                    }
                }
            } else {
                files.push(argument);
            }
        }
        if help {
            return Ok(Parsed::Text(format!("{USAGE}\nMeasures:\n{}", super::table::help())));
        }
        match files[..] {
            [qrels, run] => {
                options.qrels = PathBuf::from(qrels);
                options.run = PathBuf::from(run);
                Ok(Parsed::Options(Box::new(options)))
            }
            _ => Err(usage()),
        }
    }

    fn apply(
        &mut self,
        flag: char,
        value: Option<&str>,
        help: &mut bool,
    ) -> Result<Option<String>, Exit> {
        let value = value.unwrap_or("");
        match flag {
            'h' => *help = true,
            'v' => {
                let version = self.compat.version();
                return Err(Exit::new(0, format!("trec_eval version {version}\n")));
            }
            'q' => self.by_query = true,
            'c' => self.complete = true,
            'n' => self.summary = false,
            'J' => self.judged_only = true,
            'o' => {}
            'l' => self.level = i32::try_from(c_long(value)).unwrap_or(i32::MAX),
            'N' => self.n_documents = c_long(value),
            'M' => self.depth = usize::try_from(c_long(value)).unwrap_or(0),
            'D' => self.only = value.split_once('.').map(|(_, query)| query.to_owned()),
            'Z' => self.zscores = Some(PathBuf::from(value)),
            'm' => self.mark(value)?,
            'T' if value == "trec_results" => {}
            'T' => {
                let message = format!("trec_eval: Illegal retrieval results format '{value}'\n");
                return Err(Exit::new(2, message));
            }
            'R' => {
                self.format = match value {
                    "qrels" => Format::Qrels,
                    "qrels_jg" => Format::QrelsJg,
                    "prefs" => Format::Prefs,
                    "qrels_prefs" => Format::QrelsPrefs,
                    _ => {
                        let message = format!("trec_eval: Illegal rel_format '{value}'\n");
                        return Err(Exit::new(2, message));
                    }
                };
            }
            _ => return Err(Exit::new(1, USAGE)),
        }
        Ok(None)
    }

    fn mark(&mut self, value: &str) -> Result<(), Exit> {
        let (name, parameters) = match value.split_once('.') {
            None => (value, None),
            Some((name, "")) => {
                let message = format!(
                    "trec_eval: improper measure in parameter '{name}'\n\
                     trec_eval: illegal measure '{name}'\n"
                );
                return Err(Exit::new(1, message));
            }
            Some((name, parameters)) => (name, Some(parameters.to_owned())),
        };
        if !super::table::is_known(name) {
            return Err(Exit::new(1, format!("trec_eval: illegal measure '{name}'\n")));
        }
        self.measures.push((name.to_owned(), parameters));
        Ok(())
    }
}

fn takes_value(flag: char) -> bool {
    "mlDNMRTZ".contains(flag)
}
