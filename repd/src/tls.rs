//! The certificates of a daemon: one directory, read when a resource comes up that asks for it, and
//! again whenever its files have changed.

use nbd_server::{Identity, TlsError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
    identity: Option<Identity>,
    /// The files as they were when they were last read, whether they could be used or not.
    seen: Seen,
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// If they cannot be used.
    pub(crate) fn load(directory: &Path) -> Result<Self, TlsError> {
        // Looked at before they are read: what changes in between is read once more.
        let seen = Seen::look(directory);
        let identity = Identity::load(directory)?;
        warn(directory, &identity);
        Ok(Self { directory: directory.to_owned(), identity: Some(identity), seen })
    }

    /// As [`Self::load`]; what cannot be used is logged, and tried again when it has changed.
    /// Until then there is no TLS.
    pub(crate) fn load_or_wait(directory: &Path) -> Self {
        let seen = Seen::look(directory);
        Self::load(directory).unwrap_or_else(|error| {
            tracing::error!("no TLS until this is repaired: {error}");
            Self { directory: directory.to_owned(), identity: None, seen }
        })
    }

    /// Where they are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Those in force now: if the files have changed the new ones, unless they cannot be used.
    pub(crate) fn current(&mut self) -> Option<Identity> {
        let seen = Seen::look(&self.directory);
        if seen != self.seen {
            self.seen = seen;
            let directory = self.directory.display();
            match Identity::load(&self.directory) {
                // A file that is being replaced is away for a moment, and nobody shall come in then.
                Ok(new) if self.identity.as_ref().is_some_and(|old| new.is_laxer_than(old)) => {
                    tracing::warn!(
                        %directory,
                        "ca-cert.pem or ca-crl.pem is gone; the old certificates stay, and clients \
                         are checked by them. If that is meant: repadm down and up"
                    );
                }
                Ok(identity) => {
                    tracing::info!(%directory, "the certificates have changed, and are in force");
                    warn(&self.directory, &identity);
                    self.identity = Some(identity);
                }
                Err(error) => {
                    tracing::warn!("the certificates have changed, the old ones stay: {error}");
                }
            }
        }
        self.identity.clone()
    }
}

fn warn(directory: &Path, identity: &Identity) {
    for warning in identity.warnings() {
        tracing::warn!(directory = %directory.display(), "certificates: {warning}");
    }
}

/// What tells one state of the files from another.
#[derive(Debug, PartialEq, Eq)]
struct Seen(Vec<Option<[i64; 6]>>);

impl Seen {
    fn look(directory: &Path) -> Self {
        let look = |name: &&str| {
            let found = std::fs::metadata(directory.join(name)).ok()?;
            let (device, inode) = (found.dev().cast_signed(), found.ino().cast_signed());
            // The change time too: it is set also when the others are put back.
            let times = [found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
            Some([device, inode, found.size().cast_signed(), times[0], times[1], times[2]])
        };
        Self(Identity::FILES.iter().map(look).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates as write;
    use std::fs;

    fn is(one: &Option<Identity>, other: &Option<Identity>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => one.is(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    #[test]
    fn new_certificates_are_taken_and_bad_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(Certificates::load(path).is_err());
        write(path);
        let mut certificates = Certificates::load(path).unwrap();
        let first = certificates.current();
        assert!(is(&first, &certificates.current()));
        fs::write(path.join("server-cert.pem"), "half").unwrap();
        assert!(is(&first, &certificates.current()));
        write(path);
        let second = certificates.current();
        assert!(!is(&first, &second) && second.is_some());
        // Clients are checked from now on.
        fs::copy(path.join("server-cert.pem"), path.join("ca-cert.pem")).unwrap();
        assert!(certificates.current().is_some_and(|identity| identity.checks_clients()));
    }

    /// A file that is being replaced is away for a moment: nobody gets in meanwhile.
    #[test]
    fn that_the_authority_is_gone_lets_nobody_in_unchecked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        write(path);
        let authority = path.join("ca-cert.pem");
        fs::copy(path.join("server-cert.pem"), &authority).unwrap();
        let mut certificates = Certificates::load(path).unwrap();
        let checked = certificates.current();
        assert!(checked.as_ref().is_some_and(Identity::checks_clients));
        fs::remove_file(&authority).unwrap();
        assert!(is(&checked, &certificates.current()));
        write(path);
        assert!(is(&checked, &certificates.current()), "also when others change then");
        fs::copy(path.join("server-cert.pem"), &authority).unwrap();
        let renewed = certificates.current();
        assert!(!is(&checked, &renewed) && renewed.is_some_and(|new| new.checks_clients()));
    }

    #[test]
    fn what_is_missing_at_a_restart_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut certificates = Certificates::load_or_wait(directory.path());
        assert!(certificates.current().is_none());
        write(directory.path());
        assert!(certificates.current().is_some());
    }
}
