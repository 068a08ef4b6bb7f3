//! What this crate asks of the daemon: which exports there are, and whether one may be used.

use crate::context::Contexts;
use crate::negotiate::TEXT_MAX;
use crate::proto::transmission;
use crate::reply::Replies;
use types::{BLOCK_BYTES, MAX_REQUEST_BYTES};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// What the client is called in logs.
    pub peer: &'a str,
    /// Whether it asks within TLS.
    pub is_tls: bool,
    /// Whether it could: where it cannot, it must not be told to.
    pub may_tls: bool,
}

/// The exports of a daemon. Asked on the thread that negotiates.
pub trait Exports {
    /// For LIST: each volume once, as far as this client may know of it.
    fn list(&self, session: Session<'_>) -> Vec<ExportInfo>;

    /// For INFO: what GO would answer, without opening anything.
    fn find(&self, name: &str, session: Session<'_>) -> Result<ExportInfo, Refusal>;

    /// For GO and EXPORT_NAME. May wait, for example until a resource is restored; the daemon
    /// bounds the wait. It is dropped when the client hangs up meanwhile, and a client may still
    /// vanish before the transmission phase: what must be released belongs to the connection that
    /// [`crate::Negotiated`] starts, not to this call.
    fn open(
        &self,
        name: &str,
        session: Session<'_>,
    ) -> impl Future<Output = Result<ExportInfo, Refusal>>;
}

/// One export as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportInfo {
    /// Canonical name, at most [`ExportInfo::NAME_MAX`] bytes.
    pub name: String,
    /// For people; cut where the protocol's limits ask for it.
    pub description: String,
    /// Bytes, below 2^63 and a multiple of `min_block`.
    pub size: u64,
    /// Writes are answered with EPERM.
    pub read_only: bool,
    /// The disk behind it rotates.
    pub rotational: bool,
    /// Offsets and lengths must be multiples of it. A power of two, at most 64 KiB. The Linux
    /// driver never asks for it, so anything but 1 makes it fail.
    pub min_block: u32,
    /// Best granule of requests: a power of two, at least 512 and `min_block`.
    pub preferred_block: u32,
    /// Longest READ or WRITE in bytes: a multiple of `min_block`, not less than `preferred_block`.
    pub max_payload: u32,
}

impl ExportInfo {
    /// Longest name of an export of ours, in bytes: what the specification recommends to support.
    pub const NAME_MAX: usize = 256;

    /// A writable export that takes single bytes, prefers whole blocks, and requests of up to
    /// [`MAX_REQUEST_BYTES`].
    pub fn new(name: impl Into<String>, size: u64) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            size,
            read_only: false,
            rotational: false,
            min_block: 1,
            preferred_block: BLOCK_BYTES as u32,
            max_payload: MAX_REQUEST_BYTES as u32,
        }
    }

    /// The transmission flags that this export is announced with, bits of [`transmission`].
    /// Some go with what was agreed on before.
    pub fn transmission_flags(&self, replies: Replies, contexts: Contexts) -> u16 {
        use transmission::{
            BLOCK_STATUS_PAYLOAD, CAN_MULTI_CONN, HAS_FLAGS, READ_ONLY, ROTATIONAL, SEND_CACHE,
            SEND_DF, SEND_FAST_ZERO, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES,
        };
        let mut flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_CACHE | CAN_MULTI_CONN;
        flags |= match self.read_only {
            true => READ_ONLY,
            false => SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO,
        };
        flags |= match replies {
            Replies::Simple => 0,
            Replies::Structured => SEND_DF,
            Replies::Extended if contexts.is_empty() => SEND_DF,
            Replies::Extended => SEND_DF | BLOCK_STATUS_PAYLOAD,
        };
        if self.rotational {
            flags |= ROTATIONAL;
        }
        flags
    }

    /// # Panics
    /// If a field breaks a rule that clients rely on: only a mistake of the daemon can do that.
    pub(crate) fn assert_valid(&self) {
        let Self { name, size, min_block, preferred_block, max_payload, .. } = self;
        assert!(
            name.len() <= Self::NAME_MAX && !name.contains('\0'),
            "name of an export has {} bytes or a NUL, at most {} are allowed",
            name.len(),
            Self::NAME_MAX
        );
        assert!(*size < 1 << 63, "{name}: size {size} is not below 2^63");
        assert!(
            min_block.is_power_of_two() && *min_block <= 64 << 10,
            "{name}: minimum block {min_block} is not a power of two up to 64 KiB"
        );
        assert!(
            preferred_block.is_power_of_two() && preferred_block >= min_block.max(&512),
            "{name}: preferred block {preferred_block} is not a power of two from 512 and {min_block}"
        );
        assert!(
            max_payload >= preferred_block && max_payload.is_multiple_of(*min_block),
            "{name}: maximum payload {max_payload} is below {preferred_block} or no multiple of {min_block}"
        );
        assert!(
            size.is_multiple_of(u64::from(*min_block)),
            "{name}: size {size} is no multiple of the minimum block {min_block}"
        );
    }
}

/// Why an export is not given. The text is shown by the client to its user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no export of that name.
    #[error("there is no export of that name here; LIST names them")]
    Unknown,
    /// It exists and must not be used now, for example because this node is Secondary. Says why
    /// and which command changes it.
    #[error("{0}")]
    Policy(String),
    /// The daemon or the resource is going down.
    #[error("{0}")]
    Shutdown(String),
    /// What is asked for is told within TLS only: whether it exists stays unsaid.
    #[error("begin TLS first")]
    TlsRequired,
}

/// `text` cut to at most `max` bytes, at a character.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max.min(TEXT_MAX))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_what_the_export_can_do() {
        let mut export = ExportInfo::new("r0/0", 1 << 20);
        let none = Contexts::default();
        assert_eq!(export.transmission_flags(Replies::Simple, none), 0xd6d);
        assert_eq!(export.transmission_flags(Replies::Structured, Contexts::ALL), 0xded);
        assert_eq!(export.transmission_flags(Replies::Extended, none), 0xded);
        assert_eq!(export.transmission_flags(Replies::Extended, Contexts::ALL), 0x1ded);
        export.rotational = true;
        assert_eq!(export.transmission_flags(Replies::Simple, none), 0xd7d);
        export.read_only = true;
        assert_eq!(export.transmission_flags(Replies::Simple, none), 0x51f);
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("añb", 30), "añb");
        assert!(cut(&"x".repeat(9000), 9000).len() < 4096);
    }

    #[test]
    #[should_panic(expected = "no multiple of the minimum block")]
    fn a_size_that_clients_would_refuse_is_our_mistake() {
        ExportInfo { min_block: 512, ..ExportInfo::new("r0/0", 1000) }.assert_valid();
    }
}
