//! Columns of a Parquet file by name, whatever width of string, integer or float they hold.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use crate::error::ErrorKind;

/// A column of texts; integers stand for their decimal digits.
pub(crate) struct Strings<'a>(&'a ArrayRef);

impl<'a> Strings<'a> {
    /// The first of `names` that the batch has.
    pub(crate) fn of(batch: &'a RecordBatch, names: &[&str]) -> Result<Self, ErrorKind> {
        Self::optional(batch, names)?.ok_or_else(|| missing(batch, names[0]))
    }

    pub(crate) fn optional(
        batch: &'a RecordBatch,
        names: &[&str],
    ) -> Result<Option<Self>, ErrorKind> {
        let found = names.iter().find_map(|name| Some((name, batch.column_by_name(name)?)));
        let Some((name, array)) = found else { return Ok(None) };
        match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {}
            DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64 => {}
            other => return Err(wrong(name, "text", other)),
        }
        Ok(Some(Self(array)))
    }

    /// A text; null is the empty text.
    pub(crate) fn get(&self, i: usize) -> Result<Cow<'a, str>, ErrorKind> {
        if self.0.is_null(i) {
            return Ok(Cow::Borrowed(""));
        }
        Ok(match self.0.data_type() {
            DataType::Utf8 => Cow::Borrowed(self.0.as_string::<i32>().value(i)),
            DataType::LargeUtf8 => Cow::Borrowed(self.0.as_string::<i64>().value(i)),
            DataType::Utf8View => Cow::Borrowed(self.0.as_string_view().value(i)),
            DataType::Int32 => Cow::Owned(self.0.as_primitive::<Int32Type>().value(i).to_string()),
            DataType::Int64 => Cow::Owned(self.0.as_primitive::<Int64Type>().value(i).to_string()),
            DataType::UInt32 => {
                Cow::Owned(self.0.as_primitive::<UInt32Type>().value(i).to_string())
            }
            DataType::UInt64 => {
                Cow::Owned(self.0.as_primitive::<UInt64Type>().value(i).to_string())
            }
            other => return Err(wrong("column", "text", other)),
        })
    }
}

/// A column of numbers.
pub(crate) struct Numbers<'a>(&'a ArrayRef);

impl<'a> Numbers<'a> {
    pub(crate) fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, ErrorKind> {
        let array = batch.column_by_name(name).ok_or_else(|| missing(batch, name))?;
        Self::new(name, array)
    }

    fn new(name: &str, array: &'a ArrayRef) -> Result<Self, ErrorKind> {
        match array.data_type() {
            DataType::Float32 | DataType::Float64 | DataType::Int32 | DataType::Int64 => {
                Ok(Self(array))
            }
            other => Err(wrong(name, "numbers", other)),
        }
    }

    /// A number; null is refused.
    pub(crate) fn get(&self, i: usize) -> Result<f64, ErrorKind> {
        if self.0.is_null(i) {
            return Err(ErrorKind::Parquet { problem: "a number is null".into() });
        }
        Ok(match self.0.data_type() {
            DataType::Float32 => f64::from(self.0.as_primitive::<Float32Type>().value(i)),
            DataType::Float64 => self.0.as_primitive::<Float64Type>().value(i),
            DataType::Int32 => f64::from(self.0.as_primitive::<Int32Type>().value(i)),
            DataType::Int64 => self.0.as_primitive::<Int64Type>().value(i) as f64,
            other => return Err(wrong("column", "numbers", other)),
        })
    }
}

/// A column of lists of `T`; one that the file lacks holds only absent lists.
pub(crate) struct Lists<T> {
    rows: Option<ArrayRef>,
    read: fn(&ArrayRef) -> Result<Vec<T>, ErrorKind>,
}

impl<T> Lists<T> {
    /// A list, `None` where it is null.
    pub(crate) fn get(&self, i: usize) -> Result<Option<Vec<T>>, ErrorKind> {
        let Some(rows) = self.rows.as_ref().filter(|rows| !rows.is_null(i)) else {
            return Ok(None);
        };
        let list = match rows.data_type() {
            DataType::List(_) => rows.as_list::<i32>().value(i),
            _ => rows.as_list::<i64>().value(i),
        };
        (self.read)(&list).map(Some)
    }
}

fn lists<T>(
    batch: &RecordBatch,
    name: &str,
    read: fn(&ArrayRef) -> Result<Vec<T>, ErrorKind>,
) -> Result<Lists<T>, ErrorKind> {
    let rows = batch.column_by_name(name).cloned();
    match rows.as_ref().map(|rows| rows.data_type()) {
        None | Some(DataType::List(_) | DataType::LargeList(_)) => Ok(Lists { rows, read }),
        Some(other) => Err(wrong(name, "lists", other)),
    }
}

/// A column of lists of texts.
pub(crate) fn text_lists(batch: &RecordBatch, name: &str) -> Result<Lists<String>, ErrorKind> {
    lists(batch, name, |list| match list.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = Strings(list);
            (0..list.len()).map(|i| texts.get(i).map(Cow::into_owned)).collect()
        }
        other => Err(wrong("pos or neg", "lists of text", other)),
    })
}

/// A column of lists of numbers.
pub(crate) fn number_lists(batch: &RecordBatch, name: &str) -> Result<Lists<f32>, ErrorKind> {
    lists(batch, name, |list| {
        let numbers = Numbers::new("scores", list)?;
        (0..list.len()).map(|i| numbers.get(i).map(|number| number as f32)).collect()
    })
}

fn missing(batch: &RecordBatch, name: &str) -> ErrorKind {
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    let problem = format!("no column `{name}` among {}", names.join(", "));
    ErrorKind::Parquet { problem }
}

fn wrong(name: &str, expected: &str, found: &DataType) -> ErrorKind {
    ErrorKind::Parquet { problem: format!("`{name}`: expected {expected}, found {found}") }
}
