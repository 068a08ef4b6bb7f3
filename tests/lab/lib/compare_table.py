#!/usr/bin/env python3
"""compare_table.py FILE: lines of VARIANT JOB IOPS MIBS LATENCY become a table of medians, each also as
a ratio to DRBD; exit 1 if repd is below what is asked of it."""
import statistics
import sys

# What repd must reach of DRBD in the same run.
BARS = {"randwrite-4k-1": 0.5, "randwrite-4k-32": 0.7, "write-128k-8": 0.6}
JUDGED = ("repd", "repd-2")


def main():
    runs = {}
    for line in open(sys.argv[1]):
        variant, job, iops, mibs, _ = line.split()
        # where blocks are large the bytes count
        value = float(mibs) if job.startswith(("write-", "read-")) else float(iops)
        runs.setdefault(job, {}).setdefault(variant, []).append(value)
    low = []
    for job, variants in runs.items():
        unit = "MiB/s" if job.startswith(("write-", "read-")) else "IOPS"
        drbd = statistics.median(variants["drbd"])
        print(f"{job} ({unit})")
        for variant, values in variants.items():
            median = statistics.median(values)
            print(f"    {variant:8} {median:9.1f}  [{min(values):.0f} to {max(values):.0f}]  {median / drbd:6.3f} of DRBD")
        best = max(statistics.median(variants[name]) for name in JUDGED if name in variants) / drbd
        if best < BARS.get(job, 0):
            low.append(f"{job}: {best:.3f} of DRBD, must be {BARS[job]}")
    if low:
        sys.exit("\n".join(low))


main()
