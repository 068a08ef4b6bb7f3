//! Taking inputs and effects into the trace.

use crate::trace::Trace;
use crate::world::World;
use replicator::wire::{Content, Message};
use replicator::{DiskOp, Effect, Input};
use types::ByteRange;

const NAMES: [&str; 2] = ["n0", "n1"];

impl World {
    pub(crate) fn observe_input(&mut self, node: usize, input: &Input) {
        let now = self.now;
        self.trace.number(now.0);
        self.trace.number(node as u64);
        hash_input(&mut self.trace, input);
        self.trace.line(now, NAMES[node], || match input {
            Input::Message { epoch, message } => format!("<- {} {}", epoch.0, brief(message)),
            Input::DiskDone { id, result } => {
                format!("disk {} {}", id.0, result.as_ref().map_or_else(ToString::to_string, tag))
            }
            Input::Request { id, client, volume, op } => {
                format!("request {} client {} volume {volume} {}", id.0, client.0, client_op(op))
            }
            Input::Command { id, command } => {
                let mut text = format!("{command:?}");
                text.truncate(text.find('{').unwrap_or(text.len()).max(30).min(text.len()));
                format!("command {} {text}", id.0)
            }
            other => format!("{other:?}"),
        });
    }

    pub(crate) fn observe_effect(&mut self, node: usize, effect: &Effect) {
        hash_effect(&mut self.trace, effect);
        let now = self.now;
        self.trace.line(now, NAMES[node], || match effect {
            Effect::Send { epoch, message } => format!("    -> {} {}", epoch.0, brief(message)),
            Effect::Disk { volume, id, op } => {
                format!("    disk {} volume {volume} {}", id.0, disk_op(op))
            }
            Effect::Meta { volume, id, batch } => {
                let places: Vec<u64> = batch.writes.iter().map(|write| write.offset).collect();
                format!("    meta {} volume {volume} at {places:?}", id.0)
            }
            Effect::Complete { id, result } => match result {
                Ok(bytes) => format!("    complete {} {}", id.0, tag(bytes)),
                Err(error) => format!("    complete {} with {error:?}", id.0),
            },
            Effect::Event(event) => match event.volume() {
                Some(volume) => format!("    ** volume {volume}: {event}"),
                None => format!("    ** {event}"),
            },
            other => format!("    {other:?}"),
        });
    }
}

fn tag(bytes: &bytes::Bytes) -> String {
    let mut tags: Vec<String> = Vec::new();
    for tag in crate::content::tags_of(&bytes.slice(..bytes.len() / 512 * 512)) {
        let tag = tag.map_or_else(|| "?".into(), |tag| tag.to_string());
        if tags.last() != Some(&tag) {
            tags.push(tag);
        }
    }
    tags.truncate(20);
    tags.join(",")
}

fn client_op(op: &replicator::ClientOp) -> String {
    use replicator::ClientOp;
    match op {
        ClientOp::Read(range) => format!("read {range}"),
        ClientOp::Write { range, data, fua } => format!("write {range} fua {fua} = {}", tag(data)),
        ClientOp::Zero { range, unmap, fua } => format!("zero {range} unmap {unmap} fua {fua}"),
        ClientOp::Flush => "flush".into(),
        ClientOp::Allocation(range) => format!("map {range}"),
        ClientOp::OutOfSync(range) => format!("out-of-sync {range}"),
    }
}

fn disk_op(op: &DiskOp) -> String {
    match op {
        DiskOp::Read(range) => format!("read {range}"),
        DiskOp::Write { range, data, fua } => format!("write {range} fua {fua} = {}", tag(data)),
        DiskOp::Zero { range, fua, .. } => format!("zero {range} fua {fua}"),
        DiskOp::Flush => "flush".into(),
        DiskOp::Map(range) => format!("map {range}"),
    }
}

/// A message in a few words: payloads by their numbers.
fn brief(message: &Message) -> String {
    match message {
        Message::Write { stamp, range, data, fua } => {
            format!("Write {stamp:?} {range} fua {fua} = {}", tag(data))
        }
        Message::ReadDone { volume, id, data } => {
            format!(
                "ReadDone volume {volume} id {id} = {}",
                data.as_ref().map_or_else(|| "-".into(), tag)
            )
        }
        Message::ResyncData { volume, range, content } => {
            let data = match content {
                Content::Data(data) => tag(data),
                Content::Zeros => "zeros".into(),
                Content::Same => "the same".into(),
            };
            format!("ResyncData volume {volume} {range} = {data}")
        }
        Message::Bitmap { volume, from, runs } => {
            format!("Bitmap volume {volume} from {from}, {} bytes", runs.len())
        }
        other => format!("{other:?}"),
    }
}

fn hash_range(trace: &mut Trace, range: ByteRange) {
    trace.number(range.offset);
    trace.number(range.len);
}

fn hash_message(trace: &mut Trace, message: &Message) {
    // The header holds every field and the checksum of the payload.
    trace.bytes(&message.encode().header);
}

fn hash_input(trace: &mut Trace, input: &Input) {
    match input {
        Input::Request { id, client, volume, op } => {
            trace.number(id.0);
            trace.number(client.0 << 32 | u64::from(volume.0));
            trace.bytes(client_op_key(op).as_slice());
        }
        Input::DiskDone { id, result } => {
            trace.number(id.0 << 1 | u64::from(result.is_ok()));
            if let Ok(bytes) = result {
                trace.bytes(&bytes[..bytes.len().min(8)]);
            }
        }
        Input::MetaDone { id, result } => trace.number(id.0 << 1 | u64::from(result.is_ok())),
        Input::DiskMeasured { volume, sizes } => {
            trace.number(u64::from(volume.0));
            trace.number(sizes.as_ref().map_or(0, |sizes| sizes.data_bytes));
        }
        // What it says was hashed when it was sent.
        Input::Message { epoch, .. } => trace.number(epoch.0),
        Input::Timer => trace.number(1),
        Input::LinkUp { epoch, initiated } => trace.number(epoch.0 << 1 | u64::from(*initiated)),
        Input::LinkDown { epoch, .. } | Input::LinkProgress { epoch } => trace.number(epoch.0),
        Input::ClientOpened { client, .. } | Input::ClientClosed { client } => {
            trace.number(client.0);
        }
        Input::ConnectFailed { refused } => trace.number(u64::from(*refused)),
        Input::Command { id, .. } => trace.number(id.0),
        Input::HandlerDone { id, exit } => {
            trace.number(id.0 << 8 | u64::from(exit.unwrap_or(255).cast_unsigned()));
        }
    }
}

fn client_op_key(op: &replicator::ClientOp) -> Vec<u8> {
    use replicator::ClientOp;
    let (kind, range) = match op {
        ClientOp::Read(range) => (0, *range),
        ClientOp::Write { range, fua, .. } => (1 + u64::from(*fua), *range),
        ClientOp::Zero { range, fua, .. } => (3 + u64::from(*fua), *range),
        ClientOp::Flush => (5, ByteRange::new(0, 0)),
        ClientOp::Allocation(range) => (6, *range),
        ClientOp::OutOfSync(range) => (7, *range),
    };
    [kind, range.offset, range.len].into_iter().flat_map(u64::to_le_bytes).collect()
}

fn hash_effect(trace: &mut Trace, effect: &Effect) {
    match effect {
        Effect::Disk { volume, id, op } => {
            trace.number(id.0 << 8 | u64::from(volume.0));
            match op {
                DiskOp::Read(range) => hash_range(trace, *range),
                DiskOp::Write { range, data, fua } => {
                    hash_range(trace, *range);
                    trace.number(u64::from(*fua));
                    trace.bytes(&data[..data.len().min(8)]);
                }
                DiskOp::Zero { range, fua, .. } => {
                    hash_range(trace, *range);
                    trace.number(2 + u64::from(*fua));
                }
                DiskOp::Flush => trace.number(4),
                DiskOp::Map(range) => {
                    hash_range(trace, *range);
                    trace.number(5);
                }
            }
        }
        Effect::Meta { volume, id, batch } => {
            trace.number(id.0 << 8 | u64::from(volume.0));
            for write in &batch.writes {
                trace.number(write.offset);
                trace.bytes(&write.data);
            }
        }
        Effect::MeasureDisk { volume } => trace.number(4 << 8 | u64::from(volume.0)),
        Effect::Connect => trace.number(3),
        Effect::Send { epoch, message } => {
            trace.number(epoch.0);
            hash_message(trace, message);
        }
        Effect::CloseLink { epoch } => trace.number(epoch.0),
        Effect::Complete { id, result } => trace.number(id.0 << 1 | u64::from(result.is_ok())),
        Effect::CommandDone { id, result } => trace.number(id.0 << 1 | u64::from(result.is_ok())),
        Effect::Detached { volume } => trace.number(u64::from(volume.0)),
        Effect::Handler { id, handler, .. } => {
            trace.number(id.0);
            trace.bytes(handler.as_str().as_bytes());
        }
        Effect::Inspected(inspection) => trace.number(inspection.volumes.len() as u64),
        Effect::Event(event) => trace.bytes(event.to_string().as_bytes()),
    }
}
