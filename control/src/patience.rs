//! How long a wait for the peer may last.

use serde::{Deserialize, Serialize};
use types::Span;

/// What `startup { … }` of a resource, or a command line, says of waiting. A time of `None` is for
/// ever. Which of the three times counts is for the daemon to say: it knows what its disks told when
/// they were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Patience {
    /// `wfc-timeout`: for an ordinary start.
    pub wfc_timeout: Option<Span>,
    /// `degr-wfc-timeout`: this node was alone already when it went down.
    pub degr_wfc_timeout: Option<Span>,
    /// `outdated-wfc-timeout`: the peer's data is known to be Outdated.
    pub outdated_wfc_timeout: Option<Span>,
    /// `wait-after-sb`: a split brain does not end the wait.
    pub wait_after_sb: bool,
}

/// Which of the times counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Circumstance {
    /// Nothing is known that would make the peer less likely to come.
    Ordinary,
    /// This node was alone already when it went down.
    Degraded,
    /// The peer's data is known to be Outdated.
    Outdated,
}

/// How long a wait lasts, and why so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WaitLimit {
    /// What the time goes by.
    pub circumstance: Circumstance,
    /// The time; `None` is for ever.
    pub limit: Option<Span>,
}

impl Patience {
    /// So long at most, whatever the circumstances.
    pub fn of(limit: Option<Span>) -> Self {
        Self { wfc_timeout: limit, ..Self::default() }
    }

    /// The time that counts. A peer that is less likely to come is waited for no longer than one
    /// that is more likely to: each time is bounded by the one before it, as DRBD's tools have it.
    pub fn limit(&self, circumstance: Circumstance) -> WaitLimit {
        let degraded = shorter(self.wfc_timeout, self.degr_wfc_timeout);
        let limit = match circumstance {
            Circumstance::Ordinary => self.wfc_timeout,
            Circumstance::Degraded => degraded,
            Circumstance::Outdated => shorter(degraded, self.outdated_wfc_timeout),
        };
        WaitLimit { circumstance, limit }
    }
}

impl Circumstance {
    /// The name of the option that its time is.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Ordinary => "wfc-timeout",
            Self::Degraded => "degr-wfc-timeout",
            Self::Outdated => "outdated-wfc-timeout",
        }
    }
}

fn shorter(one: Option<Span>, other: Option<Span>) -> Option<Span> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_likely_the_peer_the_shorter_the_wait() {
        use Circumstance::{Degraded, Ordinary, Outdated};
        let seconds = |n: u64| Some(n).filter(|n| *n > 0).map(Span::secs);
        // Zero is for ever. What each is set to, and what counts in each circumstance.
        for (set, counts) in [
            ([0, 0, 0], [0, 0, 0]),
            ([30, 0, 0], [30, 30, 30]),
            ([0, 10, 0], [0, 10, 10]),
            ([0, 0, 5], [0, 0, 5]),
            ([30, 10, 5], [30, 10, 5]),
            ([30, 60, 90], [30, 30, 30]),
            ([30, 10, 20], [30, 10, 10]),
        ] {
            let [wfc_timeout, degr_wfc_timeout, outdated_wfc_timeout] = set.map(seconds);
            let patience = Patience {
                wfc_timeout,
                degr_wfc_timeout,
                outdated_wfc_timeout,
                wait_after_sb: false,
            };
            let limits = [Ordinary, Degraded, Outdated].map(|at| patience.limit(at).limit);
            assert_eq!(limits, counts.map(seconds), "{set:?}");
        }
    }
}
