//! Words that are no command: drbdadm's that are not there, with what to say instead, and slips.

use crate::cli::Helper;
use crate::outcome::{Exit, Failure};
use crate::target::nearest;
use clap::Subcommand;
use std::ffi::OsString;

/// Commands of DRBD's tools that are not there, and why, or what does it here.
const NOT_HERE: &[(&str, &str)] = &[
    ("adjust-with-progress", "say «repadm -v adjust», which prints each step"),
    ("check", "say «repadm config check», which shows all that is wrong with the configuration"),
    ("del-minor", "a device goes with its resource: say «repadm down»"),
    ("del-path", "a resource has one path to its peer: «repadm disconnect» leaves it"),
    ("del-peer", "a resource has one peer: «repadm disconnect» leaves it"),
    ("dump-superblock", "say «repadm dump-md», or «repadm show-gi» for the generations alone"),
    ("forget-peer", "there is one peer, so no place in the metadata is held by another"),
    ("new-path", "the path to the peer comes with its addresses: say «repadm up» or «connect»"),
    ("new-peer", "the peer comes with the resource: say «repadm up» or «repadm connect»"),
    ("proxy-down", "there is no proxy: the nodes are connected directly"),
    ("proxy-up", "there is no proxy: the nodes are connected directly"),
    (
        "repair-md",
        "the metadata need no repair: what counts is kept twice, and attach takes the \
                   one that is whole",
    ),
    ("restore-md", "metadata are not put back from a dump: they would call changed data unchanged"),
    (
        "set-gi",
        "generation identifiers are not set by hand: what they mean «repadm show-gi» tells, \
                and the way out of a split brain «repadm split-brain»",
    ),
    ("sh-list-adjustable", "say «repadm -d adjust all», which prints what would be adjusted"),
    ("sh-new-minor", "minor numbers are not given out: the configuration says them"),
    ("state", "say «repadm role»"),
    ("syncer", "say «repadm peer-device-options»"),
    ("version", "say «repadm --version»"),
];

/// Commands that nobody is to be led to who has said something else: what they write is not to be
/// had back. Handlers are the same, for nobody knows what they do.
const DESTROY: &[&str] = &["create-md", "wipe-md", "apply-al"];

/// What is said to somebody who asks for it. `known` are the names of all commands.
pub(super) fn unknown(words: &[OsString], known: &[String]) -> Failure {
    let name = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    if let Some((_, why)) = NOT_HERE.iter().find(|(word, _)| *word == name) {
        return Failure::new(Exit::Usage, format!("'{name}' is not there: {why}"));
    }
    let handlers = Helper::augment_subcommands(clap::Command::new("handlers"));
    let is_handler = |word: &str| handlers.get_subcommands().any(|one| one.get_name() == word);
    let words: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with("__") && !DESTROY.contains(word) && !is_handler(word))
        .collect();
    let hint =
        nearest(&name, &words).map_or_else(String::new, |near| format!("did you mean {near}? "));
    Failure::new(
        Exit::Usage,
        format!("'{name}': no such command; {hint}repadm --help lists them all"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn known() -> Vec<String> {
        Cli::command().get_subcommands().map(|one| one.get_name().to_owned()).collect()
    }

    fn said(word: &str) -> String {
        let failure = unknown(&[word.into()], &known());
        assert!(matches!(failure.exit, Exit::Usage), "{word}");
        failure.text
    }

    #[test]
    fn words_of_drbdadm_that_are_not_there_say_what_to_do_instead() {
        for (word, why) in NOT_HERE {
            assert!(!known().contains(&(*word).to_owned()), "{word} is there");
            let said = said(word);
            assert!(said.contains(why) && !said.contains("did you mean"), "{said}");
        }
    }

    #[test]
    fn nobody_is_led_to_what_destroys() {
        for slip in ["creat-md", "crate-md", "wipe-mb", "apply-all", "fence-pear", "pri-lst"] {
            let said = said(slip);
            let led = |word: &str| said.contains(&format!("did you mean {word}?"));
            for word in DESTROY.iter().chain(&["fence-peer", "pri-lost"]) {
                assert!(!led(word), "{said}");
            }
        }
        assert!(said("stauts").contains("did you mean status?"));
    }
}
