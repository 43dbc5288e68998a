//! Evaluations and comparisons into tables and pages that people and programs read.

pub mod terminal;
