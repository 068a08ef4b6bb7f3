//! What the project wants to reach: ratios within one run.

use super::job::{Does, Job, Medium};
use super::report::{Cell, Report};

/// The pair's rate, at least so many times another's.
#[derive(Clone, Copy, Debug)]
struct Bar {
    medium: Medium,
    job: Job,
    other: &'static str,
    least: f64,
    /// Compared by how long a request takes, at most so many times: the ratio the other way round.
    by_latency: bool,
}

const fn bar(medium: Medium, job: Job, other: &'static str, least: f64) -> Bar {
    Bar { medium, job, other, least, by_latency: false }
}

const BARS: [Bar; 15] = {
    use Does::{Read, Write};
    use Medium::{Direct, Tmpfs};
    [
        bar(Tmpfs, Job::one(Read, 4, 1), "nbdkit", 1.0),
        bar(Tmpfs, Job::one(Read, 4, 32), "nbdkit", 1.0),
        bar(Direct, Job::one(Read, 4, 1), "qemu-nbd", 1.5),
        bar(Direct, Job::one(Read, 4, 32), "qemu-nbd", 1.5),
        bar(Tmpfs, Job::one(Write, 4, 32), "nbdkit", 0.5),
        Bar { by_latency: true, ..bar(Tmpfs, Job::one(Write, 4, 1), "nbdkit", 2.5) },
        bar(Direct, Job::one(Write, 4, 1), "qemu-nbd", 1.0),
        bar(Direct, Job::one(Write, 4, 32), "qemu-nbd", 1.0),
        bar(Tmpfs, Job::one(Write, 1024, 8), "nbdkit", 0.4),
        bar(Tmpfs, Job::one(Write, 4, 32), "gluster", 4.0),
        bar(Tmpfs, Job::one(Write, 4, 1), "gluster", 1.5),
        bar(Tmpfs, Job::one(Write, 4, 32), "qemu quorum", 3.0),
        bar(Tmpfs, Job::one(Write, 4, 1), "qemu quorum", 1.2),
        bar(Direct, Job::one(Write, 4, 32), "qemu quorum", 3.0),
        bar(Direct, Job::one(Write, 4, 1), "qemu quorum", 1.2),
    ]
};

impl Bar {
    /// What was reached, if both were measured.
    fn reached(&self, report: &Report) -> Option<f64> {
        let is_it = |cell: &&Cell| cell.medium == self.medium && cell.job == self.job;
        let cell = report.cells.iter().find(is_it)?;
        let (ours, theirs) = (cell.row("repd, pair")?.median, cell.row(self.other)?.median);
        Some(match self.by_latency {
            true => ours.mean / theirs.mean,
            false => ours.per_second / theirs.per_second,
        })
    }

    fn is_kept(&self, reached: f64) -> bool {
        if self.by_latency { reached <= self.least } else { reached >= self.least }
    }
}

/// Prints each bar and what was reached. How many were not.
pub(crate) fn judge(report: &Report) -> usize {
    println!("\nbars of the replicated pair");
    let mut missed = 0;
    for bar in &BARS {
        let Some(reached) = bar.reached(report) else { continue };
        let kept = bar.is_kept(reached);
        missed += usize::from(!kept);
        let wanted = if bar.by_latency { "latency at most" } else { "at least" };
        println!(
            "  {} {:<8} {:<16} {wanted} {:.1} x {:<12} {reached:>7.2}",
            if kept { "ok  " } else { "MISS" },
            bar.medium.as_str(),
            bar.job.key(),
            bar.least,
            bar.other
        );
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::cell;
    use super::*;

    #[test]
    fn a_bar_that_is_missed_is_counted_and_one_without_its_peer_is_not() {
        let at = |depth, rates: &[(&str, f64)]| cell(Medium::Tmpfs, Does::Write, depth, rates);
        let good = at(32, &[("repd, pair", 60.0), ("nbdkit", 100.0)]);
        let slow = at(1, &[("repd, pair", 10.0), ("nbdkit", 26.0)]);
        assert_eq!(judge(&Report { cells: vec![good.clone()] }), 0);
        assert_eq!(judge(&Report { cells: vec![good, slow] }), 1, "2.6 times the latency");
        assert_eq!(judge(&Report::default()), 0);
    }
}
