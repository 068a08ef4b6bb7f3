//! What is left for whoever looks for the reason of a failure.

use super::{Torture, command};
use std::fmt::Write;
use std::fs;

impl Torture {
    /// Ends everything, leaves the disks, logs and metadata, and says where.
    pub(super) fn leave_evidence(self, error: anyhow::Error) -> anyhow::Error {
        let mut text = format!("{error:#}\n\nagain: {}\n", command(self.options));
        let _ = writeln!(text, "after {:.1?}; {}", self.start.elapsed(), self.cluster.describe());
        for node in self.cluster.nodes() {
            for words in [["--json", "status", "r0"], ["show-gi", "r0", ""]] {
                let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
                let said =
                    node.try_repadm(&words).map_or_else(|e| e.to_string(), |r| r.to_string());
                let _ = writeln!(text, "\n--- {}\n{said}", node.name());
            }
        }
        // The daemons have ended before their disks are copied.
        let disks = self.cluster.nodes().map(|node| (node.small_mount(), node.disk()));
        let has_mounts = self.cluster.setup().small_mounts.is_some();
        let directory = self.cluster.abandon();
        for (mount, disk) in disks.into_iter().filter(|_| has_mounts) {
            // The file system goes with this process.
            let copied = fs::remove_file(&disk).and_then(|()| fs::copy(mount.join("disk"), &disk));
            if let Err(error) = copied {
                let _ = writeln!(text, "{} is lost: {error}", disk.display());
            }
        }
        if let Err(error) = fs::write(directory.join("failure"), &text) {
            eprintln!("the failure cannot be written down: {error}\n{text}");
        }
        error.context(format!("FAILED, evidence in {}", directory.display()))
    }
}
