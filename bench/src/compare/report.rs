//! What was measured, as tables and as JSON.

use super::fio::Outcome;
use super::job::{Job, Medium};
use serde_json::{Value, json};

/// Names that are no peer of ours.
const OURS: &str = "repd";
const RAW: &str = "file";

/// One server under one job: its medians, and how far the repeats were apart.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) median: Outcome,
    low: f64,
    high: f64,
}

/// One job on one medium.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) medium: Medium,
    pub(crate) job: Job,
    pub(crate) rows: Vec<Row>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) cells: Vec<Cell>,
}

impl Cell {
    pub(crate) fn new(medium: Medium, job: Job, found: Vec<(&str, Vec<Outcome>)>) -> Self {
        let rows = found.into_iter().map(|(name, all)| Row::new(name, &all));
        Self { medium, job, rows: rows.collect() }
    }

    /// Requests a second of a server, if it was measured.
    pub(crate) fn rate(&self, name: &str) -> Option<f64> {
        self.row(name).map(|row| row.median.per_second)
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The fastest of the others.
    fn best_peer(&self) -> Option<f64> {
        let peers = self.rows.iter().filter(|row| !row.name.starts_with(OURS) && row.name != RAW);
        peers.map(|row| row.median.per_second).reduce(f64::max)
    }

    fn print(&self) {
        let unit = if self.job.is_weighed() { "MiB/s" } else { "IOPS" };
        println!("\n{}, {}  [{}]", self.medium.as_str(), self.job, self.job.key());
        println!(
            "  {:<12} {unit:>9} {:>17} {:>9} {:>9} {:>9} {:>10} {:>10}",
            "", "spread", "50 %", "99 %", "cpu", "/ best", "/ file"
        );
        let ratio = |rate: f64, of: Option<f64>| match of {
            Some(of) if of > 0.0 => format!("{:.2}", rate / of),
            _ => String::new(),
        };
        for row in &self.rows {
            let median = &row.median;
            // Bytes of a request are the same for all: rates have the ratios of MiB.
            let scale = if self.job.is_weighed() { self.job.kib as f64 / 1024.0 } else { 1.0 };
            let cpu = if median.processor > 0.0 { micros(median.processor) } else { String::new() };
            println!(
                "  {:<12} {:>9.0} {:>17} {:>9} {:>9} {:>9} {:>10} {:>10}",
                row.name,
                median.per_second * scale,
                format!("{:.0}–{:.0}", row.low * scale, row.high * scale),
                micros(median.p50),
                micros(median.p99),
                cpu,
                ratio(median.per_second, self.best_peer()),
                ratio(median.per_second, self.rate(RAW)),
            );
        }
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let median = &row.median;
            json!({
                "server": row.name,
                "iops": median.per_second,
                "iops-lowest": row.low,
                "iops-highest": row.high,
                "mib-per-second": median.mib_per_second,
                "p50-us": median.p50,
                "p99-us": median.p99,
                "mean-us": median.mean,
                "cpu-us-per-request": median.processor,
            })
        });
        json!({
            "medium": self.medium.as_str(),
            "job": self.job.key(),
            "servers": rows.collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn new(name: &str, all: &[Outcome]) -> Self {
        let of = |what: fn(&Outcome) -> f64| median(all.iter().map(what).collect());
        let rates = || all.iter().map(|outcome| outcome.per_second);
        let median = Outcome {
            per_second: of(|outcome| outcome.per_second),
            mib_per_second: of(|outcome| outcome.mib_per_second),
            p50: of(|outcome| outcome.p50),
            p99: of(|outcome| outcome.p99),
            mean: of(|outcome| outcome.mean),
            processor: of(|outcome| outcome.processor),
        };
        let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        Self { name: name.to_owned(), median, low, high }
    }
}

impl Report {
    /// Takes one more, and prints it.
    pub(crate) fn add(&mut self, cell: Cell) {
        cell.print();
        self.cells.push(cell);
    }

    /// Prints the ratios of the replicated pair to all others.
    pub(crate) fn summary(&self) {
        let Some(first) = self.cells.first() else { return };
        let others: Vec<_> = first.rows.iter().map(|row| row.name.as_str()).collect();
        println!("\nthe replicated pair, in parts of the others: more than 1 is faster");
        let columns: String = others.iter().map(|name| format!("{name:>12}")).collect();
        println!("  {:<24} {columns}", "");
        for cell in &self.cells {
            let Some(pair) = cell.rate("repd, pair") else { continue };
            let ratios = others.iter().map(|name| match cell.rate(name) {
                Some(rate) => format!("{:>12.2}", pair / rate),
                None => format!("{:>12}", ""),
            });
            let name = format!("{} {}", cell.medium.as_str(), cell.job.key());
            println!("  {name:<24} {}", ratios.collect::<String>());
        }
    }

    pub(crate) fn json(&self, seconds: u64, repeats: u32) -> Value {
        let cells = self.cells.iter().map(Cell::json).collect::<Vec<_>>();
        json!({ "seconds": seconds, "repeats": repeats, "cells": cells })
    }
}

/// The middle one, or what is between the two in the middle; 0 of nothing.
pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    match all.len() {
        0 => 0.0,
        n if n % 2 == 1 => all[n / 2],
        n => f64::midpoint(all[n / 2 - 1], all[n / 2]),
    }
}

fn micros(micros: f64) -> String {
    if micros < 10.0 { format!("{micros:.1} µs") } else { format!("{micros:.0} µs") }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::compare::job::Does;

    /// A cell with these rates.
    pub(crate) fn cell(medium: Medium, does: Does, depth: u32, rates: &[(&str, f64)]) -> Cell {
        let outcome = |rate: f64| Outcome {
            per_second: rate,
            p50: 1e6 / rate,
            mean: 1e6 / rate,
            ..Outcome::default()
        };
        let found = rates.iter().map(|(name, rate)| (*name, vec![outcome(*rate)]));
        let job = Job::one(does, 4, depth);
        Cell::new(medium, job, found.collect())
    }

    #[test]
    fn a_row_is_the_median_of_its_repeats() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        let outcome = |per_second| Outcome { per_second, ..Outcome::default() };
        let row = Row::new("x", &[outcome(5.0), outcome(1.0), outcome(2.0)]);
        assert_eq!((row.median.per_second, row.low, row.high), (2.0, 1.0, 5.0));
    }

    #[test]
    fn the_best_peer_is_neither_ours_nor_the_file() {
        let rates = [("repd, pair", 9.0), ("file", 8.0), ("nbdkit", 3.0), ("qemu-nbd", 4.0)];
        let cell = cell(Medium::Tmpfs, Does::Read, 1, &rates);
        assert_eq!(cell.best_peer(), Some(4.0));
    }
}
