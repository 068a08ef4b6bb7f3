//! Handlers as commands: what is configured under that name is run in the place of this program, so
//! that its exit code is the answer.

use crate::cli::Helper;
use crate::context::Context;
use crate::outcome::{Exit, Failure, Outcome};
use crate::render::script;
use crate::target::{Chosen, Target};
use config::{Resource, Volume};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Run it about one resource, or one volume of it. Without such a handler there is nothing to do.
pub(super) fn run(context: &mut Context<'_>, helper: &Helper) -> Outcome {
    let (name, on) = helper.parts();
    let targets: &[Target] = &on.targets;
    let chosen = context.choose(targets)?;
    let [chosen] = &chosen[..] else {
        let text = format!("{name}: a handler runs about one resource at a time; name one");
        return Err(Failure::new(Exit::Usage, text));
    };
    let mine = context.configured(&chosen.name)?;
    let Some(command) = mine.resource.handlers.get(name).cloned() else { return Ok(()) };
    let environment = environment(context, mine.resource, chosen);
    if context.global.dry_run || context.global.verbose {
        context.out.line(format!("{chosen}: sh -c {}", script::quoted(&command)))?;
    }
    if context.global.dry_run {
        return Ok(());
    }
    let error = Command::new("/bin/sh").arg("-c").arg(&command).envs(environment).exec();
    Err(Failure::new(Exit::Failed, format!("{chosen}: {name}: /bin/sh cannot be run: {error}")))
}

/// What drbdadm adds to the environment of a handler.
fn environment(
    context: &Context<'_>,
    resource: &Resource,
    chosen: &Chosen,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: String| _ = all.insert(name.to_owned(), value);
    set("DRBD_CONF", context.global.config.display().to_string());
    set("DRBD_RESOURCE", resource.name.clone());
    for host in &resource.hosts {
        set(&format!("DRBD_NODE_ID_{}", host.node_id), host.name.clone());
    }
    let Some((me, peer)) = resource.host(&context.node()) else { return all };
    let family = |ip: std::net::IpAddr| if ip.is_ipv4() { "ipv4" } else { "ipv6" }.to_owned();
    set("DRBD_MY_NODE_ID", me.node_id.to_string());
    set("DRBD_MY_ADDRESS", me.address.ip().to_string());
    set("DRBD_MY_AF", family(me.address.ip()));
    set("DRBD_PEER", peer.name.clone());
    set("DRBD_PEERS", peer.name.clone());
    set("DRBD_PEER_NODE_ID", peer.node_id.to_string());
    set("DRBD_PEER_ADDRESS", peer.address.ip().to_string());
    set("DRBD_PEER_AF", family(peer.address.ip()));
    let minor = |volume: &Volume| volume.minor.map(|minor| minor.to_string());
    let disk = |volume: &Volume| Some(volume.disk.as_ref()?.to_string_lossy().into_owned());
    for volume in &me.volumes {
        minor(volume).into_iter().for_each(|it| set(&format!("DRBD_MINOR_{}", volume.id), it));
        disk(volume).into_iter().for_each(|it| set(&format!("DRBD_BACKING_DEV_{}", volume.id), it));
    }
    let list = |of: &dyn Fn(&Volume) -> Option<String>| {
        let meant = me.volumes.iter().filter(|volume| chosen.includes(volume.id));
        meant.filter_map(of).collect::<Vec<_>>().join(" ")
    };
    set("DRBD_VOLUME", list(&|volume| Some(volume.id.to_string())));
    set("DRBD_MINOR", list(&minor));
    set("DRBD_LL_DISK", list(&disk));
    if chosen.volume.is_some() {
        set("DRBD_BACKING_DEV", list(&disk));
    }
    all
}
