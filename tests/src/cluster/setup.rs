//! What a cluster is made with.

use super::Node;
use std::fmt::Write as _;

/// What a cluster is made with, and the configuration that comes of it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The size of each disk.
    pub disk_bytes: u64,
    /// Volumes of the resource.
    pub volumes: u16,
    /// Whether both nodes may be Primary.
    pub two_primaries: bool,
    /// `shared-secret`, if any.
    pub secret: Option<String>,
    /// The name of the resource. Everything but a test of refusals calls it r0.
    pub resource: String,
    /// Options of `net`, as `name value`.
    pub net: Vec<String>,
    /// Options of `disk`, as `name value`.
    pub disk: Vec<String>,
    /// Options of `options`, as `name value`.
    pub options: Vec<String>,
    /// Options of `startup`, as `name value`.
    pub startup: Vec<String>,
    /// Options of `nbd`, as `name value`.
    pub nbd: Vec<String>,
    /// Handlers, as `name "command"`.
    pub handlers: Vec<String>,
    /// Each disk is a sparse file on a file system of its own with so many bytes, see
    /// [`namespace`](crate::namespace).
    pub small_mounts: Option<u64>,
    /// Without a cable in between.
    pub direct: bool,
}

impl Setup {
    /// Two Primaries allowed, a shared secret, and impatient nodes.
    pub fn new(disk_bytes: u64) -> Self {
        Self {
            disk_bytes,
            volumes: 1,
            two_primaries: true,
            secret: Some("a secret of the tests".to_owned()),
            resource: "r0".to_owned(),
            net: ["timeout 10", "ping-int 3", "ping-timeout 20", "connect-int 1"]
                .map(str::to_owned)
                .to_vec(),
            disk: Vec::new(),
            options: Vec::new(),
            startup: Vec::new(),
            nbd: Vec::new(),
            handlers: Vec::new(),
            small_mounts: None,
            direct: false,
        }
    }

    /// The same with this option of `net` instead of its value so far.
    #[must_use]
    pub fn net(mut self, name: &str, value: &str) -> Self {
        self.net.retain(|option| option.split(' ').next() != Some(name));
        self.net.push(format!("{name} {value}"));
        self
    }

    pub(super) fn resource_file(&self, hosts: &[(&Node, u16); 2]) -> String {
        let mut text = format!("resource {} {{\n", self.resource);
        for (node, port) in hosts {
            let _ = writeln!(text, "  on {} {{\n    address 127.0.0.1:{port};", node.name());
            for volume in 0..self.volumes {
                let _ = writeln!(
                    text,
                    "    volume {volume} {{\n      device /dev/drbd{};\n      disk \"{}\";\n      \
                     meta-disk internal;\n    }}",
                    volume + 1,
                    node.disk_of(volume).display()
                );
            }
            text += "  }\n";
        }
        text += "  net {\n";
        if self.two_primaries {
            text += "    allow-two-primaries;\n";
        }
        if let Some(secret) = &self.secret {
            let _ = writeln!(text, "    shared-secret \"{secret}\";");
        }
        for option in &self.net {
            let _ = writeln!(text, "    {option};");
        }
        text += "  }\n";
        let sections = [
            ("disk", &self.disk),
            ("options", &self.options),
            ("startup", &self.startup),
            ("nbd", &self.nbd),
            ("handlers", &self.handlers),
        ];
        for (section, options) in sections {
            if !options.is_empty() {
                let _ = writeln!(text, "  {section} {{\n    {};\n  }}", options.join(";\n    "));
            }
        }
        text + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_replaces_its_former_value() {
        let setup = Setup::new(1 << 20).net("timeout", "60");
        let timeouts: Vec<_> =
            setup.net.iter().filter(|option| option.starts_with("timeout ")).collect();
        assert_eq!(timeouts, ["timeout 60"]);
        assert_eq!(setup.net.len(), 4);
    }
}
