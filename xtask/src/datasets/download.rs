//! A URL into a file, over as many connections as it takes: whole and checked, or not there.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::progress::{Progress, say};

/// How a file is fetched.
pub struct Download<'a> {
    pub url: &'a str,
    pub bytes: Option<u64>,
    /// Connections that may break, before it is given up.
    pub retries: u32,
    /// Between two of them; grows with every failure.
    pub pause: Duration,
}

/// What a partial file is a part of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Origin {
    url: String,
    /// The server's mark of this version of the file.
    tag: Option<String>,
}

impl Download<'_> {
    /// Fetches into `path` under a temporary name that a later call goes on with. The caller checks
    /// the file and gives it its name.
    pub fn fetch(&self, path: &Path) -> Result<PathBuf> {
        let partial = beside(path, ".part");
        let mut failures = 0;
        loop {
            match self.attempt(&partial) {
                Ok(()) => return Ok(partial),
                Err(Stopped::Refused(error)) => return Err(error),
                Err(Stopped::Broken(error)) if failures < self.retries => {
                    failures += 1;
                    say(&format!("{error:#}; trying again ({failures} of {})", self.retries));
                    std::thread::sleep(self.pause * failures);
                }
                Err(Stopped::Broken(error)) => {
                    return Err(error.context("what is here already is kept; fetch again to go on"));
                }
            }
        }
    }

    fn attempt(&self, partial: &Path) -> Result<(), Stopped> {
        let note = beside(partial, ".json");
        let known = std::fs::read(&note).ok().and_then(|b| serde_json::from_slice(&b).ok());
        let known: Option<Origin> = known.filter(|origin: &Origin| origin.url == self.url);
        let have = match &known {
            Some(_) => partial.metadata().map_or(0, |data| data.len()),
            None => 0,
        };
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build()
            .into();
        // The file as it is: a proxy's compression would change its length.
        let mut request = agent.get(self.url).header("Accept-Encoding", "identity");
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
            // Only if it is still the same file; otherwise the server sends all of the new one.
            if let Some(tag) = known.as_ref().and_then(|origin| origin.tag.as_ref()) {
                request = request.header("If-Range", tag.as_str());
            }
        }
        let response = request
            .call()
            .map_err(|error| Stopped::Broken(anyhow::anyhow!("{}: {error}", self.url)))?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        let (tag, range, length) =
            (header("etag"), header("content-range"), header("content-length"));
        let length = length.and_then(|text| text.parse::<u64>().ok());
        let status = response.status().as_u16();
        let start = match status {
            200 => 0,
            206 => {
                let start = range.as_deref().and_then(range_start);
                if start != Some(have) {
                    let found = range.unwrap_or_default();
                    let error = anyhow::anyhow!(
                        "{}: expected the part from byte {have}, found `{found}`",
                        self.url
                    );
                    return Err(Stopped::Refused(error));
                }
                have
            }
            // Nothing is left to send: the file is complete, or was replaced by a shorter one.
            416 if self.bytes.is_none_or(|bytes| bytes == have) && have > 0 => return Ok(()),
            429 | 500..=599 => {
                return Err(Stopped::Broken(anyhow::anyhow!("{}: status {status}", self.url)));
            }
            _ => return Err(Stopped::Refused(anyhow::anyhow!("{}: status {status}", self.url))),
        };
        let total = length.map(|length| start + length).or(self.bytes);
        if let (Some(expected), Some(total)) = (self.bytes, total)
            && expected != total
        {
            let error = anyhow::anyhow!("{}: expected {expected} bytes, found {total}", self.url);
            return Err(Stopped::Refused(error));
        }
        if start == 0 {
            // Before the note: bytes of an older file must not be taken for the new one's.
            File::create(partial).with_context(|| partial.display().to_string())?;
        }
        let origin = Origin { url: self.url.to_owned(), tag };
        let text = serde_json::to_vec(&origin).expect("two strings serialise");
        std::fs::write(&note, text).with_context(|| note.display().to_string())?;
        self.copy(response.into_body().into_reader(), partial, start, total)
    }

    fn copy(
        &self,
        mut body: impl Read,
        partial: &Path,
        start: u64,
        total: Option<u64>,
    ) -> Result<(), Stopped> {
        let named = || partial.display().to_string();
        let mut out = OpenOptions::new().append(true).open(partial).with_context(named)?;
        let mut progress = Progress::new("fetching", "kB", start / 1000, total.unwrap_or(0) / 1000);
        let (mut done, mut buffer) = (start, vec![0; 1 << 18]);
        let broken = loop {
            match body.read(&mut buffer) {
                Ok(0) => break None,
                Ok(n) => {
                    out.write_all(&buffer[..n]).with_context(named)?;
                    done += n as u64;
                    progress.set(done / 1000, "kB");
                }
                Err(error) => break Some(error.to_string()),
            }
        };
        progress.finish();
        out.sync_all().with_context(named)?;
        let short = total.filter(|&total| done < total);
        match (broken, short) {
            (None, None) => Ok(()),
            (broken, _) => {
                let why = broken.unwrap_or_else(|| "the connection ended early".to_owned());
                let error = anyhow::anyhow!("{}: {why} after {done} bytes", self.url);
                Err(Stopped::Broken(error))
            }
        }
    }
}

/// Gives a fetched file its name, if it is what it must be. A file that is not is removed: going on
/// with it could not mend it.
pub fn keep(partial: &Path, path: &Path, expected: &Hashes<'_>) -> Result<String> {
    let (wrong, found) = expected.difference(partial)?;
    let note = beside(partial, ".json");
    if let Some(wrong) = wrong {
        std::fs::remove_file(partial).with_context(|| partial.display().to_string())?;
        let _ = std::fs::remove_file(note);
        bail!("{}: {wrong}; removed", path.display());
    }
    std::fs::rename(partial, path).with_context(|| path.display().to_string())?;
    // The name must be on disk too. Not every system lets a folder be opened.
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
    let _ = std::fs::remove_file(note);
    ensure!(path.exists(), "{}: vanished", path.display());
    Ok(found)
}

/// What a file's hashes must be, as far as that is known.
#[derive(Debug, Clone, Copy)]
pub struct Hashes<'a> {
    pub sha256: Option<&'a str>,
    pub md5: Option<&'a str>,
}

impl Hashes<'_> {
    /// Whether there is anything to compare with.
    pub fn is_known(&self) -> bool {
        self.sha256.is_some() || self.md5.is_some()
    }

    /// What is wrong with a file, if anything, and its SHA-256.
    pub fn difference(&self, path: &Path) -> Result<(Option<String>, String)> {
        let sha256 = crate::score::sha256(path)?;
        if let Some(expected) = self.sha256.filter(|expected| *expected != sha256) {
            return Ok((Some(format!("expected sha256 {expected}, found {sha256}")), sha256));
        }
        let Some(expected) = self.md5 else { return Ok((None, sha256)) };
        let md5 = md5(path)?;
        let wrong = (md5 != expected).then(|| format!("expected md5 {expected}, found {md5}"));
        Ok((wrong, sha256))
    }
}

/// The MD5 of a file, in hexadecimal: no safeguard against malice, but what publishers give.
fn md5(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut hash = Md5::new();
    std::io::copy(&mut file, &mut hash).with_context(|| path.display().to_string())?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Why a connection did not bring the file.
enum Stopped {
    /// Another one may.
    Broken(anyhow::Error),
    /// No other will.
    Refused(anyhow::Error),
}

impl From<anyhow::Error> for Stopped {
    fn from(error: anyhow::Error) -> Self {
        Self::Refused(error)
    }
}

/// The first byte of `bytes 5-9/10`.
fn range_start(text: &str) -> Option<u64> {
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}
