//! The story that the demo tells: what is done, why, and what comes of it.

use super::cluster::{Cluster, DISK_BYTES, Name};
use super::interrupt::Interrupt;
use super::nbd::Client;
use crate::outcome::{Exit, Failure, Out, Outcome};
use crate::render::kib;
use std::fs::File;
use std::io::{BufReader, Read};
use std::time::Instant;
use types::{ConnectionState, Prng, ReplicationState};

const MIB: u64 = 1 << 20;
/// What is written at once.
const PIECE: usize = 64 << 10;
/// Where pieces are written while the cable is cut: every so many bytes.
const STRIDE: u64 = 256 << 10;
/// The cable that the resync goes through lets so many bytes a second through.
const SLOW: u64 = 6 * MIB;
/// How often the running resync is shown.
const LOOKS: usize = 3;

/// The story and where it is told.
struct Story<'o, 's> {
    out: &'o mut Out<'s>,
    cluster: Cluster,
    step: u32,
}

/// Tell it all.
#[allow(clippy::disallowed_methods, reason = "the demo is a driver: it says how long it took")]
pub(super) fn tell(out: &mut Out<'_>, keep: bool) -> Outcome {
    let start = Instant::now();
    let cluster = Cluster::make(keep, Interrupt::catch()?)?;
    let mut story = Story { out, cluster, step: 0 };
    story.two_nodes()?;
    story.first_sync()?;
    story.both_primary()?;
    story.cut()?;
    let resync = story.resync()?;
    story.back_to_two()?;
    let compared = story.compare()?;
    story.out.print(&format!(
        "\nIt held: {} MiB are the same on both disks, byte for byte, and after the cut {} of the \
         {} KiB\nthat had changed were sent, not all {} MiB. {:.1} s.\n",
        compared / MIB,
        resync.sent_kib,
        resync.marked_kib,
        compared / MIB,
        start.elapsed().as_secs_f64()
    ))?;
    if keep { story.keep() } else { story.clean_up() }
}

/// What a resync took.
struct Resync {
    marked_kib: u64,
    sent_kib: u64,
}

impl Story<'_, '_> {
    fn heading(&mut self, title: &str, text: &str) -> Outcome {
        self.step += 1;
        self.cluster.interrupt().check()?;
        self.out.print(&format!("\n{}. {title}\n{text}\n", self.step))
    }

    fn say(&mut self, text: &str) -> Outcome {
        self.out.line(text)
    }

    fn indented(&mut self, text: &str) -> Outcome {
        for line in text.lines() {
            self.out.line(format!("    {line}").trim_end())?;
        }
        Ok(())
    }

    /// Run a command on a node, show it and what it prints; it must succeed.
    fn repadm(&mut self, node: Name, words: &[&str]) -> Outcome {
        self.out.line(format!("{}# repadm {}", node.as_str(), words.join(" ")))?;
        let ran = self.cluster.repadm(node, words)?;
        self.indented(&ran.text)?;
        match ran.code {
            Some(0) => Ok(()),
            Some(code) => Err(self.gone_wrong(node, words, &format!("ended with {code}"))),
            None => Err(self.gone_wrong(node, words, "was killed")),
        }
    }

    fn gone_wrong(&self, node: Name, words: &[&str], how: &str) -> Failure {
        let log = std::fs::read_to_string(self.cluster.log(node)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        let log: Vec<&str> = lines.into_iter().rev().collect();
        Failure::new(
            Exit::Failed,
            format!(
                "the demo did not go as it should: on {}, repadm {} {how}; its daemon's log \
                 ends with\n{}",
                node.as_str(),
                words.join(" "),
                log.join("\n")
            ),
        )
    }

    fn two_nodes(&mut self) -> Outcome {
        let directory = self.cluster.directory().display().to_string();
        self.heading(
            "Two nodes",
            &format!(
                "alpha and beta, each with a disk of {} MiB in {directory}.\n\
                 This is alpha's resource file, in the language of drbd.conf:",
                DISK_BYTES / MIB
            ),
        )?;
        let file = self.cluster.resource_file(Name::Alpha);
        self.indented(&file)?;
        self.say("Metadata at the end of each disk remember what the nodes know of each other:")?;
        for node in Name::BOTH {
            self.repadm(node, &["create-md", "r0"])?;
        }
        self.say("A daemon for each node, a cable between them, and the resource is brought up:")?;
        self.cluster.connect(None)?;
        self.cluster.start()?;
        for node in Name::BOTH {
            self.repadm(node, &["up", "r0"])?;
        }
        self.repadm(Name::Alpha, &["wait-connect", "--wfc-timeout", "10", "r0"])?;
        self.repadm(Name::Alpha, &["status", "r0"])
    }

    fn first_sync(&mut self) -> Outcome {
        self.heading(
            "Whose data is it?",
            "Both disks are new, so neither counts. Somebody must say whose data is to be kept:\n\
             alpha's. All of it is copied to beta.",
        )?;
        self.repadm(Name::Alpha, &["primary", "--force", "r0"])?;
        self.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "20", "r0"])?;
        self.repadm(Name::Beta, &["overview"])
    }

    fn both_primary(&mut self) -> Outcome {
        self.heading(
            "Both Primary",
            "Now beta serves the device, too. What is written on one node is read on the other.",
        )?;
        self.repadm(Name::Beta, &["primary", "r0"])?;
        self.repadm(Name::Alpha, &["status", "r0"])?;
        for (writer, reader, offset) in
            [(Name::Alpha, Name::Beta, 0), (Name::Beta, Name::Alpha, 8 * MIB)]
        {
            self.write(writer, offset, 1)?;
            self.verify(reader, offset, 1)?;
            self.say(&format!(
                "  1 MiB written through {} was read through {}: the same.",
                writer.as_str(),
                reader.as_str()
            ))?;
        }
        Ok(())
    }

    fn cut(&mut self) -> Outcome {
        self.heading(
            "The cable is cut",
            "beta becomes Secondary first: two nodes that both write on while they do not see\n\
             each other would be a split brain. Then the cable is cut, and alpha writes on.",
        )?;
        self.repadm(Name::Beta, &["secondary", "r0"])?;
        self.cluster.cut();
        self.say("  *** cut ***")?;
        self.say(
            "The first write waits 2 s (`timeout`) for beta to come back, then alpha goes on",
        )?;
        self.say("alone: it begins a new generation of the data, and marks what it writes.")?;
        self.write(Name::Alpha, 16 * MIB, 16)?;
        self.repadm(Name::Alpha, &["overview"])?;
        self.repadm(Name::Alpha, &["show-gi", "r0"])
    }

    fn resync(&mut self) -> Outcome<Resync> {
        let marked = self.marked_kib()?;
        self.heading(
            "The cable is mended",
            &format!(
                "It is a slow one, {} MiB a second, so that there is something to see. Only the \
                 {marked} KiB\nthat were marked are copied.",
                SLOW / MIB
            ),
        )?;
        self.cluster.connect(Some(SLOW))?;
        self.cluster.until("the resync to begin", |cluster| {
            let status = cluster.status(Name::Alpha)?;
            let begun = status.volumes.iter().any(|volume| {
                volume.replication == ReplicationState::SyncSource || volume.resync_bytes > 0
            });
            Ok((status.peer.connection == ConnectionState::Connected && begun).then_some(()))
        })?;
        let looks = LOOKS as f64;
        for look in 1..=LOOKS {
            self.repadm(Name::Beta, &["overview"])?;
            let percent = 100.0 * look as f64 / looks;
            self.cluster.until("the resync to get on", |cluster| {
                let status = cluster.status(Name::Beta)?;
                let gone_on = status
                    .volumes
                    .iter()
                    .all(|volume| volume.resync.is_none_or(|resync| resync.percent >= percent));
                Ok(gone_on.then_some(()))
            })?;
        }
        self.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "20", "r0"])?;
        self.repadm(Name::Beta, &["overview"])?;
        let status = self.cluster.status(Name::Alpha)?;
        let sent_kib = status.volumes.iter().map(|volume| kib(volume.resync_bytes)).sum();
        Ok(Resync { marked_kib: marked, sent_kib })
    }

    fn marked_kib(&self) -> Outcome<u64> {
        let status = self.cluster.status(Name::Alpha)?;
        Ok(status.volumes.iter().map(|volume| volume.out_of_sync_blocks * 4).sum())
    }

    fn back_to_two(&mut self) -> Outcome {
        self.heading("Both Primary again", "And beta reads what alpha wrote while it was away.")?;
        self.cluster.connect(None)?;
        self.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "20", "r0"])?;
        self.repadm(Name::Beta, &["primary", "r0"])?;
        self.verify(Name::Beta, 16 * MIB, 16)?;
        self.say("  4 MiB in 64 pieces were read through beta: the same.")?;
        self.repadm(Name::Beta, &["overview"])
    }

    /// How many bytes were compared.
    fn compare(&mut self) -> Outcome<u64> {
        self.heading(
            "Byte for byte",
            "Both nodes let the device go, and their disks are compared as files.",
        )?;
        let bytes = self.device_bytes()?;
        for node in Name::BOTH {
            self.repadm(node, &["down", "r0"])?;
        }
        let disks = Name::BOTH.map(|node| self.cluster.disk(node));
        match self.cluster.interrupt().during(move || first_difference(&disks, bytes))? {
            None => self.say(&format!("  {bytes} bytes: identical."))?,
            Some(at) => {
                let text = format!("the disks differ at byte {at}, which must not be");
                return Err(Failure::new(Exit::Failed, text));
            }
        }
        Ok(bytes)
    }

    fn device_bytes(&self) -> Outcome<u64> {
        let status = self.cluster.status(Name::Alpha)?;
        Ok(status.volumes.iter().map(|volume| volume.size_bytes).sum())
    }

    fn clean_up(mut self) -> Outcome {
        self.cluster.stop();
        self.say("The nodes have ended, and their directory is removed. repadm demo --keep leaves them running.")
    }

    fn keep(mut self) -> Outcome {
        self.heading("Yours", "Both nodes are brought up again, and stay.")?;
        for node in Name::BOTH {
            self.repadm(node, &["up", "r0"])?;
        }
        for node in Name::BOTH {
            self.repadm(node, &["wait-sync", "--wfc-timeout", "20", "r0"])?;
            self.repadm(node, &["primary", "r0"])?;
        }
        let text = self.what_to_try();
        self.out.print(&text)?;
        self.cluster.leave();
        Ok(())
    }

    fn what_to_try(&self) -> String {
        let cluster = &self.cluster;
        let program = cluster.program().display();
        let mut text = String::from("\nTo be on a node, in a shell each:\n");
        for node in Name::BOTH {
            let variables: Vec<String> = cluster
                .environment(node)
                .iter()
                .map(|(name, value)| format!("{name}={}", value.display()))
                .collect();
            text += &format!("    export {}\n", variables.join(" "));
        }
        text += &format!("    alias repadm={program}\n\nThen try\n");
        text += "    repadm status --verbose --statistics r0\n    repadm overview --watch\n    \
                 repadm secondary r0\n    repadm show-gi r0\n";
        for node in Name::BOTH {
            let socket = cluster.nbd_socket(node);
            text += &format!("    nbdinfo 'nbd+unix:///r0?socket={}'\n", socket.display());
            text += &format!("    less {}\n", cluster.log(node).display());
        }
        if let Some(cable) = cluster.cable_process() {
            text += &format!(
                "To cut the cable:   kill {cable}\nTo mend it:         {program} {} &\n",
                cluster.cable_words(None).join(" ")
            );
        }
        let processes: Vec<String> = cluster.processes().iter().map(u32::to_string).collect();
        text += &format!(
            "To end it all:      kill {}; rm -r {}\n",
            processes.join(" "),
            cluster.directory().display()
        );
        text
    }

    /// Write that many MiB' worth of pieces through a node.
    fn write(&self, node: Name, offset: u64, mib: u64) -> Outcome {
        let socket = self.cluster.nbd_socket(node);
        self.cluster.interrupt().during(move || {
            let failed = |error: std::io::Error| {
                Failure::new(Exit::Failed, format!("writing through {}: {error}", node.as_str()))
            };
            let mut client = Client::open(&socket, "r0").map_err(failed)?;
            for at in pieces(offset, mib, client.size()) {
                client.write(at, &pattern(at)).map_err(failed)?;
            }
            client.flush().map_err(failed)
        })
    }

    /// Read it through a node: it must be what was written.
    fn verify(&self, node: Name, offset: u64, mib: u64) -> Outcome {
        let socket = self.cluster.nbd_socket(node);
        self.cluster.interrupt().during(move || {
            let failed = |error: std::io::Error| {
                Failure::new(Exit::Failed, format!("reading through {}: {error}", node.as_str()))
            };
            let mut client = Client::open(&socket, "r0").map_err(failed)?;
            for at in pieces(offset, mib, client.size()) {
                if client.read(at, PIECE as u32).map_err(failed)? != pattern(at) {
                    let text = format!(
                        "{} reads something else at byte {at} than was written",
                        node.as_str()
                    );
                    return Err(Failure::new(Exit::Failed, text));
                }
            }
            Ok(())
        })
    }
}

/// Where the pieces are: one after the other if it is one MiB, scattered otherwise.
fn pieces(offset: u64, mib: u64, size: u64) -> impl Iterator<Item = u64> {
    let stride = if mib == 1 { PIECE as u64 } else { STRIDE };
    let end = offset + mib * MIB;
    (0..)
        .map(move |n| offset + n * stride)
        .take_while(move |at| *at < end && at + PIECE as u64 <= size)
}

/// The bytes that belong at an offset.
fn pattern(offset: u64) -> Vec<u8> {
    let mut random = Prng::new(offset);
    let mut bytes = Vec::with_capacity(PIECE);
    while bytes.len() < PIECE {
        bytes.extend(random.next_u64().to_le_bytes());
    }
    bytes
}

/// Where the first so many bytes of two files differ first.
fn first_difference(paths: &[std::path::PathBuf; 2], bytes: u64) -> Outcome<Option<u64>> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("a disk: {error}"));
    let open = |at: usize| File::open(&paths[at]).map_err(failed);
    let (mut one, mut other) = (BufReader::new(open(0)?), BufReader::new(open(1)?));
    let (mut piece, mut against) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from((bytes - at).min(PIECE as u64)).expect("a piece is small");
        one.read_exact(&mut piece[..len]).map_err(failed)?;
        other.read_exact(&mut against[..len]).map_err(failed)?;
        let pairs = piece[..len].iter().zip(&against[..len]);
        if let Some(differs) = pairs.into_iter().position(|(a, b)| a != b) {
            return Ok(Some(at + differs as u64));
        }
        at += len as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stay_on_the_device() {
        assert_eq!(pieces(0, 1, DISK_BYTES).count(), 16);
        assert_eq!(pieces(16 * MIB, 16, DISK_BYTES).count(), 64);
        assert!(pieces(0, 64, MIB).all(|at| at + PIECE as u64 <= MIB));
    }

    #[test]
    fn patterns_differ_by_place_only() {
        assert_eq!(pattern(0), pattern(0));
        assert_ne!(pattern(0), pattern(65_536));
        assert_eq!(pattern(4096).len(), PIECE);
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        let mut bytes = vec![0u8; 200_000];
        std::fs::write(&paths[0], &bytes).unwrap();
        bytes[150_000] = 1;
        std::fs::write(&paths[1], &bytes).unwrap();
        assert_eq!(first_difference(&paths, 200_000), Ok(Some(150_000)));
        assert_eq!(first_difference(&paths, 150_000), Ok(None));
        let same = [paths[0].clone(), paths[0].clone()];
        assert!(first_difference(&same, 200_001).is_err(), "it is shorter than that");
    }
}
