//! Compacted stores against what can be found in them: through kills, full disks and damage.
//!
//! The compactions that are killed run in children, which are this test binary with a variable set.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use tamis_data::term_store::{Element, TermStore, TermStoreBuilder, compact, delete};

use crate::support::child_process;
use crate::term_store::{Documents, build, contents, documents, plan, temporary};

/// A store of several changes, and what can be found in it.
fn changed(path: &Path, n: usize, replaced: &BTreeSet<usize>, gone: &BTreeSet<usize>) -> Documents {
    let mut expected = documents("d", n, 1);
    build(path, "first", &expected, Element::Int8).unwrap();
    let name = |i: &usize| format!("d{i}");
    let names: BTreeSet<String> = replaced.iter().map(name).collect();
    let more: Documents =
        documents("d", n + 3, 2).into_iter().filter(|(id, _)| names.contains(id)).collect();
    build(path, "second", &more, Element::Int8).unwrap();
    expected.extend(more);
    let gone = gone.iter().map(name).filter(|id| expected.contains_key(id)).collect();
    delete(path, &gone).unwrap();
    expected.retain(|id, _| !gone.contains(id));
    let found = contents(&TermStore::open(path).unwrap());
    assert!(found.keys().eq(expected.keys()));
    // As they are stored: whatever rounding has done is kept to the last bit.
    found
}

/// Files of documents and indices, finished or not.
fn files(path: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| name(entry).into_string().unwrap()).collect();
    names.retain(|name| name != "lock" && name != "store.json");
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_can_be_found_stays_and_nothing_else_does(
        n in 0usize..40, shard_documents in 1u64..9,
        replaced in prop::collection::btree_set(0usize..43, 0..9),
        gone in prop::collection::btree_set(0usize..43, 0..30),
    ) {
        let folder = temporary();
        let path = folder.path().join("store");
        let expected = changed(&path, n, &replaced, &gone);
        let before = TermStore::open(&path).unwrap();
        let mut told = Vec::new();
        let done = compact(&path, shard_documents, &mut |now, all| told.push((now, all))).unwrap();
        prop_assert!(told.is_sorted());
        prop_assert!(told.last().is_none_or(|&(now, all)| now == all && now == done.copied));
        // Who had the store open still sees it as it was.
        prop_assert_eq!(contents(&before), expected.clone());
        let store = TermStore::open(&path).unwrap();
        prop_assert_eq!(contents(&store), expected);
        prop_assert_eq!(store.stat().dead_bytes, 0);
        prop_assert_eq!(store.stat().bytes, done.bytes_after);
        // An index and the shards of the manifest: no more files than those that count.
        prop_assert_eq!(files(&path).len(), 1 + store.stat().shards);
        // There is nothing left to do.
        let again = compact(&path, shard_documents, &mut |_, _| ()).unwrap();
        prop_assert_eq!((again.copied, again.dropped), (0, 0));
        // The store can be changed as before.
        let store = build(&path, "third", &documents("e", 5, 3), Element::Int8).unwrap();
        prop_assert_eq!(store.len(), before.len() + 5);
    }
}

#[test]
fn shards_without_a_hole_are_not_copied() {
    let folder = temporary();
    let path = folder.path().join("store");
    // Shards of four documents: the hole is in the first, the last of 41 is alone.
    let expected = changed(&path, 41, &BTreeSet::new(), &BTreeSet::from([0, 1]));
    let before = files(&path);
    let done = compact(&path, 4096, &mut |_, _| ()).unwrap();
    assert_eq!((done.copied, done.dropped), (2, 2));
    assert!(done.bytes_after < done.bytes_before);
    let kept = files(&path).iter().filter(|name| before.contains(name)).count();
    assert_eq!(kept, 10, "the other shards");
    assert_eq!(contents(&TermStore::open(&path).unwrap()), expected);
}

/// The store that a child is to compact, slowly.
const STORE: &str = "TAMIS_TEST_COMPACT";

/// What a child does; in the parent's run of the tests, nothing.
#[test]
#[expect(clippy::print_stderr, reason = "the parent reads it")]
fn child() {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let slowly = &mut |_, _| std::thread::sleep(Duration::from_millis(1));
    if let Err(error) = compact(&path, 2, slowly) {
        eprintln!("COMPACTION FAILED: {error}");
        std::process::exit(7);
    }
}

fn command(store: &Path) -> Command {
    child_process("term_compaction::child", STORE, store)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_kill_at_any_time_leaves_the_store_whole(
        waits in prop::collection::vec(1u64..45, 1..8),
    ) {
        let folder = temporary();
        let path = folder.path().join("store");
        let gone = (0..41).filter(|i| i % 3 == 0).collect();
        let expected = changed(&path, 41, &(5..20).collect(), &gone);
        for wait in waits {
            let mut child = command(&path).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            child.kill().unwrap();
            child.wait().unwrap();
            prop_assert_eq!(&contents(&TermStore::open(&path).unwrap()), &expected);
        }
        prop_assert!(command(&path).status().unwrap().success());
        let store = TermStore::open(&path).unwrap();
        prop_assert_eq!(contents(&store), expected);
        prop_assert_eq!(store.stat().dead_bytes, 0);
        prop_assert_eq!(files(&path).len(), 1 + store.stat().shards);
    }
}

#[test]
fn shards_of_a_killed_compaction_are_kept_unless_the_store_changed() {
    let folder = temporary();
    let path = folder.path().join("store");
    let gone = (0..41).filter(|i| i % 3 == 0).collect();
    let mut expected = changed(&path, 41, &BTreeSet::new(), &gone);
    let before = files(&path);
    let stop = || {
        // What a kill leaves behind: a compaction that ends after its third shard.
        std::panic::catch_unwind(|| {
            let mut n = 0;
            compact(&path, 2, &mut |_, _| {
                n += 1;
                assert!(n < 3, "stopped");
            })
        })
        .unwrap_err();
        let finished = files(&path).into_iter().filter(|name| !before.contains(name));
        finished.collect::<Vec<_>>()
    };
    let first = stop();
    assert_eq!(first.len(), 3);
    let written = |name: &String| fs::metadata(path.join(name)).unwrap().modified().unwrap();
    let times: Vec<_> = first.iter().map(written).collect();
    assert_eq!(stop(), first, "the same shards");
    assert_eq!(first.iter().map(written).collect::<Vec<_>>(), times, "not written again");
    // One that is damaged meanwhile is.
    fs::write(path.join(&first[0]), "damaged").unwrap();
    assert_eq!(contents(&TermStore::open(&path).unwrap()), expected);
    delete(&path, &BTreeSet::from(["d1".to_owned()])).unwrap();
    expected.remove("d1");
    compact(&path, 2, &mut |_, _| ()).unwrap();
    assert!(files(&path).iter().all(|name| !first.contains(name)));
    assert_eq!(contents(&TermStore::open(&path).unwrap()), expected);
}

#[test]
#[cfg(unix)]
fn a_full_disk_or_damage_leaves_the_store_as_it_was() {
    let folder = temporary();
    let path = folder.path().join("store");
    let expected = changed(&path, 41, &BTreeSet::new(), &BTreeSet::from([0, 7, 8]));
    let before = files(&path);
    let child = command(&path);
    // A limit on the size of files stands for the disk: writing past it fails, as on a full one.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    shell.arg(child.get_program()).args(child.get_args()).env(STORE, &path);
    let output = shell.stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(contents(&TermStore::open(&path).unwrap()), expected);

    // A flipped byte in a shard that is copied is named, and nothing is published.
    let shard = path.join(before.iter().find(|name| name.ends_with("-000000.terms")).unwrap());
    let whole = fs::read(&shard).unwrap();
    let mut flipped = whole.clone();
    flipped[3] ^= 4;
    fs::write(&shard, flipped).unwrap();
    let error = compact(&path, 4, &mut |_, _| ()).unwrap_err();
    assert_eq!(error.path(), Some(shard.as_path()), "{error}");
    fs::write(&shard, whole).unwrap();
    assert_eq!(contents(&TermStore::open(&path).unwrap()), expected);

    // Another writer is refused.
    let writer = TermStoreBuilder::open(&path, plan("t", 9, Element::Int8)).unwrap();
    let error = compact(&path, 4, &mut |_, _| ()).unwrap_err().to_string();
    assert!(error.ends_with("another process is writing to this store"), "{error}");
    drop(writer);
    compact(&path, 4, &mut |_, _| ()).unwrap();
    assert_eq!(contents(&TermStore::open(&path).unwrap()), expected);
}
