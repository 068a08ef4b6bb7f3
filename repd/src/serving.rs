//! How a daemon's resources are served over NBD: where, and within which TLS.

use crate::access::Access;
use crate::daemon::Daemon;
use crate::entry::Entry;
use crate::options::NbdAddress;
use crate::tls::Certificates;
use config::NbdTls;
use control::{Failure, exit};
use nbd_server::TlsOffer;
use std::rc::Rc;

impl Daemon {
    /// The URIs of an export, as clients must use them: within TLS if `tls` is required.
    pub(crate) fn uris(&self, export: &str, tls: NbdTls) -> Vec<String> {
        self.nbd.uris(export, tls == NbdTls::Require)
    }

    /// What a client is offered that connects now. Sockets are the daemon's, so this goes by all
    /// resources that are up: what else is not for a client is decided when it asks.
    pub(crate) fn tls_offer(&self) -> TlsOffer {
        let modes = self.resources();
        let modes: Vec<NbdTls> = modes.iter().map(|entry| entry.nbd().tls).collect();
        if modes.iter().all(|&tls| tls == NbdTls::Off) {
            return TlsOffer::Off;
        }
        let mut certificates = self.certificates.borrow_mut();
        match certificates.as_mut().and_then(Certificates::current) {
            // Without an identity; what requires TLS is refused all the same.
            None => TlsOffer::Off,
            Some(identity) if modes.iter().all(|&tls| tls == NbdTls::Require) => {
                TlsOffer::Require(identity)
            }
            Some(identity) => TlsOffer::Allow(identity),
        }
    }

    /// Reads the certificates that a resource asks for, which comes up. `is_restored`: it was up
    /// before, and shall be so again though there be no TLS for its clients.
    pub(crate) fn use_certificates(
        &self,
        resource: &config::Resource,
        is_restored: bool,
    ) -> Result<(), Failure> {
        let name = &resource.name;
        if resource.nbd.tls == NbdTls::Off {
            return Ok(());
        }
        let failed = |text: String| Err(Failure::new(exit::CONFIG, format!("{name}: {text}")));
        let Some(directory) = &resource.nbd.tls_certificates else {
            return failed("`tls` without `tls-certificates`".into());
        };
        let mut certificates = self.certificates.borrow_mut();
        let users = self.resources();
        let others = |entry: &&Rc<Entry>| entry.name() != name;
        let mut others = users.iter().filter(others);
        let user = others.find(|entry| entry.nbd().tls != NbdTls::Off);
        if let (Some(user), Some(used)) = (user, certificates.as_ref())
            && used.directory() != directory
        {
            return failed(format!(
                "its certificates are in {}, those of {}, which is up, in {}; a daemon has one \
                 set of them: name one directory, in `common {{ nbd {{ tls-certificates … }} }}`",
                directory.display(),
                user.name(),
                used.directory().display()
            ));
        }
        let loaded = match Certificates::load(directory) {
            Ok(loaded) => loaded,
            Err(_) if is_restored => Certificates::load_or_wait(directory),
            Err(error) => return failed(error.to_string()),
        };
        *certificates = Some(loaded);
        Ok(())
    }

    /// Listens where a resource asks for that comes up.
    pub(crate) fn serve_resource(
        self: &Rc<Self>,
        resource: &config::Resource,
    ) -> Result<(), Failure> {
        let nbd = &resource.nbd;
        if self.paths.nbd_is_fixed {
            return Ok(());
        }
        if let Some(path) = &nbd.unix {
            let (owner, group) = (nbd.unix_owner.as_deref(), nbd.unix_group.as_deref());
            let access = Access::new(nbd.unix_mode, owner, group).map_err(|error| {
                Failure::new(exit::CONFIG, format!("{}: `nbd`: {error}", resource.name))
            })?;
            let users = self.resources();
            let mut others = users.iter().filter(|entry| entry.name() != resource.name);
            let user = others.find(|entry| entry.nbd().unix.as_ref() == Some(path));
            let user = user.map(|entry| entry.name());
            self.nbd.serve_shared(self, path, access, &resource.name, user)?;
        }
        match nbd.listen {
            Some(address) => self.nbd.serve_tcp(self, address),
            None => Ok(()),
        }
    }

    /// What is to be said of sockets that a resource asks for in vain.
    pub(crate) fn unused_sockets(&self, resource: &config::Resource) -> Option<String> {
        let config::NbdSection { listen, unix, .. } = &resource.nbd;
        let asks = listen.is_some() || unix.is_some();
        (asks && self.paths.nbd_is_fixed).then(|| {
            format!(
                "{}: `listen` and `unix` of its `nbd` section are not used: the daemon was started \
                 with --nbd, which wins",
                resource.name
            )
        })
    }

    /// Closes the sockets that were opened for resources, and that none of them asks for any more.
    /// Whoever is served already goes on.
    pub(crate) fn close_unused_sockets(&self) {
        let wanted: Vec<NbdAddress> = self
            .resources()
            .iter()
            .flat_map(|entry| {
                let nbd = entry.nbd();
                let unix = nbd.unix.clone().map(NbdAddress::Unix);
                unix.into_iter().chain(nbd.listen.map(NbdAddress::Tcp)).collect::<Vec<_>>()
            })
            .collect();
        self.nbd.close_unused(&wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Origin;
    use crate::exports::DaemonExports;
    use crate::negotiating::Held;
    use crate::testing;
    use nbd_server::{Exports, Refusal, Session};
    use std::path::Path;
    use tokio::task::LocalSet;

    fn resource(name: &str, tls: NbdTls, directory: &Path) -> config::Resource {
        let mut resource = testing::resource_on_any_port(name);
        resource.nbd.tls = tls;
        resource.nbd.tls_certificates = Some(directory.to_owned());
        resource
    }

    async fn create(daemon: &Rc<Daemon>, resource: config::Resource) -> Result<(), Failure> {
        daemon.create(resource, "alpha".into(), Origin::Asked).await.map(drop)
    }

    #[tokio::test]
    async fn a_client_is_offered_what_all_resources_want_and_sees_what_each_allows() {
        let directory = tempfile::tempdir().unwrap();
        let daemon = testing::daemon(&directory.path().join("state"));
        testing::certificates(directory.path());
        let run = async {
            assert!(matches!(daemon.tls_offer(), TlsOffer::Off));
            create(&daemon, resource("r1", NbdTls::Require, directory.path())).await.unwrap();
            assert!(matches!(daemon.tls_offer(), TlsOffer::Require(_)));
            create(&daemon, resource("r2", NbdTls::Off, Path::new("/no/matter"))).await.unwrap();
            assert!(matches!(daemon.tls_offer(), TlsOffer::Allow(_)));

            let exports = DaemonExports::new(daemon.clone(), Held::default());
            let [clear, tls] =
                [false, true].map(|is_tls| Session { peer: "test", is_tls, may_tls: true });
            let names = |session| {
                let list = exports.list(session).into_iter();
                list.map(|export| export.name).collect::<Vec<_>>()
            };
            assert_eq!(names(clear), ["r2/0"]);
            assert_eq!(names(tls), ["r1/0", "r2/0"]);
            assert_eq!(exports.find("r2", clear).unwrap().name, "r2/0");
            assert_eq!(exports.find("r1", tls).unwrap().name, "r1/0");
            // What is hidden looks as what is not there.
            for name in ["r1", "r1/0", "r1/7", "r3", ""] {
                assert!(matches!(exports.find(name, clear), Err(Refusal::TlsRequired)), "{name}");
                let opened = exports.open(name, clear).await;
                assert!(matches!(opened, Err(Refusal::TlsRequired)), "{name}");
            }
            // Who cannot begin TLS is not told to.
            let none = Session { may_tls: false, ..clear };
            for name in ["r1", "r3"] {
                let found = exports.find(name, none);
                assert!(
                    matches!(&found, Err(Refusal::Policy(why)) if why.contains("log")),
                    "{name}"
                );
            }
            assert!(matches!(exports.find("r3", tls), Err(Refusal::Unknown)));
            assert!(!exports.wanted_tls(true), "it has asked within TLS last");
        };
        LocalSet::new().run_until(run).await;
    }

    #[tokio::test]
    async fn a_daemon_has_one_set_of_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        let daemon = testing::daemon(&directory.path().join("state"));
        testing::certificates(&one);
        testing::certificates(&other);
        let run = async {
            let missing = directory.path().join("missing");
            let failure = create(&daemon, resource("r1", NbdTls::Allow, &missing)).await;
            let failure = failure.unwrap_err();
            assert_eq!(failure.exit, exit::CONFIG);
            assert!(failure.text.contains("missing/server-cert.pem"), "{}", failure.text);
            create(&daemon, resource("r1", NbdTls::Allow, &one)).await.unwrap();
            let failure = create(&daemon, resource("r2", NbdTls::Allow, &other)).await;
            let failure = failure.unwrap_err();
            assert_eq!(failure.exit, exit::CONFIG);
            for word in [one.to_str().unwrap(), other.to_str().unwrap(), "r1", "r2", "common"] {
                assert!(failure.text.contains(word), "no {word}: {}", failure.text);
            }
            create(&daemon, resource("r2", NbdTls::Require, &one)).await.unwrap();
            daemon.down("r1", true).await.unwrap();
            daemon.down("r2", true).await.unwrap();
            create(&daemon, resource("r2", NbdTls::Allow, &other)).await.unwrap();
        };
        LocalSet::new().run_until(run).await;
    }
}
