//! The drbd.conf language: lexer, parser, option table, resolution, diagnostics, dump.
//!
//! ```text
//! bytes ─lexer─▶ tokens ─parser─▶ syntax ─include─▶ syntax of all files
//!                                                     │
//!                     Config ◀─resolve─ tree ◀─lower──┘ (by grammar and options)
//!                               text ◀─dump─┘
//! ```
//! Each step reports what it finds and goes on, so that one run shows several mistakes; a
//! configuration with an error is not used. What an option is, is written in the option table
//! ([`OPTIONS`]) and nowhere else; which word makes structure, in `grammar`.
//!
//! Nothing here touches files but [`FsLoader`].

#![forbid(unsafe_code)]

mod diagnostic;
mod dump;
mod explain;
mod glob;
mod grammar;
mod include;
mod lexer;
mod loader;
mod lower;
mod model;
mod nearest;
mod options;
mod overrides;
mod parser;
mod reference;
mod resolve;
mod source;
mod syntax;
mod tree;
mod value;
mod words;

pub use diagnostic::{Diagnostic, Report, Severity};
pub use dump::{Dump, dump};
pub use explain::{explain, known_words};
pub use include::Candidates;
pub use loader::{FsLoader, Loader, MAX_FILE_BYTES};
pub use model::*;
pub use options::{Effect, Kind, OPTIONS, OptionSpec, Scale, Section, find, of_section};
pub use overrides::Override;
pub use reference::reference;
pub use resolve::node_ids;
pub use source::{Source, SourceId, Sources, Span as TextSpan};
pub use tree::Tree;
pub use value::file_mode;

use std::io;
use std::path::{Path, PathBuf};

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What in it does not do what it says; [`Diagnostic::one_line`] shows each in one line.
    pub warnings: Vec<Diagnostic>,
    /// The files, for showing the warnings.
    pub sources: Sources,
    /// What was in the files, for [`dump()`].
    pub tree: Tree,
}

impl Loaded {
    /// What is to be said of the options that were given beside the files.
    pub fn warnings_about_given(&self) -> impl Iterator<Item = &str> {
        let is_given = |warning: &&Diagnostic| {
            self.sources.get(warning.span.source).path == Path::new(overrides::COMMAND_LINE)
        };
        self.warnings.iter().filter(is_given).map(|warning| warning.message.as_str())
    }

    /// Each warning in one line: `warning: FILE:LINE:COLUMN: …`.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|warning| warning.one_line(&self.sources))
    }

    /// What is wrong if a host of a resource does not have the address that it should listen on;
    /// `None` if there is no such resource or host.
    pub fn foreign_address(&self, resource: &str, host: &str) -> Option<Diagnostic> {
        let tree = self.tree.resources.iter().find(|tree| tree.name == resource)?;
        let written = tree.hosts.iter().find(|tree| tree.name == host)?;
        let mut ends = tree.connections.iter().flat_map(|connection| &connection.hosts);
        // The connection's address comes before the host's own.
        let end = ends.find(|end| same_host(&end.host, host) && end.address.is_some());
        let span = match (end, &written.address) {
            (Some(end), _) => end.span,
            (None, Some(at)) => at.span,
            (None, None) => written.span,
        };
        let address = self.config.resource(resource)?.hosts.iter().find(|one| one.name == host)?;
        let text = format!("the address {} of `{host}` is not one of this host's", address.address);
        Some(
            Diagnostic::error(span, text)
                .label("this node is to listen here")
                .note("a node finds its peer only if each has the address that the other seeks")
                .help(
                    "correct it, give it to this host, or set `disable-ip-verification` in \
                     `global { … }`",
                ),
        )
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file asked for cannot be read; commands exit with 20.
    #[error("cannot open the configuration `{}`: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is an error in it; commands exit with 10. It prints as all diagnostics in full.
    #[error("{0}")]
    Invalid(Box<Report>),
}

/// Reads a configuration file with all that it includes.
///
/// # Errors
/// If the file cannot be read, or if anything in it is wrong.
pub fn load(path: &Path, loader: &dyn Loader) -> Result<Loaded, LoadError> {
    load_with(path, Candidates::default(), loader)
}

/// As [`load`], with files that are tried out, or left out.
///
/// # Errors
/// As [`load`]; also if a file that is tried out cannot be read.
pub fn load_with(
    path: &Path,
    candidates: Candidates<'_>,
    loader: &dyn Loader,
) -> Result<Loaded, LoadError> {
    load_all(path, candidates, ("", &[]), loader)
}

/// As [`load`], with options of one resource that are given beside the files.
///
/// # Errors
/// As [`load`]; also for what is wrong with these options.
pub fn load_given(
    path: &Path,
    resource: &str,
    overrides: &[Override],
    loader: &dyn Loader,
) -> Result<Loaded, LoadError> {
    load_all(path, Candidates::default(), (resource, overrides), loader)
}

fn load_all(
    path: &Path,
    candidates: Candidates<'_>,
    (resource, overrides): (&str, &[Override]),
    loader: &dyn Loader,
) -> Result<Loaded, LoadError> {
    let mut sources = Sources::default();
    let mut diagnostics = diagnostic::Diagnostics::default();
    let read = include::read_all(path, candidates, loader, &mut sources, &mut diagnostics)
        .map_err(|(path, source)| LoadError::Open { path, source })?;
    let mut tree = lower::lower(&read, &mut diagnostics);
    overrides::apply(&mut tree, resource, overrides, &mut sources, &mut diagnostics);
    let config = resolve::resolve(&tree, &sources, &mut diagnostics);
    match diagnostics.finish(sources) {
        Ok((warnings, sources)) => Ok(Loaded { config, warnings, sources, tree }),
        Err(report) => Err(LoadError::Invalid(Box::new(report))),
    }
}

/// One file in memory that includes nothing.
#[derive(Clone, Copy, Debug)]
pub struct TextLoader<'a>(pub &'a [u8]);

impl Loader for TextLoader<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn real_path(&self, _: &Path) -> io::Result<PathBuf> {
        // Every name is the one file, so an `include` of anything is one of what was read already.
        Ok(PathBuf::from("text"))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// The body of the fuzz target: whatever the bytes are, `load` ends and its result can be shown;
/// what loads comes back from its own dump.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_one(bytes: &[u8]) {
    let path = Path::new("fuzz.conf");
    match load(path, &TextLoader(bytes)) {
        Ok(loaded) => {
            let lines: Vec<_> = loaded.warning_lines().collect();
            assert_eq!(lines.len(), loaded.warnings.len());
            for verbose in [false, true] {
                let node = Node { name: "alpha", owns: &|_| false };
                let dump = Dump { node, only: None, verbose };
                assert!(dump.xml(&loaded).ends_with("</config>\n"));
                let text = dump.text(&loaded);
                match load(path, &TextLoader(text.as_bytes())) {
                    Ok(again) => same(&loaded.config, &again.config, &text),
                    Err(error) => panic!("its own dump does not load: {error}\n{text}"),
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Two configurations mean the same, wherever they were written.
fn same(one: &Config, other: &Config, text: &str) {
    let strip = |config: &Config| {
        let mut config = config.clone();
        config.resources.iter_mut().for_each(|one| one.defined_at.clear());
        config
    };
    assert_eq!(strip(one), strip(other), "after\n{text}");
}
