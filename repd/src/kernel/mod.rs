//! Kernel attach: a volume of a Primary as a block device of this machine, by the kernel's nbd driver.
//!
//! The driver is given sockets whose other ends are clients of the resource, so what it asks takes the
//! way of every NBD client. It keeps the device when this daemon dies, lets requests wait, and takes new
//! sockets from the next one, which knows the device by its *backend identifier*. Applications see a
//! pause.
//!
//! | module | what it knows |
//! |---|---|
//! | `attach` | attaching, detaching, and keeping a device attached |
//! | `driver`, `message` | the driver's netlink |
//! | `names` | `/dev/drbd1` and `/dev/repd/by-res` |
//! | `sys` | which devices there are, and who has them open |
//! | `memory` | how not to wait for oneself |

mod attach;
mod driver;
pub(crate) mod memory;
mod message;
mod names;
mod sys;

use crate::options::{KernelAttach, Options, Paths, STATE_DIR};
use attach::Attached;
use driver::Driver;
use names::Names;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use sys::Sys;
use types::VolumeId;

/// The devices of this daemon.
pub(crate) struct Kernel {
    sys: Sys,
    names: Names,
    attached: RefCell<BTreeMap<(String, VolumeId), Rc<Attached>>>,
}

/// Why nothing is attached by this daemon, whatever is Primary.
pub(crate) fn why_not(options: &Options, paths: &Paths, is_root: bool) -> Option<&'static str> {
    match options.kernel_attach {
        KernelAttach::Off => Some("--kernel-attach off"),
        KernelAttach::Auto if !is_root => Some("it is not run by root"),
        // One daemon of several on a machine, such as tests have.
        KernelAttach::Auto if Path::new(STATE_DIR) != paths.state_dir => {
            Some("its state directory is not the default one")
        }
        KernelAttach::Auto => None,
    }
}

impl Kernel {
    pub(crate) fn new() -> Self {
        let sys = Sys::new(Path::new("/"));
        let names = Names::new(sys.clone(), Path::new("/dev"), Path::new("/run/repd"));
        Self { sys, names, attached: RefCell::default() }
    }

    /// Whether the driver is there; loads it, if it is a module that is not loaded yet.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn is_there(&self) -> io::Result<()> {
        blocking(open).await.map(drop)
    }

    /// Says which devices are left of resources that are not up: nobody else will.
    pub(crate) fn report_orphans(&self, up: &[String]) {
        for (index, backend) in self.sys.connected() {
            let Some(name) = backend.as_deref().and_then(attach::volume_of) else { continue };
            let resource = name.split('/').next().unwrap_or_default();
            if !up.iter().any(|known| known == resource) {
                tracing::warn!(
                    "/dev/{index} is of {name}, which is not up: what asks it waits; bring it up, or \
                     detach it with «nbd-client -d /dev/{index}»"
                );
            }
        }
    }
}

/// The driver, of which the module is loaded if it must be.
fn open() -> io::Result<Driver> {
    match Driver::open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Without it there is no family of that name either, so its own word does not matter.
            let _ = Command::new("modprobe").args(["-q", "nbd"]).status();
            Driver::open()
        }
        opened => opened,
    }
}

/// Does what may take long on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
