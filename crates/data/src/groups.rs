//! The groups of a prepared dataset: one row per query, its candidates as a list.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, UInt32Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{
    Array, ArrayRef, Float32Array, ListArray, RecordBatch, StructArray, UInt32Array,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};

use crate::arrow_file::{ArrowFile, BATCH_ROWS, Columns};
use crate::arrow_writer::{ArrowWriter, WrittenFile};
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Candidate, Group};

/// The groups of a prepared dataset, memory-mapped.
#[derive(Debug)]
pub struct Groups(ArrowFile<GroupColumns>);

impl Groups {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        ArrowFile::open(&folder.join("groups.arrow")).map(Self)
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.rows()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.rows() == 0
    }

    /// One group.
    ///
    /// # Panics
    /// When there is no such row, or the file was damaged after it was written.
    #[must_use]
    pub fn get(&self, index: usize) -> Group {
        let (columns, i) = self.0.locate(index);
        let (start, stop) = (columns.offsets[i] as usize, columns.offsets[i + 1] as usize);
        let number = |array: &Float32Array, j| array.is_valid(j).then(|| array.value(j));
        let candidate = |j| Candidate {
            document: columns.documents.value(j),
            label: number(&columns.labels, j),
            teacher_score: number(&columns.teacher_scores, j),
            first_stage: number(&columns.first_stage, j),
        };
        Group {
            query: columns.queries.value(i),
            candidates: (start..stop).map(candidate).collect(),
        }
    }

    /// All groups, in order.
    pub fn iter(&self) -> impl Iterator<Item = Group> {
        (0..self.len()).map(|index| self.get(index))
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.0.check()
    }
}

#[derive(Debug)]
struct GroupColumns {
    queries: UInt32Array,
    offsets: OffsetBuffer<i32>,
    documents: UInt32Array,
    labels: Float32Array,
    teacher_scores: Float32Array,
    first_stage: Float32Array,
}

fn candidate_fields() -> Fields {
    Fields::from(vec![
        Field::new("document", DataType::UInt32, false),
        Field::new("label", DataType::Float32, true),
        Field::new("teacher_score", DataType::Float32, true),
        Field::new("first_stage", DataType::Float32, true),
    ])
}

fn candidate_field() -> Field {
    Field::new("item", DataType::Struct(candidate_fields()), false)
}

impl Columns for GroupColumns {
    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("query", DataType::UInt32, false),
            Field::new("candidates", DataType::List(Arc::new(candidate_field())), false),
        ])
    }

    fn from_batch(batch: &RecordBatch) -> Self {
        let list = batch.column(1).as_list::<i32>();
        let candidates = list.values().as_struct();
        let numbers = |i: usize| candidates.column(i).as_primitive::<Float32Type>().clone();
        Self {
            queries: batch.column(0).as_primitive::<UInt32Type>().clone(),
            offsets: list.offsets().clone(),
            documents: candidates.column(0).as_primitive::<UInt32Type>().clone(),
            labels: numbers(1),
            teacher_scores: numbers(2),
            first_stage: numbers(3),
        }
    }
}

/// Writes `groups.arrow`, holding one batch at a time.
pub(crate) struct GroupWriter {
    out: ArrowWriter,
    path: std::path::PathBuf,
    queries: Vec<u32>,
    offsets: Vec<i32>,
    documents: UInt32Builder,
    numbers: [Float32Builder; 3],
}

impl GroupWriter {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let path = folder.join("groups.arrow");
        Ok(Self {
            out: ArrowWriter::create(&path, GroupColumns::schema())?,
            path,
            queries: Vec::new(),
            offsets: vec![0],
            documents: UInt32Builder::new(),
            numbers: Default::default(),
        })
    }

    pub(crate) fn push(&mut self, group: &Group) -> Result<()> {
        self.queries.push(group.query);
        for candidate in &group.candidates {
            self.documents.append_value(candidate.document);
            let values = [candidate.label, candidate.teacher_score, candidate.first_stage];
            for (column, value) in self.numbers.iter_mut().zip(values) {
                column.append_option(value);
            }
        }
        let end = i32::try_from(self.documents.values_slice().len()).map_err(|_| {
            let problem = format!("more than {} candidates in {BATCH_ROWS} groups", i32::MAX);
            Error::file(&self.path, ErrorKind::Invalid(problem))
        })?;
        self.offsets.push(end);
        if self.queries.len() == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<WrittenFile> {
        if !self.queries.is_empty() {
            self.flush()?;
        }
        self.out.finish()
    }

    fn flush(&mut self) -> Result<()> {
        let queries = UInt32Array::from(std::mem::take(&mut self.queries));
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.documents.finish())];
        columns.extend(self.numbers.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef));
        let candidates = StructArray::new(candidate_fields(), columns, None);
        let list = ListArray::new(Arc::new(candidate_field()), offsets, Arc::new(candidates), None);
        self.out.write(vec![Arc::new(queries), Arc::new(list)])
    }
}
