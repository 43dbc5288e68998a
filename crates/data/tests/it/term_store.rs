//! Term stores against what was put into them: whatever the threads, through kills, changes and damage.
//!
//! The builds that are killed run in children, which are this test binary with a variable set.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use rayon::prelude::*;
use tamis_data::Result;
use tamis_data::term_store::{
    BuildPlan, Element, TermIdentity, TermStore, TermStoreBuilder, delete,
};

use crate::support::child_process;

pub(crate) const WIDTH: usize = 3;

pub(crate) type Documents = BTreeMap<String, Vec<f32>>;

fn identity() -> TermIdentity {
    TermIdentity {
        model: "a".repeat(64),
        tokenizer: "b".repeat(64),
        join_layer: 2,
        position: 38,
        max_document_tokens: 20,
        width: WIDTH,
        is_compressed: false,
    }
}

pub(crate) fn plan(source: &str, n: usize, element: Element) -> BuildPlan {
    BuildPlan {
        identity: identity(),
        element,
        source: source.to_owned(),
        n_documents: n as u64,
        shard_documents: 4,
    }
}

/// Documents of a few tokens whose values follow from their place and a seed.
pub(crate) fn documents(prefix: &str, n: usize, seed: u64) -> Documents {
    let document = |i: usize| {
        let n_tokens = (i * 7 + seed as usize) % 6;
        let value = |j: usize| (((i * 31 + j * 17) as u64 + seed * 13) % 101) as f32 / 8.0 - 6.0;
        (format!("{prefix}{i}"), (0..n_tokens * WIDTH).map(value).collect())
    };
    (0..n).map(document).collect()
}

fn fill(builder: &TermStoreBuilder, documents: &Documents) -> Result<()> {
    let all: Vec<(&String, &Vec<f32>)> = documents.iter().collect();
    builder.pending()?.into_par_iter().try_for_each(|(number, range)| {
        let mut shard = builder.shard(number)?;
        for (id, values) in &all[range.start as usize..range.end as usize] {
            shard.push(id, values)?;
        }
        shard.finish()
    })
}

pub(crate) fn build(
    path: &Path,
    source: &str,
    documents: &Documents,
    element: Element,
) -> Result<TermStore> {
    let builder = TermStoreBuilder::open(path, plan(source, documents.len(), element))?;
    fill(&builder, documents)?;
    builder.publish()
}

pub(crate) fn contents(store: &TermStore) -> Documents {
    let read = |id: &str| {
        let place = store.find(id).unwrap();
        let mut values = Vec::new();
        store.prefetch(place).unwrap();
        store.read(place, &mut values).unwrap();
        assert_eq!(values.len(), store.n_tokens(place).unwrap() * WIDTH);
        values
    };
    let all: Documents =
        store.ids().map(Result::unwrap).map(|id| (id.to_owned(), read(id))).collect();
    assert_eq!(all.len(), store.len(), "every id once");
    store.verify(&|_, _| {}).unwrap();
    all
}

pub(crate) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_stored_is_found(
        n in 0usize..40, seed in 0u64..50, changed in 0usize..10,
        deleted in prop::collection::btree_set(0usize..40, 0..8),
    ) {
        let folder = temporary();
        let path = folder.path().join("store");
        let mut expected = documents("d", n, seed);
        let store = build(&path, "first", &expected, Element::F32).unwrap();
        prop_assert_eq!(contents(&store), expected.clone());
        prop_assert!(store.get("none").unwrap().is_none());
        // Some documents are replaced, others are new.
        let more = documents("d", n + changed, seed + 1).into_iter().skip(n / 2).collect::<Documents>();
        let store = build(&path, "second", &more, Element::F32).unwrap();
        expected.extend(more);
        prop_assert_eq!(contents(&store), expected.clone());
        let ids: BTreeSet<String> =
            deleted.iter().map(|i| format!("d{i}")).filter(|id| expected.contains_key(id)).collect();
        delete(&path, &ids).unwrap();
        // Who had the store open still sees it as it was.
        prop_assert_eq!(contents(&store), expected.clone());
        expected.retain(|id, _| !ids.contains(id));
        let store = TermStore::open(&path).unwrap();
        prop_assert_eq!(contents(&store), expected.clone());
        let stat = store.stat();
        prop_assert_eq!(stat.documents as usize, expected.len());
        prop_assert_eq!(stat.tokens as usize * WIDTH, expected.values().map(Vec::len).sum::<usize>());
        // What was deleted stays so while others come and go.
        if let Some(first) = expected.keys().next().cloned() {
            delete(&path, &BTreeSet::from([first.clone()])).unwrap();
            expected.remove(&first);
            prop_assert_eq!(contents(&TermStore::open(&path).unwrap()), expected.clone());
        }
        let store = build(&path, "third", &documents("e", 3, seed), Element::F32).unwrap();
        expected.extend(documents("e", 3, seed));
        prop_assert_eq!(contents(&store), expected);
        // The same documents again are no change.
        let again = TermStoreBuilder::open(&path, plan("first", n, Element::F32)).unwrap();
        prop_assert!(again.pending().unwrap().is_empty());
    }
}

#[test]
fn coarser_types_keep_values_nearly() {
    let folder = temporary();
    let expected = documents("d", 30, 3);
    for element in [Element::F16, Element::Bf16, Element::Int8] {
        let store =
            build(&folder.path().join(element.to_string()), "s", &expected, element).unwrap();
        for (found, expected) in contents(&store).values().zip(expected.values()) {
            assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() <= 0.03, "{element}: {a}, expected {b}");
            }
        }
        assert_eq!(store.stat().token_bytes, if element == Element::Int8 { 7 } else { 6 });
    }
}

/// The store that a child is to build, slowly.
const STORE: &str = "TAMIS_TEST_STORE";

fn slow() -> Documents {
    documents("d", 41, 5)
}

/// What a child does; in the parent's run of the tests, nothing.
#[test]
#[expect(clippy::print_stderr, reason = "the parent reads it")]
fn child() {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let documents = slow();
    let all: Vec<(&String, &Vec<f32>)> = documents.iter().collect();
    let build = || {
        let builder = TermStoreBuilder::open(&path, plan("slow", all.len(), Element::F32))?;
        for (number, range) in builder.pending()? {
            let mut shard = builder.shard(number)?;
            for (id, values) in &all[range.start as usize..range.end as usize] {
                std::thread::sleep(Duration::from_micros(300));
                shard.push(id, values)?;
            }
            shard.finish()?;
        }
        builder.publish().map(drop)
    };
    if let Err(error) = build() {
        eprintln!("BUILD FAILED: {error}");
        std::process::exit(7);
    }
}

fn command(store: &Path) -> Command {
    child_process("term_store::child", STORE, store)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_kill_at_any_time_loses_one_shard_at_most(
        waits in prop::collection::vec(1u64..40, 1..8),
    ) {
        let folder = temporary();
        let path = folder.path().join("store");
        let mut n_shards = 0;
        for wait in waits {
            let mut child = command(&path).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            child.kill().unwrap();
            child.wait().unwrap();
            if !path.join("store.json").exists() && path.exists() {
                prop_assert!(TermStore::open(&path).is_err());
            }
            // What was finished before is still there.
            let now = fs::read_dir(&path).map_or(0, |entries| {
                entries.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "terms")).count()
            });
            prop_assert!(now >= n_shards);
            n_shards = now;
        }
        let status = command(&path).status().unwrap();
        prop_assert!(status.success());
        prop_assert_eq!(contents(&TermStore::open(&path).unwrap()), slow());
        let left = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = left.filter(|name| name.ends_with(".part")).collect();
        prop_assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_full_disk_is_an_error_and_the_build_goes_on_later() {
    let folder = temporary();
    let path = folder.path().join("store");
    let child = command(&path);
    // A limit on the size of files stands for the disk: writing past it fails, as on a full one.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    shell.arg(child.get_program()).args(child.get_args()).env(STORE, &path);
    let output = shell.stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let error = TermStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("not finished") || error.contains("not a term store"), "{error}");
    let store = build(&path, "slow", &slow(), Element::F32).unwrap();
    assert_eq!(contents(&store), slow());
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let folder = temporary();
    let path = folder.path().join("store");
    let expected = documents("d", 9, 1);
    build(&path, "s", &expected, Element::F32).unwrap();
    let first = TermStoreBuilder::open(&path, plan("t", 9, Element::F32)).unwrap();
    let error = TermStoreBuilder::open(&path, plan("u", 9, Element::F32)).unwrap_err();
    assert!(error.to_string().ends_with("another process is writing to this store"), "{error}");
    assert!(delete(&path, &BTreeSet::from(["d1".to_owned()])).is_err());
    assert_eq!(contents(&TermStore::open(&path).unwrap()), expected);
    drop(first);
    assert!(TermStoreBuilder::open(&path, plan("u", 9, Element::F32)).is_ok());
}

#[test]
fn another_model_is_refused_with_the_difference() {
    let folder = temporary();
    let path = folder.path().join("store");
    build(&path, "s", &documents("d", 9, 1), Element::F16).unwrap();
    let other = |change: fn(&mut TermIdentity)| {
        let mut identity = identity();
        change(&mut identity);
        TermStore::open_for(&path, &identity).unwrap_err().to_string()
    };
    assert!(TermStore::open_for(&path, &identity()).is_ok());
    let error = other(|identity| identity.model = "c".repeat(64));
    assert!(error.contains("the model below the split: the store was made with sha256 aaaaaaaaaaaa.., the model has sha256 cccccccccccc..; index"), "{error}");
    assert!(other(|identity| identity.tokenizer = "d".repeat(64)).contains("the tokenizer"));
    assert!(other(|identity| identity.position = 8).contains("the position of documents"));
    let error = TermStoreBuilder::open(&path, plan("s", 9, Element::F32)).unwrap_err();
    assert!(error.to_string().contains("the store has f16, not f32; make a new store"), "{error}");
}

#[test]
fn ids_that_are_unknown_or_twice_are_named() {
    let folder = temporary();
    let path = folder.path().join("store");
    let store = build(&path, "s", &documents("d", 9, 1), Element::F32).unwrap();
    let error = store.find("d99").unwrap_err().to_string();
    assert!(error.ends_with("unknown document `d99`"), "{error}");
    let error = delete(&path, &BTreeSet::from(["d99".to_owned()])).unwrap_err().to_string();
    assert!(error.ends_with("unknown document `d99`"), "{error}");
    // Twice in one build, in two shards.
    let builder = TermStoreBuilder::open(&path, plan("twice", 8, Element::F32)).unwrap();
    for (number, range) in builder.pending().unwrap() {
        let mut shard = builder.shard(number).unwrap();
        range.for_each(|i| shard.push(&format!("e{}", i % 7), &[]).unwrap());
        shard.finish().unwrap();
    }
    let error = builder.publish().unwrap_err().to_string();
    assert!(error.ends_with("expected every document once, found `e0` again"), "{error}");
    assert_eq!(contents(&TermStore::open(&path).unwrap()), documents("d", 9, 1));
}

#[test]
fn damage_is_refused_wherever_it_is() {
    let folder = temporary();
    let path = folder.path().join("store");
    let expected = documents("d", 9, 1);
    build(&path, "s", &expected, Element::F32).unwrap();
    let read = || -> Result<Documents> {
        let store = TermStore::open(&path)?;
        store.verify(&|_, _| {})?;
        Ok(contents(&store))
    };
    let files: Vec<PathBuf> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "terms" || end == "ids"))
        .collect();
    assert_eq!(files.len(), 4);
    for file in files {
        let whole = fs::read(&file).unwrap();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(&file, &flipped).unwrap();
            let error = read().unwrap_err();
            assert_eq!(error.path(), Some(file.as_path()), "byte {place}: {error}");
            if place % 16 == 0 {
                fs::write(&file, &whole[..place]).unwrap();
                assert_eq!(read().unwrap_err().path(), Some(file.as_path()));
            }
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(read().unwrap_err().path(), Some(file.as_path()));
        fs::write(&file, &whole).unwrap();
        assert_eq!(read().unwrap(), expected);
    }
}

#[test]
fn folders_that_are_no_stores_are_refused() {
    let folder = temporary();
    let error = TermStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("not a term store: it has no store.json"), "{error}");
    fs::write(folder.path().join("store.json"), "{\"format\": 2}").unwrap();
    let error = TermStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("format: expected `1`, found `2`"), "{error}");
    fs::write(folder.path().join("store.json"), "{\"format\": ").unwrap();
    assert!(TermStore::open(folder.path()).is_err());
    let path = folder.path().join("store");
    build(&path, "s", &documents("d", 2, 1), Element::F32).unwrap();
    let manifest = path.join("store.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("index-000000.ids", "../index-000000.ids")).unwrap();
    let error = TermStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("expected names of files"), "{error}");
}
