//! Tests of the real processes

pub mod nbd_client;
