//! The program where no daemon is needed, or where none is there.

use crate::support::{DISK_BYTES, Place};
use std::os::unix::fs::FileExt;

#[test]
fn metadata_are_made_once_and_replaced_only_when_told() {
    let place = Place::new();
    let ran = place.ends(10, &["get-gi", "r0"]);
    assert!(ran.err.contains("repadm create-md r0/0 makes it"), "{}", ran.err);
    let ran = place.ends(0, &["create-md", "r0"]);
    assert!(ran.out.contains("metadata created on DIR/alpha.img"), "{}", ran.out);
    assert_eq!(
        place.ends(0, &["get-gi", "r0"]).out,
        "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0\n"
    );
    assert!(place.ends(0, &["show-gi", "all"]).out.contains("fresh metadata"));
    let ran = place.ends(10, &["create-md", "r0"]);
    assert!(ran.err.contains("the metadata of r0/0"), "{}", ran.err);
    assert!(ran.err.contains("create-md --force replaces it"), "{}", ran.err);
    place.ends(0, &["create-md", "--force", "r0/0"]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let ran = place.ends(0, &["-d", "create-md", "r0"]);
    assert!(ran.out.contains("write fresh metadata on DIR/alpha.img"), "{}", ran.out);
    place.ends(10, &["get-gi", "r0"]);
    assert!(place.ends(0, &["-d", "up", "r0"]).out.contains("attach DIR/alpha.img"));
}

/// As much of an ext4 superblock as says how large the file system is.
fn ext4(place: &Place, bytes: u64) {
    let disk = std::fs::OpenOptions::new().write(true).open(place.path("alpha.img")).unwrap();
    disk.write_all_at(&[0x53, 0xEF], 1024 + 0x38).unwrap();
    disk.write_all_at(&2u32.to_le_bytes(), 1024 + 0x18).unwrap();
    disk.write_all_at(&u32::try_from(bytes / 4096).unwrap().to_le_bytes(), 1024 + 4).unwrap();
}

#[test]
fn a_file_system_that_reaches_into_the_metadata_is_kept_also_from_force() {
    let place = Place::new();
    ext4(&place, DISK_BYTES);
    for words in [&["create-md", "r0"][..], &["create-md", "--force", "r0"]] {
        let ran = place.ends(10, words);
        assert!(ran.err.contains("holds an ext2/3/4 file system of 8192 KiB"), "{}", ran.err);
        assert!(ran.err.contains("resize2fs DIR/alpha.img"), "{}", ran.err);
        assert!(ran.err.contains("meta-disk"), "{}", ran.err);
    }
    ext4(&place, DISK_BYTES / 2);
    let ran = place.ends(0, &["create-md", "r0"]);
    assert!(ran.err.contains("which is kept"), "{}", ran.err);
}

#[test]
fn what_may_reach_to_the_end_of_the_disk_must_be_given_up_in_words() {
    let place = Place::new();
    let disk = std::fs::OpenOptions::new().write(true).open(place.path("alpha.img")).unwrap();
    disk.write_all_at(b"LUKS\xBA\xBE", 0).unwrap();
    let ran = place.ends(10, &["create-md", "r0"]);
    assert!(ran.err.contains("LUKS") && ran.err.contains("--force"), "{}", ran.err);
    place.ends(0, &["create-md", "--force", "r0"]);
}

#[test]
fn metadata_of_drbd_itself_are_not_lost_by_accident() {
    let place = Place::new();
    let disk = std::fs::OpenOptions::new().write(true).open(place.path("alpha.img")).unwrap();
    disk.write_all_at(&0x8374_026Bu32.to_be_bytes(), DISK_BYTES - 4096 + 60).unwrap();
    let ran = place.ends(10, &["create-md", "r0"]);
    assert!(ran.err.contains("DRBD 8.4"), "{}", ran.err);
}

#[test]
fn a_disk_that_is_missing_or_in_use_is_named() {
    let place = Place::new();
    let held = std::fs::File::open(place.path("alpha.img")).unwrap();
    held.lock().unwrap();
    let ran = place.ends(10, &["create-md", "r0"]);
    assert!(ran.err.contains("DIR/alpha.img") && ran.err.contains("in use"), "{}", ran.err);
    drop(held);
    std::fs::remove_file(place.path("alpha.img")).unwrap();
    let ran = place.ends(10, &["create-md", "r0"]);
    assert!(ran.err.contains("DIR/alpha.img: no such file"), "{}", ran.err);
}

#[test]
fn a_configuration_that_is_wrong_or_not_there() {
    let place = Place::new();
    place.configure("resource r0 {\n  on alpha {\n");
    let ran = place.ends(10, &["dump"]);
    assert!(ran.err.contains("r0.res:2:"), "{}", ran.err);
    let ran = place.ends(20, &["-c", "/nonexistent/repd.conf", "up", "all"]);
    assert!(ran.err.contains("/nonexistent/repd.conf"), "{}", ran.err);
}

#[test]
fn a_name_that_is_nearly_right_is_guessed() {
    let place = Place::new();
    for words in [&["up", "rO"][..], &["role", "r1"], &["dump", "r"]] {
        let ran = place.ends(1, words);
        assert!(ran.err.contains("did you mean r0?"), "{}", ran.err);
    }
    let ran = place.ends(1, &["stauts"]);
    assert!(ran.err.contains("did you mean status?"), "{}", ran.err);
    assert!(place.ends(1, &["up", "r0/7"]).err.contains("has no volume 7"));
    let ran = place.ends(1, &["--node", "gamma", "up", "r0"]);
    assert!(ran.err.contains("alpha and beta") && ran.err.contains("REPD_NODE"), "{}", ran.err);
}

#[test]
fn without_a_daemon_it_is_said_how_to_start_one() {
    let place = Place::new();
    for words in [&["up", "r0"][..], &["status"], &["role", "r0"], &["wait-sync", "r0"]] {
        let ran = place.ends(20, words);
        assert!(ran.err.contains("DIR/control.sock"), "{}", ran.err);
        assert!(ran.err.contains("start it with"), "{}", ran.err);
    }
}

#[test]
fn an_empty_node_is_as_good_as_none() {
    let place = Place::new();
    let ran = place.ends(1, &["--node", "", "up", "r0"]);
    assert!(ran.err.contains("and this host is ") && !ran.err.contains("is ;"), "{}", ran.err);
}

#[test]
fn what_is_not_built_yet_says_so() {
    let place = Place::new();
    for words in
        [&["verify", "r0"][..], &["events2"], &["connect", "--discard-my-data", "r0"], &["proc"]]
    {
        assert!(place.ends(10, words).err.contains("not yet"));
    }
}

#[test]
fn usage_errors_have_code_1_and_help_has_0() {
    let place = Place::new();
    for words in [&[][..], &["up"], &["primary", "--frce", "r0"], &["up", "r0/x"], &["-d"]] {
        place.ends(1, words);
    }
    assert!(place.ends(0, &["--help"]).out.contains("create-md"));
    assert!(!place.ends(0, &["--help"]).out.contains("__daemon"));
    assert!(place.ends(0, &["primary", "--help"]).out.contains("overwrite-data-of-peer"));
}
