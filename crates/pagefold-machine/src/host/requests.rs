//! What a CPU has been asked to forget since it last looked.

use pagefold::addr::AddrRange;
use pagefold::platform::FlushKind;

use super::tlb::Tlb;

const RANGES: usize = 8;

/// Ranges to forget; everything, once there are too many.
#[derive(Clone, Copy)]
pub(super) struct Requests {
    ranges: [Option<(AddrRange, FlushKind)>; RANGES],
    everything: Option<FlushKind>,
}

impl Requests {
    /// Nothing to forget.
    pub(super) const NONE: Self = Self {
        ranges: [None; RANGES],
        everything: None,
    };

    /// One range more.
    pub(super) fn add(&mut self, range: AddrRange, kind: FlushKind) {
        if self.ranges.contains(&Some((range, kind))) {
            return;
        }
        match self.ranges.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some((range, kind)),
            None => self.everything = Some(self.everything.map_or(kind, |old| both(old, kind))),
        }
    }

    /// Forgets.
    pub(super) fn apply(&self, tlb: &mut Tlb) {
        if let Some(kind) = self.everything {
            let kinds = self.ranges.iter().flatten().map(|&(_, kind)| kind);
            tlb.forget_everything(kinds.fold(kind, both));
            return;
        }
        for (range, kind) in self.ranges.iter().flatten() {
            tlb.forget(*range, *kind);
        }
    }
}

fn both(a: FlushKind, b: FlushKind) -> FlushKind {
    match (a, b) {
        (FlushKind::Leaves, FlushKind::Leaves) => FlushKind::Leaves,
        _ => FlushKind::LeavesAndTables,
    }
}
