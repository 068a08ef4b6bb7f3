//! Patterns of file names: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`, for each part of a path.

use crate::loader::Loader;
use std::path::{Component, Path, PathBuf};

/// The most paths that one pattern may match.
const MAX_MATCHES: usize = 8192;

/// Whether a name has a character with a meaning to patterns.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The paths that match, sorted by each directory's names. What cannot be read matches nothing.
pub(crate) fn expand(pattern: &Path, loader: &dyn Loader) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !is_pattern(&part) {
            paths.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let mut next = Vec::new();
        for path in paths {
            let directory = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
            let mut names = loader.list(directory).unwrap_or_default();
            // As in a shell, a pattern matches hidden names only if it begins with the dot itself.
            names.retain(|name| {
                (!name.starts_with('.') || part.starts_with('.')) && matches_name(&part, name)
            });
            names.sort_unstable();
            next.extend(names.iter().map(|name| path.join(name)));
            next.truncate(MAX_MATCHES);
        }
        paths = next;
    }
    paths
}

/// Whether a pattern matches a whole name. Takes time in proportion to the product of the lengths.
pub(crate) fn matches_name(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on if it fails: after the last `*`, one character further in the name.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            p += 1;
            retry = Some((p, n));
            continue;
        }
        if n == name.len() {
            return p == pattern.len();
        }
        if let Some(width) = matches_one(&pattern[p..], name[n]) {
            (p, n) = (p + width, n + 1);
        } else if let Some((star, tried)) = retry {
            retry = Some((star, tried + 1));
            (p, n) = (star, tried + 1);
        } else {
            return false;
        }
    }
}

/// How many characters of the pattern match the character `c`; `None` if they do not.
fn matches_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            // A `]` right at the start is a member; a `[` that is never closed is itself.
            let negated = matches!(pattern.get(1), Some('!' | '^'));
            let first = if negated { 2 } else { 1 };
            let Some(last) = (first + 1..pattern.len()).find(|&at| pattern[at] == ']') else {
                return (c == '[').then_some(1);
            };
            (in_set(&pattern[first..last], c) != negated).then_some(last + 1)
        }
        &other => (other == c).then_some(1),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        if let (Some('-'), Some(&last)) = (set.get(at + 1), set.get(at + 2)) {
            if (set[at]..=last).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if set[at] == c {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*.res", "r0.res"),
            ("*", ""),
            ("a*b*c", "axxbyybzc"),
            ("r?.res", "r7.res"),
            ("r[0-9].res", "r5.res"),
            ("r[!0-9]", "rx"),
            ("[]x]", "]"),
            ("a[b", "a[b"),
        ] {
            assert!(matches_name(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.res", "r0.res~"), ("r?", "r"), ("r[0-9]", "rx"), ("", "a"), ("a*b", "a")]
        {
            assert!(!matches_name(pattern, name), "{pattern} {name}");
        }
    }
}
