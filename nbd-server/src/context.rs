//! Meta contexts: what BLOCK_STATUS can tell of the blocks of an export.

use types::StatusMap;

/// One kind of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// Whether blocks are allocated and whether they read as zeros: flags [`StatusMap::HOLE`] and
    /// [`StatusMap::ZERO`], by the specification.
    Allocation,
    /// Whether the two nodes' copies of a block may differ: flag [`StatusMap::OUT_OF_SYNC`]. Ours.
    OutOfSync,
}

impl Context {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Allocation, Self::OutOfSync];

    /// What a client calls it, `namespace:leaf`. Namespaces that begin with `x-` are free for
    /// everybody by the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocation => "base:allocation",
            Self::OutOfSync => "x-repd:out-of-sync",
        }
    }

    /// The number that its extents are sent with. A client learns it when it selects the context.
    pub const fn id(self) -> u32 {
        match self {
            Self::Allocation => 1,
            Self::OutOfSync => 2,
        }
    }

    /// The context of that number.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|context| context.id() == id)
    }

    /// Whether a query of LIST_META_CONTEXT asks for it: by its name, or by its namespace alone.
    pub(crate) fn is_listed_by(self, query: &str) -> bool {
        let namespace = self.name().split_inclusive(':').next();
        query == self.name() || Some(query) == namespace
    }
}

/// A set of contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contexts {
    allocation: bool,
    out_of_sync: bool,
}

impl Contexts {
    /// Every context.
    pub const ALL: Self = Self { allocation: true, out_of_sync: true };

    /// Those that `wanted` says yes to.
    pub fn only(wanted: impl Fn(Context) -> bool) -> Self {
        Self { allocation: wanted(Context::Allocation), out_of_sync: wanted(Context::OutOfSync) }
    }

    /// Whether it is in the set.
    pub const fn contains(self, context: Context) -> bool {
        match context {
            Context::Allocation => self.allocation,
            Context::OutOfSync => self.out_of_sync,
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Those of the set, by their numbers.
    pub fn iter(self) -> impl Iterator<Item = Context> {
        Context::ALL.into_iter().filter(move |context| self.contains(*context))
    }
}

/// The status of the first part of a range, in one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extents {
    /// Whose flags these are.
    pub context: Context,
    /// Of the range, from its beginning; not of nothing.
    pub map: StatusMap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_alone_lists_its_contexts() {
        let listed = |query| Contexts::only(|context| context.is_listed_by(query));
        assert_eq!(listed("base:"), listed("base:allocation"));
        assert!(listed("base:").contains(Context::Allocation));
        assert!(listed("x-repd:").contains(Context::OutOfSync));
        for query in ["", ":", "base", "base:a", "base:allocation:", "qemu:", "x-repd:out-of-syn"] {
            assert!(listed(query).is_empty(), "{query}");
        }
    }

    #[test]
    fn a_number_means_one_context() {
        for context in Context::ALL {
            assert_eq!(Context::from_id(context.id()), Some(context));
        }
        assert_eq!(Context::from_id(0), None);
    }
}
