//! What becomes of events: a line in the log, and the handler that one calls for.

use super::Pump;
use crate::handler::{Handler, environment};
use config::{MetaDisk, OnIoError};
use replicator::{Event, Severity};
use types::VolumeId;

impl Pump {
    /// Logs an event, and starts its handler, if it has one.
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
        if let Event::DiskFailed { volume, .. } = event {
            let disk = self.me.volumes.iter().find(|known| known.id == *volume);
            let policy = disk.map(|disk| disk.disk_options.on_io_error);
            if policy == Some(OnIoError::CallLocalIoError) {
                self.start_handler("local-io-error", Some(*volume));
            }
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

    fn start_handler(&self, name: &'static str, volume: Option<VolumeId>) {
        let Some(command) = self.resource.handlers.get(name) else {
            tracing::info!(handler = name, "no such handler is configured");
            return;
        };
        let connection = self.engine.status().connection;
        self.handlers.start(Handler {
            resource: self.resource.name.clone(),
            name,
            command: command.clone(),
            environment: environment(&self.resource, &self.me, &self.peer, connection, volume),
        });
    }
}
