//! Prints how many 4 KiB requests a second each backend does, on a file where one runs it:
//!
//! ```text
//! cargo run --release -p storage --example ops [DIRECTORY [REQUESTS]]
//! ```

use bytes::Bytes;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use storage::{Backend, BufferPool, Device, Op, OpenOptions};
use types::{BLOCK_BYTES, ByteRange, Prng};

const FILE_BYTES: u64 = 256 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let requests: u64 = arguments.next().map_or(Ok(20_000), |number| number.parse())?;
    let file = tempfile::NamedTempFile::new_in(dir)?;
    file.as_file().set_len(FILE_BYTES)?;
    fill(file.path()).await?;
    println!("{:<10} {:<10} {:>6} {:>6} {:>12}", "backend", "asked", "kind", "depth", "requests/s");
    for backend in [Backend::Auto, Backend::Uring, Backend::Inline, Backend::Pool] {
        for (kind, depth) in [("read", 1), ("read", 32), ("write", 1), ("write", 32)] {
            let options = OpenOptions { backend, ..OpenOptions::default() };
            let mut device = Device::open(file.path(), options).await?;
            let rate = measure(&mut device, kind, depth, requests).await?;
            let (name, asked) = (device.backend(), format!("{backend:?}"));
            println!("{name:<10} {asked:<10} {kind:>6} {depth:>6} {rate:>12.0}");
            device.close().await;
        }
    }
    Ok(())
}

/// Writes the whole file, so that nothing measured is a hole.
async fn fill(path: &Path) -> Result<(), Box<dyn Error>> {
    let device = Device::open(path, OpenOptions::default()).await?;
    let data = vec![0x5a; 1 << 20];
    for at in (0..FILE_BYTES).step_by(data.len()) {
        device.write_now(at, &data)?;
    }
    device.flush_now()?;
    device.close().await;
    Ok(())
}

/// Requests a second, at random blocks, so many at once.
#[allow(clippy::disallowed_methods, reason = "measures")]
async fn measure(
    device: &mut Device,
    kind: &str,
    depth: u64,
    requests: u64,
) -> Result<f64, Box<dyn Error>> {
    let mut prng = Prng::new(1);
    let data: Bytes = BufferPool::default().zeroed(BLOCK_BYTES as usize).into_bytes();
    let (mut begun, mut done) = (0, 0);
    let mut out = Vec::new();
    let start = Instant::now();
    while done < requests {
        while begun < requests && begun - done < depth {
            let block = prng.below(device.bytes() / BLOCK_BYTES);
            let range = ByteRange::new(block * BLOCK_BYTES, BLOCK_BYTES);
            let write = || Op::Write { range, data: data.clone(), fua: false };
            device.submit(begun, if kind == "read" { Op::Read(range) } else { write() });
            begun += 1;
        }
        device.completions(&mut out).await;
        done += out.len() as u64;
        for completion in out.drain(..) {
            completion.result?;
        }
    }
    Ok(requests as f64 / start.elapsed().as_secs_f64())
}
