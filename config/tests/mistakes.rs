//! What is wrong with a file, as the user sees it: one snapshot for each distinct mistake.
//!
//! To add one, add a line; the first run writes the snapshot next to the others, to be read.

mod support;

use support::{PAIR, mistakes};

/// `name: text of a file;` for each mistake. `PAIR` in a text stands for two valid hosts.
macro_rules! mistakes {
    ($($name:ident: $text:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let text: &str = $text;
                insta::assert_snapshot!(mistakes(&text.replace("PAIR", PAIR)));
            }
        )+
    };
}

mistakes! {
    missing_semicolon: "\
resource r0 {
  on alpha {
    device /dev/drbd0
    disk /dev/vdb;
    address 10.0.0.1:7789;
  }
  on beta { device /dev/drbd0; disk /dev/vdb; address 10.0.0.2:7789; }
}
";
    missing_semicolon_before_brace: "resource r0 { PAIR\n net { timeout 60 }\n}\n";
    missing_semicolon_on_one_line: "resource r0 { PAIR\n net { timeout 60 ping-int 10; }\n}\n";
    missing_semicolon_at_the_end: "resource r0 { PAIR }\ninclude \"x\"";
    missing_brace_between_hosts: "\
resource r0 {
  on alpha {
    device /dev/drbd0;
    disk /dev/vdb;
    address 10.0.0.1:7789;
  on beta {
    device /dev/drbd0;
    disk /dev/vdb;
    address 10.0.0.2:7789;
  }
}
";
    missing_brace_before_the_next_resource: "\
resource r0 { PAIR
  net {
    timeout 60;
  }

resource r1 {
  on alpha { device /dev/drbd1; disk /dev/vdc; address 10.0.0.1:7790; }
  on beta { device /dev/drbd1; disk /dev/vdc; address 10.0.0.2:7790; }
}
";
    resync_after_no_volume: "resource r0 { PAIR\n disk { resync-after r9/0; }\n}\n";
    resync_after_itself: "resource r0 { PAIR\n disk { resync-after r0/0; }\n}\n";
    missing_brace_at_the_end: "resource r0 { PAIR\n net {\n  timeout 60;\n }\n";
    missing_braces_at_the_end: "resource r0 { PAIR\n net {\n  timeout 60;\n";
    missing_open_brace: "\
resource r0 {
  on alpha
    device /dev/drbd0;
    disk /dev/vdb;
    address 10.0.0.1:7789;
  }
  on beta { device /dev/drbd0; disk /dev/vdb; address 10.0.0.2:7789; }
}
";
    surplus_close_brace: "resource r0 { PAIR }\n}\n";
    brace_without_name: "resource r0 { PAIR\n { timeout 60; }\n}\n";
    two_semicolons: "resource r0 { PAIR\n net { timeout 60;; }\n}\n";
    unterminated_quote: "\
resource r0 { PAIR
  handlers {
    split-brain \"/usr/local/bin/tell root;
    pri-lost \"/usr/local/bin/stop\";
  }
}
";
    unterminated_quote_before_a_brace: "resource r0 { PAIR\n net { shared-secret \"abc; }\n}\n";
    single_quotes: "resource r0 { PAIR\n net { shared-secret 'a b\"c'; }\n}\n";
    single_quote: "resource r0 { PAIR\n net { shared-secret it's; }\n}\n";
    comma: "resource r0 { PAIR\n net { timeout 60,\n ping-int 10; }\n}\n";
    byte_order_mark: "\u{feff}resource r0 { PAIR }\n";
    control_character: "resource r0 { PAIR\n net { time\u{7}out 60; }\n}\n";
    no_break_space: "resource r0 { PAIR\n net { timeout\u{a0}60; }\n}\n";
    section_in_a_host: "resource r0 {\n on alpha { device /dev/drbd0; net { timeout 5; } disk /dev/vdb; address 10.0.0.1:7789; }\n}\n";
    resource_in_common: "common { resource r0 { } }\n";
    global_in_a_resource: "resource r0 { global { usage-count no; } PAIR }\n";
    sections_of_drbdsetup_show: "resource r0 {\n _this_host { node-id 0; volume 0 { device minor 0; } net { x; } }\n wibble { on { x; } }\n}\n";
    unknown_escape: "resource r0 { PAIR\n net { shared-secret \"a\\nb\"; }\n}\n";
    c_comment: "// the first one\nresource r0 { PAIR }\n";
    unquoted_glob: "include repd.d/*.res;\n";
    equals_sign: "resource r0 { PAIR\n net { timeout=60; }\n}\n";
    c_comment_in_a_section: "resource r0 { PAIR\n net { /* slow */ timeout 60; }\n}\n";
    empty_secret: "resource r0 { PAIR\n net { shared-secret \"\"; }\n}\n";
    connection_with_a_strange_volume: "resource r0 { PAIR\n connection { host alpha; host beta; volume 3 { disk { c-max-rate 1M; } } }\n}\n";
    word_too_long: "resource xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx { PAIR }\n";
    nested_too_deep: "resource r0 { a { b { c { d { e { f { g { h { i { j { k { l { m { n { o { p { q { r { x; } } } } } } } } } } } } } } } } } } }\n";

    unknown_option: "resource r0 { PAIR\n net { timoeut 60; }\n}\n";
    unknown_option_far_off: "resource r0 { PAIR\n options { wibble 60; }\n}\n";
    unknown_section: "resource r0 { PAIR\n nett { timeout 60; }\n}\n";
    unknown_top_level_word: "resorce r0 { PAIR }\n";
    option_in_the_wrong_section: "resource r0 { PAIR\n disk { timeout 60; }\n}\n";
    option_at_resource_level: "resource r0 { PAIR\n allow-two-primaries;\n}\n";
    section_as_option: "resource r0 { PAIR\n net;\n}\n";
    option_as_section: "resource r0 {\n on alpha { device { x; } disk /dev/a; address 10.0.0.1:1; }\n}\n";

    skip_of_nothing: "skip;\nresource r0 { PAIR\n skip;\n net { skip; }\n}\n";
    value_missing: "resource r0 { PAIR\n net { timeout; }\n}\n";
    value_out_of_range: "resource r0 { PAIR\n net { timeout 6000; }\n}\n";
    value_in_sectors: "resource r0 { PAIR\n net { timeout 6s; }\n}\n";
    value_too_small: "resource r0 { PAIR\n disk { al-extents 7; }\n}\n";
    value_with_wrong_suffix: "resource r0 { PAIR\n disk { size 1T; }\n}\n";
    value_not_a_number: "resource r0 { PAIR\n net { ping-int ten; }\n}\n";
    value_not_a_flag: "resource r0 { PAIR\n net { allow-two-primaries true; }\n}\n";
    value_after_negated_flag: "resource r0 { PAIR\n net { no-use-rle yes; }\n}\n";
    value_of_another_row: "resource r0 { PAIR\n net { after-sb-0pri discard-secondary; }\n}\n";
    value_mistyped: "resource r0 { PAIR\n net { after-sb-1pri discard-secondry; }\n}\n";
    value_of_the_row_without_a_primary: "resource r0 { PAIR\n net { after-sb-1pri discard-zero-changes; }\n}\n";
    value_of_two_other_rows: "resource r0 { PAIR\n net { after-sb-0pri violently-as0p; }\n}\n";
    value_of_rr_conflict: "resource r0 { PAIR\n net { after-sb-2pri call-pri-lost; }\n}\n";
    value_discard_node: "resource r0 { PAIR\n net { after-sb-0pri discard-node-alpha; }\n}\n";
    value_too_long: "resource r0 { PAIR\n net { shared-secret 0123456789012345678901234567890123456789012345678901234567890123456789; }\n}\n";
    option_twice: "resource r0 { PAIR\n net {\n  timeout 60;\n  timeout 70;\n }\n}\n";
    option_twice_in_legacy_spelling: "resource r0 { PAIR\n protocol C;\n net { protocol C; }\n}\n";
    section_twice: "resource r0 { PAIR\n net { timeout 60; }\n net { ping-int 5; }\n}\n";
    common_twice: "common { }\ncommon { }\n";
    global_after_resource: "resource r0 { PAIR }\nglobal { usage-count no; }\n";

    protocol_a: "resource r0 { PAIR\n net { protocol A; allow-two-primaries; }\n}\n";
    protocol_b_of_common: "common { net { protocol B; } }\nresource r0 { PAIR\n net { allow-two-primaries; }\n}\n";
    protocol_for_pulling_ahead: "resource r0 { PAIR\n net { protocol B; on-congestion pull-ahead; congestion-fill 2M; }\n}\n";
    protocol_default_for_pulling_ahead: "resource r0 { PAIR\n net { on-congestion pull-ahead; }\n}\n";
    protocol_a_with_stonith: "resource r0 { PAIR\n net { protocol A; fencing resource-and-stonith; }\n handlers { fence-peer /bin/true; }\n}\n";
    fencing: "resource r0 { PAIR\n net { fencing resource-and-stoneth; }\n}\n";
    fencing_in_both_places: "resource r0 { PAIR\n net { fencing resource-only; }\n disk { fencing resource-and-stonith; }\n}\n";
    quorum: "resource r0 { PAIR\n options { quorum majority; }\n}\n";
    data_integrity: "resource r0 { PAIR\n net { data-integrity-alg sha1; }\n}\n";
    digest: "resource r0 { PAIR\n net { cram-hmac-alg sha1; shared-secret x; }\n}\n";
    digest_without_secret: "resource r0 { PAIR\n net { cram-hmac-alg sha256; }\n}\n";
    link_tls: "resource r0 { PAIR\n net { tls yes; tls { ca /a; } }\n}\n";
    nbd_tls: "resource r0 { PAIR\n nbd { tls require; }\n}\n";
    nbd_tls_inherited: "common { nbd { tls allow; } }\nresource r0 { PAIR\n}\n";
    nbd_mode: "resource r0 { PAIR\n nbd { unix /run/x.sock; unix-mode 660x; }\n}\n";
    nbd_mode_without_its_owner: "resource r0 { PAIR\n nbd { unix /run/x.sock; unix-mode 0060; }\n}\n";
    nbd_group_without_socket: "resource r0 { PAIR\n nbd { listen 10.0.0.1:10809; unix-group disk; }\n}\n";
    stacked: "resource r0 { PAIR\n stacked-on-top-of r1 { device /dev/drbd9; }\n}\n";
    proxy: "resource r0 { PAIR\n proxy { memlimit 100M; }\n}\n";

    slash_in_resource_name: "resource r0/1 { PAIR }\n";
    colon_in_resource_name: "resource r0:1 { PAIR }\n";
    quoted_colon_in_resource_name: "resource \"a:b\" { PAIR }\n";
    resource_called_all: "resource all { PAIR }\n";
    resource_called_as_a_minor: "resource minor-1 { PAIR }\n";
    resource_called_as_an_option: "resource --force { PAIR }\n";
    resource_called_as_nothing: "resource \"-/\" { PAIR }\n";
    keyword_as_resource_name: "resource net { PAIR }\n";
    address_as_resource_name: "resource 10.1.1.1 { PAIR }\n";
    resource_twice: "resource r0 { PAIR }\nresource r0 { on a { device /dev/drbd7; disk /dev/x; address 10.0.0.7:1; } on b { device /dev/drbd7; disk /dev/x; address 10.0.0.8:1; } }\n";
    one_host: "resource r0 { on alpha { device /dev/drbd0; disk /dev/vdb; address 10.0.0.1:7789; } }\n";
    three_hosts: "resource r0 { PAIR\n on gamma { device /dev/drbd0; disk /dev/vdb; address 10.0.0.3:7789; }\n}\n";
    one_host_twice: "\
resource r0 {
  on alpha { device /dev/drbd0; disk /dev/vdb; address 10.0.0.1:7789; }
  on ALPHA.example.org { device /dev/drbd0; disk /dev/vdb; address 10.0.0.2:7789; }
}
";
    one_of_two_hosts_twice: "\
resource r0 { PAIR
  on alpha { device /dev/drbd0; disk /dev/vdb; address 10.0.0.3:7789; }
}
";
    device_missing: "resource r0 {\n on alpha { disk /dev/vdb; address 10.0.0.1:7789; }\n on beta { device /dev/drbd0; disk /dev/vdb; address 10.0.0.2:7789; }\n}\n";
    disk_and_address_missing: "resource r0 {\n on alpha { device /dev/drbd0; }\n on beta { device /dev/drbd0; disk /dev/vdb; address 10.0.0.2:7789; }\n}\n";
    no_volume: "resource r0 {\n on alpha { address 10.0.0.1:7789; }\n on beta { address 10.0.0.2:7789; }\n}\n";
    no_copy: "resource r0 {\n device /dev/drbd0; disk none;\n on alpha { address 10.0.0.1:7789; }\n on beta { address 10.0.0.2:7789; }\n}\n";
    volumes_that_disagree: "\
resource r0 {
  on alpha { volume 0 { device /dev/drbd0; disk /dev/vdb; } address 10.0.0.1:7789; }
  on beta { volume 1 { device /dev/drbd0; disk /dev/vdb; } address 10.0.0.2:7789; }
}
";
    volume_with_and_without_number: "\
resource r0 {
  on alpha { device /dev/drbd1; volume 0 { device /dev/drbd0; disk /dev/vdb; } address 10.0.0.1:7789; }
  on beta { volume 0 { device /dev/drbd0; disk /dev/vdb; } address 10.0.0.2:7789; }
}
";
    volume_numbered_in_the_resource_alone: "\
resource r0 {
  volume 1 { device /dev/drbd1; disk /dev/vdc; }
  on alpha { device /dev/drbd0; disk /dev/vdb; address 10.0.0.1:7789; }
  on beta { device /dev/drbd0; disk /dev/vdb; address 10.0.0.2:7789; }
}
";
    volume_numbered_in_the_hosts_alone: "\
resource r0 {
  device /dev/drbd0; disk /dev/vdb;
  on alpha { volume 0 { meta-disk internal; } address 10.0.0.1:7789; }
  on beta { address 10.0.0.2:7789; }
}
";
    volume_number_too_large: "resource r0 { volume 65535 { device /dev/drbd0; disk /dev/vdb; } }\n";
    device_without_minor: "resource r0 { device /dev/drbdx; disk /dev/vdb; }\n";
    device_with_a_minor_too_large: "resource r0 { device /dev/drbd1048576; disk /dev/vdb; }\n";
    device_elsewhere: "resource r0 { device /tmp/drbd1; disk /dev/vdb; }\n";
    disk_relative: "resource r0 { device /dev/drbd1; disk vdb; }\n";
    address_without_port: "resource r0 { on alpha { address 10.0.0.1; } }\n";
    port_too_large: "resource r0 { on alpha { address 127.0.0.1:277899; } }\n";
    number_of_an_address_too_large: "resource r0 { on alpha { address 127.0.0.256:1; } }\n";
    address_by_name: "resource r0 { on alpha { address alpha:7789; } }\n";
    address_of_the_other_family: "resource r0 { on alpha { address ipv6 10.0.0.1:7789; } }\n";
    address_of_any_host: "resource r0 { on alpha { address 0.0.0.0:7789; } }\n";
    address_not_complete: "resource r0 { on alpha { address; } }\n";
    address_of_both_hosts: "resource r0 {\n on alpha { device /dev/drbd0; disk /dev/a; address 10.0.0.1:7789; }\n on beta { device /dev/drbd0; disk /dev/a; address 10.0.0.1:7789; }\n}\n";
    families_that_differ: "resource r0 {\n on alpha { device /dev/drbd0; disk /dev/a; address 10.0.0.1:7789; }\n on beta { device /dev/drbd0; disk /dev/a; address [fd00::1]:7789; }\n}\n";
    minor_and_disk_used_twice: "\
resource r0 { PAIR }
resource r1 {
  on alpha { device /dev/drbd0; disk /dev/vdb; address 10.0.0.1:7790; }
  on beta { device /dev/drbd1; disk /dev/vdc; address 10.0.0.2:7790; }
}
";
    disk_used_twice_by_two_names: "\
resource r0 { device minor 0; disk /tmp/x; on alpha { address 10.0.0.1:1; } on beta { address 10.0.0.2:1; } }
resource r1 { device minor 1; disk /tmp/../tmp//x; on alpha { address 10.0.0.1:2; } on beta { address 10.0.0.2:2; } }
";
    node_id_for_one_host: "resource r0 {\n on alpha { node-id 0; device /dev/drbd0; disk /dev/a; address 10.0.0.1:7789; }\n on beta { device /dev/drbd0; disk /dev/a; address 10.0.0.2:7789; }\n}\n";
    node_ids_equal: "resource r0 {\n on alpha { node-id 1; device /dev/drbd0; disk /dev/a; address 10.0.0.1:7789; }\n on beta { node-id 1; device /dev/drbd0; disk /dev/a; address 10.0.0.2:7789; }\n}\n";
    become_primary_on_a_stranger: "resource r0 { PAIR\n startup { become-primary-on gamma; }\n}\n";
    ambiguous_disk_options: "\
resource r0 {
  volume 0 { device /dev/drbd0; disk /dev/a; disk { al-extents 99; } }
  on alpha { address 10.0.0.1:7789; volume 0 { disk { al-extents 98; } } }
  on beta { address 10.0.0.2:7789; }
}
";
    connection_with_a_stranger: "resource r0 { PAIR\n connection { host alpha; host gamma; }\n}\n";
    connection_with_a_disk_option: "resource r0 { PAIR\n connection { host alpha; host beta; disk { al-extents 99; } }\n}\n";
    several_at_once: "\
resource r0 {
  on alpha {
    devise /dev/drbd0;
    disk vdb;
    address 10.0.0.1;
  }
  net {
    timeout 0;
    protocol D;
  }
}
";

    // Words that are not there, or too many.
    resource_without_name: "resource { PAIR }\n";
    resource_with_two_names: "resource r0 r1 { PAIR }\n";
    empty_host_name: "resource r0 { on \"\" { device /dev/drbd0; } }\n";
    keyword_as_host_name: "resource r0 { on disk { device /dev/drbd0; } }\n";
    global_twice: "global { usage-count no; }\nglobal { minor-count 5; }\n";
    unknown_word_in_a_host: "resource r0 {\n on alpha { adress 10.0.0.1:7789; device /dev/drbd0; disk /dev/vdb; }\n}\n";
    unknown_word_in_a_volume: "resource r0 { volume 0 { device /dev/drbd0; disc /dev/vdb; } }\n";
    old_name_in_the_new_section: "resource r0 { PAIR\n disk { rate 10M; }\n}\n";
    version_that_is_none: "require-drbd-module-version-ge 9.x;\nresource r0 { PAIR }\n";
    tiebreaker_maybe: "resource r0 {\n volume 0 { device /dev/drbd0; disk /dev/vdb; tiebreaker maybe; }\n}\n";
    what_drbdsetup_show_prints: "resource r0 {\n _this_host { node-id 0; }\n}\n";
    string_too_long: "resource r0 { PAIR\n handlers { split-brain \"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"; }\n}\n";
    unterminated_quote_at_the_end: "resource r0 { PAIR }\ninclude \"repd.d/";
    handler_by_both_names: "resource r0 { PAIR\n handlers { fence-peer /bin/a; outdate-peer /bin/b; }\n}\n";
    startup_too_long: "resource r0 { PAIR\n startup { wfc-timeout 300001; }\n}\n";
    resync_after_nothing: "resource r0 { PAIR\n disk { resync-after r1/x; }\n}\n";
    quorum_of_too_many: "resource r0 { PAIR\n options { quorum 33; }\n}\n";
    number_too_large: "resource r0 { PAIR\n net { sndbuf-size 99999999999999999999; }\n}\n";

    // Volumes and devices.
    volume_twice: "resource r0 {\n volume 0 { device /dev/drbd0; disk /dev/vdb; }\n volume 0 { device /dev/drbd1; disk /dev/vdc; }\n}\n";
    volume_not_a_number: "resource r0 { volume one { device /dev/drbd0; disk /dev/vdb; } }\n";
    disk_section_of_a_volume_twice: "resource r0 { volume 0 {\n disk { size 1G; }\n disk { al-extents 99; }\n} }\n";
    minor_too_large: "resource r0 { device minor 1048576; disk /dev/vdb; }\n";
    device_twice: "resource r0 { device /dev/drbd0; device /dev/drbd1; disk /dev/vdb; }\n";
    disks_that_differ: "resource r0 {\n disk /dev/vdb;\n on alpha { device /dev/drbd0; disk /dev/vdc; address 10.0.0.1:7789; }\n on beta { device /dev/drbd0; address 10.0.0.2:7789; }\n}\n";
    meta_disk_with_a_bad_index: "resource r0 { device /dev/drbd1; disk /dev/vdb; meta-disk /dev/vdc [one]; }\n";
    meta_disk_internal_at_an_index: "resource r0 { device /dev/drbd1; disk /dev/vdb; meta-disk internal [0]; }\n";
    meta_disk_relative: "resource r0 { device /dev/drbd1; disk /dev/vdb; meta-disk vdc; }\n";
    meta_disk_of_two_volumes: "\
resource r0 {
  volume 0 { device /dev/drbd0; disk /dev/a; meta-disk /dev/m [0]; }
  volume 1 { device /dev/drbd1; disk /dev/b; meta-disk /dev/m [1]; }
  on alpha { address 10.0.0.1:7789; }
  on beta { address 10.0.0.2:7789; }
}
";
    policies_that_differ_between_volumes: "\
resource r0 {
  volume 0 { device /dev/drbd0; disk /dev/a; disk { on-io-error detach; } }
  volume 1 { device /dev/drbd1; disk /dev/b; disk { on-io-error pass_on; } }
  on alpha { address 10.0.0.1:7789; }
  on beta { address 10.0.0.2:7789; }
}
";

    // Hosts and addresses.
    port_zero: "resource r0 { on alpha { address 10.0.0.1:0; } }\n";
    address_of_many: "resource r0 { on alpha { address 224.0.0.1:7789; } }\n";
    ipv6_without_brackets: "resource r0 { on alpha { address ipv6 fd00::1:7789; } }\n";
    ipv6_with_a_named_scope: "resource r0 { on alpha { address [fe80::1%eth0]:7789; } }\n";
    family_of_infiniband: "resource r0 { on alpha { address sdp 10.0.0.1:7789; } }\n";
    family_of_supersockets: "resource r0 { on alpha { address ssocks 10.0.0.1:7789; } }\n";
    family_mistyped: "resource r0 { on alpha { address ip4 10.0.0.1:7789; } }\n";
    second_address: "resource r0 { on alpha { address 10.0.0.1:7789; alternate-link-address 10.1.0.1:7789; } }\n";
    node_id_too_large: "resource r0 { on alpha { node-id 32; } }\n";
    three_names_after_on: "resource r0 {\n device /dev/drbd0; disk /dev/a;\n on alpha gamma { address 10.0.0.1:7789; }\n on beta { address 10.0.0.2:7789; }\n}\n";
    two_names_with_one_address: "resource r0 {\n on alpha beta { device /dev/drbd0; disk /dev/a; address 10.0.0.1:7789; }\n}\n";
    address_after_on: "resource r0 {\n device /dev/drbd0; disk /dev/a;\n on \"10.0.0.1:7789\" { node-id 0; }\n floating 10.0.0.2:7789;\n}\n";
    floating_by_name: "resource r0 {\n device /dev/drbd0; disk /dev/a;\n floating alpha:7789;\n floating 10.0.0.2:7789;\n}\n";
    floating_with_an_address_line: "resource r0 {\n device /dev/drbd0; disk /dev/a;\n floating 10.0.0.1:7789 { address 10.0.0.1:7789; }\n floating 10.0.0.2:7789;\n}\n";
    floating_twice: "resource r0 {\n device /dev/drbd0; disk /dev/a;\n floating 10.0.0.1:7789;\n floating 10.0.0.1:7789;\n}\n";
    options_of_hosts_that_differ: "\
resource r0 {
  device /dev/drbd0; disk /dev/a;
  on alpha { address 10.0.0.1:7789; options { auto-promote yes; } }
  on beta { address 10.0.0.2:7789; options { auto-promote no; } }
}
";
    options_of_one_host: "\
resource r0 {
  device /dev/drbd0; disk /dev/a;
  on alpha { address 10.0.0.1:7789; options { on-no-data-accessible suspend-io; } }
  on beta { address 10.0.0.2:7789; }
}
";

    // Connections.
    via_proxy: "resource r0 { PAIR\n connection { host alpha address 10.0.0.1:7000 via proxy on alpha; host beta; }\n}\n";
    via_outside_address: "resource r0 { PAIR\n connection { host alpha via outside-address 10.0.0.1:7000; host beta; }\n}\n";
    via_proxy_with_a_section: "resource r0 { PAIR\n connection { host alpha address 10.0.0.1:7000 via proxy on alpha { inside 127.0.0.1:7001; outside 10.0.0.1:7002; } host beta address 10.0.0.2:7000; }\n}\n";
    via_proxy_with_a_section_and_a_semicolon: "resource r0 { PAIR\n connection { host alpha address 10.0.0.1:7000 via proxy on alpha { inside 127.0.0.1:7001; }; host beta; }\n}\n";
    two_paths: "\
resource r0 { PAIR
  connection {
    path { host alpha address 10.0.0.1:7000; host beta address 10.0.0.2:7000; }
    path { host alpha address 10.1.0.1:7000; host beta address 10.1.0.2:7000; }
  }
}
";
    two_connections: "resource r0 { PAIR\n connection { host alpha; host beta; }\n connection { host alpha; host beta; }\n}\n";
    connection_of_one_host: "resource r0 { PAIR\n connection { host alpha; }\n}\n";
    connection_with_a_host_twice: "resource r0 { PAIR\n connection { host alpha; host ALPHA; }\n}\n";
    connection_with_a_bad_port: "resource r0 { PAIR\n connection { host alpha port 70000; host beta; }\n}\n";
    mesh_of_three: "resource r0 { PAIR\n connection-mesh { hosts alpha beta gamma; }\n}\n";
    option_outside_of_net: "resource r0 { PAIR\n connection { host alpha; host beta; timeout 60; }\n}\n";
    more_than_two_hosts_and_no_connections: "\
resource r0 {
  device /dev/drbd0; disk /dev/a;
  on alpha { address 10.0.0.1:7789; }
  on beta { address 10.0.0.2:7789; }
  on gamma { address 10.0.0.3:7789; }
}
";
}
