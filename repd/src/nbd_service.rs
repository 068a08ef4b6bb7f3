//! Where a daemon serves NBD: its listeners by address.

use crate::access::Access;
use crate::activation::PassedListener;
use crate::daemon::Daemon;
use crate::nbd_listener::NbdListener;
use crate::options::NbdAddress;
use control::{Failure, exit};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct NbdService {
    served: RefCell<Vec<Served>>,
    is_open: watch::Sender<bool>,
}

#[derive(Debug)]
struct Served {
    address: NbdAddress,
    /// Nothing if whoever made the socket has seen to that.
    access: Option<Access>,
    /// Whether it is there for resources that ask for it, and for as long as one does.
    for_resources: bool,
    task: AbortHandle,
}

impl NbdService {
    /// Lets clients in. Before that they may connect, and wait: what they ask for may be such as
    /// is about to be brought back.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// The addresses, as `repd --nbd` takes them.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.served.borrow().iter().map(|served| served.address.to_string()).collect()
    }

    /// The URIs of an export.
    pub(crate) fn uris(&self, export: &str, tls: bool) -> Vec<String> {
        self.served.borrow().iter().map(|served| served.address.uri(export, tls)).collect()
    }

    /// Serves there, unless it does already.
    ///
    /// # Errors
    /// If the system refuses, or something else is there.
    pub(crate) fn serve(
        &self,
        daemon: &Rc<Daemon>,
        address: &NbdAddress,
        access: Access,
    ) -> Result<(), Failure> {
        if self.served.borrow().iter().any(|served| served.address == *address) {
            return Ok(());
        }
        let listener = NbdListener::bind(address, access)?;
        self.begin(daemon, address.clone(), Some(access), listener);
        Ok(())
    }

    /// As [`Self::serve`], on a TCP address for a resource.
    pub(crate) fn serve_tcp(
        &self,
        daemon: &Rc<Daemon>,
        address: SocketAddr,
    ) -> Result<(), Failure> {
        self.serve_for_resource(daemon, &NbdAddress::Tcp(address), Access::PRIVATE)
    }

    fn serve_for_resource(
        &self,
        daemon: &Rc<Daemon>,
        address: &NbdAddress,
        access: Access,
    ) -> Result<(), Failure> {
        let before = self.served.borrow().len();
        self.serve(daemon, address, access)?;
        self.served.borrow_mut()[before..].iter_mut().for_each(|new| new.for_resources = true);
        Ok(())
    }

    /// Closes what is there for resources only, and is not among these.
    pub(crate) fn close_unused(&self, wanted: &[NbdAddress]) {
        self.served.borrow_mut().retain(|served| {
            let stays = !served.for_resources || wanted.contains(&served.address);
            if !stays {
                tracing::info!(address = %served.address, "serving NBD no more: nobody asks for it");
                served.task.abort();
            }
            stays
        });
    }

    /// As [`Self::serve`], on a Unix socket for `resource`. If the socket is there with other
    /// permissions it gets these, unless the resource `user` wants it as it is.
    pub(crate) fn serve_shared(
        &self,
        daemon: &Rc<Daemon>,
        path: &Path,
        access: Access,
        resource: &str,
        user: Option<&str>,
    ) -> Result<(), Failure> {
        let address = NbdAddress::Unix(path.to_owned());
        let failed = |text: String| Failure::new(exit::CONFIG, format!("{resource}: {text}"));
        let mut all = self.served.borrow_mut();
        let Some(served) = all.iter_mut().find(|served| served.address == address) else {
            drop(all);
            return self.serve_for_resource(daemon, &address, access);
        };
        let Some(current) = served.access.filter(|&current| current != access) else {
            return Ok(());
        };
        if let Some(user) = user {
            return Err(failed(format!(
                "{} must have {access}, but has {current} for {user}, which is up; write the same \
                 for both, in `common {{ nbd {{ … }} }}`, or give each its own socket",
                path.display()
            )));
        }
        access.apply(path).map_err(|error| {
            failed(format!("{}: giving it {access} failed: {error}", path.display()))
        })?;
        served.access = Some(access);
        Ok(())
    }

    /// Serves on a socket that was made by who started this daemon.
    pub(crate) fn serve_passed(
        &self,
        daemon: &Rc<Daemon>,
        address: NbdAddress,
        listener: PassedListener,
    ) -> io::Result<()> {
        let listener = NbdListener::passed(listener)?;
        self.begin(daemon, address, None, listener);
        Ok(())
    }

    fn begin(
        &self,
        daemon: &Rc<Daemon>,
        address: NbdAddress,
        access: Option<Access>,
        listener: NbdListener,
    ) {
        tracing::info!(%address, "serving NBD");
        let (daemon, mut is_open) = (daemon.clone(), self.is_open.subscribe());
        let serve = async move {
            if is_open.wait_for(|is_open| *is_open).await.is_ok() {
                listener.serve(daemon).await;
            }
        };
        let task = tokio::task::spawn_local(serve).abort_handle();
        let for_resources = false;
        self.served.borrow_mut().push(Served { address, access, for_resources, task });
    }

    /// Listens no more, and closes whatever negotiates.
    pub(crate) fn end(&self) {
        for served in self.served.borrow_mut().drain(..) {
            served.task.abort();
        }
    }
}
