//! Huge private pages: small ones are made of them, which can be moved out (Linux: `split_folio_to_list` in `shrink_folio_list`).
//!
//! Guarantee: each page stays mapped as it was, with its content. A huge page that anybody else has a reference to, or that another
//! process maps as well, stays one. If that is found out late, it is mapped by small entries.
//!
//! Locks, in order: `mmap_lock` for reading, which the caller has; pmd lock; lock of the table.

use super::{Choice, aging};
use crate::addr::VirtAddr;
use crate::folio::Folio;
use crate::handle::Ref;
use crate::huge::split_folio;
use crate::page_table::pmd_offset;
use crate::platform::Platform;
use crate::vma::Vma;
use crate::zap::split_huge_pmd;

/// Makes small pages of a huge one that was found at an address, and to which the caller has a reference, unless it is to stay. Whether
/// it did.
pub(super) fn split<P: Platform>(
    vma: Ref<P, Vma<P>>,
    addr: VirtAddr,
    folio: Folio,
    choice: Choice,
) -> bool {
    let Some(pmd) = pmd_offset(vma.mm, addr) else {
        return false;
    };
    if choice == Choice::Unused && aging::clear_young_huge(pmd) {
        return false;
    }
    // (Linux: `can_split_folio`)
    let owners = 2;
    if pmd.read_once("read pmd").is_huge() && folio.refcount::<P>() != owners {
        return false;
    }
    split_huge_pmd(vma, pmd);
    split_folio(pmd, addr, folio) == Some(true)
}
