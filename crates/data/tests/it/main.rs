//! The integration tests of `tamis-data`, in one binary.

mod encoding;
mod sampling;
