//! Coverage marks: what a run of many seeds must have reached to be worth anything.

use metadata::Rule;

macro_rules! marks {
    ($($(#[$meta:meta])* $name:ident = $words:literal,)+) => {
        /// Something that a world can go through.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark { $($(#[$meta])* #[doc = $words] $name,)+ }

        impl Mark {
            /// Every mark.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What it says.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

marks! {
    Resumed = "session resumed",
    Resent = "writes sent again on resume",
    AnswersRepeated = "answers repeated on resume",
    ResumedInResync = "session resumed while a resync ran",
    Conflict = "concurrent writes on both nodes",
    Superseded = "a write answered as superseded",
    HeldRead = "a read's answer held until the peer settled",
    HeldMap = "a map of zeros held until the peer settled",
    Zeros = "zeros reported by a map",
    NoMap = "a map of what the disk does not have",
    MarksShown = "blocks reported as out-of-sync",
    RemoteRead = "a read served by the peer",
    ResyncDone = "a resync by bitmap ended",
    ResyncInterrupted = "a resync interrupted",
    WriteInResync = "a client's write while a resync ran",
    FullSync = "a full sync ended",
    Solo = "a new generation for a solo write",
    ColdExtent = "more extents written than the log holds",
    SplitBrain = "split brain found",
    NoDivergence = "partition without a solo write, and no split brain",
    Killed = "a process killed",
    PowerCut = "the power of a node cut",
    SectorsLost = "unflushed sectors lost",
    DeathBetweenEffects = "death between two effects of one step",
    DeathInHandshake = "death during a handshake",
    DeathInRecovery = "death while metadata was recovered",
    DeathInResync = "death during a resync",
    CrashMarked = "blocks marked from the log after a crash",
    Fenced = "a lost peer shot by fence-peer",
    FencedLate = "a peer shot by fence-peer that was back",
    NotFenced = "a fence-peer that did not fence",
    Reset = "a link reset",
    HalfOpen = "a link silent in one direction",
    Silent = "a link silent in both directions",
    Stalled = "a link stalled and went on",
    Unplugged = "both nodes without any link for a while, and told so",
    Partition = "both nodes without any link for long",
    BothDialled = "both nodes dialled at once",
    Refused = "a connection refused by a machine without its daemon",
    Paused = "a process paused",
    Stopped = "a node stopped in order and started again",
    Failover = "the Secondary promoted after the Primary's death",
    RolesSwapped = "the Primary demoted and the other promoted",
    DemoteRefused = "demotion refused while clients were there",
    SecondPrimaryRefused = "a second Primary refused",
    OptionsChanged = "options changed while a node ran",
    OptionsRefused = "two Primaries not forbidden while there were two",
    NotThawed = "frozen I/O not thawed by other options",
    PromotedInResync = "a target of a resync became Primary",
    Disconnected = "disconnected by order",
    VerifyDone = "a verify ended",
    VerifyInterrupted = "a verify interrupted",
    VerifyAgain = "blocks looked at again under a verify's lock",
    VerifyConflict = "concurrent writes while a verify ran",
    VerifyResumed = "a verify went on after a broken link",
    VerifyRefused = "a verify refused",
    PartialBlock = "a write of less than a block",
    CrossExtent = "a write across two extents",
    Fua = "a write with FUA",
    Flush = "a flush answered",
    Unmap = "a trim",
    BothUnclean = "both nodes crashed before either was back",
    TornUnit = "disks of unequal granule",
    DiskFailed = "a disk failed and was let go",
    DiskDetached = "a disk detached by order",
    DiskBack = "a disk given back to a running engine",
    DiskBackBad = "a disk given back that still fails",
    PrimaryDiskless = "a Primary without its disk",
    SameAlready = "a block that a resync found to be the same",
    SyncPaused = "a resync paused by order",
    Invalidated = "a copy given up by order",
    PrimaryInvalidated = "the copy of a Primary given up by order",
    InvalidatedRemote = "the peer's copy given up by order",
    DeathAfterInvalidate = "the power of the other cut when a copy was given up",
    InvalidateRefused = "an order to give a copy up refused",
    Moved = "metadata moved to the end of a disk that has grown",
    MovedAtStart = "the same at a start",
    Resized = "a volume grown on both nodes",
    ResizeRefused = "a resize refused",
    DeathInResize = "death while a volume grows",
    NewPartCopied = "the new part of a volume copied",
    ConflictInNew = "concurrent writes in the new part of a volume",
    AnsweredQueued = "a write answered before the peer had received it",
    AnsweredReceived = "a write answered before the peer had written it",
    LostInFailover = "an answered write lost when the peer took over",
    PulledAhead = "the peer left behind a congested link",
    CaughtUp = "the peer brought back after congestion",
    TakenOver = "the Secondary promoted while the Primary went on unseen",
}

impl std::str::FromStr for Mark {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let mut all = Self::ALL.iter().copied();
        all.find(|mark| mark.words() == words).ok_or_else(|| format!("no mark says `{words}`"))
    }
}

/// How often each mark was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    counts: Vec<u64>,
    /// How often each rule of the verdict decided.
    rules: Vec<u64>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { counts: vec![0; Mark::ALL.len()], rules: vec![0; Rule::ALL.len()] }
    }
}

impl Marks {
    /// It was reached once more.
    pub fn hit(&mut self, mark: Mark) {
        self.counts[mark as usize] += 1;
    }

    /// A rule has given a verdict.
    pub fn hit_rule(&mut self, rule: Rule) {
        self.rules[rule as usize] += 1;
    }

    /// How often a rule gave a verdict.
    pub fn rule(&self, rule: Rule) -> u64 {
        self.rules[rule as usize]
    }

    /// How often it was reached.
    pub fn count(&self, mark: Mark) -> u64 {
        self.counts[mark as usize]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        for (mine, theirs) in self.rules.iter_mut().zip(&other.rules) {
            *mine += theirs;
        }
    }

    /// The marks that were not reached.
    pub fn missing(&self) -> impl Iterator<Item = Mark> + '_ {
        Mark::ALL.iter().copied().filter(|&mark| self.count(mark) == 0)
    }
}
