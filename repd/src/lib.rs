//! The replication daemon
