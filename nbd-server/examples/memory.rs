//! Serves an export in memory, to try foreign clients against this crate alone:
//!
//! ```text
//! cargo run --release -p nbd-server --example memory -- unix:/tmp/memory.sock 256
//! nbdinfo 'nbd+unix:///r0?socket=/tmp/memory.sock'
//! ```
//!
//! The first argument is `unix:PATH` or `tcp:ADDR:PORT`, the second the size in MiB.

#[path = "../tests/memory/mod.rs"]
mod memory;

use std::rc::Rc;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::LocalSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(mib)) = (args.next(), args.next()) else {
        return Err("usage: memory {unix:PATH | tcp:ADDR:PORT} SIZE-IN-MIB".into());
    };
    let memory = Rc::new(memory::Memory::new("r0", mib.parse::<u64>()? << 20));
    LocalSet::new().run_until(serve(&address, memory)).await
}

async fn serve(
    address: &str,
    memory: Rc<memory::Memory>,
) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = address.strip_prefix("unix:") {
        let listener = UnixListener::bind(path)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let memory = Rc::clone(&memory);
            tokio::task::spawn_local(async move {
                report(memory.serve(stream, "a local client").await);
            });
        }
    }
    let listener = TcpListener::bind(address.strip_prefix("tcp:").unwrap_or(address)).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let memory = Rc::clone(&memory);
        tokio::task::spawn_local(async move {
            report(memory.serve(stream, &peer.to_string()).await);
        });
    }
}

fn report(ended: Result<(), Box<dyn std::error::Error>>) {
    if let Err(error) = ended {
        eprintln!("a client: {error}");
    }
}
