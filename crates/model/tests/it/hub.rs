//! Models by name from a local server with the hub's layout: fetched, resumed, checked, cached.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use sha2::{Digest, Sha256};
use tamis_model::Reranker;
use tamis_model::hub::{DownloadProgress, HubConfig, ModelName, fetch, locate};

use crate::tiny_checkpoint;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server does and what it has seen.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Cut the connection after so many bytes of large files, once.
    cut_after: Option<usize>,
    /// Send a wrong byte.
    damage: bool,
    /// Method, path and range of every request.
    requests: Vec<String>,
    /// Answer only those who bring this token.
    token: Option<String>,
}

struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Serves the files of a directory as `org/model` at `main` and at `COMMIT`.
    fn start(directory: &Path) -> Self {
        let mut state = State::default();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            state.files.insert(name, std::fs::read(&path).unwrap());
        }
        state.files.insert("README.md".to_owned(), b"not needed".to_vec());
        state.files.insert("pytorch_model.bin".to_owned(), b"not wanted".to_vec());
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (shared, own) = (Arc::clone(&state), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // One request a connection; a client that went away is no failure.
                let _ = answer(stream.unwrap(), &own, &shared);
            }
        });
        Self { address, state }
    }

    fn config(&self, cache: &Path) -> HubConfig {
        HubConfig {
            cache: cache.to_owned(),
            endpoint: self.address.clone(),
            token: None,
            offline: false,
            retries: 0,
        }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(mut stream: TcpStream, address: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut authorization) = (None, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        match name.to_lowercase().as_str() {
            "range" => range = Some(value.trim().to_owned()),
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{path} {}", range.as_deref().unwrap_or("-")));
    let bearer = state.token.as_ref().map(|token| format!("Bearer {token}"));
    let known = [
        "/api/models/org/model/revision/main".to_owned(),
        format!("/api/models/org/model/revision/{COMMIT}"),
    ];
    if bearer.is_some() && bearer != authorization && !path.starts_with("/blob/") {
        return write!(
            stream,
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    if known.contains(&path) {
        let siblings: Vec<_> =
            state.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    }
    // Large files lie elsewhere, by their sha256.
    if let Some(name) = path.strip_prefix(&format!("/org/model/resolve/{COMMIT}/"))
        && let Some(bytes) = state.files.get(name)
    {
        let hash = sha256(bytes);
        if name.ends_with(".safetensors") {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {address}/blob/{name}\r\nX-Linked-Etag: \"{hash}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        let bytes = bytes.clone();
        return send(&mut stream, &bytes, range.as_deref(), &hash[..40], None);
    }
    if let Some(bytes) = path.strip_prefix("/blob/").and_then(|name| state.files.get(name)) {
        let mut bytes = bytes.clone();
        if state.damage {
            bytes[100] ^= 1;
        }
        let is_probe = range.as_deref() == Some("bytes=0-0");
        let cut = if is_probe { None } else { state.cut_after.take() };
        return send(&mut stream, &bytes, range.as_deref(), "blob", cut);
    }
    write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn send(
    stream: &mut TcpStream,
    bytes: &[u8],
    range: Option<&str>,
    etag: &str,
    cut_after: Option<usize>,
) -> std::io::Result<()> {
    let range = range.and_then(|range| range.strip_prefix("bytes=")).unwrap_or("0-");
    let (start, end) = range.split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse::<usize>().map_or(bytes.len(), |end| end + 1);
    let part = &bytes[start..end];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        end - 1,
        bytes.len(),
        part.len()
    )?;
    stream.write_all(&part[..cut_after.unwrap_or(part.len()).min(part.len())])?;
    stream.flush()
}

/// Counts what it hears.
#[derive(Default)]
struct Heard {
    files: Vec<(String, u64)>,
    n_bytes: u64,
    n_finished: usize,
}

impl DownloadProgress for Heard {
    fn start(&mut self, file: &str, n_bytes: u64) {
        if self.files.last().is_none_or(|(last, _)| last != file) {
            self.files.push((file.to_owned(), n_bytes));
        }
    }

    fn advance(&mut self, n_bytes: u64) {
        self.n_bytes += n_bytes;
    }

    fn finish(&mut self) {
        self.n_finished += 1;
    }
}

/// A served checkpoint, its server, and a folder for caches.
fn served() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("checkpoint");
    tiny_checkpoint(&place);
    let server = Server::start(&place);
    (folder, server)
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

#[test]
fn a_model_is_fetched_once_and_then_found_offline() {
    let (folder, server) = served();
    let cache = folder.path().join("cache");
    let mut config = server.config(&cache);
    let mut heard = Heard::default();
    let directory = locate(Path::new("org/model"), &config, &mut heard).unwrap();
    assert_eq!(directory, cache.join("models--org--model/snapshots").join(COMMIT));
    assert!(Reranker::open(&directory, &Device::flex()).is_ok());
    for file in ["README.md", "pytorch_model.bin"] {
        assert!(!directory.join(file).exists(), "{file} is not needed");
    }
    let sizes: u64 = heard.files.iter().map(|(_, n_bytes)| n_bytes).sum();
    assert_eq!((heard.n_bytes, heard.n_finished), (sizes, heard.files.len()));
    assert!(heard.files.iter().any(|(file, _)| file == "model.safetensors"));
    // What the Hugging Face libraries look up.
    let main = cache.join("models--org--model/refs/main");
    assert_eq!(std::fs::read_to_string(main).unwrap(), COMMIT);

    server.requests();
    assert_eq!(fetch(&name("org/model"), &config, &mut ()).unwrap(), directory);
    assert_eq!(server.requests(), ["/api/models/org/model/revision/main -"]);

    config.offline = true;
    assert_eq!(fetch(&name("org/model"), &config, &mut ()).unwrap(), directory);
    let by_commit = format!("org/model@{COMMIT}");
    assert_eq!(fetch(&name(&by_commit), &config, &mut ()).unwrap(), directory);
    let error = fetch(&name("org/other"), &config, &mut ()).unwrap_err().to_string();
    assert!(error.starts_with("org/other@main: not in the cache"), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let (folder, server) = served();
    let cache = folder.path().join("cache");
    let config = server.config(&cache);
    server.state.lock().unwrap().cut_after = Some(5000);
    assert!(fetch(&name("org/model"), &config, &mut ()).is_err());
    let main = cache.join("models--org--model/refs/main");
    assert!(!main.exists(), "the name does not stand for half a model");
    server.requests();
    let directory = fetch(&name("org/model"), &config, &mut ()).unwrap();
    let requests = server.requests();
    assert!(requests.contains(&"/blob/model.safetensors bytes=5000-".to_owned()), "{requests:?}");
    assert!(Reranker::open(&directory, &Device::flex()).is_ok());

    // With retries the first call is enough.
    let retried = HubConfig { cache: folder.path().join("other"), retries: 2, ..config };
    server.state.lock().unwrap().cut_after = Some(3000);
    assert!(fetch(&name("org/model"), &retried, &mut ()).is_ok());
}

#[test]
fn a_damaged_download_is_refused_and_removed() {
    let (folder, server) = served();
    let config = server.config(&folder.path().join("cache"));
    server.state.lock().unwrap().damage = true;
    let error = fetch(&name("org/model"), &config, &mut ()).unwrap_err().to_string();
    assert!(error.contains("model.safetensors arrived damaged"), "{error}");
    server.state.lock().unwrap().damage = false;
    let directory = fetch(&name("org/model"), &config, &mut ()).unwrap();
    assert!(Reranker::open(&directory, &Device::flex()).is_ok());
}

#[test]
fn a_token_opens_what_is_closed() {
    let (folder, server) = served();
    let mut config = server.config(&folder.path().join("cache"));
    server.state.lock().unwrap().token = Some("secret".to_owned());
    let error = fetch(&name("org/model"), &config, &mut ()).unwrap_err().to_string();
    assert!(error.contains("the hub answers 401") && error.contains("HF_TOKEN"), "{error}");
    config.token = Some("secret".to_owned());
    assert!(fetch(&name("org/model"), &config, &mut ()).is_ok());
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let (folder, server) = served();
    let config = server.config(&folder.path().join("cache"));
    for missing in ["org/other", "org/model@v2"] {
        let error = fetch(&name(missing), &config, &mut ()).unwrap_err().to_string();
        assert!(error.contains("the hub answers 404: no such model or revision"), "{error}");
    }
    server.state.lock().unwrap().files.remove("model.safetensors");
    let error = fetch(&name("org/model"), &config, &mut ()).unwrap_err().to_string();
    assert!(error.contains("has no model.safetensors; pytorch_model.bin is not read"), "{error}");
    let error = locate(Path::new("no/such/folder"), &config, &mut ()).unwrap_err().to_string();
    assert!(error.starts_with("no/such/folder: expected a folder, or ORG/NAME"), "{error}");
    let nobody = HubConfig { endpoint: "http://127.0.0.1:9".to_owned(), ..config };
    assert!(fetch(&name("org/model"), &nobody, &mut ()).is_err());
}

#[test]
fn every_file_of_a_sharded_checkpoint_is_fetched() {
    let (folder, server) = served();
    {
        let mut state = server.state.lock().unwrap();
        let whole = state.files.remove("model.safetensors").unwrap();
        let file = safetensors::SafeTensors::deserialize(&whole).unwrap();
        let tensors = file.tensors();
        let mut weight_map = BTreeMap::new();
        for (shard, part) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
            let name = format!("model-{shard}.safetensors");
            weight_map.extend(part.iter().map(|(tensor, _)| (tensor.clone(), name.clone())));
            let bytes = safetensors::serialize(part.to_vec(), None).unwrap();
            state.files.insert(name, bytes);
        }
        let index = serde_json::json!({ "weight_map": weight_map }).to_string();
        state.files.insert("model.safetensors.index.json".to_owned(), index.into_bytes());
    }
    let config = server.config(&folder.path().join("cache"));
    let directory = fetch(&name("org/model"), &config, &mut ()).unwrap();
    assert!(Reranker::open(&directory, &Device::flex()).is_ok());
}

mod with_fixtures {
    use super::*;
    use crate::fixture;
    use tamis_model::parity::{Golden, compare};

    #[test]
    fn a_fetched_model_gives_what_transformers_gives() {
        let folder = tempfile::tempdir().unwrap();
        let place = fixture("models/xlm_roberta");
        let server = Server::start(&place);
        let config = server.config(&folder.path().join("cache"));
        let directory = fetch(&name("org/model@main"), &config, &mut ()).unwrap();
        let golden = Golden::read(&place).unwrap();
        assert!(compare(&directory, &golden, &Device::flex()).unwrap().holds(1e-4));
    }
}
