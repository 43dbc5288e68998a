//! tamis-ops
