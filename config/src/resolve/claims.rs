//! What only one volume or resource can have: addresses, minors, devices, disks.

use crate::diagnostic::Diagnostic;
use crate::model::same_host;
use crate::source::Span;
use std::collections::{BTreeMap, BTreeSet};

/// What was taken so far, and where.
#[derive(Default)]
pub(super) struct Claims {
    taken: BTreeMap<String, Vec<Claim>>,
    /// Pairs of places that were reported: a device and its minor are one mistake.
    reported: BTreeSet<(Span, Span)>,
}

struct Claim {
    /// The host that it is taken on; the other hosts may have the same.
    host: String,
    resource: String,
    span: Span,
}

/// A path without `.`, `..` and doubled `/`, as far as that is known without the file system.
pub(super) fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Claims {
    /// Takes `what` on a host, or says who has it.
    pub(super) fn claim(
        &mut self,
        what: String,
        host: &str,
        resource: &str,
        span: Span,
    ) -> Option<Diagnostic> {
        let claims = self.taken.entry(what.clone()).or_default();
        let first = claims.iter().find(|claim| same_host(&claim.host, host));
        let clash = first.filter(|first| self.reported.insert((first.span, span))).map(|first| {
            Diagnostic::error(span, format!("{what} is used twice on `{host}`"))
                .label(format!("by `{resource}` here"))
                .related(first.span, format!("by `{}` here", first.resource))
                .note("on one host a minor, device or disk is of one volume, an address of one resource")
        });
        if first.is_none() {
            claims.push(Claim { host: host.to_owned(), resource: resource.to_owned(), span });
        }
        clash
    }
}
