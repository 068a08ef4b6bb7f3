//! Who may connect to a Unix socket: its permission bits, its user and its group.

use nix::unistd::{Group, User};
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

/// Permissions of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Bits of chmod.
    mode: u32,
    /// Nothing: who runs the daemon.
    owner: Option<u32>,
    group: Option<u32>,
}

impl Access {
    /// Its user alone (and root).
    pub(crate) const PRIVATE: Self = Self { mode: 0o600, owner: None, group: None };

    /// From names or numbers.
    ///
    /// # Errors
    /// If there is no such user or group.
    pub(crate) fn new(
        mode: u32,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<Self, AccessError> {
        let owner = owner.map(|name| {
            let find = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
            id("user", name, find)
        });
        let group = group.map(|name| {
            let find = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
            id("group", name, find)
        });
        Ok(Self { mode, owner: owner.transpose()?, group: group.transpose()? })
    }

    /// Whether anybody but the owner may connect.
    fn is_shared(self) -> bool {
        self.mode & 0o022 != 0
    }

    /// Gives a socket these permissions.
    ///
    /// # Errors
    /// If this process may not, or the socket is not there.
    pub(crate) fn apply(self, path: &Path) -> io::Result<()> {
        if self.owner.is_some() || self.group.is_some() {
            lchown(path, self.owner, self.group)?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(self.mode))?;
        let directory = path.parent().unwrap_or_else(|| Path::new("/"));
        if self.is_shared() && std::fs::metadata(directory)?.permissions().mode() & 0o011 == 0 {
            let (socket, directory) = (path.display(), directory.display());
            tracing::warn!(
                %socket, %directory,
                "others may connect to the socket, but its directory does not let them through"
            );
        }
        Ok(())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode {:04o}", self.mode)?;
        self.owner.map_or(Ok(()), |owner| write!(f, ", user {owner}"))?;
        self.group.map_or(Ok(()), |group| write!(f, ", group {group}"))
    }
}

/// A name that is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("there is no {kind} «{name}» on this machine; write another name, or its number")]
    Unknown { kind: &'static str, name: String },
    #[error("{kind} «{name}» cannot be looked up: {error}")]
    Io { kind: &'static str, name: String, error: io::Error },
}

/// All digits are a number, as chown takes them.
fn id(
    kind: &'static str,
    name: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, AccessError> {
    match find(name) {
        Ok(Some(id)) => Ok(id),
        // -1 means «leave it» to chown.
        Ok(None) => name
            .parse()
            .ok()
            .filter(|&id| id != u32::MAX)
            .ok_or_else(|| AccessError::Unknown { kind, name: name.to_owned() }),
        Err(error) => Err(AccessError::Io { kind, name: name.to_owned(), error: error.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn names_and_numbers_become_ids() {
        let access = Access::new(0o660, Some("root"), Some("12345")).unwrap();
        assert_eq!(access.to_string(), "mode 0660, user 0, group 12345");
        for strange in ["no such group", "-1", "4294967295", "4294967296", ""] {
            let error = Access::new(0o660, None, Some(strange)).unwrap_err();
            assert!(matches!(error, AccessError::Unknown { kind: "group", .. }), "{error}");
        }
    }

    #[test]
    fn a_file_gets_the_permissions() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // The user's own group: also who is not root may give a file to that.
        let group = file.as_file().metadata().unwrap().gid();
        let access = Access::new(0o664, None, Some(&group.to_string())).unwrap();
        access.apply(file.path()).unwrap();
        let found = file.as_file().metadata().unwrap();
        assert_eq!((found.mode() & 0o7777, found.gid()), (0o664, group));
    }
}
