//! The sample files: each loads, and its dump is as it was read and reviewed.

mod support;

use config::{Dump, Host, Loaded, Node, OnNoData, Place, Resource, dump};
use std::path::Path;
use support::load;
use types::Protocol;

/// Name, text.
const FILES: &[(&str, &str)] = &[
    ("acceptance.res", support::ACCEPTANCE),
    ("example.conf", include_str!("files/example.conf")),
    ("two-volumes.res", include_str!("files/two-volumes.res")),
    ("nine.res", include_str!("files/nine.res")),
    ("eight-three.res", include_str!("files/eight-three.res")),
    ("floating.res", include_str!("files/floating.res")),
];

fn file(name: &str) -> Loaded {
    load(FILES.iter().find(|(known, _)| *known == name).expect("a sample").1)
}

fn only(loaded: &Loaded) -> &Resource {
    let [resource] = loaded.config.resources.as_slice() else { panic!("one resource") };
    resource
}

#[test]
fn every_file_of_the_directory_is_tried() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut known: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn each_loads_and_comes_back_from_its_dump() {
    for (name, text) in FILES {
        config::fuzz_one(text.as_bytes());
        let loaded = load(text);
        let warnings: Vec<_> = loaded.warning_lines().collect();
        let node = if *name == "acceptance.res" { "linux-nas01" } else { "alpha" };
        let shown = format!("{}\n---\n{}", dump(&loaded, node), warnings.join("\n"));
        insta::assert_snapshot!(*name, shown);
    }
}

#[test]
fn verbose_dumps_say_what_is_inherited() {
    for name in ["example.conf", "two-volumes.res", "nine.res", "floating.res"] {
        let loaded = file(name);
        let node = Node { name: "alpha", owns: &|address| address.to_string() == "127.0.0.1" };
        let dump = Dump { node, only: None, verbose: true };
        insta::assert_snapshot!(format!("verbose_{name}"), dump.text(&loaded));
    }
}

#[test]
fn dumps_in_xml_have_the_elements_of_drbdadm() {
    let node = Node { name: "alpha", owns: &|_| false };
    let dump = Dump { node, only: None, verbose: false };
    for name in ["eight-three.res", "nine.res", "floating.res"] {
        insta::assert_snapshot!(format!("xml_{name}"), dump.xml(&file(name)));
    }
}

#[test]
fn no_two_of_them_have_a_minor_or_a_port_in_common() {
    let mut taken = std::collections::BTreeSet::new();
    for (name, text) in FILES {
        for resource in &load(text).config.resources {
            let [first, second] = &resource.hosts;
            for volume in &first.volumes {
                assert!(taken.insert(format!("minor {:?}", volume.minor)), "{name}");
            }
            let ports = std::collections::BTreeSet::from([first, second].map(|h| h.address.port()));
            for port in ports.into_iter().filter(|_| *name != "acceptance.res") {
                assert!(taken.insert(format!("port {port}")), "{name}: {port}");
            }
        }
    }
}

#[test]
fn the_file_of_8_3_means_what_it_says() {
    let loaded = file("eight-three.res");
    let resource = only(&loaded);
    let disk = &resource.hosts[0].volumes[0].disk_options;
    assert_eq!((disk.resync_rate, disk.al_extents), (33 * 1024, 257));
    assert_eq!(resource.net.protocol, Protocol::C);
    assert_eq!(resource.handlers["fence-peer"], "/bin/true");
    assert_eq!(resource.startup.degr_wfc_timeout, Some(types::Span::secs(120)));
    let meta = |host: &Host| host.volumes[0].meta_disk.clone();
    assert_eq!(meta(&resource.hosts[0]), meta(&resource.hosts[1]), "with and without an index");
}

#[test]
fn the_file_of_9_takes_the_addresses_of_its_connection() {
    let loaded = file("nine.res");
    let [alpha, beta] = &only(&loaded).hosts;
    assert_eq!(alpha.address, "127.0.0.1:7791".parse().unwrap());
    assert_eq!((alpha.node_id.0, beta.node_id.0), (0, 1));
    assert_eq!(alpha.volumes[0].disk_options.c_max_rate, 200 * 1024);
    assert_eq!(alpha.volumes[1].disk_options.c_max_rate, 0);
}

#[test]
fn a_floating_host_is_who_has_its_address() {
    let loaded = file("floating.res");
    let resource = only(&loaded);
    assert_eq!(resource.options.on_no_data_accessible, OnNoData::SuspendIo);
    let [first, second] = &resource.hosts;
    assert_eq!(first.name, "127.0.0.1:7794");
    assert_eq!((first.floating(), first.address), (Some(first.address), first.address));
    let place = |name: &str, own: &[&str]| {
        let owns = |address: std::net::IpAddr| own.contains(&address.to_string().as_str());
        Node { name, owns: &owns }.place(resource)
    };
    let (is_first, is_second) = (Place::Is(first, second), Place::Is(second, first));
    // By what it has; its name does not matter.
    assert_eq!(place("alpha", &["127.0.0.1"]), is_first);
    assert_eq!(place("alpha", &["127.0.0.2", "10.0.0.1"]), is_second);
    assert_eq!(place("alpha", &["10.0.0.1"]), Place::Neither);
    // Two nodes on one machine are told who they are.
    let both = &["127.0.0.1", "127.0.0.2"];
    assert_eq!(place("alpha", both), Place::Both);
    assert_eq!(place("127.0.0.2:7794", both), is_second);
    assert_eq!(place("127.0.0.1", both), is_first);
    assert_eq!(place("127.0.0.2:7795", both), Place::Neither);
    // The daemon is told the name that was found.
    assert_eq!(resource.host(&second.name), Some((second, first)));
}
