//! Output that is either whole or absent: written under a temporary name beside its place, then renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::{Builder, TempDir};

use crate::error::{Error, ErrorKind, Result};

/// What temporary names begin with.
pub(crate) const TEMPORARY: &str = ".tamis-";

/// Zstandard level of `.zst` files: the library's own default.
const ZSTD_LEVEL: i32 = 3;

/// Writes a file through `fill`, compressing it when the name ends in `.gz` or `.zst`.
///
/// The file appears under its name only when everything is written and on disk; on an error
/// nothing is left. A file that was there is replaced.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("hello.txt.gz");
/// tamis_data::output::write_file(&path, |out| writeln!(out, "hello"))?;
/// assert!(path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the folder cannot be written to, or `fill` fails.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let failed = |error: io::Error| Error::file(path, error);
    let temporary = temporary(path).map_err(failed)?;
    let (file, name) = temporary.into_parts();
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let written = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let mut encoder = GzEncoder::new(&mut out, Compression::default());
            fill(&mut encoder).and_then(|()| encoder.finish().map(drop))
        }
        Some("zst") => zstd::Encoder::new(&mut out, ZSTD_LEVEL).and_then(|mut encoder| {
            fill(&mut encoder)?;
            encoder.finish().map(drop)
        }),
        _ => fill(&mut out),
    };
    written.map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    name.persist(path).map_err(|error| failed(error.error))?;
    sync_folder(folder_of(path));
    Ok(())
}

/// An empty named file beside `path`, readable as a new file would be.
fn temporary(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY);
    // `tempfile` makes private files; the umask decides here, as for any file a user writes.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path))
}

/// A folder that takes its name when [`OutputFolder::commit`] is called and vanishes otherwise.
#[derive(Debug)]
pub struct OutputFolder {
    temporary: TempDir,
    path: PathBuf,
    replace: bool,
}

impl OutputFolder {
    /// Makes an empty folder beside `path`.
    ///
    /// # Errors
    /// When `path` exists and is not to be replaced, or its parent cannot be written to.
    pub fn create(path: &Path, replace: bool) -> Result<Self> {
        if path.exists() && !replace {
            return Err(Error::file(path, ErrorKind::Exists));
        }
        let parent = folder_of(path);
        fs::create_dir_all(parent).map_err(|error| Error::file(parent, error))?;
        let mut builder = Builder::new();
        builder.prefix(TEMPORARY);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary = builder.tempdir_in(parent).map_err(|error| Error::file(parent, error))?;
        Ok(Self { temporary, path: path.to_owned(), replace })
    }

    /// Where to write.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// When the name was taken meanwhile, or the rename fails; the folder is removed then.
    pub fn commit(self) -> Result<()> {
        let Self { temporary, path, replace } = self;
        let failed = |error: io::Error| Error::file(&path, error);
        sync_folder(temporary.path());
        // A folder cannot be renamed over a full one: the old one steps aside first, and is
        // deleted when `aside` is dropped.
        let aside = if replace && path.exists() {
            let parent = folder_of(&path);
            let aside = Builder::new().prefix(".tamis-").tempdir_in(parent).map_err(failed)?;
            fs::rename(&path, aside.path().join("old")).map_err(failed)?;
            Some(aside)
        } else if path.exists() {
            return Err(Error::file(&path, ErrorKind::Exists));
        } else {
            None
        };
        if let Err(error) = fs::rename(temporary.path(), &path) {
            if let Some(aside) = &aside {
                fs::rename(aside.path().join("old"), &path).map_err(failed)?;
            }
            return Err(failed(error));
        }
        // The folder has moved: there is nothing left to delete.
        drop(temporary.keep());
        sync_folder(folder_of(&path));
        Ok(())
    }
}

/// The folder a path lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Puts a rename on disk. Best effort: not every system lets a folder be opened.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(path) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_and_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_file(&path, |out| out.write_all(b"old")).unwrap();
        let error = write_file(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("stop"))
        });
        assert!(error.unwrap_err().to_string().ends_with("a.txt: stop"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let write = |text: &str, replace: bool| -> Result<OutputFolder> {
            let output = OutputFolder::create(&path, replace)?;
            fs::write(output.path().join("file"), text).unwrap();
            Ok(output)
        };
        drop(write("dropped", false).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        write("one", false).unwrap().commit().unwrap();
        assert!(write("two", false).unwrap_err().to_string().ends_with("out: already exists"));
        write("three", true).unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
