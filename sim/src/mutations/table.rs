//! What was caught, for people.

use super::Ground;
use super::hunt::End;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use types::mutation::Mutation;

/// The name of an oracle in the table: an engine that panics has found the bug by itself.
pub(super) const fn name(oracle: &'static str) -> &'static str {
    match oracle.as_bytes() {
        b"panic" => "assertion",
        _ => oracle,
    }
}

/// What counts of the starts of a mutation.
struct Summary {
    /// The oracle that caught it most often, and how often.
    oracle: (&'static str, usize),
    /// Seeds needed: the median, and the most. Nothing if it was missed from a start.
    seeds: Option<(u64, u64)>,
}

fn summary(ends: &[End]) -> Summary {
    let mut oracles: BTreeMap<&str, usize> = BTreeMap::new();
    for catch in ends.iter().flatten() {
        *oracles.entry(catch.oracle).or_default() += 1;
    }
    let oracle = oracles.into_iter().max_by_key(|(_, count)| *count).unwrap_or(("none", 0));
    let mut seeds: Vec<u64> = ends.iter().flatten().map(|catch| catch.seeds).collect();
    seeds.sort_unstable();
    let all = seeds.len() == ends.len();
    let seeds = seeds.last().filter(|_| all).map(|most| (seeds[(seeds.len() - 1) / 2], *most));
    Summary { oracle, seeds }
}

fn worlds(mutation: Mutation) -> &'static str {
    Ground::of(mutation).as_str()
}

/// A line for a mutation.
pub(super) fn line(mutation: Mutation, ends: &[End]) -> String {
    let Summary { oracle: (oracle, count), seeds } = summary(ends);
    let (slug, worlds, starts) = (mutation.as_str(), worlds(mutation), ends.len());
    match seeds {
        Some((median, most)) => format!(
            "caught {slug:28} by {oracle} ({count} of {starts}), seeds needed: {median}, at most \
             {most}; worlds: {worlds}"
        ),
        None => {
            let missed = ends.iter().filter(|end| end.is_none()).count();
            format!("MISSED {slug:28} from {missed} of {starts} starts; worlds: {worlds}")
        }
    }
}

/// The table of docs/guarantees.md.
pub(super) fn markdown(all: &[(Mutation, Vec<End>)]) -> String {
    let mut text = String::from(
        "| # | mutation | what goes wrong | worlds | seeds | caught by |\n|---|---|---|---|---|---|\n",
    );
    for (number, (mutation, ends)) in (1..).zip(all) {
        let Summary { oracle: (oracle, _), seeds } = summary(ends);
        let seeds = seeds.map_or_else(|| "MISSED".into(), |(median, _)| median.to_string());
        let (slug, words, worlds) = (mutation.as_str(), mutation.words(), worlds(*mutation));
        writeln!(text, "| M{number} | {slug} | {words} | {worlds} | {seeds} | sim: {oracle} |")
            .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_mutation_has_a_name_of_its_own() {
        let names: BTreeSet<&str> =
            Mutation::ALL.iter().map(|mutation| mutation.as_str()).collect();
        assert_eq!(names.len(), Mutation::ALL.len());
        assert!(names.len() >= 20, "{} mutations prove little", names.len());
    }
}
