//! The deliberate bugs of `sim mutations` are in no program that serves anybody.

use std::path::Path;
use std::process::Command;
use types::mutation::PRESENT;

/// The packages of a build of the whole workspace that have the deliberate bugs.
fn with_mutations(options: &[&str]) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--offline", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--format", "{p} features: {f}", "--manifest-path"])
        .arg(&manifest)
        .args(options)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let has_them = |line: &&str| {
        line.split_once(" features: ").is_some_and(|(_, features)| features.contains("mutations"))
    };
    let mut names: Vec<String> = text
        .lines()
        .filter(has_them)
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
#[allow(clippy::assertions_on_constants, reason = "it is another constant in another build")]
fn a_build_of_the_workspace_has_no_mutations() {
    assert_eq!(with_mutations(&[]), [""; 0]);
    assert!(!PRESENT, "this very build has them");
    // It would be seen if one package asked for them.
    let asked = with_mutations(&["--features", "sim/mutations"]);
    assert_eq!(asked, ["metadata", "replicator", "sim", "types"]);
}
