//! What becomes of events: a line in the log; and of handlers: they are run, if they are
//! configured.

use super::Pump;
use crate::handler::{Handler, environment};
use config::MetaDisk;
use replicator::{Event, HandlerId, Input, Severity};
use types::VolumeId;

impl Pump {
    /// Logs an event.
    pub(super) fn tell(&mut self, event: &Event) {
        // A disk that is kept may have very many: they are counted.
        let withheld = match event {
            Event::DiskError { .. } => self.disk_errors.admit(self.clock.now()),
            _ => Some(0),
        };
        if let Some(withheld @ 1..) = withheld {
            tracing::warn!("{withheld} errors of disks were not logged");
        }
        if withheld.is_some() {
            self.log(event);
        }
    }

    fn log(&self, event: &Event) {
        let volume = event.volume().map(|volume| volume.0);
        // What a refusal or a failure calls «the disk» has a name here.
        let names_disks = matches!(
            event,
            Event::Refused { .. } | Event::DiskFailed { .. } | Event::DiskError { .. }
        );
        let disks = names_disks.then(|| self.disk_paths(event.volume()));
        match event.severity() {
            Severity::Debug => tracing::debug!(volume, "{event}"),
            Severity::Info => tracing::info!(volume, "{event}"),
            Severity::Warning => tracing::warn!(volume, disks, "{event}"),
            Severity::Error => tracing::error!(volume, disks, "{event}"),
        }
    }

    /// The disks of one volume, or of all.
    fn disk_paths(&self, only: Option<VolumeId>) -> String {
        let meant = |volume: &&config::Volume| only.is_none_or(|only| only == volume.id);
        let mut paths = Vec::new();
        for volume in self.me.volumes.iter().filter(meant) {
            paths.extend(volume.disk.as_ref().map(|disk| disk.display().to_string()));
            if let MetaDisk::External(meta) = &volume.meta_disk {
                paths.push(format!("(metadata on {})", meta.display()));
            }
        }
        paths.join(" ")
    }

    /// Runs a handler, if one is configured; else all is well.
    pub(super) fn start_handler(
        &mut self,
        id: HandlerId,
        handler: replicator::Handler,
        volume: Option<VolumeId>,
    ) {
        let name = handler.as_str();
        let Some(command) = self.resource.handlers.get(name) else {
            tracing::debug!(handler = name, "no such handler is configured");
            self.inputs.push_back(Input::HandlerDone { id, exit: Some(0) });
            return;
        };
        let status = self.engine.status();
        let ended = self.handlers.start(Handler {
            resource: self.resource.name.clone(),
            name,
            command: command.clone(),
            environment: environment(&self.resource, &self.me, &self.peer, &status, volume),
        });
        self.running_handlers.insert(id, ended);
    }
}
