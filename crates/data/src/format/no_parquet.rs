//! Parquet files into an error, in a build without the feature `parquet`.

use std::path::Path;

use super::group_jsonl::GroupLine;
use crate::error::{Error, ErrorKind, Result};
use crate::run::Run;

pub(super) fn read_texts(
    path: &Path,
    _take: impl FnMut(&str, &str, &str) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    Err(refused(path))
}

pub(super) fn read_run(path: &Path) -> Result<Run> {
    Err(refused(path))
}

pub(super) fn read_groups(
    path: &Path,
    _take: impl FnMut(GroupLine) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    Err(refused(path))
}

fn refused(path: &Path) -> Error {
    let problem = "tamis-data was built without the feature `parquet`".to_owned();
    Error::file(path, ErrorKind::Parquet { problem })
}
