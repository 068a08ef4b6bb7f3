//! Block status: what is known of a range of a volume, run by run.

/// A run of a [`StatusMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRun {
    /// Its length in bytes, never zero.
    pub len: u64,
    /// What is known of it, in the flags of the map's kind.
    pub flags: u32,
}

/// What is known of a range, in runs that follow one another from its first byte. Which flags a
/// run may have depends on what was asked for: allocation ([`Self::HOLE`], [`Self::ZERO`]) or what
/// is [out-of-sync](Self::OUT_OF_SYNC).
///
/// No run is empty, and neighbours differ. The map may end before its range does, as it has at most
/// [`Self::RUNS_MAX`] runs, but never covers nothing of a range that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusMap {
    runs: Vec<StatusRun>,
}

impl StatusMap {
    /// Data, or nothing is known: NBD's status 0 of `base:allocation`.
    pub const DATA: u32 = 0;
    /// No space is taken on the disk: `NBD_STATE_HOLE` of `base:allocation`.
    pub const HOLE: u32 = 1;
    /// It reads as zeros: `NBD_STATE_ZERO` of `base:allocation`.
    pub const ZERO: u32 = 2;
    /// It may differ from the peer's copy.
    pub const OUT_OF_SYNC: u32 = 1;

    /// The most runs of a map. Our own choice: 12 KiB encoded, and a client asks again for the
    /// rest.
    pub const RUNS_MAX: usize = 1024;

    /// What [`Self::encode`] makes of a run, in bytes.
    const RUN_BYTES: usize = 12;

    /// A map of nothing.
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// A map of one run; of nothing if it is empty.
    pub fn of(len: u64, flags: u32) -> Self {
        let mut map = Self::new();
        map.push(len, flags);
        map
    }

    /// Adds a run behind the others, or makes the last one longer if it has the same flags. False
    /// if there is no room: then the map ends here, and nothing more is to be added.
    pub fn push(&mut self, len: u64, flags: u32) -> bool {
        let is_full = self.runs.len() == Self::RUNS_MAX;
        match self.runs.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.flags == flags => last.len += len,
            _ if is_full => return false,
            _ => self.runs.push(StatusRun { len, flags }),
        }
        true
    }

    /// The runs, in order.
    pub fn runs(&self) -> &[StatusRun] {
        &self.runs
    }

    /// How many bytes it speaks of.
    pub fn covered(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// The same map as bytes, to travel where the data of a read does.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = |run: &StatusRun| {
            let (len, flags) = (run.len.to_le_bytes(), run.flags.to_le_bytes());
            len.into_iter().chain(flags)
        };
        self.runs.iter().flat_map(bytes).collect()
    }

    /// The map that was made into these bytes; none if they are not those of a map.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (runs, rest) = bytes.as_chunks::<{ Self::RUN_BYTES }>();
        let mut map = Self::new();
        let mut covered = 0u64;
        for run in runs {
            let (len, flags) = run.split_first_chunk::<8>()?;
            let (len, flags) =
                (u64::from_le_bytes(*len), u32::from_le_bytes(flags.try_into().ok()?));
            covered = covered.checked_add(len)?;
            let joins = map.runs.last().is_some_and(|last| last.flags == flags);
            if len == 0 || joins || !map.push(len, flags) {
                return None;
            }
        }
        rest.is_empty().then_some(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one_run_and_none_is_empty() {
        let mut map = StatusMap::of(0, StatusMap::HOLE);
        assert_eq!(map, StatusMap::new());
        for (len, flags) in [(5, 0), (0, 3), (7, 0), (1, 3), (2, 3), (0, 0), (4, 0)] {
            assert!(map.push(len, flags));
        }
        let runs: Vec<_> = map.runs().iter().map(|run| (run.len, run.flags)).collect();
        assert_eq!(runs, [(12, 0), (3, 3), (4, 0)]);
        assert_eq!(map.covered(), 19);
    }

    #[test]
    fn a_map_that_is_full_ends_there() {
        let mut map = StatusMap::new();
        for at in 0..StatusMap::RUNS_MAX {
            assert!(map.push(1, (at % 2) as u32));
        }
        assert!(map.push(1, 1), "the last run may grow");
        assert!(!map.push(1, 0));
        assert_eq!(map.runs().len(), StatusMap::RUNS_MAX);
        assert_eq!(StatusMap::decode(&map.encode()), Some(map));
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let encode = |runs: &[(u64, u32)]| {
            let runs = runs.iter().map(|&(len, flags)| StatusRun { len, flags }).collect();
            StatusMap { runs }.encode()
        };
        assert_eq!(StatusMap::decode(&[]), Some(StatusMap::new()));
        assert!(StatusMap::decode(&encode(&[(4096, 0), (1, 3)])).is_some());
        assert_eq!(StatusMap::decode(&encode(&[(4096, 0)])[..11]), None, "a part of a run");
        assert_eq!(StatusMap::decode(&encode(&[(4096, 0), (0, 3)])), None, "an empty run");
        assert_eq!(StatusMap::decode(&encode(&[(1, 3), (1, 3)])), None, "equal neighbours");
        assert_eq!(StatusMap::decode(&encode(&[(u64::MAX, 3), (1, 0)])), None, "too long");
        let many: Vec<_> = (0..=StatusMap::RUNS_MAX).map(|at| (1, (at % 2) as u32)).collect();
        assert_eq!(StatusMap::decode(&encode(&many)), None, "too many runs");
    }
}
