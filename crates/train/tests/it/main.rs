//! Training against PyTorch's traces, and runs that stop and go on.

mod runs;
mod traces;
