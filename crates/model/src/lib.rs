//! tamis-model
