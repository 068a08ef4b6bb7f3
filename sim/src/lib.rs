//! Deterministic simulator: worlds of engines, disks, links and clients from one seed
