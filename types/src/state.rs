//! The states of DRBD, with its spelling, which is what operators' scripts match.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An enum whose variants print as they are spelled, and parse back.
macro_rules! spelled {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant = $number,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it, as DRBD spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// Its number on the wire and on disk.
            pub const fn to_u8(self) -> u8 {
                self as u8
            }

            /// The value of that number, if there is one.
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word).ok_or(())
            }
        }
    };
}

spelled! {
    /// Who may write: a property of a resource on a node.
    pub enum Role {
        /// Nothing is known of that node.
        Unknown = 0,
        /// Does not serve its device; receives the writes of the other.
        Secondary = 1,
        /// Serves its device to clients. Both nodes may be Primary.
        Primary = 2,
    }
}

spelled! {
    /// What a copy of a volume is worth, from nothing to everything: the order is by worth.
    pub enum DiskState {
        /// No disk is attached.
        Diskless = 0,
        /// The metadata is being read.
        Attaching = 1,
        /// The disk is being let go by order.
        Detaching = 2,
        /// An I/O error was seen; the disk is being let go.
        Failed = 3,
        /// Attached while connected; the handshake decides what it is.
        Negotiating = 4,
        /// Partly synchronised: of no use to an application.
        Inconsistent = 5,
        /// Consistent, and known to be old.
        Outdated = 6,
        /// Nothing is known of that disk (only ever said of the peer's).
        DUnknown = 7,
        /// Consistent; whether it is the newest is not known without the peer.
        Consistent = 8,
        /// Usable.
        UpToDate = 9,
    }
}

spelled! {
    /// The state of the link to the peer, with the names of DRBD 9.
    pub enum ConnectionState {
        /// No connection, and none is sought until `connect`.
        StandAlone = 0,
        /// Being taken down by order.
        Disconnecting = 1,
        /// Between two attempts.
        Unconnected = 2,
        /// The last connection ended because the peer did not answer in time.
        Timeout = 3,
        /// The last connection ended while sending.
        BrokenPipe = 4,
        /// The last connection was lost.
        NetworkFailure = 5,
        /// The last connection ended over a message that broke the protocol.
        ProtocolError = 6,
        /// The peer said good-bye.
        TearDown = 7,
        /// Seeking the peer, or in the handshake with it.
        Connecting = 8,
        /// The handshake is done and the verdict is taken.
        Connected = 9,
    }
}

spelled! {
    /// The state of replication of one volume, with the names of DRBD 9.
    pub enum ReplicationState {
        /// Not connected.
        Off = 0,
        /// Connected, and nothing more to do: writes are mirrored.
        Established = 1,
        /// A full resync is being prepared, this node is its source.
        StartingSyncS = 2,
        /// A full resync is being prepared, this node is its target.
        StartingSyncT = 3,
        /// Exchanging bitmaps, source.
        WFBitMapS = 4,
        /// Exchanging bitmaps, target.
        WFBitMapT = 5,
        /// The target waits for the generation of the resync.
        WFSyncUUID = 6,
        /// This node's data is being copied to the peer.
        SyncSource = 7,
        /// The peer's data is being copied here.
        SyncTarget = 8,
        /// Online verify, asked for here.
        VerifyS = 9,
        /// Online verify, asked for by the peer.
        VerifyT = 10,
        /// A resync is suspended, source.
        PausedSyncS = 11,
        /// A resync is suspended, target.
        PausedSyncT = 12,
        /// Not replicating because of congestion; the peer is Behind.
        Ahead = 13,
        /// Not replicated to, because of congestion at the peer.
        Behind = 14,
    }
}

spelled! {
    /// When a write is answered.
    pub enum Protocol {
        /// Written here, and queued for the peer.
        A = 1,
        /// Written here, and received by the peer.
        B = 2,
        /// Written here and by the peer.
        C = 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_come_back() {
        for &state in DiskState::ALL {
            assert_eq!(DiskState::from_u8(state.to_u8()), Some(state));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!(ReplicationState::from_u8(99), None);
        assert_eq!("established".parse::<ReplicationState>(), Err(()));
        assert!(DiskState::Inconsistent < DiskState::Outdated);
    }
}
