//! Evaluations and comparisons into tables and pages that people and programs read.

pub mod csv;
pub mod html;
pub mod json;
pub mod latex;
pub mod markdown;
pub mod terminal;
pub mod trec;
