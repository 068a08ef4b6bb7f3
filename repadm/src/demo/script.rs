//! The story that the demo tells: what is done, why, and what comes of it.

use super::cluster::{Cluster, DISK_BYTES, Name};
use super::data::{MIB, Part, first_difference, verify, write};
use super::interrupt::Interrupt;
use crate::outcome::{Exit, Failure, Out, Outcome};
use crate::render::kib;
use std::collections::BTreeSet;
use std::time::Instant;
use types::{ConnectionState, ReplicationState};

/// What is written while the cable is cut.
const MEANWHILE: Part = Part::scattered(12, 48);
/// The cable that the resync goes through lets so many bytes a second through.
const SLOW: u64 = 6 * MIB;
/// The running resync is shown when so many percent are done.
const LOOKS: [f64; 3] = [1.0, 33.0, 66.0];

/// The story and where it is told.
struct Story<'o, 's> {
    out: &'o mut Out<'s>,
    cluster: Cluster,
    step: u32,
    warned: BTreeSet<String>,
}

/// Tell it all.
#[allow(clippy::disallowed_methods, reason = "the demo is a driver: it says how long it took")]
pub(super) fn tell(out: &mut Out<'_>, keep: bool) -> Outcome {
    let start = Instant::now();
    let cluster = Cluster::make(keep, Interrupt::catch()?)?;
    let mut story = Story { out, cluster, step: 0, warned: BTreeSet::new() };
    story.two_nodes()?;
    story.first_sync()?;
    story.both_primary()?;
    story.cut()?;
    let resync = story.resync()?;
    story.back_to_two()?;
    let compared = story.compare()?;
    let mib = compared as f64 / MIB as f64;
    story.out.print(&format!(
        "\nIt held: both disks are the same, byte for byte, and after the cut {} KiB were sent for\n\
         the {} KiB that had changed, not all {mib:.1} MiB. It took {:.1} s.\n",
        resync.sent_kib,
        resync.marked_kib,
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

    /// What a command printed, or a file. A warning is shown once, though both nodes' files
    /// deserve it.
    fn indented(&mut self, text: &str) -> Outcome {
        for line in text.lines() {
            if let Some((_, warning)) =
                line.strip_prefix("warning: ").and_then(|w| w.split_once(": "))
                && !self.warned.insert(warning.to_owned())
            {
                continue;
            }
            for line in wrapped(line) {
                self.out.line(format!("    {line}").trim_end())?;
            }
        }
        Ok(())
    }

    /// Run a command on a node, show it and what it prints; it must succeed.
    fn repadm(&mut self, node: Name, words: &[&str]) -> Outcome {
        self.out.line(format!("{}# repadm {}", node.as_str(), words.join(" ")))?;
        let ran = self.cluster.repadm(node, words).map_err(|failure| {
            self.cluster
                .interrupt()
                .check()
                .err()
                .unwrap_or_else(|| self.gone_wrong(node, words, &format!("failed: {failure}")))
        })?;
        self.indented(ran.text.trim_end())?;
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
        self.repadm(Name::Alpha, &["wait-connect", "--wfc-timeout", "60", "r0"])?;
        self.repadm(Name::Alpha, &["status", "r0"])
    }

    fn first_sync(&mut self) -> Outcome {
        self.heading(
            "Whose data is it?",
            "Both disks are new, so neither counts. Somebody must say whose data is to be kept:\n\
             alpha's. All of it is copied to beta.",
        )?;
        self.repadm(Name::Alpha, &["primary", "--force", "r0"])?;
        self.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "60", "r0"])?;
        self.repadm(Name::Beta, &["overview"])
    }

    fn both_primary(&mut self) -> Outcome {
        self.heading(
            "Both Primary",
            "Now beta serves the device, too. What is written on one node is read on the other.",
        )?;
        self.repadm(Name::Beta, &["primary", "r0"])?;
        self.repadm(Name::Alpha, &["status", "r0"])?;
        for (writer, reader, part) in
            [(Name::Alpha, Name::Beta, Part::mib(0)), (Name::Beta, Name::Alpha, Part::mib(8))]
        {
            self.write(writer, part)?;
            self.verify(reader, part)?;
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
        self.say("Nobody tells alpha. It notices by the silence, within 3.5 s (`ping-int` and")?;
        self.say(
            "`ping-timeout`), waits 2 s more for beta (`timeout`), and then goes on alone: it",
        )?;
        self.say("begins a new generation of the data, and marks what it writes.")?;
        let seconds = self.write(Name::Alpha, MEANWHILE)?;
        let (mib, count) = (MEANWHILE.bytes() / MIB, MEANWHILE.count());
        self.say(&format!("  {mib} MiB in {count} pieces were written in {seconds:.1} s."))?;
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
        for percent in LOOKS {
            let running = self.cluster.until("the resync to get on", |cluster| {
                let status = cluster.status(Name::Beta)?;
                let resync = status.volumes.iter().find_map(|volume| volume.resync);
                Ok(match resync {
                    Some(resync) => (resync.percent >= percent).then_some(true),
                    None => Some(false),
                })
            })?;
            if running {
                self.repadm(Name::Beta, &["overview"])?;
            }
        }
        self.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "60", "r0"])?;
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
        self.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "60", "r0"])?;
        self.repadm(Name::Beta, &["primary", "r0"])?;
        self.verify(Name::Beta, MEANWHILE)?;
        self.say(&format!(
            "  {} MiB in {} pieces were read through beta: the same.",
            MEANWHILE.bytes() / MIB,
            MEANWHILE.count()
        ))?;
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
            self.repadm(node, &["wait-sync", "--wfc-timeout", "60", "r0"])?;
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
                "To cut the cable:   kill -STOP {cable}\nTo mend it:         kill -CONT {cable}\n"
            );
        }
        let processes: Vec<String> = cluster.processes().iter().map(u32::to_string).collect();
        // A cable that is cut must run to be ended.
        let cable =
            cluster.cable_process().map_or_else(String::new, |pid| format!("kill -CONT {pid}; "));
        text += &format!(
            "To end it all:      {cable}kill {}; rm -r {}\n",
            processes.join(" "),
            cluster.directory().display()
        );
        text
    }

    /// Write through a node; how many seconds it took.
    #[allow(clippy::disallowed_methods, reason = "the demo is a driver: it says how long it took")]
    fn write(&self, node: Name, part: Part) -> Outcome<f64> {
        let start = Instant::now();
        let socket = self.cluster.nbd_socket(node);
        self.cluster.interrupt().during(move || write(&socket, node.as_str(), part))?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn verify(&self, node: Name, part: Part) -> Outcome {
        let socket = self.cluster.nbd_socket(node);
        self.cluster.interrupt().during(move || verify(&socket, node.as_str(), part))
    }
}

/// A line in lines that fit a screen; what does not fit goes on indented.
fn wrapped(line: &str) -> Vec<String> {
    const WIDTH: usize = 96;
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while rest.chars().count() > WIDTH {
        let fits = rest.char_indices().nth(WIDTH).map_or(rest.len(), |(at, _)| at);
        // Leading blanks are no place to break.
        let start = rest.len() - rest.trim_start().len();
        let Some(at) = rest[start..fits].rfind(' ').map(|at| start + at) else { break };
        let next = format!("      {}", rest[at + 1..].trim_start());
        rest.truncate(at);
        lines.push(std::mem::replace(&mut rest, next));
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        let long = "word ".repeat(50);
        let lines = wrapped(&long);
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= 96), "{lines:?}");
        let words: Vec<_> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
        assert_eq!(words.len(), 50);
        for whole in [String::new(), "x".repeat(300), format!("  {}", "x".repeat(300))] {
            assert_eq!(wrapped(&whole), [whole]);
        }
    }
}
