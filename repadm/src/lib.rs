//! The command line of the replication daemon
