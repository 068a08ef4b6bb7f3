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
fn the_way_out_for_a_file_that_is_too_small_leads_out() {
    let place = Place::new();
    ext4(&place, DISK_BYTES);
    let said = place.ends(10, &["create-md", "r0"]).err;
    // resize2fs cuts the file off with the file system.
    assert!(said.contains("then truncate -s 8192K DIR/alpha.img"), "{said}");
    let more = said.split("truncate -s +").nth(1).and_then(|rest| rest.split('K').next());
    let more: u64 = more.expect("how much larger").parse().expect("a number");
    let disk = std::fs::OpenOptions::new().write(true).open(place.path("alpha.img")).unwrap();
    disk.set_len(DISK_BYTES + more * 1024 - 4096).unwrap();
    place.ends(10, &["create-md", "r0"]);
    disk.set_len(DISK_BYTES + more * 1024).unwrap();
    place.ends(0, &["create-md", "r0"]);
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
fn metadata_of_drbd_in_any_slot_of_a_device_are_not_lost_either() {
    const SLOT: u64 = 128 << 20;
    for slot in [0, 2] {
        let place = external(3 * SLOT);
        let meta = std::fs::OpenOptions::new().write(true).open(place.path("meta.img")).unwrap();
        meta.write_all_at(&0x8374_026Bu32.to_be_bytes(), slot * SLOT + 60).unwrap();
        let ran = place.ends(10, &["create-md", "r0"]);
        assert!(ran.err.contains("meta.img holds metadata of DRBD 8.4"), "{}", ran.err);
    }
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

/// Alpha's disk with its metadata on `meta.img`, which is made with so many bytes.
fn external(meta_bytes: u64) -> Place {
    let place = Place::new();
    std::fs::File::create(place.path("meta.img")).unwrap().set_len(meta_bytes).unwrap();
    place.edit(|text| {
        text.replacen(
            "address",
            &format!("meta-disk {}; address", place.path("meta.img").display()),
            1,
        )
    });
    place
}

#[test]
fn metadata_on_another_device_leave_the_whole_disk_to_data() {
    let place = external(1 << 20);
    let ran = place.ends(0, &["create-md", "r0"]);
    let all = format!("metadata created on DIR/meta.img, for {} KiB of data", DISK_BYTES / 1024);
    assert!(ran.out.contains(&all), "{}", ran.out);
    let dump = place.ends(0, &["dump-md", "r0"]).out;
    assert!(dump.starts_with("# repd metadata of r0/0, read from DIR/meta.img\n"), "{dump}");
    assert!(dump.contains("placement external;"), "{dump}");
    let disk = std::fs::read(place.path("alpha.img")).unwrap();
    assert!(disk.iter().all(|byte| *byte == 0), "the data are untouched");
    // A disk that has shrunk, and one that has grown.
    let disk = std::fs::File::options().write(true).open(place.path("alpha.img")).unwrap();
    disk.set_len(DISK_BYTES / 2).unwrap();
    let ran = place.ends(10, &["get-gi", "r0"]);
    assert!(ran.err.contains("give it its size back"), "{}", ran.err);
    disk.set_len(DISK_BYTES * 2).unwrap();
    place.ends(0, &["get-gi", "r0"]);
}

#[test]
fn a_metadata_device_that_is_too_small_says_how_much_is_needed() {
    // Two superblocks, eight blocks of log and one page of bitmap.
    let needed = (2 + 8 + 1) * 4096;
    let place = external(needed - 4096);
    let ran = place.ends(10, &["create-md", "r0"]);
    let text = format!("the metadata device is too small: it has {} bytes", needed - 4096);
    assert!(ran.err.contains("DIR/meta.img") && ran.err.contains(&text), "{}", ran.err);
    assert!(ran.err.contains(&format!("at least {needed} are needed")), "{}", ran.err);
    external(needed).ends(0, &["create-md", "r0"]);
}

#[test]
fn data_and_metadata_by_two_names_of_one_disk_are_refused() {
    let place = external(1 << 20);
    std::fs::remove_file(place.path("meta.img")).unwrap();
    std::os::unix::fs::symlink(place.path("alpha.img"), place.path("meta.img")).unwrap();
    let ran = place.ends(10, &["create-md", "r0"]);
    assert!(ran.err.contains("open already"), "{}", ran.err);
    assert!(ran.err.contains("by another name"), "{}", ran.err);
}

#[test]
fn metadata_are_wiped_when_told_and_the_data_stay() {
    let place = Place::new();
    let ran = place.ends(0, &["wipe-md", "r0"]);
    assert!(ran.out.contains("r0/0: there are no metadata on DIR/alpha.img"), "{}", ran.out);
    place.ends(0, &["create-md", "r0"]);
    let disk = std::fs::OpenOptions::new().write(true).open(place.path("alpha.img")).unwrap();
    disk.write_all_at(b"data", 4096).unwrap();
    let ran = place.ends(10, &["wipe-md", "r0"]);
    assert!(ran.err.contains("the metadata of r0/0"), "{}", ran.err);
    assert!(ran.err.contains("wipe-md --force"), "{}", ran.err);
    place.ends(0, &["-d", "wipe-md", "r0"]);
    place.ends(0, &["get-gi", "r0"]);
    place.ends(0, &["wipe-md", "--force", "r0"]);
    assert!(place.ends(10, &["get-gi", "r0"]).err.contains("no metadata"));
    assert_eq!(&std::fs::read(place.path("alpha.img")).unwrap()[4096..4100], b"data");
    place.ends(0, &["create-md", "r0"]);
}

/// Leaves the disk as a Primary does that dies while it writes to the first two extents.
fn crash(place: &Place) {
    let disk =
        std::fs::File::options().read(true).write(true).open(place.path("alpha.img")).unwrap();
    let mut read = |range: types::ByteRange| {
        let mut bytes = vec![0; usize::try_from(range.len).unwrap()];
        disk.read_exact_at(&mut bytes, range.offset).map(|()| bytes)
    };
    let placement = metadata::Placement::Internal;
    let mut found = metadata::load(&mut read, DISK_BYTES, placement, None).unwrap().metadata;
    found.superblock.flags.attached = true;
    found.superblock.flags.primary = true;
    let mut batch = found.save_superblock();
    batch.extend(found.al.transaction(&[], &[metadata::ExtentNo(0), metadata::ExtentNo(1)]));
    for write in batch.writes {
        disk.write_all_at(&write.data, write.offset).unwrap();
    }
}

#[test]
fn the_activity_log_is_applied_offline_once() {
    let place = Place::new();
    place.ends(0, &["create-md", "r0"]);
    let ran = place.ends(0, &["apply-al", "r0"]);
    assert!(ran.out.contains("r0/0: detached in order: there is nothing to apply"), "{}", ran.out);
    crash(&place);
    let ran = place.ends(10, &["dump-md", "r0"]);
    assert!(ran.err.contains("the activity log is not applied"), "{}", ran.err);
    assert!(ran.err.contains("repadm apply-al r0/0"), "{}", ran.err);
    assert!(place.ends(0, &["show-gi", "r0"]).out.contains("repadm apply-al"));
    let marked = |text: &str| {
        let disk = metadata::Layout::internal(DISK_BYTES, 8).unwrap().data_bytes();
        assert!(text.contains(&format!("{} KiB more", disk / 1024)), "{text}");
    };
    // A disk of 8 MiB is two extents.
    let dry = place.ends(0, &["-d", "apply-al", "r0"]).out;
    marked(&dry);
    assert!(dry.contains("would be marked"), "{dry}");
    let done = place.ends(0, &["apply-al", "r0"]).out;
    marked(&done);
    assert!(done.contains("KiB more marked out-of-sync, and the log emptied"), "{done}");
    let dump = place.ends(0, &["dump-md", "r0"]).out;
    assert!(dump.contains("flags crashed-primary;"), "{dump}");
    assert!(place.ends(0, &["apply-al", "r0"]).out.contains("nothing to apply"));
    assert_eq!(place.ends(0, &["dump-md", "r0"]).out, dump, "the second time changes nothing");
    let held = std::fs::File::open(place.path("alpha.img")).unwrap();
    held.lock().unwrap();
    for command in ["apply-al", "dump-md", "wipe-md"] {
        let ran = place.ends(10, &[command, "r0"]);
        assert!(ran.err.contains("in use") && ran.err.contains("repadm down"), "{}", ran.err);
    }
}

#[test]
fn a_log_for_many_extents_is_made_as_large_as_it_must_be() {
    let place = Place::new();
    place
        .edit(|text| text.replacen("resource r0 {", "resource r0 { disk { al-extents 20000; }", 1));
    place.ends(0, &["create-md", "r0"]);
    let dump = place.ends(0, &["dump-md", "r0"]).out;
    assert!(dump.contains("al-extents 20000;"), "{dump}");
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
fn usage_errors_have_code_1_and_help_has_0() {
    let place = Place::new();
    for words in [&[][..], &["up"], &["primary", "--frce", "r0"], &["up", "r0/x"], &["-d"]] {
        place.ends(1, words);
    }
    assert!(place.ends(0, &["--help"]).out.contains("create-md"));
    assert!(!place.ends(0, &["--help"]).out.contains("__daemon"));
    assert!(place.ends(0, &["primary", "--help"]).out.contains("overwrite-data-of-peer"));
}
