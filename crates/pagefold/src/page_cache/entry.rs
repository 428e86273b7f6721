//! What a slot of the page cache holds, as a word.

use core::fmt;

use crate::addr::Pfn;
use crate::folio::Folio;

/// What a slot of the page cache holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A hole: nothing is cached.
    None,
    /// The folio that caches the index.
    Folio(Folio),
    /// Nothing is cached; the content is in this swap slot.
    Swap(u64),
    /// Look again later: the slot is changing (Linux: `XA_RETRY_ENTRY`). Neither a page nor a hole.
    Retry,
    /// In the root: a node with the slots of the range.
    Node(Pfn),
}

const RETRY: u64 = 1;
const NODE: u64 = 2;
const SWAP: u64 = 3;
const TAG: u64 = 3;

impl Entry {
    /// The entry that a word of a root or node holds.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Self::None,
            RETRY => Self::Retry,
            _ if bits & TAG == SWAP => Self::Swap(bits >> 2),
            _ if bits & TAG == NODE => Self::Node(Pfn(bits >> 2)),
            _ => Self::Folio(Folio(Pfn(bits >> 2))),
        }
    }

    pub(super) const fn bits(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Retry => RETRY,
            Self::Swap(slot) => slot << 2 | SWAP,
            Self::Node(pfn) => pfn.0 << 2 | NODE,
            Self::Folio(folio) => folio.0.0 << 2,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Retry => f.write_str("RETRY"),
            Self::Swap(slot) => write!(f, "swap slot {slot}"),
            Self::Node(pfn) => write!(f, "node {}", pfn.0),
            Self::Folio(folio) => write!(f, "frame {}", folio.0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_their_encoding() {
        for entry in [
            Entry::None,
            Entry::Retry,
            Entry::Swap(0),
            Entry::Swap(7),
            Entry::Node(Pfn(7)),
            Entry::Folio(Folio(Pfn(7))),
        ] {
            assert_eq!(Entry::from_bits(entry.bits()), entry);
        }
    }
}
