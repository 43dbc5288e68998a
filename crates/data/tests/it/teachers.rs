//! Teachers' scores in every form, joined strictly; lists of pairs, score files and filled groups.

use tamis_data::format::{read_run, read_score_file, read_scored_pairs, read_test_pairs};
use tamis_data::{
    Candidate, Dataset, Group, GroupSampler, MissingTeacher, PrepareOptions, PrepareReport, Run,
    Shortage, Sources, TeacherMerge, TeacherOptions, TeacherSources, prepare,
};
use tempfile::TempDir;

use crate::support::{file, folder};

fn pairs(folder: &TempDir, text: &str, triples: Option<&str>) -> Result<Vec<String>, String> {
    let path = file(folder, "scores.tsv", text);
    let triples = triples.map(|text| file(folder, "triples.tsv", text));
    let mut found = Vec::new();
    read_scored_pairs(&path, triples.as_deref(), |query, document, score| {
        found.push(format!("{query} {document} {score}"));
        Ok(())
    })
    .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))?;
    Ok(found)
}

#[test]
fn scores_have_two_three_or_five_columns() {
    let folder = folder();
    let three = pairs(&folder, "q1\td1\t0.5\n\nq1 d2 [-1.25]\n", None);
    assert_eq!(three.unwrap(), ["q1 d1 0.5", "q1 d2 -1.25"]);
    let five = pairs(&folder, "9.5\t[2]\tq1\td1\td2\n", None);
    assert_eq!(five.unwrap(), ["q1 d1 9.5", "q1 d2 2"]);
    let two = pairs(&folder, "3 1\n4 2\n", Some("q1 d1 d2\nq2 d3 d4\n"));
    assert_eq!(two.unwrap(), ["q1 d1 3", "q1 d2 1", "q2 d3 4", "q2 d4 2"]);
}

#[test]
fn scores_that_are_none_are_refused_with_their_line() {
    let folder = folder();
    let error = |text, triples| pairs(&folder, text, triples).unwrap_err();
    assert!(error("q1 d1 high\n", None).contains("scores.tsv:1: score: expected a finite number"));
    assert!(error("q1 d1 1\nq1 d2 nan\n", None).starts_with("scores.tsv:2: score"));
    assert!(error("q1 d1 1\nq1 d2\n", None).contains(":2: expected as many as in the first line"));
    assert!(error("1 2\n", None).contains("beside a file of triples, found 2 columns"));
    assert!(error("1 2 3 4\n", None).contains("found 4 columns"));
    assert!(error("1 2\n3 4\n", Some("q d e\n")).contains("the file of triples is shorter"));
    assert!(error("1 2\n", Some("q d e\nq d f\n")).contains("triples.tsv: longer than the file"));
    assert!(error("\n", None).contains("expected at least one line"));
}

fn order(run: &Run) -> Vec<String> {
    run.iter()
        .flat_map(|(query, candidates)| {
            candidates.iter().map(move |c| format!("{query} {} {}", c.document, c.score))
        })
        .collect()
}

#[test]
fn a_score_file_is_a_ranking() {
    let folder = folder();
    let path = file(&folder, "s.tsv", "q d1 [0.5]\nq d2 0.75\nq d1 0.9\np d1 -2\n");
    let run = read_score_file(&path, "mine").unwrap();
    assert_eq!(order(&run), ["p d1 -2", "q d1 0.9", "q d2 0.75"], "the last score counts");
    assert_eq!(run.tag(), "mine");
    // Told from MS MARCO's runs by its first line.
    assert_eq!(order(&read_run(&path).unwrap()), order(&run));
    let ranks = file(&folder, "r.tsv", "q\td1\t2\nq\td2\t1\n");
    assert_eq!(order(&read_run(&ranks).unwrap()), ["q d2 -1", "q d1 -2"]);
}

#[test]
fn lists_of_pairs_have_two_three_or_four_columns() {
    let folder = folder();
    let read = |text: &str, depth| {
        let path = file(&folder, "pairs.tsv", text);
        read_test_pairs(&path, depth).map_err(|error| error.to_string())
    };
    assert_eq!(order(&read("q d2\nq d1\n", Some(1)).unwrap()), ["q d2 -0", "q d1 -1"]);
    let three = "q\td1\t200\nq\td2\t201\nq\td3\t1\n";
    assert_eq!(order(&read(three, Some(200)).unwrap()), ["q d3 -1", "q d1 -200"]);
    assert_eq!(order(&read("q d1 1 9.5\nq d2 2 7\n", Some(1)).unwrap()), ["q d1 -1"]);
    let scores = read("q d1 0.5\n", None).unwrap_err();
    assert!(scores.contains(":1: rank: expected an integer from 1 (a score file is no list"));
    assert!(read("q\n", None).unwrap_err().contains("2 to 4 columns"));
    assert!(read("q d\nq d\n", None).unwrap_err().contains("expected every document once"));
}

/// Two queries with two candidates each, and teachers' scores.
fn prepared(
    folder: &TempDir,
    teachers: &[&str],
    teacher: TeacherOptions,
) -> Result<(Dataset, PrepareReport), String> {
    let source = |name: &str, text: &str| vec![file(folder, name, text)];
    let scores = teachers
        .iter()
        .enumerate()
        .map(|(i, text)| file(folder, &format!("teacher{i}.tsv"), text))
        .collect();
    let sources = Sources {
        corpus: source("c.tsv", "d1\tone\nd2\ttwo\nd3\tthree\n"),
        queries: source("q.tsv", "q1\tfirst\nq2\tsecond\n"),
        qrels: source("qrels", "q1 0 d1 1\nq2 0 d3 1\n"),
        runs: source("run", "q1 Q0 d1 1 2 t\nq1 Q0 d2 2 1 t\nq2 Q0 d3 1 2 t\nq2 Q0 d1 2 1 t\n"),
        teachers: TeacherSources { scores, triples: None },
        ..Sources::default()
    };
    let options = PrepareOptions { teacher, replace: true, ..PrepareOptions::default() };
    let out = folder.path().join("out");
    let report = prepare(&sources, &out, &options, &mut |_, _| {}).map_err(|e| e.to_string())?;
    Ok((Dataset::open(&out).unwrap(), report))
}

fn scores(dataset: &Dataset) -> Vec<Vec<Option<f32>>> {
    dataset
        .groups()
        .iter()
        .map(|group| group.candidates.iter().map(|c| c.teacher_score).collect())
        .collect()
}

const POSITIVES: &str = "q1 d1 5\nq2 d3 7\nq9 d1 1\n";
const CANDIDATES: &str = "q1 d1 6\nq1 d2 2\nq2 d1 3\n";

#[test]
fn teachers_are_joined_and_what_is_missing_is_told() {
    let folder = folder();
    let (dataset, report) =
        prepared(&folder, &[POSITIVES, CANDIDATES], TeacherOptions::default()).unwrap();
    assert_eq!(scores(&dataset), [[Some(6.0), Some(2.0)], [Some(7.0), Some(3.0)]]);
    assert_eq!((report.with_teacher, report.without_teacher), (4, 0));
    let roles = dataset.manifest().sources.iter().filter(|source| source.role == "teacher").count();
    assert_eq!(roles, 2, "the manifest knows the teachers");

    let mean = TeacherOptions { merge: TeacherMerge::Mean, ..TeacherOptions::default() };
    let (dataset, _) = prepared(&folder, &[POSITIVES, CANDIDATES], mean).unwrap();
    assert_eq!(scores(&dataset)[0], [Some(5.5), Some(2.0)]);

    let error = prepared(&folder, &[POSITIVES], TeacherOptions::default()).unwrap_err();
    assert_eq!(
        error,
        "2 of 4 candidates have no teacher score, the first is document `d2` of query `q1`"
    );
    let keep = TeacherOptions { missing: MissingTeacher::Keep, ..TeacherOptions::default() };
    let (dataset, report) = prepared(&folder, &[POSITIVES], keep).unwrap();
    assert_eq!(scores(&dataset), [[Some(5.0), None], [Some(7.0), None]]);
    assert_eq!((report.with_teacher, report.without_teacher), (2, 2));
    let drop = TeacherOptions { missing: MissingTeacher::Drop, ..TeacherOptions::default() };
    let (dataset, report) = prepared(&folder, &[POSITIVES], drop).unwrap();
    assert_eq!(scores(&dataset), [[Some(5.0)], [Some(7.0)]]);
    assert_eq!((report.candidates, report.without_teacher), (2, 2));
}

#[test]
fn groups_are_filled_from_the_corpus_without_positives() {
    let candidate = |document, label| Candidate { document, label, ..Candidate::default() };
    let candidates = vec![
        candidate(0, Some(1.0)),
        candidate(1, Some(2.0)),
        candidate(2, None),
        candidate(3, None),
    ];
    let group = Group { query: 0, candidates };
    let sampler =
        |seed| GroupSampler { group_size: 6, shortage: Shortage::Fill, ..GroupSampler::new(seed) };
    let mut counts = [0_u32; 20];
    for position in 0..4000 {
        let sampled = sampler(3).sample_from(&group, 20, 0, position).unwrap().unwrap();
        assert_eq!(sampled.documents.len(), 6);
        let (positive, rest) = sampled.documents.split_first().unwrap();
        assert!(*positive < 2);
        let mut listed = rest[..2].to_vec();
        listed.sort_unstable();
        assert_eq!(listed, [2, 3], "what the run has comes first");
        assert!(rest[2..].iter().all(|document| (4..20).contains(document)));
        let mut distinct = rest.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 5);
        rest[2..].iter().for_each(|document| counts[*document as usize] += 1);
    }
    // 3 of 16 each time: 750, with a deviation of about 25.
    assert!(counts[4..].iter().all(|count| (630..870).contains(count)), "{counts:?}");
    // A corpus that is nearly used up, and one that is too small.
    let tight = sampler(1).sample_from(&group, 7, 0, 0).unwrap().unwrap();
    let mut filled = tight.documents[3..].to_vec();
    filled.sort_unstable();
    assert_eq!(filled, [4, 5, 6]);
    let error = sampler(1).sample_from(&group, 6, 0, 0).unwrap_err().to_string();
    assert_eq!(error, "the corpus has 2 other documents, expected at least 3");
    let error = sampler(1).sample(&group, 0, 0).unwrap_err().to_string();
    assert_eq!(error, "filling groups up needs the corpus");
}
