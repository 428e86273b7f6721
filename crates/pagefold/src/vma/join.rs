//! Joining VMAs that have become alike (Linux: `vma_merge`).
//!
//! Two neighbours become one if they map the same object, or private memory, at pages that follow on each other, with the same flags and
//! userfaultfd, and if their private pages are of one family, or one of them has none yet. Otherwise there would be more and more VMAs, and
//! where two meet there would never be a huge page again.
//!
//! They are [replaced](super::replace) by one. So both are write-locked, the one that nobody meant to change as well: a fault may be
//! under way in it.
//!
//! Of VMAs that fork has made with private pages of the parent only parts of the same one are joined: in Linux each such VMA has an `anon_vma`
//! of its own. (Linux: `vma_had_uncowed_parents`)

use super::replace::replace;
use super::{VM_MAYBE_GUARD, VM_READ, VM_WRITE, Vma};
use crate::addr::AddrRange;
use crate::collapse::huge_range_from;
use crate::collapse::khugepaged::khugepaged_enter;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::platform::{Link, Platform};
use crate::protocol::Safeguard;

/// Joins VMAs within a range, and at its ends with those outside, where they are alike. The caller has `mmap_lock` for writing, and has changed something there.
pub(crate) fn join_around<P: Platform>(mm: Ref<P, Mm<P>>, range: AddrRange) {
    let mut next = mm.vmas.load_protected();
    while let Some(first) = next {
        next = first.next.load_protected();
        if let Some(second) = next
            && range.start <= second.range.start
            && second.range.start <= range.end
            && are_alike(first, second)
        {
            next = Some(join(first, second));
        }
    }
}

fn join<P: Platform>(first: Ref<P, Vma<P>>, second: Ref<P, Vma<P>>) -> Ref<P, Vma<P>> {
    if P::enforces(Safeguard::JoinVmaLock) {
        first.start_write();
        second.start_write();
    }
    let mm = first.mm;
    let range = AddrRange {
        start: first.range.start,
        end: second.range.end,
    };
    let flags = first.flags_protected() | second.flags_protected();
    let whole = first.sibling(range, first.pgoff, flags);
    replace(mm, &[first, second], &[whole]);
    if huge_range_from(whole, range.start).is_some() {
        khugepaged_enter(mm);
    }
    whole
}

fn are_alike<P: Platform>(first: Ref<P, Vma<P>>, second: Ref<P, Vma<P>>) -> bool {
    is_followed_by(first, second, VM_MAYBE_GUARD)
        && first.userfaultfd() == second.userfaultfd()
        && are_of_one_family(first, second)
}

fn are_of_one_family<P: Platform>(first: Ref<P, Vma<P>>, second: Ref<P, Vma<P>>) -> bool {
    match (first.anon_vma_protected(), second.anon_vma_protected()) {
        (Some(one), Some(other)) => one == other && first.inherited == second.inherited,
        (Some(_), None) => first.inherited.is_none(),
        (None, Some(_)) => second.inherited.is_none(),
        (None, None) => true,
    }
}

/// The neighbour whose `anon_vma` a VMA may take for its first private page, so that the two can be joined if they become alike; the
/// one behind it first. The caller has `mmap_lock` for reading. (Linux: `anon_vma_compatible`)
pub(crate) fn family_neighbours<P: Platform>(
    vma: Ref<P, Vma<P>>,
) -> impl Iterator<Item = Ref<P, Vma<P>>> {
    let different = VM_READ | VM_WRITE | VM_MAYBE_GUARD;
    let vmas = || vma.mm.vmas_protected();
    let behind = vmas().find(move |other| is_followed_by(vma, *other, different));
    let before = vmas().find(move |other| is_followed_by(*other, vma, different));
    behind
        .into_iter()
        .chain(before)
        .filter(|other| other.inherited.is_none())
}

/// Whether the second VMA begins where the first one ends, in memory and in the object, with the same flags but for some, and the machine lets
/// the two be one.
fn is_followed_by<P: Platform>(
    first: Ref<P, Vma<P>>,
    second: Ref<P, Vma<P>>,
    ignored: u64,
) -> bool {
    let pages = first.range.end.page() - first.range.start.page();
    first.range.end == second.range.start
        && !P::keeps_apart(first.mm.id, second.range.start)
        && first.mapping == second.mapping
        && first.pgoff.add(pages) == second.pgoff
        && (first.flags_protected() ^ second.flags_protected()) & !ignored == 0
}
