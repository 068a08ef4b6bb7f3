//! A run that can be told in a few lines: a seed, and what is left out of its world.
//!
//! ```text
//! # What it is about.
//! seed = 4711
//! class = "one-dies"
//! drop_faults = [0, 2]
//! requests = 12
//! reaches = "a resync interrupted"
//! ```
//! Everything but the seed may be missing. A trace that is kept says what it `reaches`. The course of
//! a run changes with every change of the engine, so the test runs each with many numbers in `stir`:
//! all must be well, and some must still reach it.

use crate::marks::{Mark, Marks};
use crate::plan::{Class, Plan};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use types::Span;

/// A seed and the class of its world, with less in it than the seed says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The seed.
    pub seed: u64,
    /// The class, if the seed does not choose it.
    pub class: Option<Class>,
    /// Faults of the plan that do not happen, by their numbers in it.
    pub drop_faults: BTreeSet<usize>,
    /// Requests of all clients together.
    pub requests: Option<u64>,
    /// Request loops for each node and volume.
    pub loops: Option<u64>,
    /// When trouble and load end, in milliseconds.
    pub chaos_ms: Option<u64>,
    /// The longest delay of a message, in microseconds.
    pub delay_us: Option<u64>,
    /// How many places of each volume clients use.
    pub places: Option<usize>,
    /// Another number gives the same plan another course: other latencies, other requests.
    pub stir: u64,
    /// What it must reach, to be worth its name.
    pub reaches: Vec<Mark>,
}

impl Replay {
    /// The world of a seed, whole.
    pub fn of(seed: u64, class: Option<Class>) -> Self {
        Self { seed, class, ..Self::default() }
    }

    /// What is decided beforehand in it.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::new(self.seed, self.class);
        plan.requests = self.requests.unwrap_or(plan.requests);
        plan.loops = self.loops.unwrap_or(plan.loops);
        plan.chaos = self.chaos_ms.map_or(plan.chaos, Span::millis);
        plan.delay_micros = self.delay_us.unwrap_or(plan.delay_micros);
        if let Some(places) = self.places {
            plan.places.iter_mut().for_each(|all| all.truncate(places.max(1)));
        }
        let mut number = 0..;
        plan.faults.retain(|_| number.next().is_some_and(|at| !self.drop_faults.contains(&at)));
        plan
    }

    /// What it was to reach and did not.
    pub fn missed(&self, marks: &Marks) -> Vec<&'static str> {
        let missed = self.reaches.iter().filter(|&&mark| marks.count(mark) == 0);
        missed.map(|mark| mark.words()).collect()
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed = {}", self.seed)?;
        if let Some(class) = self.class {
            writeln!(f, "class = \"{}\"", class.as_str())?;
        }
        if !self.drop_faults.is_empty() {
            let all: Vec<String> = self.drop_faults.iter().map(ToString::to_string).collect();
            writeln!(f, "drop_faults = [{}]", all.join(", "))?;
        }
        let numbers = [
            ("requests", self.requests),
            ("loops", self.loops),
            ("chaos_ms", self.chaos_ms),
            ("delay_us", self.delay_us),
            ("places", self.places.map(|places| places as u64)),
            ("stir", Some(self.stir).filter(|stir| *stir > 0)),
        ];
        for (key, value) in numbers {
            if let Some(value) = value {
                writeln!(f, "{key} = {value}")?;
            }
        }
        self.reaches.iter().try_for_each(|mark| writeln!(f, "reaches = \"{}\"", mark.words()))
    }
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut replay = Self::default();
        let mut seen = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: String| format!("line {}: {why}", number + 1);
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| wrong("`key = value` is expected".to_owned()))?;
            seen |= key.trim() == "seed";
            replay.set(key.trim(), value.trim()).map_err(wrong)?;
        }
        if seen { Ok(replay) } else { Err("there is no `seed`".to_owned()) }
    }
}

impl Replay {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|error| format!("{key}: {error}"));
        let words = value.trim_matches('"');
        match key {
            "seed" => self.seed = number()?,
            "class" => self.class = Some(words.parse()?),
            "requests" => self.requests = Some(number()?),
            "loops" => self.loops = Some(number()?),
            "chaos_ms" => self.chaos_ms = Some(number()?),
            "delay_us" => self.delay_us = Some(number()?),
            "stir" => self.stir = number()?,
            "places" => self.places = Some(number()? as usize),
            "reaches" => self.reaches.push(words.parse()?),
            "drop_faults" => {
                let list = value.trim_start_matches('[').trim_end_matches(']').split(',');
                let list = list.map(str::trim).filter(|item| !item.is_empty());
                let list: Result<_, _> = list.map(str::parse).collect();
                self.drop_faults = list.map_err(|error| format!("{key}: {error}"))?;
            }
            _ => return Err(format!("`{key}` is not known")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_comes_back() {
        let replay = Replay {
            drop_faults: [1, 4].into(),
            requests: Some(7),
            loops: Some(1),
            chaos_ms: Some(250),
            delay_us: Some(20),
            places: Some(1),
            stir: 6,
            reaches: vec![Mark::Resent, Mark::Conflict],
            ..Replay::of(99, Some(Class::OneDies))
        };
        assert_eq!(format!("# why\n\n{replay}").parse(), Ok(replay));
        let whole = Replay::of(3, None);
        assert_eq!(whole.to_string().parse(), Ok(whole));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in ["", "seed", "seed = x", "seed = 1\nfaults = 3", "seed = 1\nclass = \"no\""] {
            assert!(text.parse::<Replay>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_dropped_fault_does_not_happen() {
        let whole = Plan::new(5, Some(Class::Resets));
        let less = Replay { drop_faults: [0].into(), ..Replay::of(5, Some(Class::Resets)) };
        assert_eq!(less.plan().faults, whole.faults[1..]);
    }
}
