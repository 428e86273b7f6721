//! Copying and clearing pages that others may look at.
//!
//! A process may be writing to the page that another one gets a private copy of. So the words are copied one by one, as
//! atomics; what `memcpy` does would be a data race. On x86-64 the string instructions do that at the speed of `memcpy`,
//! as Linux' `copy_page` and `clear_page` have it.

use super::memory::Page;

/// Copies a page.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) fn copy(to: &Page, from: &Page) {
    // SAFETY: both pointers are those of whole pages, valid for as many words as a page has, which may be written to through
    // a shared reference, being atomics. The block does what a loop of relaxed loads and stores does: an aligned quadword is
    // read and written in one piece (Intel SDM volume 3, 10.1.1). It uses the three registers that it says, no stack, and
    // no flag but the direction flag, which is clear on entry by the rules of `asm!`.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            inout("rcx") from.len() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") to.as_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies a page.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) fn copy(to: &Page, from: &Page) {
    use pagefold::platform::Word;
    for (to, from) in to.iter().zip(from) {
        to.store_protected(from.load_protected());
    }
}

/// Fills a page with zeros.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) fn clear(page: &Page) {
    // SAFETY: as in `copy`.
    unsafe {
        core::arch::asm!(
            "rep stosq",
            inout("rcx") page.len() => _,
            inout("rdi") page.as_ptr() => _,
            in("rax") 0_u64,
            options(nostack, preserves_flags),
        );
    }
}

/// Fills a page with zeros.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) fn clear(page: &Page) {
    use pagefold::platform::Word;
    for word in page {
        word.store_protected(0);
    }
}

/// Whether a page holds nothing but zeros.
pub(super) fn is_clear(page: &Page) -> bool {
    use pagefold::platform::Word;
    page.iter().all(|word| word.load_protected() == 0)
}

#[cfg(test)]
mod tests {
    use pagefold::platform::{Order, Platform, Word};

    use super::*;
    use crate::host::Host;

    #[test]
    fn a_page_is_copied_and_cleared_whole_and_alone() {
        let first = Host::alloc_frames(Order::Huge).unwrap();
        let page = |number: usize| Host::page(first.add(number));
        let fill = |number: usize, tag: u64| {
            for (index, word) in (0..).zip(page(number)) {
                word.write_once(tag + index);
            }
        };
        let holds = |number: usize, tag: u64| {
            (0..)
                .zip(page(number))
                .all(|(index, word)| word.read_once() == tag + index)
        };
        for number in 0..4 {
            fill(number, 1000 * number as u64);
        }
        copy(page(1), page(3));
        assert!(holds(0, 0) && holds(1, 3000) && holds(2, 2000) && holds(3, 3000));
        clear(page(1));
        assert!(page(1).iter().all(|word| word.read_once() == 0));
        assert!(is_clear(page(1)) && !is_clear(page(2)));
        page(1)[7].write_once(1);
        assert!(!is_clear(page(1)));
        assert!(holds(0, 0) && holds(2, 2000));
        Host::free_frames(first, Order::Huge);
    }
}
