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
    /// The host that it is taken on; `None` on every host.
    host: Option<String>,
    resource: String,
    span: Span,
}

impl Claims {
    /// Takes `what` on a host, or says who has it.
    pub(super) fn claim(
        &mut self,
        what: String,
        host: Option<&str>,
        resource: &str,
        span: Span,
    ) -> Option<Diagnostic> {
        let claims = self.taken.entry(what.clone()).or_default();
        let clashes = |claim: &&Claim| match (&claim.host, host) {
            (Some(one), Some(other)) => same_host(one, other),
            _ => true,
        };
        // What a resource says once for both its hosts is claimed by each of them.
        let first = claims.iter().find(clashes);
        let place = host.map_or(String::new(), |host| format!(" on `{host}`"));
        let clash = first.filter(|first| self.reported.insert((first.span, span))).map(|first| {
            Diagnostic::error(span, format!("{what} is used twice{place}"))
                .label(format!("by `{resource}` here"))
                .related(first.span, format!("by `{}` here", first.resource))
        });
        if first.is_none() {
            let host = host.map(str::to_owned);
            claims.push(Claim { host, resource: resource.to_owned(), span });
        }
        clash
    }
}
