//! Where texts come from: a trait, so that the language needs no files, and the file system.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes. A resource takes about 1 KiB.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads files and directories on behalf of [`load`](crate::load).
pub trait Loader {
    /// The bytes of a file, at most [`MAX_FILE_BYTES`] and one.
    ///
    /// # Errors
    /// If it cannot be opened or read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether a file may be named in another: one that is not there for reading might keep whoever
    /// reads it waiting for ever.
    ///
    /// # Errors
    /// If it is a directory, a pipe or the like.
    fn check_regular(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// The path by which two names of one file are recognised as one.
    ///
    /// # Errors
    /// If there is no such file.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf>;

    /// The names in a directory, in any order.
    ///
    /// # Errors
    /// If it cannot be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
}

/// The file system. The path `-` is standard input.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsLoader;

impl Loader for FsLoader {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if path == Path::new("-") {
            io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        } else {
            fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn check_regular(&self, path: &Path) -> io::Result<()> {
        let kind = fs::metadata(path)?.file_type();
        if kind.is_file() {
            Ok(())
        } else if kind.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        if path == Path::new("-") {
            return Ok(path.to_path_buf());
        }
        fs::canonicalize(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            // A name that is not UTF-8 cannot have been meant by a pattern in a file that is.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
}
