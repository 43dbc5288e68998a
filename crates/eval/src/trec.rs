//! trec_eval's command line into trec_eval's output, byte for byte.
//!
//! This road has readers of its own, since it must take what trec_eval takes: scores read as C's
//! `atof` does and, in 9.0.8, kept in 32 bits. Everything else in this crate is stricter.
//!
//! # Source
//! <https://github.com/usnistgov/trec_eval>, releases 9.0.8 and 10.0; behaviour measured on builds
//! of three versions.

mod gain;
mod input;
mod named;
mod options;
mod preference;
mod table;
mod value;

use std::io::Write;

pub use named::TrecMeasure;
pub use options::Compat;

use input::{Judgements, RunFile};
use options::{Options, Parsed};
use table::{Instance, Print};
use value::Topic;

pub(crate) use value::MIN_GEO_MEAN;

/// Why trec_eval would end early: its exit code, and what it says on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Exit {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Runs as trec_eval would with these arguments (without the program's name).
///
/// Results go to `out`, messages to `messages`; the value is the exit code.
///
/// # Errors
/// When writing fails.
pub fn run(
    arguments: &[String],
    compat: Compat,
    out: &mut dyn Write,
    messages: &mut dyn Write,
) -> std::io::Result<u8> {
    match evaluate(arguments, compat, out)? {
        Ok(()) => Ok(0),
        Err(exit) => {
            out.flush()?;
            messages.write_all(exit.message.as_bytes())?;
            Ok(exit.code)
        }
    }
}

/// trec_eval's nicknames with their members, then its measures, one to a line.
#[must_use]
pub fn measure_names() -> String {
    table::help()
}

type Ended = std::io::Result<Result<(), Exit>>;

fn evaluate(arguments: &[String], compat: Compat, out: &mut dyn Write) -> Ended {
    let options = match Options::parse(arguments, compat) {
        Ok(Parsed::Options(options)) => options,
        Ok(Parsed::Text(text)) => {
            out.write_all(text.as_bytes())?;
            return Ok(Ok(()));
        }
        Err(exit) => return Ok(Err(exit)),
    };
    let inputs = Judgements::read(&options).and_then(|judgements| {
        let run = RunFile::read(&options)?;
        let zscores = options.zscores.as_ref().map(|path| input::read_zscores(path)).transpose()?;
        Ok((judgements, run, zscores, table::instances(&options)?))
    });
    let (judgements, run, zscores, instances) = match inputs {
        Ok(inputs) => inputs,
        Err(exit) => return Ok(Err(exit)),
    };
    let prefix = if zscores.is_some() { "Z" } else { "" };
    let mut totals: Vec<Vec<f64>> = instances.iter().map(|i| vec![0.0; i.names.len()]).collect();
    let mut n_evaluated = 0usize;
    for (query, judged) in judgements.topics() {
        let retrieved = run.topics.get(query);
        if retrieved.is_none() && !(options.complete && compat.zero_rows()) {
            if compat.aborts_on_missing() && !options.complete {
                let message = format!("trec_eval: result qid '{query}' not found in qrels\n");
                return Ok(Err(Exit::new(4, message)));
            }
            continue;
        }
        let topic = match Topic::new(&options, judged, retrieved) {
            Ok(topic) => topic,
            Err(why) => return Ok(Err(uncomputable(&why, &instances))),
        };
        for (instance, total) in instances.iter().zip(&mut totals) {
            let Some(mut values) = topic.values(&options, instance) else {
                let why = "trec_eval.form_res_qrels: rel_info format not qrels or results format \
                           not trec_results\n";
                return Ok(Err(uncomputable(why, std::slice::from_ref(instance))));
            };
            if retrieved.is_none() {
                instance.clear_bogus(&mut values);
            }
            if let Some(zscores) = &zscores {
                zscores.convert(query, &instance.names, &mut values);
            }
            for (total, value) in total.iter_mut().zip(&values) {
                *total += value;
            }
            if !options.by_query {
                continue;
            }
            match instance.print {
                Print::Float | Print::Count => {
                    let count = instance.print == Print::Count && zscores.is_none();
                    for (name, value) in instance.names.iter().zip(&values) {
                        line(out, prefix, name, query, *value, count)?;
                    }
                }
                Print::String => {
                    let name = &instance.names[0];
                    let text = topic.relstring(instance, retrieved.is_none());
                    writeln!(out, "{name:<22}\t{query}\t'{text}'")?;
                }
                Print::Geometric | Print::Queries | Print::RunId => {}
            }
        }
        n_evaluated += 1;
    }
    if n_evaluated == 0 {
        let message = "trec_eval: No queries with both results and relevance info\n";
        return Ok(Err(Exit::new(7, message)));
    }
    if options.summary {
        let n_averaged = if options.complete { judgements.n_topics() } else { n_evaluated };
        for (instance, total) in instances.iter().zip(&totals) {
            let absent = n_averaged - n_evaluated;
            let n_relevant = (options.complete).then(|| judgements.n_relevant()).flatten();
            for (name, &total) in instance.names.iter().zip(total) {
                let z = zscores.is_some();
                let out = &mut *out;
                match instance.print {
                    Print::Float => {
                        line(out, prefix, name, "all", total / n_averaged as f64, false)?
                    }
                    Print::Count if name == "num_rel" => {
                        line(out, prefix, name, "all", n_relevant.unwrap_or(total), !z)?;
                    }
                    Print::Count => line(out, prefix, name, "all", total, !z)?,
                    Print::Queries => line(out, prefix, name, "all", n_averaged as f64, !z)?,
                    Print::Geometric => {
                        let sum = total + absent as f64 * MIN_GEO_MEAN.ln();
                        line(out, prefix, name, "all", (sum / n_averaged as f64).exp(), false)?;
                    }
                    Print::RunId => writeln!(out, "{:<22}\tall\t{}", "runid", run.id)?,
                    Print::String => {}
                }
            }
        }
    }
    Ok(Ok(()))
}

/// What trec_eval says when the first measure that looks at documents cannot be computed.
fn uncomputable(why: &str, instances: &[Instance]) -> Exit {
    let first = instances.iter().find(|i| !matches!(i.print, Print::RunId | Print::Queries));
    let name = first.map_or("", |instance| instance.name);
    Exit::new(4, format!("{why}trec_eval: Can't calculate measure '{name}'\n"))
}

fn line(
    out: &mut dyn Write,
    prefix: &str,
    name: &str,
    query: &str,
    value: f64,
    count: bool,
) -> std::io::Result<()> {
    if count {
        writeln!(out, "{prefix}{name:<22}\t{query}\t{}", value as i64)
    } else if value.is_nan() {
        // What an x86 processor makes of 0/0, as C prints it.
        writeln!(out, "{prefix}{name:<22}\t{query}\t{:>6}", "-nan")
    } else {
        writeln!(out, "{prefix}{name:<22}\t{query}\t{value:6.4}")
    }
}
