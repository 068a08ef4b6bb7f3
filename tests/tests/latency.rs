//! Where the time of requests goes, as `repadm status --json` and `repadm top` of a real daemon tell it:
//! also the stages that only the daemon sees, and not the engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use tests::cluster::{Cluster, Setup};
use tests::load::runtime;
use tests::nbd_client::Client;

const MIB: u64 = 1 << 20;

#[test]
fn every_stage_that_a_request_went_through_is_told() {
    let cluster = Cluster::two_primaries(Setup::new(16 * MIB)).unwrap();
    cluster.wait_settled().unwrap();
    let alpha = &cluster.alpha;
    runtime().unwrap().block_on(async {
        let mut client = Client::connect(&alpha.address(), "r0").await.unwrap();
        // Two extents: the second time each is in the log.
        for _ in 0..2 {
            client.write(0, &[1; 4096], false).await.unwrap();
            client.write(5 * MIB, &[1; 4096], false).await.unwrap();
        }
        client.write(0, &[2; 4096], true).await.unwrap();
        client.read(0, 4096).await.unwrap();
        client.flush().await.unwrap();
    });
    let status = alpha.status().unwrap();
    let told = status.value().pointer("/devices/0/latency").unwrap().clone();
    let count = |stage: &str| told[stage]["count"].as_u64().unwrap_or(0);
    for stage in ["write", "disk", "send", "peer", "finish"] {
        assert_eq!(count(stage), 5, "{stage} in {told:#}");
    }
    assert_eq!(count("queue") + count("log"), 5, "{told:#}");
    assert_eq!((count("read"), count("flush"), count("reply")), (1, 1, 7), "{told:#}");
    for stage in told.as_object().unwrap().values() {
        assert!(stage["p50-us"].as_u64() <= stage["p99-us"].as_u64(), "{told:#}");
    }
    cluster.finish().unwrap();
}
