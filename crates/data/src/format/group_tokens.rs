//! Token ids as JSON lines, in Reranker's two formats: groups to train on, pairs to score.
//!
//! Ids stand without special tokens. Format and field names are the original's.

use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::lines::Lines;
use crate::error::{ErrorKind, Result};

/// A line to train on: a query, documents that answer it, and documents that do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGroup {
    /// The query.
    #[serde(rename = "qry")]
    pub query: QueryTokens,
    /// Documents that answer it.
    #[serde(rename = "pos")]
    pub positives: Vec<DocumentTokens>,
    /// Documents that do not.
    #[serde(rename = "neg")]
    pub negatives: Vec<DocumentTokens>,
}

/// A query's id and token ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryTokens {
    /// The query's id.
    #[serde(rename = "qid")]
    pub id: String,
    /// Its token ids.
    #[serde(rename = "query")]
    pub tokens: Vec<u32>,
}

/// A document's id and token ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentTokens {
    /// The document's id.
    #[serde(rename = "pid")]
    pub id: String,
    /// Its token ids.
    #[serde(rename = "passage")]
    pub tokens: Vec<u32>,
}

/// A line to score: one query and one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPair {
    /// The query's id.
    #[serde(rename = "qid")]
    pub query_id: String,
    /// The document's id.
    #[serde(rename = "pid")]
    pub document_id: String,
    /// The query's token ids.
    #[serde(rename = "qry")]
    pub query: Vec<u32>,
    /// The document's token ids.
    #[serde(rename = "psg")]
    pub document: Vec<u32>,
}

/// Reads groups one by one.
///
/// # Errors
/// When a line is not such an object, or `take` refuses it.
pub fn read_groups(
    path: &Path,
    take: impl FnMut(TokenGroup) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    read(path, take)
}

/// Reads pairs one by one.
///
/// # Errors
/// When a line is not such an object, or `take` refuses it.
pub fn read_pairs(
    path: &Path,
    take: impl FnMut(TokenPair) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    read(path, take)
}

fn read<T: DeserializeOwned>(
    path: &Path,
    mut take: impl FnMut(T) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    Lines::open(path)?.for_each(|line| match line.trim_ascii() {
        "" => Ok(()),
        line => take(serde_json::from_str(line)?),
    })
}

/// Writes one group.
///
/// # Errors
/// When writing fails.
pub fn write_group(group: &TokenGroup, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, group)?;
    writeln!(out)
}

/// Writes one pair.
///
/// # Errors
/// When writing fails.
pub fn write_pair(pair: &TokenPair, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, pair)?;
    writeln!(out)
}
