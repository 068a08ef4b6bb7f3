//! The table of `bench nbd`.

use crate::load::Measured;
use crate::nbd::Pattern;
use std::time::Duration;

/// What one server did in one measurement.
#[derive(Debug)]
pub(crate) struct Row {
    measured: Measured,
    /// The slowest and the fastest slice, in requests a second.
    range: (f64, f64),
    /// Of a processor, for each request.
    processor: Duration,
    flush: Duration,
}

impl Row {
    /// From the slices, the processor time that they took, and the time of the flush after one.
    pub(crate) fn new(parts: &[Measured], used: Duration, flush: Duration) -> Self {
        let rates = || parts.iter().map(Measured::per_second);
        let range = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let measured = Measured::together(parts);
        let processor = used.div_f64(measured.count().max(1) as f64);
        Self { measured, range, processor, flush }
    }
}

/// Everything that was measured, for the summary.
#[derive(Debug)]
pub(crate) struct Table {
    names: Vec<&'static str>,
    /// Pattern, connections, depth, and the rate of each server.
    cells: Vec<(Pattern, usize, usize, Vec<f64>)>,
}

impl Table {
    /// Of these servers, the one that is compared with all others first.
    pub(crate) const fn new(names: Vec<&'static str>) -> Self {
        Self { names, cells: Vec::new() }
    }

    /// Prints one measurement.
    pub(crate) fn cell(&mut self, pattern: Pattern, lanes: usize, depth: usize, rows: Vec<Row>) {
        // Small requests are counted, large ones weighed.
        let (unit, scale) = match pattern.len() {
            len if len < 64 << 10 => ("/s", 1.0),
            len => ("MiB/s", len as f64 / f64::from(1 << 20)),
        };
        let plural = if lanes == 1 { "" } else { "s" };
        println!("\n{}, {lanes} connection{plural}, {depth} in flight", pattern.as_str());
        println!(
            "  {:<12} {unit:>9} {:>17} {:>9} {:>9} {:>9} {:>9} {:>9}  {} is",
            "", "slices", "mean", "50 %", "99 %", "processor", "flush", self.names[0]
        );
        let rates: Vec<f64> = rows.iter().map(|row| row.measured.per_second()).collect();
        for (at, row) in rows.iter().enumerate() {
            let (low, high) = row.range;
            println!(
                "  {:<12} {:>9.0} {:>17} {:>9} {:>9} {:>9} {:>9} {:>9}  {}",
                self.names[at],
                rates[at] * scale,
                format!("{:.0}–{:.0}", low * scale, high * scale),
                micros(row.measured.mean()),
                micros(row.measured.percentile(50)),
                micros(row.measured.percentile(99)),
                micros(row.processor),
                if row.flush.is_zero() { String::new() } else { millis(row.flush) },
                if at == 0 { String::new() } else { format!("× {:.2}", rates[0] / rates[at]) },
            );
        }
        self.cells.push((pattern, lanes, depth, rates));
    }

    /// Prints the ratios alone.
    pub(crate) fn summary(&self) {
        for (at, name) in self.names.iter().enumerate().skip(1) {
            println!("\n{} / {name}: more than 1 is faster than {name}", self.names[0]);
            let mut last = None;
            let mut line = String::new();
            for (pattern, lanes, depth, rates) in &self.cells {
                if last != Some(*pattern) {
                    print_line(&mut line);
                    line = format!("  {:<22}", pattern.as_str());
                    last = Some(*pattern);
                }
                let ratio = rates[0] / rates[at];
                line += &format!(" {:>6} {ratio:>5.2}", format!("{lanes}c/{depth}:"));
            }
            print_line(&mut line);
        }
        println!("\n(4c/32: four connections, 32 requests in flight on all of them together)");
    }
}

fn print_line(line: &mut String) {
    if !line.is_empty() {
        println!("{line}");
        line.clear();
    }
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_of_all_slices_and_knows_the_slowest_and_the_fastest() {
        let slice = |count, millis| {
            let each = vec![Duration::from_millis(5); count];
            Measured::new(each, Duration::from_millis(millis))
        };
        let row =
            Row::new(&[slice(10, 100), slice(30, 100)], Duration::from_millis(80), Duration::ZERO);
        assert_eq!(row.measured.count(), 40);
        assert!((row.measured.per_second() - 200.0).abs() < 1e-9);
        assert!((row.range.0 - 100.0).abs() < 1e-9 && (row.range.1 - 300.0).abs() < 1e-9);
        assert_eq!(row.processor, Duration::from_millis(2));
    }
}
