//! `datasets/*.toml`: where a dataset's files come from and what they must be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// A dataset.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub title: String,
    pub home: String,
    pub licence: String,
    pub note: Option<String>,
    #[serde(default, rename = "file")]
    pub files: Vec<Source>,
    #[serde(default, rename = "content")]
    pub contents: Vec<Content>,
}

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub url: String,
    /// Its name in the dataset's folder.
    pub path: String,
    pub sha256: Option<String>,
    /// The only checksum that many collections publish.
    pub md5: Option<String>,
    pub bytes: Option<u64>,
    /// Whether it is an archive to be unpacked beside itself.
    #[serde(default)]
    pub unpack: bool,
}

/// A file that is there when all is fetched.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub path: String,
    pub kind: Kind,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Documents,
    Queries,
    Qrels,
    Run,
}

impl Manifest {
    /// Reads a manifest and refuses what would reach out of its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let manifest: Self = toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        let paths = manifest.files.iter().map(|file| &file.path);
        for inner in paths.chain(manifest.contents.iter().map(|content| &content.path)) {
            let plain = Path::new(inner).components().all(|c| matches!(c, Component::Normal(_)));
            ensure!(
                plain && !inner.is_empty(),
                "{}: path: expected one inside the dataset's folder, found `{inner}`",
                path.display()
            );
        }
        for file in &manifest.files {
            for (kind, hash, length) in [("sha256", &file.sha256, 64), ("md5", &file.md5, 32)] {
                let is_hash = |hash: &&String| {
                    let digits = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                    hash.len() == length && hash.bytes().all(digits)
                };
                if let Some(bad) = hash.as_ref().filter(|hash| !is_hash(hash)) {
                    bail!(
                        "{}: {kind}: expected {length} lower-case hexadecimal digits, found `{bad}`",
                        path.display()
                    );
                }
            }
            ensure!(
                file.url.starts_with("https://") || file.url.starts_with("http://"),
                "{}: url: expected https:// or http://, found `{}`",
                path.display(),
                file.url
            );
        }
        Ok(manifest)
    }
}

/// `fetched.toml`: the hashes of files as they came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// By path.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
    /// Archives whose files lie beside them, by path.
    #[serde(default)]
    pub unpacked: BTreeSet<String>,
}

const FETCHED: &str = "fetched.toml";

impl Fetched {
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FETCHED);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self)?;
        let path = folder.join(FETCHED);
        Ok(tamis_data::output::write_file(&path, |out| out.write_all(text.as_bytes()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.toml");
        std::fs::write(&path, text).unwrap();
        Manifest::read(&path)
    }

    const HEAD: &str = "title = \"t\"\nhome = \"h\"\nlicence = \"l\"\n";

    #[test]
    fn manifests_that_reach_out_or_are_misspelt_are_refused() {
        let error = |rest: &str| read(&format!("{HEAD}{rest}")).unwrap_err().to_string();
        for path in ["../x", "/etc/passwd", "a/../../b", ""] {
            let text = format!("[[file]]\nurl = \"https://e.org\"\npath = \"{path}\"\n");
            assert!(error(&text).contains(&format!("found `{path}`")));
        }
        let hash = "[[file]]\nurl = \"https://e.org\"\npath = \"x\"\nsha256 = \"ABC\"\n";
        assert!(error(hash).contains("64 lower-case hexadecimal digits, found `ABC`"));
        let hash = hash.replace("sha256", "md5");
        assert!(error(&hash).contains("md5: expected 32 lower-case"));
        assert!(error("[[file]]\nurl = \"ftp://e\"\npath = \"x\"\n").contains("found `ftp://e`"));
        assert!(error("colour = 1\n").contains("unknown field `colour`"));
    }

    #[test]
    fn the_shipped_manifests_are_right() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets");
        let mut n = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let manifest = Manifest::read(&path).unwrap();
                assert!(!manifest.files.is_empty() && !manifest.licence.is_empty());
                n += 1;
            }
        }
        assert!(n >= 20, "{n} manifests");
    }
}
