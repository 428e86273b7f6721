//! What is cached of page tables at the end agrees with them.

use pagefold::Ref;
use pagefold::addr::VirtAddr;
use pagefold::arch::PMD_LEVEL;
use pagefold::kvm::Kvm;
use pagefold::mm::Mm;

use super::walk::entry_of;
use crate::model::cpu::Cpu;
use crate::model::violation::{Kind, fail};
use crate::model::world::{Use, VIRT_PAGES, World};
use crate::model::{Model, PTRS_PER_TABLE, names};

/// Every cached translation agrees with the page tables.
pub(super) fn check_translations(mm: Ref<Model, Mm<Model>>, cpu: &Cpu) {
    let stale = |addr: VirtAddr, what: String| {
        fail(
            Kind::StaleTranslation,
            format!(
                "{} {} still has {what} cached for {}, after all flushes",
                cpu.title(),
                cpu.number,
                names::page(mm.id, addr)
            ),
        )
    };
    for (page, leaf) in cpu.leaves.iter().enumerate() {
        let addr = VirtAddr::of_page(page as u64);
        if let Some(cached) = leaf.get() {
            let (_, pte) = entry_of(mm, addr);
            let agrees = pte.is_accessible()
                && pte.pfn() == cached.pfn
                && (pte.is_writable() || !cached.writable)
                && (pte.is_dirty() || !cached.dirty);
            if !agrees {
                stale(addr, format!("frame {}", cached.pfn.0));
            }
        }
    }
    for (huge, table) in cpu.tables_of(PMD_LEVEL).iter().enumerate() {
        let addr = VirtAddr::of_page((huge * PTRS_PER_TABLE) as u64);
        if let Some(table) = table.get()
            && entry_of(mm, addr).0 != Some(table)
        {
            stale(addr, format!("the page table in frame {}", table.0));
        }
    }
}

/// A secondary MMU maps only what the address space maps.
pub(super) fn check_secondary(
    world: &World,
    mm: Ref<Model, Mm<Model>>,
    kvm: Ref<Model, Kvm<Model>>,
) {
    for page in 0..VIRT_PAGES as u64 {
        let addr = VirtAddr::of_page(page);
        let Some(spte) = kvm.spte_protected(addr).filter(|spte| spte.is_present()) else {
            continue;
        };
        let (_, pte) = entry_of(mm, addr);
        if !pte.is_accessible() || pte.pfn() != spte.pfn() {
            let freed = world.frames()[spte.pfn().0 as usize].state.get() == Use::Freed;
            fail(
                Kind::SecondaryMapping,
                format!(
                    "the virtual machine still maps {} to frame {}, which is {}",
                    names::page(mm.id, addr),
                    spte.pfn().0,
                    if freed {
                        "freed"
                    } else {
                        "not mapped there any more"
                    }
                ),
            );
        }
    }
}
