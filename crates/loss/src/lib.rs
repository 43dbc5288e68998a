//! tamis-loss
