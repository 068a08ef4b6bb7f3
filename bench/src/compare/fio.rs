//! fio, the client of every server: started for one measurement, and what it says of it.

use super::job::{Does, Job};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Not measured: until caches and buffers are as they stay.
const RAMP_SECONDS: u32 = 1;

/// What the requests go to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// An export, by its URI.
    Nbd(String),
    /// A file, past the page cache if it can be.
    File { path: PathBuf, direct: bool },
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    pub(crate) mib_per_second: f64,
    /// In microseconds, of whatever of reads and writes took longer; of a flush with its write.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) mean: f64,
    /// Microseconds of a processor that each request took of the server's processes.
    pub(crate) processor: f64,
}

/// Runs the job for so long. The processor time is that of whatever `used` looks at.
pub(crate) fn run(
    job: &Job,
    target: &Target,
    bytes: u64,
    time: Duration,
    used: impl Fn() -> Duration,
) -> anyhow::Result<Outcome> {
    run_at(job, target, 0, bytes, time, used)
}

/// The same, on so many bytes from there.
pub(crate) fn run_at(
    job: &Job,
    target: &Target,
    from: u64,
    bytes: u64,
    time: Duration,
    used: impl Fn() -> Duration,
) -> anyhow::Result<Outcome> {
    let mut command = fio(target, bytes);
    command.args(job.words()).args([
        format!("--offset={from}"),
        "--time_based".to_owned(),
        format!("--runtime={}", time.as_secs().max(1)),
        format!("--ramp_time={RAMP_SECONDS}"),
    ]);
    let before = used();
    let said = said_by(&mut command)?;
    let used = used().saturating_sub(before);
    let mut outcome = outcome(job, &said)?;
    // What was used while fio got ready is for requests that it does not count.
    let measured = time.as_secs_f64() / (time.as_secs_f64() + f64::from(RAMP_SECONDS));
    let requests = outcome.per_second * time.as_secs_f64();
    outcome.processor = used.as_secs_f64() * 1e6 * measured / requests.max(1.0);
    Ok(outcome)
}

/// Writes all of it once: else the first requests would measure what is not there.
pub(crate) fn fill(target: &Target, bytes: u64) -> anyhow::Result<()> {
    let mut command = fio(target, bytes);
    command.args(["--rw=write", "--bs=1m", "--iodepth=8", "--end_fsync=1"]);
    said_by(&mut command).map(drop)
}

/// Writes so many blocks of 4 KiB, each once, at random places.
pub(crate) fn scatter(target: &Target, bytes: u64, blocks: u64) -> anyhow::Result<()> {
    let mut command = fio(target, bytes);
    command.args(["--rw=randwrite", "--bs=4k", "--iodepth=32"]);
    command.args([format!("--number_ios={blocks}"), format!("--randseed={blocks}")]);
    said_by(&mut command).map(drop)
}

fn fio(target: &Target, bytes: u64) -> Command {
    let mut command = Command::new("fio");
    command.args(["--name=compare", "--thread", "--group_reporting", "--output-format=json"]);
    command.args(["--randrepeat=0", "--norandommap", &format!("--size={bytes}")]);
    match target {
        Target::Nbd(uri) => command.args(["--ioengine=nbd", &format!("--uri={uri}")]),
        Target::File { path, direct } => {
            command.arg("--ioengine=libaio").arg(filename(path));
            command.arg(format!("--direct={}", u8::from(*direct)))
        }
    };
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// fio takes a colon for the end of a name.
fn filename(path: &Path) -> String {
    format!("--filename={}", path.display().to_string().replace(':', "\\:"))
}

/// What it says. It may say more than JSON, before and behind.
fn said_by(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.output().context("starting fio (Debian: fio)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "fio ended with {}: what it says is above", output.status);
    let from = text.find('{').context("fio said nothing")?;
    let mut values = serde_json::Deserializer::from_str(&text[from..]).into_iter();
    Ok(values.next().context("fio said nothing")??)
}

fn outcome(job: &Job, said: &Value) -> anyhow::Result<Outcome> {
    let number = |pointer: String| {
        let found = said.pointer(&pointer).and_then(Value::as_f64);
        found.with_context(|| format!("fio says no {pointer}"))
    };
    let ways: &[&str] = match job.does {
        Does::Read => &["read"],
        Does::Write | Does::WriteFlush => &["write"],
        Does::Both => &["read", "write"],
    };
    let mut all = Outcome::default();
    for way in ways {
        let of = |name: &str| number(format!("/jobs/0/{way}/{name}"));
        all.per_second += of("iops")?;
        all.mib_per_second += of("bw_bytes")? / f64::from(1 << 20);
        for (percent, longest) in [("50", &mut all.p50), ("99", &mut all.p99)] {
            let micros = of(&format!("clat_ns/percentile/{percent}.000000"))? / 1e3;
            *longest = longest.max(micros);
        }
        all.mean = all.mean.max(of("lat_ns/mean")? / 1e3);
    }
    if job.does == Does::WriteFlush {
        let of = |name: &str| number(format!("/jobs/0/sync/lat_ns/{name}"));
        all.p50 += of("percentile/50.000000")? / 1e3;
        all.p99 += of("percentile/99.000000")? / 1e3;
        all.mean += of("mean")? / 1e3;
    }
    ensure!(all.per_second > 0.0, "no request was answered");
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_reads_and_writes_the_slower_counts_for_the_time_and_both_for_the_rate() {
        let way = |iops: u32, us: u32| {
            serde_json::json!({
                "iops": iops, "bw_bytes": iops * 4096, "lat_ns": { "mean": us * 1000 },
                "clat_ns": { "percentile": { "50.000000": us * 900, "99.000000": us * 5000 } },
            })
        };
        let said = serde_json::json!({ "jobs": [{ "read": way(700, 10), "write": way(300, 20) }] });
        let mixed = Job::one(Does::Both, 4, 1);
        let found = outcome(&mixed, &said).unwrap();
        assert_eq!((found.per_second, found.p50, found.p99), (1000.0, 18.0, 100.0));
        let missing = outcome(&mixed, &serde_json::json!({ "jobs": [{}] })).unwrap_err();
        assert!(missing.to_string().contains("/jobs/0/read/iops"), "{missing}");
    }
}
