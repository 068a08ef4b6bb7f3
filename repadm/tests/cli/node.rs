//! A real daemon of this node, in the place of one that answers as it is told.

use crate::support::{Place, Ran};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Node alpha with its daemon; nobody is node beta.
pub(crate) struct Node {
    pub(crate) place: Place,
    daemon: Child,
}

impl Node {
    /// With these sections in resource r0 besides its hosts.
    pub(crate) fn new(sections: &str) -> Self {
        let place = Place::new();
        let mut ports =
            [free_port(), free_port()].map(|listener| listener.local_addr().unwrap().port());
        // The smaller address is that of node 0.
        ports.sort_unstable();
        place.edit(|text| {
            let text = text.replace("127.0.0.1:7001", &format!("127.0.0.1:{}", ports[0]));
            let text = text.replace("127.0.0.1:7002", &format!("127.0.0.1:{}", ports[1]));
            text.replacen("resource r0 {", &format!("resource r0 {{ {sections}"), 1)
        });
        let control = place.path("control.sock");
        let daemon = Command::new(env!("CARGO_BIN_EXE_repadm"))
            .args(["__daemon", "--die-with-parent", "--"])
            .args(["--kernel-attach", "off", "--node", "alpha", "--control"])
            .arg(&control)
            .arg("--state-dir")
            .arg(place.path("state"))
            .arg("--nbd")
            .arg(format!("unix:{}", place.path("nbd.sock").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(place.path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut node = Self { place, daemon };
        while UnixStream::connect(&control).is_err() {
            let ended = node.daemon.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{}",
                std::fs::read_to_string(node.place.path("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        node
    }

    pub(crate) fn ends(&self, code: i32, words: &[&str]) -> Ran {
        self.place.ends(code, words)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn free_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}
