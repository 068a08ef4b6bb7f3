//! Backing devices: io_uring, positioned reads and writes, memory, fault injection
