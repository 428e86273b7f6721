//! UFFDIO_CONTINUE: a page that the object has is mapped.
//!
//! Guarantee: what is mapped is the page that the object has.
//!
//! Locks, in order: `mmap_lock` for reading, folio lock, lock of the table. The folio lock is what keeps collapse from replacing the
//! page meanwhile: it has all pages that it replaces locked until their successor is in the cache. The table was made before that lock
//! was waited for, and collapse may have taken it meanwhile: then user space is told to try again.
//!
//! A page that collapse unmaps is one that is not mapped: its next access is an event again, unless the huge page was mapped by
//! then. That is no event too many: who answers every event has mapped every page that is used.

use crate::addr::VirtAddr;
use crate::handle::Ref;
use crate::mm::Mm;
use crate::page_cache::Mapping;
use crate::platform::Platform;
use crate::protocol::Safeguard;
use crate::userfault::UffdError;
use crate::userfault::fill::{Manner, fill_page, install};
use crate::vma::Vma;

/// Maps the page at `addr`, which the object has; with `protect`, write-protected. (Linux: `UFFDIO_CONTINUE`,
/// `UFFDIO_CONTINUE_MODE_WP`)
///
/// # Errors
/// [`UffdError::Fault`] if the object has no page there, [`UffdError::Invalid`] without an object or behind its end; else as
/// [`copy`](super::copy).
pub fn continue_page<P: Platform>(
    mm: Ref<P, Mm<P>>,
    addr: VirtAddr,
    protect: bool,
) -> Result<(), UffdError> {
    let check = |vma: Ref<P, Vma<P>>| {
        let mapping = vma.mapping.ok_or(UffdError::Invalid)?;
        Ok((mapping, Manner::new(vma, protect)?))
    };
    fill_page(mm, addr, check, |vma, pmd, (mapping, manner)| {
        let index = vma.index_of(addr);
        if index.0 >= mapping.i_size() {
            return Err(UffdError::Invalid);
        }
        let locked = P::enforces(Safeguard::ContinueFolioLock);
        let folio = if locked {
            Mapping::lock_content(mapping, index).map_err(|_| UffdError::NoMemory)?
        } else {
            mapping.get_folio(index)
        };
        let folio = folio.ok_or(UffdError::Fault)?;
        let result = install(vma, pmd, addr, folio, folio.page::<P>(index), manner);
        if locked {
            folio.unlock::<P>();
        }
        if result.is_err() {
            folio.put::<P>(1);
        }
        result
    })
}
