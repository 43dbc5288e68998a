//! Crates into documents and queries, split so that no family of crates is in two splits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::item::{self, DocumentedItem};
use super::markdown;
use super::sources::CrateSource;
use super::{Options, Progress};

/// A document and, where its summary is one, the query that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// The item's path, crate first: the document's title.
    pub(super) name: String,
    /// Signature, then the documentation without the summary.
    pub(super) text: String,
    pub(super) summary: String,
    pub(super) is_query: bool,
}

impl Entry {
    pub(super) fn query_id(&self) -> String {
        format!("q/{}", self.id)
    }

    /// Title and text as they are searched.
    pub(super) fn full_text(&self) -> String {
        format!("{} {}", self.name, self.text)
    }
}

/// The part of the collection that one phase of an experiment sees.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) name: &'static str,
    pub(super) families: usize,
    pub(super) entries: Vec<Entry>,
}

impl Split {
    pub(super) fn queries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_query)
    }
}

/// Everything, with counts of what was left out.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) files: usize,
    pub(super) files_not_parsed: usize,
    pub(super) items: usize,
    pub(super) duplicate_items: usize,
    pub(super) items_without_query: usize,
    pub(super) splits: Vec<Split>,
}

#[derive(Debug, Default)]
struct CrateItems {
    files: usize,
    files_not_parsed: usize,
    items: Vec<DocumentedItem>,
}

// Deeply nested expressions make `syn` recurse deeply.
const STACK_BYTES: usize = 64 << 20;

/// Reads all crates on all cores and splits what they hold.
pub(super) fn read(
    crates: &[CrateSource],
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Collection {
    let read = read_crates(crates, progress);
    let mut collection = Collection::default();
    let mut families: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let mut texts: HashSet<String> = HashSet::new();
    for (source, items) in crates.iter().zip(read) {
        collection.files += items.files;
        collection.files_not_parsed += items.files_not_parsed;
        let mut ids: HashMap<String, usize> = HashMap::new();
        let family = families.entry(family(&source.name)).or_default();
        for item in items.items {
            collection.items += 1;
            let entry = entry(&source.name, &item, options, &mut ids);
            // The same item once more, for another platform say, or in a copied module.
            let mut names = item.name.rsplit("::");
            let short = (names.next(), names.next());
            if !texts.insert(format!("{short:?}\n{}\n{}", entry.summary, entry.text)) {
                collection.duplicate_items += 1;
                continue;
            }
            family.push(entry);
        }
    }
    families.retain(|_, entries| !entries.is_empty());
    collection.items_without_query = mark_queries(&mut families);
    for (name, entries) in &mut families {
        thin(name, entries, options);
    }
    collection.splits = split(families, options);
    collection
}

fn read_crates(crates: &[CrateSource], progress: &(dyn Fn(Progress) + Sync)) -> Vec<CrateItems> {
    let slots: Vec<Mutex<CrateItems>> = crates.iter().map(|_| Mutex::default()).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((source, slot)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            crates.get(i).zip(slots.get(i))
        } {
            *slot.lock().expect("a slot has one writer") = read_crate(&source.root);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress(Progress { stage: "reading crates", done, total: crates.len() });
        }
    };
    let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, work)
                .expect("the system lets us start a thread");
        }
    });
    let take = |slot: Mutex<CrateItems>| slot.into_inner().expect("no writer panicked");
    slots.into_iter().map(take).collect()
}

fn read_crate(root: &Path) -> CrateItems {
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    files.sort();
    let mut read = CrateItems { files: files.len(), ..CrateItems::default() };
    for path in files {
        let module = module(path.strip_prefix(root.join("src")).unwrap_or(&path));
        let text = std::fs::read_to_string(&path).ok();
        let items = text.and_then(|text| item::documented(&text, &module));
        match items {
            Some(items) => read.items.extend(items),
            None => read.files_not_parsed += 1,
        }
    }
    read
}

/// `ser/map.rs` and `ser/map/mod.rs` hold the module `ser::map`; `lib.rs` the root.
fn module(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    let mut parts: Vec<String> =
        parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] || parts == ["main"] {
        parts.pop();
    }
    parts
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        // Tests are not documentation.
        if path.is_dir() && name != "tests" && name != "test" {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn entry(
    crate_name: &str,
    item: &DocumentedItem,
    options: &Options,
    ids: &mut HashMap<String, usize>,
) -> Entry {
    let (summary, rest) = markdown::summary_and_rest(&item.documentation);
    let count = ids.entry(item.name.clone()).or_default();
    *count += 1;
    let repeat = if *count > 1 { format!("~{count}") } else { String::new() };
    let id = format!("{crate_name}/{}{repeat}", item.name);
    // A signature that lists a hundred constants says no more than its beginning.
    let signature = cut(&item.signature, options.max_characters / 3);
    let text = cut(&format!("{signature} {rest}"), options.max_characters).trim().to_owned();
    let name = format!("{}::{}", crate_name.replace('-', "_"), item.name);
    Entry { id, name, text, summary, is_query: false }
}

fn cut(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(at, _)| &text[..at])
}

/// Marks the entries whose summary asks for them and nothing else; returns how many do not.
fn mark_queries(families: &mut BTreeMap<String, Vec<Entry>>) -> usize {
    let mut shared: HashMap<String, usize> = HashMap::new();
    for entry in families.values().flatten() {
        *shared.entry(normal(&entry.summary)).or_default() += 1;
    }
    let mut without_query = 0;
    for entry in families.values_mut().flatten() {
        entry.is_query = shared[&normal(&entry.summary)] == 1 && asks(&entry.summary);
        without_query += usize::from(!entry.is_query);
    }
    without_query
}

/// Letters only: summaries that differ in a number or a sign ask the same.
fn normal(summary: &str) -> String {
    let letters = summary.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    letters.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Whether a sentence is prose of a useful length, and not about the documentation itself.
fn asks(summary: &str) -> bool {
    const NOT_QUESTIONS: [&str; 8] = [
        "see ",
        "todo",
        "fixme",
        "auto-generated",
        "generated ",
        "deprecated",
        "safety",
        "internal",
    ];
    let words = summary.split_whitespace().filter(|w| w.chars().any(char::is_alphabetic)).count();
    let lower = summary.to_lowercase();
    (5..=40).contains(&words)
        && summary.is_ascii()
        && !NOT_QUESTIONS.iter().any(|start| lower.starts_with(start))
}

/// Keeps a family within its limits, by the order of a hash so that every part of it stays.
fn thin(family: &str, entries: &mut Vec<Entry>, options: &Options) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_cached_key(|&i| hash(&[family, &entries[i].id]));
    let (mut n_documents, mut n_queries) = (0, 0);
    let mut kept = vec![false; entries.len()];
    for i in order {
        if n_documents < options.max_documents_per_family {
            n_documents += 1;
            kept[i] = true;
            n_queries += usize::from(entries[i].is_query);
            entries[i].is_query &= n_queries <= options.max_queries_per_family;
        }
    }
    let mut kept = kept.into_iter();
    entries.retain(|_| kept.next().expect("one flag per entry"));
}

/// Families in the order of a hash: a tenth of the queries to test, a tenth to dev, the rest to train.
fn split(families: BTreeMap<String, Vec<Entry>>, options: &Options) -> Vec<Split> {
    let count = |entries: &[Entry]| entries.iter().filter(|entry| entry.is_query).count();
    let total: usize = families.values().map(|entries| count(entries)).sum();
    let mut order: Vec<(String, Vec<Entry>)> = families.into_iter().collect();
    order.sort_by_cached_key(|(name, _)| hash(&["split", name]));
    let mut splits = ["train", "dev", "test"].map(|name| Split { name, ..Split::default() });
    let mut assigned = 0;
    for (_, entries) in order {
        let part = match assigned * 10 / total.max(1) {
            0 => 2,
            1 => 1,
            _ => 0,
        };
        assigned += count(&entries);
        splits[part].families += 1;
        splits[part].entries.extend(entries);
    }
    let limits = [options.max_train_queries, options.max_dev_queries, options.max_test_queries];
    for (split, limit) in splits.iter_mut().zip(limits) {
        keep_queries(split, limit);
    }
    splits.into()
}

fn keep_queries(split: &mut Split, limit: usize) {
    let asks = |&i: &usize| split.entries[i].is_query;
    let mut order: Vec<usize> = (0..split.entries.len()).filter(asks).collect();
    order.sort_by_cached_key(|&i| hash(&["query", &split.entries[i].id]));
    for i in order.into_iter().skip(limit) {
        split.entries[i].is_query = false;
    }
}

/// `arrow-array` and `arrow-schema` are one family, and so are `windows-sys` and `windows-targets`.
fn family(crate_name: &str) -> String {
    let first = crate_name.split(['-', '_']).next().unwrap_or(crate_name);
    let unnumbered = first.trim_end_matches(|c: char| c.is_ascii_digit());
    (if unnumbered.is_empty() { first } else { unnumbered }).to_lowercase()
}

fn hash(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(parts.join("\n")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, documentation: &str) -> DocumentedItem {
        let signature = format!("fn {name}()");
        DocumentedItem { name: name.to_owned(), signature, documentation: documentation.to_owned() }
    }

    fn families(n: usize) -> BTreeMap<String, Vec<Entry>> {
        let options = Options::default();
        let entries = |family: usize| {
            let documentation = |i: usize| {
                format!("Turns the {} of the {} around.\n\nRest.", word(i), word(family + 100))
            };
            let mut ids = HashMap::new();
            let mut make = |i| {
                entry(
                    &format!("family{family}"),
                    &item(&word(i), &documentation(i)),
                    &options,
                    &mut ids,
                )
            };
            (0..20).map(&mut make).collect::<Vec<_>>()
        };
        (0..n).map(|family| (word(family), entries(family))).collect()
    }

    /// A number in letters, since queries are told apart by letters.
    fn word(n: usize) -> String {
        n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    }

    #[test]
    fn relatives_are_one_family() {
        for (name, expected) in
            [("arrow-array", "arrow"), ("arrow2", "arrow"), ("serde_json", "serde"), ("syn", "syn")]
        {
            assert_eq!(family(name), expected);
        }
    }

    #[test]
    fn files_are_modules() {
        assert_eq!(module(Path::new("lib.rs")), Vec::<String>::new());
        assert_eq!(module(Path::new("ser/mod.rs")), ["ser"]);
        assert_eq!(module(Path::new("ser/map.rs")), ["ser", "map"]);
    }

    #[test]
    fn shared_short_and_odd_summaries_are_no_queries() {
        let mut families = families(2);
        let entries = families.get_mut("a").unwrap();
        entries[0].summary = entries[1].summary.to_uppercase();
        entries[2].summary = "Too short a one.".into();
        entries[3].summary = "See the other function of this crate.".into();
        assert_eq!(mark_queries(&mut families), 4);
        assert!(families["a"][4].is_query && families["b"][1].is_query);
        assert!(!families["a"][0].is_query && !families["a"][1].is_query);
    }

    #[test]
    fn splits_share_no_family_and_keep_their_limits() {
        let mut families = families(40);
        mark_queries(&mut families);
        let options = Options {
            max_documents_per_family: 15,
            max_queries_per_family: 10,
            max_train_queries: 100,
            max_dev_queries: 17,
            ..Options::default()
        };
        for (name, entries) in &mut families {
            thin(name, entries, &options);
            assert_eq!(entries.len(), 15);
        }
        let splits = split(families, &options);
        let n_queries: Vec<usize> = splits.iter().map(|split| split.queries().count()).collect();
        assert_eq!(n_queries, [100, 17, 40]);
        let mut seen = HashSet::new();
        for split in &splits {
            let names: HashSet<&str> =
                split.entries.iter().map(|entry| entry.id.split('/').next().unwrap()).collect();
            assert_eq!(names.len(), split.families);
            for name in names {
                assert!(seen.insert(name.to_owned()), "{name} is in two splits");
            }
        }
        assert_eq!(seen.len(), 40);
    }

    #[test]
    fn a_document_does_not_hold_its_query() {
        let item =
            item("f", "Frees the memory of it.\n\nNote: frees the memory of it. Be careful.");
        let entry = entry("c", &item, &Options::default(), &mut HashMap::new());
        assert_eq!(entry.summary, "Frees the memory of it.");
        assert_eq!(entry.full_text(), "c::f fn f() Note: Be careful.");
    }
}
