//! tamis-train
