//! `include "PATTERN";` and `template-file "FILE";`: from the file asked for to the statements of all
//! files.

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::loader::{Loader, MAX_FILE_BYTES};
use crate::options::Section;
use crate::source::{Sources, Span};
use crate::syntax::Statement;
use crate::{glob, lexer, parser};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// How deep files may include files, as in DRBD 8.4.
const MAX_NESTING: usize = 10;
/// How many files one configuration may have.
const MAX_FILES: usize = 4096;

/// All that was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The statements of the file asked for and of what it includes, in the order in which they are
    /// met.
    pub(crate) statements: Vec<Statement>,
    /// The templates of resources, by the place of the word that names the file.
    pub(crate) templates: BTreeMap<Span, TemplateFile>,
    /// The statements of each template, read once however many resources name it.
    pub(crate) template_files: Vec<Vec<Statement>>,
}

/// A template of a resource.
#[derive(Clone, Debug)]
pub(crate) struct TemplateFile {
    /// Its real path, by which it is found from anywhere.
    pub(crate) path: PathBuf,
    /// Which of [`Read::template_files`] it is.
    pub(crate) index: usize,
}

/// Which files are read besides the one asked for, and which are not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidates<'a> {
    /// Read after everything else, as if they were included at the end.
    pub also: &'a [PathBuf],
    /// Left out where they would be included.
    pub without: &'a [PathBuf],
}

/// Reads a file and all that it includes.
///
/// # Errors
/// If the first file, or one that is to be read too, cannot be read: with its name. Anything else
/// is a diagnostic.
pub(crate) fn read_all(
    path: &Path,
    candidates: Candidates<'_>,
    loader: &dyn Loader,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Result<Read, (PathBuf, io::Error)> {
    // A file that is left out is taken for one that was read.
    let seen = candidates.without.iter().filter_map(|path| loader.real_path(path).ok()).collect();
    let (read, templates) = (Read::default(), BTreeMap::new());
    let mut reader = Reader { loader, sources, diagnostics, seen, templates, read };
    for path in std::iter::once(path).chain(candidates.also.iter().map(PathBuf::as_path)) {
        let failed = |error| (path.to_path_buf(), error);
        let real = loader.real_path(path).map_err(failed)?;
        let text = reader.text(path).map_err(failed)?;
        // What is asked for by name is read, but never twice.
        if reader.seen.insert(real) {
            reader.file(path, text, 0);
        }
    }
    Ok(reader.read)
}

struct Reader<'a> {
    loader: &'a dyn Loader,
    sources: &'a mut Sources,
    diagnostics: &'a mut Diagnostics,
    /// The real paths of the files that were read: none is read twice, so no circle has an end.
    seen: BTreeSet<PathBuf>,
    /// The templates that were read, by their real paths.
    templates: BTreeMap<PathBuf, usize>,
    read: Read,
}

impl Reader<'_> {
    fn text(&self, path: &Path) -> io::Result<String> {
        let bytes = self.loader.read(path)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let text = format!("longer than {MAX_FILE_BYTES} bytes, no configuration file");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
        })
    }

    /// The text of a file that another one names.
    fn named_text(&self, path: &Path) -> io::Result<String> {
        self.loader.check_regular(path)?;
        self.text(path)
    }

    fn file(&mut self, path: &Path, text: String, nesting: usize) {
        for statement in self.parse(path, text, Section::Top) {
            let is_include = statement.keyword.text == "include" && statement.block.is_none();
            match statement.arguments.as_slice() {
                [pattern] if is_include => {
                    let directory = path.parent().unwrap_or_else(|| Path::new(""));
                    let pattern_path = directory.join(&pattern.text);
                    self.include(&pattern_path, pattern.span, nesting + 1);
                }
                // Whatever else is wrong with it is found where all statements are checked.
                _ => {
                    self.template_of(path, &statement);
                    self.read.statements.push(statement);
                }
            }
        }
    }

    fn parse(&mut self, path: &Path, text: String, top: Section) -> Vec<Statement> {
        let length = text.len();
        let source = self.sources.add(path, text);
        let text = &self.sources.get(source).text;
        let tokens = lexer::tokens(source, text, self.diagnostics);
        let end = Span { source, start: length, end: length };
        parser::parse(&tokens, end, top, self.sources, self.diagnostics)
    }

    /// Reads the templates that a resource names.
    fn template_of(&mut self, path: &Path, resource: &Statement) {
        if resource.keyword.text != "resource" {
            return;
        }
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        for statement in resource.block.iter().flat_map(|block| &block.statements) {
            if let ("template-file", [name], None) =
                (statement.keyword.text.as_str(), statement.arguments.as_slice(), &statement.block)
            {
                let path = directory.join(&name.text);
                if let Some(file) = self.template(&path, name.span) {
                    self.read.templates.insert(name.span, file);
                }
            }
        }
    }

    fn template(&mut self, path: &Path, span: Span) -> Option<TemplateFile> {
        let real = self.loader.real_path(path);
        if let Ok(path) = &real
            && let Some(&index) = self.templates.get(path)
        {
            return Some(TemplateFile { path: path.clone(), index });
        }
        let read = real.and_then(|real| Ok((real, self.named_text(path)?)));
        let wrong = match read {
            Ok((real, text)) if self.templates.len() < MAX_FILES => {
                let statements = self.parse(path, text, Section::Template);
                let index = self.read.template_files.len();
                self.read.template_files.push(statements);
                self.templates.insert(real.clone(), index);
                return Some(TemplateFile { path: real, index });
            }
            Ok(_) => Diagnostic::error(span, "too many templates")
                .note(format!("at most {MAX_FILES} files")),
            Err(error) => {
                let text = format!("cannot read the template `{}`: {error}", path.display());
                Diagnostic::error(span, text)
                    .label("replaces `common` for this resource")
                    .help("the name is relative to the directory of this file")
            }
        };
        self.diagnostics.push(wrong);
        None
    }

    fn include(&mut self, pattern: &Path, span: Span, nesting: usize) {
        let is_glob = glob::is_pattern(&pattern.to_string_lossy());
        let matches = match is_glob {
            true => glob::expand(pattern, self.loader),
            false => vec![pattern.to_path_buf()],
        };
        for path in matches {
            if nesting > MAX_NESTING || self.seen.len() >= MAX_FILES {
                self.diagnostics.push(
                    Diagnostic::error(span, "too many included files")
                        .note(format!("at most {MAX_FILES} files, nested {MAX_NESTING} deep")),
                );
                return;
            }
            let real = self.loader.real_path(&path);
            if real.as_ref().is_ok_and(|real| self.seen.contains(real)) {
                continue;
            }
            match real.and_then(|real| Ok((real, self.named_text(&path)?))) {
                Ok((real, text)) => {
                    self.seen.insert(real);
                    self.file(&path, text, nesting);
                }
                Err(error) => {
                    let vanished = is_glob && error.kind() == io::ErrorKind::NotFound;
                    let severity = if vanished { Severity::Warning } else { Severity::Error };
                    let text = format!("cannot read `{}`: {error}", path.display());
                    let wrong = Diagnostic { severity, ..Diagnostic::error(span, text) };
                    let pattern = path.join("*");
                    self.diagnostics.push(match error.kind() {
                        io::ErrorKind::NotFound => wrong.help(
                            "the name is relative to the directory of this file; a pattern may \
                             match nothing, a name without `*`, `?`, `[` must exist",
                        ),
                        io::ErrorKind::IsADirectory => wrong.help(format!(
                            "for the files in it write {}",
                            lexer::quote(&pattern.to_string_lossy())
                        )),
                        _ => wrong,
                    });
                }
            }
        }
    }
}
