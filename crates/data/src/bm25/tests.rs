//! BM25 against the formula written out over whole texts, and its promises of order and failure.

use proptest::prelude::*;

use super::*;

const WORDS: [&str; 8] =
    ["red", "green", "blue", "red red", "cyan", "the", "magenta", "black white"];

fn documents(texts: &[String]) -> impl Iterator<Item = Result<(DocId, String)>> {
    let named =
        |(i, text): (usize, &String)| Ok((DocId::new(&format!("d{i}")).unwrap(), text.clone()));
    texts.iter().enumerate().map(named).collect::<Vec<_>>().into_iter()
}

/// The formula, read off the page.
fn oracle(texts: &[String], query: &str, options: &Bm25Options) -> Vec<ScoredDocument> {
    let split = |text: &String| -> Vec<String> {
        text.split(' ').map(str::to_owned).filter(|w| !w.is_empty()).collect()
    };
    let texts: Vec<Vec<String>> = texts.iter().map(split).collect();
    let n = texts.len() as f64;
    let mean = texts.iter().map(|t| t.len() as f64).sum::<f64>() / n;
    let mut found = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let mut score = 0.0;
        for term in query.split(' ') {
            let tf = text.iter().filter(|word| *word == term).count() as f64;
            let n_t =
                texts.iter().filter(|text| text.iter().any(|word| word == term)).count() as f64;
            let idf = (1.0 + (n - n_t + 0.5) / (n_t + 0.5)).ln();
            let norm = options.k1 * (1.0 - options.b + options.b * text.len() as f64 / mean);
            if tf > 0.0 {
                score += idf * tf / (tf + norm);
            }
        }
        if score > 0.0 {
            found.push(ScoredDocument { document: DocId::new(&format!("d{i}")).unwrap(), score });
        }
    }
    found.sort_by(crate::run::canonical);
    found
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn scores_are_those_of_the_formula(
        texts in prop::collection::vec(text(), 1..20), query in text(), k1 in 0.0f64..3.0, b in 0.0f64..=1.0,
    ) {
        let options = Bm25Options { analyzer: Analyzer::Plain, k1, b };
        let index = Bm25::in_ram(documents(&texts), options).unwrap();
        let found = index.search(&query, 100).unwrap();
        let expected = oracle(&texts, &query, &options);
        prop_assert_eq!(found.len(), expected.len());
        for candidate in &found {
            let same = expected.iter().find(|e| e.document == candidate.document).unwrap();
            prop_assert!((candidate.score - same.score).abs() < 1e-12);
        }
        prop_assert!(found.is_sorted_by(|a, b| crate::run::canonical(a, b).is_lt()));
        let few = index.search(&query, 3).unwrap();
        prop_assert_eq!(&few[..], &found[..found.len().min(3)]);
    }
}

#[test]
fn equal_scores_are_cut_by_document_id_descending() {
    let texts = vec!["red".to_owned(); 12];
    let index = Bm25::in_ram(documents(&texts), Bm25Options::default()).unwrap();
    let found: Vec<_> =
        index.search("red", 3).unwrap().iter().map(|c| c.document.to_string()).collect();
    assert_eq!(found, ["d9", "d8", "d7"]);
}

#[test]
fn an_index_on_disk_answers_as_one_in_memory() {
    let texts: Vec<String> =
        (0..5000).map(|i| format!("{} {}", WORDS[i % 8], WORDS[i * i % 7])).collect();
    let options = Bm25Options { analyzer: Analyzer::Code, k1: 1.2, b: 0.75 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    Bm25::create(&path, documents(&texts), options).unwrap();
    let disk = Bm25::open(&path).unwrap();
    assert_eq!(disk.options(), &options);
    assert_eq!(disk.n_documents(), 5000);
    let ram = Bm25::in_ram(documents(&texts), options).unwrap();
    let id = |name: &str| QueryId::new(name).unwrap();
    let queries =
        [(id("1"), "red cyan"), (id("2"), "white +(\"nothing: of] the syntax"), (id("3"), "zzz")];
    let run = disk.run(&queries, 50, "bm25").unwrap();
    assert_eq!(run, ram.run(&queries, 50, "bm25").unwrap());
    assert_eq!(run.n_queries(), 2, "no candidate, no line in the run");
    assert_eq!(run.query("1").unwrap(), disk.search("red cyan", 50).unwrap());
    let names = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(names(folder.path()), 1, "nothing but the index is left");
    let again = Bm25::create(&path, documents(&texts), options).err().unwrap();
    assert_eq!(again.to_string(), format!("{}: already exists", path.display()));
}

#[test]
fn what_cannot_be_indexed_is_refused() {
    let refused = |texts: &[(&str, &str)], options| {
        let documents =
            texts.iter().map(|(id, text)| Ok((DocId::new(id).unwrap(), (*text).to_owned())));
        Bm25::in_ram(documents, options).err().unwrap().to_string()
    };
    let options = Bm25Options::default();
    assert_eq!(refused(&[], options), "no document to index");
    assert_eq!(
        refused(&[("a", "x"), ("b", "y"), ("a", "z")], options),
        "expected every document once, found `a` again"
    );
    let wrong = Bm25Options { b: 1.5, ..options };
    assert_eq!(
        refused(&[("a", "x")], wrong),
        "expected k1 >= 0 and 0 <= b <= 1, found k1 `0.9` and b `1.5`"
    );
    let failing = [Err(ErrorKind::Empty.into())];
    assert!(Bm25::in_ram(failing.into_iter(), options).is_err());
}
