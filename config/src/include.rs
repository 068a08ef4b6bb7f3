//! `include "PATTERN";`: from the file asked for to the statements of all files.

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::loader::{Loader, MAX_FILE_BYTES};
use crate::source::{Sources, Span};
use crate::syntax::Statement;
use crate::{glob, lexer, parser};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// How deep files may include files, as in DRBD 8.4.
const MAX_NESTING: usize = 10;
/// How many files one configuration may have.
const MAX_FILES: usize = 4096;

/// Reads a file and all that it includes; statements come in the order in which they are met.
///
/// # Errors
/// If the first file cannot be read. Anything else is a diagnostic.
pub(crate) fn read_all(
    path: &Path,
    loader: &dyn Loader,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> io::Result<Vec<Statement>> {
    let mut reader =
        Reader { loader, sources, diagnostics, seen: BTreeSet::new(), statements: Vec::new() };
    let real = loader.real_path(path)?;
    let text = reader.text(path)?;
    reader.seen.insert(real);
    reader.file(path, text, 0);
    Ok(reader.statements)
}

struct Reader<'a> {
    loader: &'a dyn Loader,
    sources: &'a mut Sources,
    diagnostics: &'a mut Diagnostics,
    /// The real paths of the files that were read: none is read twice, so no circle has an end.
    seen: BTreeSet<PathBuf>,
    statements: Vec<Statement>,
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

    fn file(&mut self, path: &Path, text: String, nesting: usize) {
        let length = text.len();
        let source = self.sources.add(path, text);
        let text = &self.sources.get(source).text;
        let tokens = lexer::tokens(source, text, self.diagnostics);
        let end = Span { source, start: length, end: length };
        for statement in parser::parse(&tokens, end, self.sources, self.diagnostics) {
            let is_include = statement.keyword.text == "include" && statement.block.is_none();
            match statement.arguments.as_slice() {
                [pattern] if is_include => {
                    let directory = path.parent().unwrap_or_else(|| Path::new(""));
                    let pattern_path = directory.join(&pattern.text);
                    self.include(&pattern_path, pattern.span, nesting + 1);
                }
                // Whatever else is wrong with it is found where all statements are checked.
                _ => self.statements.push(statement),
            }
        }
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
            match real.and_then(|real| Ok((real, self.text(&path)?))) {
                Ok((real, text)) => {
                    self.seen.insert(real);
                    self.file(&path, text, nesting);
                }
                Err(error) => {
                    let vanished = is_glob && error.kind() == io::ErrorKind::NotFound;
                    let severity = if vanished { Severity::Warning } else { Severity::Error };
                    let text = format!("cannot read `{}`: {error}", path.display());
                    let wrong = Diagnostic { severity, ..Diagnostic::error(span, text) };
                    self.diagnostics.push(wrong.help(
                        "the name is relative to the directory of this file; a pattern may match \
                         nothing, a name without `*`, `?`, `[` must exist",
                    ));
                }
            }
        }
    }
}
