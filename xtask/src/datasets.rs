//! `cargo xtask datasets`: manifests into files that are whole, checked and counted.

mod download;
mod manifest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::HumanBytes;
use tamis_data::format;

use crate::progress::say;
use download::{Download, Hashes, keep};
use manifest::{Content, Fetched, Kind, Manifest, Source};

/// List, fetch, check and count public collections.
///
///   cargo xtask datasets list
///   cargo xtask datasets fetch scifact --into data
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct DatasetsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Names, titles and licences
    List(Place),
    /// Download what is not here yet, check it and unpack it. Goes on where it was stopped
    Fetch(Chosen),
    /// Compare every file with its hash
    Verify(Chosen),
    /// Count documents, queries, judgements and candidates
    Stat(Chosen),
}

#[derive(clap::Args)]
struct Place {
    /// The folder of the manifests
    #[arg(long, value_name = "FOLDER", default_value = "datasets")]
    manifests: PathBuf,

    /// Where datasets lie, a folder each
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    into: PathBuf,
}

#[derive(clap::Args)]
struct Chosen {
    /// Which, by the names of their manifests
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    place: Place,

    /// How often a broken connection is taken up again
    #[arg(long, default_value_t = 5)]
    retries: u32,
}

pub fn datasets(args: &DatasetsArgs) -> Result<ExitCode> {
    match &args.action {
        Action::List(place) => list(place)?,
        Action::Fetch(chosen) => chosen.each(|one| one.fetch(chosen.retries, PAUSE))?,
        Action::Stat(chosen) => chosen.each(|one| one.stat())?,
        Action::Verify(chosen) => {
            let mut whole = true;
            chosen.each(|one| {
                whole &= one.verify()?;
                Ok(())
            })?;
            return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// After the first broken connection.
const PAUSE: Duration = Duration::from_secs(2);

/// All manifests of a folder by name.
fn manifests(folder: &Path) -> Result<BTreeMap<String, Manifest>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(name, Manifest::read(&path)?);
        }
    }
    Ok(found)
}

fn list(place: &Place) -> Result<()> {
    for (name, manifest) in manifests(&place.manifests)? {
        let folder = place.into.join(&name);
        let n_here = manifest.files.iter().filter(|file| folder.join(&file.path).exists()).count();
        let here = match n_here {
            0 => String::new(),
            n => format!("  [{n} of {} files here]", manifest.files.len()),
        };
        println!("{name:<24} {} ({}){here}", manifest.title, manifest.licence);
    }
    Ok(())
}

impl Chosen {
    fn each(&self, mut act: impl FnMut(&One) -> Result<()>) -> Result<()> {
        let mut known = manifests(&self.place.manifests)?;
        for name in &self.names {
            let Some(manifest) = known.remove(name) else {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                bail!("unknown dataset `{name}`; expected one of {}", names.join(", "));
            };
            let folder = self.place.into.join(name);
            act(&One { name: name.clone(), manifest, folder })?;
        }
        Ok(())
    }
}

/// One dataset and its place.
struct One {
    name: String,
    manifest: Manifest,
    folder: PathBuf,
}

impl One {
    fn fetch(&self, retries: u32, pause: Duration) -> Result<()> {
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        say(&format!("{}: licence: {}", self.name, self.manifest.licence));
        if let Some(note) = &self.manifest.note {
            say(note);
        }
        let mut fetched = Fetched::read(&self.folder)?;
        for file in &self.manifest.files {
            let path = self.folder.join(&file.path);
            if path.exists() {
                say(&format!("{} is here", path.display()));
                self.unpack(file, &mut fetched)?;
                continue;
            }
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            }
            say(&format!("fetching {}", file.url));
            let download = Download { url: &file.url, bytes: file.bytes, retries, pause };
            let partial = download.fetch(&path)?;
            let expected = hashes(file, &fetched);
            let how = if expected.is_known() { "as expected" } else { "noted for later" };
            let found = keep(&partial, &path, &expected)?;
            say(&format!("{}: sha256 {found}, {how}", path.display()));
            fetched.sha256.insert(file.path.clone(), found);
            fetched.unpacked.remove(&file.path);
            fetched.write(&self.folder)?;
            self.unpack(file, &mut fetched)?;
        }
        Ok(())
    }

    /// Unpacks an archive, once: one that was stopped in the middle is unpacked again.
    fn unpack(&self, file: &Source, fetched: &mut Fetched) -> Result<()> {
        if file.unpack && !fetched.unpacked.contains(&file.path) {
            unpack(&self.folder.join(&file.path), &self.folder)?;
            fetched.unpacked.insert(file.path.clone());
            fetched.write(&self.folder)?;
        }
        Ok(())
    }

    /// Whether all files are here and what they must be.
    fn verify(&self) -> Result<bool> {
        let fetched = Fetched::read(&self.folder)?;
        let mut whole = true;
        for file in &self.manifest.files {
            let path = self.folder.join(&file.path);
            let expected = hashes(file, &fetched);
            let verdict = match (path.exists(), expected.is_known()) {
                (false, _) => "MISSING".to_owned(),
                (true, false) => "here, with no hash to compare".to_owned(),
                (true, true) => match expected.difference(&path)? {
                    (None, _) => "equal".to_owned(),
                    (Some(wrong), _) => format!("DIFFERS: {wrong}"),
                },
            };
            whole &= verdict == "equal";
            println!("{}/{}  {verdict}", self.name, file.path);
        }
        Ok(whole)
    }

    fn stat(&self) -> Result<()> {
        ensure!(
            self.folder.exists(),
            "{}: not here; fetch it first: cargo xtask datasets fetch {}",
            self.folder.display(),
            self.name
        );
        for file in &self.manifest.files {
            let path = self.folder.join(&file.path);
            let size = path
                .metadata()
                .map_or("missing".to_owned(), |data| HumanBytes(data.len()).to_string());
            println!("{}/{}  {size}", self.name, file.path);
        }
        for content in &self.manifest.contents {
            let path = self.folder.join(&content.path);
            let counted = if path.exists() { count(&path, content)? } else { "missing".to_owned() };
            println!("{}/{}  {counted}", self.name, content.path);
        }
        Ok(())
    }
}

/// What was published of a file, and what it was the first time.
fn hashes<'a>(file: &'a Source, fetched: &'a Fetched) -> Hashes<'a> {
    let noted = fetched.sha256.get(&file.path);
    Hashes { sha256: file.sha256.as_ref().or(noted).map(String::as_str), md5: file.md5.as_deref() }
}

/// What a file holds, in a line.
fn count(path: &Path, content: &Content) -> Result<String> {
    let mean = |characters: u64, n: u64| characters as f64 / (n.max(1)) as f64;
    Ok(match content.kind {
        Kind::Documents => {
            let (mut n, mut empty, mut characters) = (0_u64, 0_u64, 0_u64);
            format::read_documents(path, |_, text| {
                n += 1;
                empty += u64::from(text.trim().is_empty());
                characters += text.chars().count() as u64;
                Ok(())
            })?;
            format!("{n} documents, {empty} empty, {:.0} characters each", mean(characters, n))
        }
        Kind::Queries => {
            let queries = format::read_queries(path)?;
            let characters = queries.values().map(|text| text.chars().count() as u64).sum();
            let n = queries.len();
            format!("{n} queries, {:.0} characters each", mean(characters, n as u64))
        }
        Kind::Qrels => {
            let qrels = format::read_qrels(path)?;
            let mut levels: BTreeMap<i32, u64> = BTreeMap::new();
            for (_, judged) in qrels.iter() {
                judged.values().for_each(|&level| *levels.entry(level).or_default() += 1);
            }
            let levels: Vec<String> =
                levels.iter().map(|(level, n)| format!("{n} of {level}")).collect();
            let (n, m) = (qrels.n_judgements(), qrels.n_queries());
            format!("{n} judgements of {m} queries: {}", levels.join(", "))
        }
        Kind::Run => {
            let run = format::read_run(path)?;
            let (n, m) = (run.n_candidates(), run.n_queries());
            format!("{n} candidates of {m} queries")
        }
    })
}

/// Unpacks an archive with the system's own programs.
fn unpack(path: &Path, folder: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = if name.ends_with(".zip") {
        let mut command = Command::new("unzip");
        command.args(["-q", "-o"]).arg(path).arg("-d").arg(folder);
        command
    } else {
        let mut command = Command::new("tar");
        command.arg("-xf").arg(path).arg("-C").arg(folder);
        command
    };
    say(&format!("unpacking {}", path.display()));
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("`{program}`, which unpacks, cannot be started"))?;
    ensure!(status.success(), "{}: {program} failed, {status}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::sha256;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    /// What a server does, and the ranges that it was asked for.
    #[derive(Default)]
    struct State {
        body: Vec<u8>,
        tag: String,
        /// Break off after so many bytes, once each.
        breaks: Vec<usize>,
        asked: Vec<String>,
    }

    fn serve(state: Arc<Mutex<State>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that went away is no failure.
                let _ = answer(stream.unwrap(), &state);
            }
        });
        address
    }

    fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut first, mut range, mut condition) = (String::new(), None, None);
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            match name.to_lowercase().as_str() {
                "range" => range = Some(value.trim().to_owned()),
                "if-range" => condition = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut state = state.lock().unwrap();
        state.asked.push(range.clone().unwrap_or_default());
        if first.contains("/absent") {
            return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
        let start = range
            .filter(|_| condition.as_ref().is_none_or(|tag| *tag == state.tag))
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
            .unwrap_or(0_usize);
        let (size, tag) = (state.body.len(), state.tag.clone());
        let status = match start {
            0 => "200 OK\r\n".to_owned(),
            start => {
                format!(
                    "206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}\r\n",
                    size - 1
                )
            }
        };
        write!(
            stream,
            "HTTP/1.1 {status}ETag: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            size - start
        )?;
        let end = if state.breaks.is_empty() { size } else { state.breaks.remove(0).max(start) };
        stream.write_all(&state.body[start..end])?;
        stream.flush()
    }

    fn server(body: &[u8], breaks: Vec<usize>) -> (Arc<Mutex<State>>, String) {
        let tag = "\"one\"".to_owned();
        let state = State { body: body.to_vec(), tag, breaks, asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        (Arc::clone(&state), serve(state))
    }

    fn one(folder: &Path, text: &str) -> One {
        let path = folder.join("set.toml");
        let head = "title = \"t\"\nhome = \"h\"\nlicence = \"l\"\n";
        std::fs::write(&path, format!("{head}{text}")).unwrap();
        let manifest = Manifest::read(&path).unwrap();
        One { name: "set".to_owned(), manifest, folder: folder.join("set") }
    }

    fn fetch(one: &One, retries: u32) -> Result<()> {
        one.fetch(retries, Duration::ZERO)
    }

    /// A corpus of 300 kB, in BEIR's form.
    fn corpus() -> Vec<u8> {
        let line = |i| format!("{{\"_id\": \"d{i}\", \"text\": \"number {i}\"}}\n");
        (0..8000).map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn a_broken_download_goes_on_where_it_stopped() {
        let body = corpus();
        let (state, address) = server(&body, vec![100_000, 200_000]);
        let folder = tempfile::tempdir().unwrap();
        let hash: String = {
            let path = folder.path().join("whole");
            std::fs::write(&path, &body).unwrap();
            sha256(&path).unwrap()
        };
        let text = format!(
            "[[file]]\nurl = \"{address}/c.jsonl\"\npath = \"c.jsonl\"\nsha256 = \"{hash}\"\n\
             [[content]]\npath = \"c.jsonl\"\nkind = \"documents\"\n"
        );
        let set = one(folder.path(), &text);
        // The first call gives up, the second goes on, and breaks once more.
        let error = format!("{:#}", fetch(&set, 0).unwrap_err());
        assert!(error.contains("fetch again to go on"), "{error}");
        assert!(!set.folder.join("c.jsonl").exists());
        fetch(&set, 1).unwrap();
        assert_eq!(std::fs::read(set.folder.join("c.jsonl")).unwrap(), body);
        let asked = state.lock().unwrap().asked.clone();
        assert_eq!(asked, ["", "bytes=100000-", "bytes=200000-"]);
        // What is here is not fetched again.
        fetch(&set, 0).unwrap();
        assert_eq!(state.lock().unwrap().asked.len(), 3);
        assert!(set.verify().unwrap());
        let counted = count(&set.folder.join("c.jsonl"), &set.manifest.contents[0]).unwrap();
        assert_eq!(counted, "8000 documents, 0 empty, 11 characters each");
        std::fs::write(set.folder.join("c.jsonl"), "changed").unwrap();
        assert!(!set.verify().unwrap());
    }

    #[test]
    fn a_file_that_changed_meanwhile_begins_anew() {
        let (state, address) = server(&corpus(), vec![50_000]);
        let folder = tempfile::tempdir().unwrap();
        let set = one(folder.path(), &format!("[[file]]\nurl = \"{address}/x\"\npath = \"x\"\n"));
        assert!(fetch(&set, 0).is_err());
        let newer = vec![7; 60_000];
        {
            let mut state = state.lock().unwrap();
            (state.body, state.tag) = (newer.clone(), "\"two\"".to_owned());
        }
        fetch(&set, 0).unwrap();
        assert_eq!(std::fs::read(set.folder.join("x")).unwrap(), newer);
        let left: Vec<_> = std::fs::read_dir(&set.folder).unwrap().collect();
        assert_eq!(left.len(), 2, "the file and the note of its hash: {left:?}");
        // Its hash was noted: another file of the same name is refused.
        std::fs::remove_file(set.folder.join("x")).unwrap();
        state.lock().unwrap().body = vec![8; 10];
        let error = fetch(&set, 0).unwrap_err().to_string();
        assert!(error.contains("expected sha256") && error.contains("removed"), "{error}");
        assert!(!set.folder.join("x").exists());
    }

    #[test]
    fn archives_are_unpacked_once_and_held_to_their_md5() {
        // What `md5sum` says of "hello\n".
        const HELLO: &str = "b1946ac92492d2347c6235b4d2611184";
        let (_, address) = server(b"hello\n", Vec::new());
        let folder = tempfile::tempdir().unwrap();
        let text =
            |md5: &str| format!("[[file]]\nurl = \"{address}/x\"\npath = \"x\"\nmd5 = \"{md5}\"\n");
        let wrong = fetch(&one(folder.path(), &text(&"0".repeat(32))), 0).unwrap_err().to_string();
        assert!(wrong.contains(&format!("found {HELLO}; removed")), "{wrong}");
        let set = one(folder.path(), &text(HELLO));
        fetch(&set, 0).unwrap();
        assert!(set.verify().unwrap());

        // An archive whose unpacking was stopped: it is here, but not noted as unpacked.
        let inside = folder.path().join("inside.txt");
        std::fs::write(&inside, "content").unwrap();
        let mut tar = Command::new("tar");
        tar.args(["-cf", "-", "-C"]).arg(folder.path()).arg("inside.txt");
        let archive = tar.output().unwrap().stdout;
        let (_, address) = server(&archive, Vec::new());
        let text = format!("[[file]]\nurl = \"{address}/a\"\npath = \"a.tar\"\nunpack = true\n");
        let set = One { folder: folder.path().join("archive"), ..one(folder.path(), &text) };
        std::fs::create_dir(&set.folder).unwrap();
        std::fs::write(set.folder.join("a.tar"), &archive).unwrap();
        fetch(&set, 0).unwrap();
        let unpacked = set.folder.join("inside.txt");
        assert_eq!(std::fs::read_to_string(&unpacked).unwrap(), "content");
        std::fs::remove_file(&unpacked).unwrap();
        fetch(&set, 0).unwrap();
        assert!(!unpacked.exists(), "what is unpacked is not unpacked again");
    }

    #[test]
    fn what_is_not_there_is_told_at_once() {
        let (state, address) = server(b"", Vec::new());
        let folder = tempfile::tempdir().unwrap();
        let set =
            one(folder.path(), &format!("[[file]]\nurl = \"{address}/absent\"\npath = \"x\"\n"));
        let error = fetch(&set, 5).unwrap_err().to_string();
        assert!(error.ends_with("/absent: status 404"), "{error}");
        assert_eq!(state.lock().unwrap().asked.len(), 1, "not tried again");
        let wrong = format!("[[file]]\nurl = \"{address}/x\"\npath = \"x\"\nbytes = 9\n");
        let error = fetch(&one(folder.path(), &wrong), 0).unwrap_err().to_string();
        assert!(error.ends_with("expected 9 bytes, found 0"), "{error}");
        assert!(!set.verify().unwrap());
    }
}
