//! What `repadm status --json` says of a resource with one volume.

use anyhow::Context;
use serde_json::Value;

/// A resource as one node's operator sees it.
#[derive(Clone, Debug)]
pub struct Status(Value);

impl Status {
    /// Of the only resource in the output of `repadm status --json`.
    ///
    /// # Errors
    /// If it is no such thing.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
        let resource = value.get(0).with_context(|| format!("no resource in {text}"))?;
        Ok(Self(resource.clone()))
    }

    /// All of it.
    pub fn value(&self) -> &Value {
        &self.0
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// This node's role.
    pub fn role(&self) -> &str {
        self.text("/role")
    }

    /// The other node's role.
    pub fn peer_role(&self) -> &str {
        self.text("/connections/0/peer-role")
    }

    /// The state of the connection.
    pub fn connection(&self) -> &str {
        self.text("/connections/0/connection-state")
    }

    /// The state of replication.
    pub fn replication(&self) -> &str {
        self.text("/connections/0/peer_devices/0/replication-state")
    }

    /// The size of the volume.
    pub fn size_kib(&self) -> u64 {
        self.number("/devices/0/size")
    }

    /// The local disk.
    pub fn disk(&self) -> &str {
        self.text("/devices/0/disk-state")
    }

    /// The other node's disk.
    pub fn peer_disk(&self) -> &str {
        self.text("/connections/0/peer_devices/0/peer-disk-state")
    }

    /// KiB that are marked out-of-sync.
    pub fn out_of_sync_kib(&self) -> u64 {
        self.number("/connections/0/peer_devices/0/out-of-sync")
    }

    /// KiB that the running or last resync has carried.
    pub fn resync_sent_kib(&self) -> u64 {
        self.number("/connections/0/peer_devices/0/resync-sent")
    }

    /// How much of the running resync is done, in percent.
    pub fn resync_percent(&self) -> Option<f64> {
        self.0.pointer("/connections/0/peer_devices/0/percent-resync-done").and_then(Value::as_f64)
    }

    /// How often a session was resumed.
    pub fn resumed(&self) -> u64 {
        self.number("/resumed")
    }

    /// Concurrent writes in which this node's prevailed.
    pub fn conflicts_won(&self) -> u64 {
        self.number("/devices/0/conflicts-won")
    }

    /// Concurrent writes in which the other node's prevailed.
    pub fn conflicts_lost(&self) -> u64 {
        self.number("/devices/0/conflicts-lost")
    }

    /// Writes of this node that the other answered as superseded.
    pub fn superseded(&self) -> u64 {
        self.number("/devices/0/superseded")
    }

    /// Writes that the other node has answered and that are not known durable there.
    pub fn undurable_writes(&self) -> u64 {
        self.number("/connections/0/peer_devices/0/undurable-writes")
    }

    /// Whether both nodes have written alone.
    pub fn is_split(&self) -> bool {
        self.0.get("split-brain").is_some_and(|split| !split.is_null())
    }

    /// Connections from strangers that were refused.
    pub fn strangers_refused(&self) -> u64 {
        self.number("/strangers-refused")
    }

    /// Why the last connection was refused.
    pub fn last_refusal(&self) -> &str {
        self.text("/last-refusal")
    }

    /// The current generation.
    pub fn generation(&self) -> &str {
        self.text("/devices/0/generation")
    }

    /// Requests of clients that are not answered.
    pub fn upper_pending(&self) -> u64 {
        self.number("/devices/0/upper-pending")
    }

    /// Whether any client has the device open.
    pub fn has_clients(&self) -> bool {
        let clients = self.0.pointer("/devices/0/clients").and_then(Value::as_array);
        clients.is_some_and(|clients| !clients.is_empty())
    }

    /// Whether the daemon is still bringing it up after a restart.
    pub fn is_restoring(&self) -> bool {
        self.0.get("restoring").and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether both disks are UpToDate, connected, with nothing marked.
    pub fn is_settled(&self) -> bool {
        self.replication() == "Established"
            && (self.disk(), self.peer_disk()) == ("UpToDate", "UpToDate")
            && self.out_of_sync_kib() == 0
            && !self.is_restoring()
    }

    /// In one line.
    pub fn brief(&self) -> String {
        format!(
            "{}/{} {} {} {}/{} out-of-sync {} KiB, refusal «{}», split brain {}",
            self.role(),
            self.peer_role(),
            self.connection(),
            self.replication(),
            self.disk(),
            self.peer_disk(),
            self.out_of_sync_kib(),
            self.last_refusal(),
            self.0["split-brain"]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_status_is_shown() {
        assert!(Status::parse("nonsense").unwrap_err().to_string().contains("nonsense"));
        assert!(Status::parse("[]").unwrap_err().to_string().contains("no resource"));
    }

    #[test]
    fn fields_are_found() {
        let text = r#"[{"role": "Primary", "resumed": 3, "restoring": false,
            "devices": [{"disk-state": "UpToDate", "generation": "A1"}],
            "connections": [{"peer-role": "Secondary", "connection-state": "Connected",
              "peer_devices": [{"replication-state": "Established", "out-of-sync": 4,
                "peer-disk-state": "UpToDate", "percent-resync-done": 12.5}]}]}]"#;
        let status = Status::parse(text).unwrap();
        assert_eq!(
            (status.role(), status.peer_role(), status.resumed()),
            ("Primary", "Secondary", 3)
        );
        assert_eq!((status.disk(), status.generation()), ("UpToDate", "A1"));
        assert_eq!((status.out_of_sync_kib(), status.resync_percent()), (4, Some(12.5)));
        assert!(!status.is_settled(), "something is marked");
        assert!(status.brief().contains("out-of-sync 4 KiB"));
    }
}
