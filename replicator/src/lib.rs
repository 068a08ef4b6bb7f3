//! The replication engine: input in, effects out
