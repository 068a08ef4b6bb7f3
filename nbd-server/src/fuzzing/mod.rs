//! Bodies of the fuzz targets. Each takes any bytes, and panics if a rule is broken.
//!
//! There are two for each state machine: one that takes the bytes as what a client sends, and one that
//! makes a sequence of operations of them, mostly sensible ones, and holds what comes of it against a
//! model.

mod feed;
mod negotiation;
mod negotiation_ops;
mod transmission;
mod transmission_ops;

pub use negotiation::fuzz_negotiation;
pub use negotiation_ops::fuzz_negotiation_ops;
pub use transmission::fuzz_transmission;
pub use transmission_ops::fuzz_transmission_ops;

use crate::export::{ExportInfo, Refusal};

fn exports() -> Vec<ExportInfo> {
    let blocks = ExportInfo { min_block: 4096, ..ExportInfo::new("r1/0", 1 << 40) };
    let read_only = ExportInfo { read_only: true, ..ExportInfo::new("r2/0", 12345) };
    vec![ExportInfo::new("r0/0", 1 << 20), blocks, read_only]
}

fn find(name: &str) -> Result<ExportInfo, Refusal> {
    match name {
        "secondary" => Err(Refusal::Policy("this node is Secondary".to_owned())),
        "leaving" => Err(Refusal::Shutdown("going down".to_owned())),
        "secret" => Err(Refusal::TlsRequired),
        name => exports().into_iter().find(|export| export.name == name).ok_or(Refusal::Unknown),
    }
}
