//! The small requests of a report as a chart: for each job a group of bars, one for each server.

use super::report::{Cell, Report};
use std::fmt::Write as _;

const ROW: usize = 16;
const LABELS: usize = 260;
const BARS: usize = 520;
/// One for each server, in the order of the tables: told apart by the blind to colours, too.
const COLOURS: [&str; 7] =
    ["#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#999999"];

/// The chart, a document of its own.
pub(crate) fn svg(report: &Report) -> String {
    let rows: usize = report.cells.iter().map(|cell| cell.rows.len() + 2).sum();
    let (width, height) = (LABELS + BARS + 120, rows * ROW + ROW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut at = ROW;
    for cell in &report.cells {
        group(&mut out, cell, &mut at);
    }
    out + "</svg>\n"
}

fn group(out: &mut String, cell: &Cell, at: &mut usize) {
    let (unit, scale) = match cell.job.is_weighed() {
        true => ("MiB/s", cell.job.kib as f64 / 1024.0),
        false => ("IOPS", 1.0),
    };
    let most = cell.rows.iter().map(|row| row.median.per_second).fold(1.0, f64::max);
    text(out, 8, *at, &format!("{}: {}, {unit}", cell.medium.as_str(), cell.job), true);
    *at += ROW;
    for (row, colour) in cell.rows.iter().zip(COLOURS.iter().cycle()) {
        let length = row.median.per_second / most * BARS as f64;
        text(out, LABELS - 90, *at, &row.name, false);
        let _ = writeln!(
            out,
            "<rect x=\"{LABELS}\" y=\"{}\" width=\"{length:.0}\" height=\"{}\" fill=\"{colour}\"/>",
            *at - ROW + 5,
            ROW - 3
        );
        let end = LABELS + length as usize + 6;
        text(out, end, *at, &format!("{:.0}", row.median.per_second * scale), false);
        *at += ROW;
    }
    *at += ROW;
}

fn text(out: &mut String, x: usize, y: usize, text: &str, bold: bool) {
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\"{weight}>{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::super::job::{Does, Medium};
    use super::super::report::tests::cell;
    use super::*;

    #[test]
    fn each_server_of_each_job_has_a_bar() {
        let rates = [("repd, pair", 50.0), ("a & b", 100.0)];
        let report = Report { cells: vec![cell(Medium::Direct, Does::Write, 1, &rates)] };
        let svg = svg(&report);
        assert_eq!(svg.matches("fill=\"#").count(), 2);
        assert!(svg.contains("a &amp; b") && svg.contains("width=\"260\""), "{svg}");
    }
}
