//! Matrix products through the `gemm` crate, with every bound checked before the pointers are handed over.

use gemm::Parallelism;

/// A strided view of an `n_rows` by `n_columns` matrix.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that start `stride` values apart.
    pub(super) fn new(values: &'a [f32], n_rows: usize, n_columns: usize, stride: usize) -> Self {
        Self { values, n_rows, n_columns, row_stride: stride, column_stride: 1 }
    }

    /// The values of one row, for a matrix that is not transposed.
    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.rows_from(row)[..self.n_columns]
    }

    /// The values from one row on, for a matrix that is not transposed.
    pub(super) fn rows_from(&self, row: usize) -> &'a [f32] {
        assert_eq!(self.column_stride, 1, "rows are contiguous");
        &self.values[row * self.row_stride..]
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            values: self.values,
            n_rows: self.n_columns,
            n_columns: self.n_rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Whether what stood in the output is added to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Overwrite,
    Accumulate,
}

/// `out = scale · a · b`, or `out += ..`; rows of `out` start `stride` values apart.
pub(super) fn multiply(
    (out, stride): (&mut [f32], usize),
    output: Output,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    parallelism: Parallelism,
) {
    let (m, n, k) = (a.n_rows, b.n_columns, a.n_columns);
    assert_eq!(k, b.n_rows, "inner sizes agree");
    if m == 0 || n == 0 {
        return;
    }
    let fits = |len: usize, rows: usize, columns: usize, row: usize, column: usize| {
        rows == 0 || columns == 0 || (rows - 1) * row + (columns - 1) * column < len
    };
    assert!(fits(a.values.len(), m, k, a.row_stride, a.column_stride), "a is within its slice");
    assert!(fits(b.values.len(), k, n, b.row_stride, b.column_stride), "b is within its slice");
    assert!(fits(out.len(), m, n, stride, 1), "the output is within its slice");
    // SAFETY: all three matrices lie within their slices (checked above), and `out` is borrowed
    // mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            output == Output::Accumulate,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
