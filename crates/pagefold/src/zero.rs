//! Pages of zeros, that all processes share: the small one, and the huge one where the machine has it.
//!
//! Guarantee: nobody writes, counts or frees them, and they are no folios. Who finds one in an entry asks here before he asks whose page
//! it is. (Linux counts the huge one, to free it when nobody has mapped it.)
//!
//! A part of the huge one is not the small one: a huge entry that is split maps the small one, again and again.

use crate::addr::Pfn;
use crate::arch::Pte;
use crate::platform::Platform;

/// Whether a frame is the page of zeros, or a part of the huge one.
pub fn is_zero_page<P: Platform>(pfn: Pfn) -> bool {
    pfn == P::zero_page()
        || P::huge_zero_page()
            .is_some_and(|first| (first..first.add(P::PTRS_PER_TABLE)).contains(&pfn))
}

/// Whether an upper entry maps the huge page of zeros. (Linux: `is_huge_zero_pmd`)
pub(crate) fn is_huge_zero<P: Platform>(value: Pte) -> bool {
    value.is_huge() && P::huge_zero_page() == Some(value.pfn())
}
