//! Who makes huge pages of small ones.

use pagefold::addr::{AddrRange, PageIndex};
use pagefold::collapse::{self, CollapseError, Limits, ScanResult};
use pagefold::handle::Ref;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold::platform::Platform;
use pagefold::protocol::Exclusion;
use pagefold_explore as explore;
use pagefold_litmus::{Limit, MappingId, ObjectId, Scope, Value};

use super::{Session, Who, status};
use crate::model::order::{self, Note};
use crate::model::{Model, PTRS_PER_TABLE};

/// On behalf of a process itself.
pub(super) fn madvise_collapse(mm: Ref<Model, Mm<Model>>, range: AddrRange) -> Value {
    order::note(Note::Begin(mm.id));
    let result = collapse_range(mm, range);
    order::note(Note::End);
    result
}

fn collapse_range(mm: Ref<Model, Mm<Model>>, range: AddrRange) -> Value {
    let result = collapse::madvise_collapse(mm, range, |_, result| note_scan(result));
    status(result.map_err(CollapseError::errno))
}

impl Session<'_> {
    pub(super) fn scan(&self, who: Who<'_>, scope: Scope, limits: [Limit; 3]) -> Value {
        if self.plan.scan_by_madvise {
            return self.scan_by_madvise(who, scope);
        }
        let mut collapsed = 0;
        let limits = limits_of(limits);
        let report = |_, result| {
            note_scan(result);
            collapsed += u64::from(result == ScanResult::Succeed);
        };
        match (scope.0, who.machine.khugepaged) {
            (Some(mm), _) => collapse::khugepaged_scan_mm(who.machine.mm(mm), limits, report),
            (None, Some(khugepaged)) => khugepaged.scan(limits, report),
            (None, None) => unreachable!("only khugepaged scans"),
        }
        Value::Number(collapsed)
    }

    /// What a process can do instead: `MADV_COLLAPSE` of the mappings of others. Gives how many it found huge, or made so.
    fn scan_by_madvise(&self, who: Who<'_>, scope: Scope) -> Value {
        let scenario = self.plan.scenario;
        let mut huge = 0;
        for (index, of) in scenario.mappings.iter().enumerate() {
            if scope.0.is_some_and(|mm| mm != of.mm) {
                continue;
            }
            let mm = who.machine.mm(of.mm);
            if mmap::mmget_not_zero(mm) {
                let range = self.plan.layout.range(MappingId::new(index));
                huge += u64::from(collapse_range(mm, range) == Value::SUCCESS);
                mmap::exit_mm(mm);
            }
        }
        Value::Number(huge)
    }

    /// All huge ranges of an object; the first refusal is the result.
    pub(super) fn collapse(&self, who: Who<'_>, object: ObjectId) -> Value {
        let mapping = who.machine.object(object);
        let pages = self.plan.scenario[object].pages() as u64;
        let by_madvise = self.plan.by_system_calls;
        let limits = if by_madvise {
            Limits::NONE
        } else {
            Limits::default_of::<Model>()
        };
        // Until 6.5 the object became huge, and the call failed where the process that called it had no table for its mapping.
        let own_table_is_result = Model::protocol().exclusion == Exclusion::MmapWrite;
        let mut start = PageIndex(0);
        while start.0 + PTRS_PER_TABLE as u64 <= pages {
            let result = collapse::collapse_mapping(mapping, start, limits);
            note_scan(result);
            let huge = by_madvise && result == ScanResult::PteMappedHugepage;
            if by_madvise && result == ScanResult::Succeed && own_table_is_result {
                return status(Err(ScanResult::PmdNone.errno()));
            }
            if result != ScanResult::Succeed && !huge {
                return status(Err(result.errno()));
            }
            if by_madvise && let Err(result) = collapse::find_huge_folio(mapping, start) {
                return status(Err(result.errno()));
            }
            start = start.add(PTRS_PER_TABLE as u64);
        }
        Value::SUCCESS
    }
}

/// What khugepaged accepts: as usual, where the scenario says nothing.
fn limits_of([none, shared, swap]: [Limit; 3]) -> Limits {
    let usual = Limits::default_of::<Model>();
    Limits {
        max_ptes_none: none.0.map_or(usual.max_ptes_none, |most| most as usize),
        max_ptes_swap: swap.0.map_or(usual.max_ptes_swap, |most| most as usize),
        max_ptes_shared: shared.0.map_or(usual.max_ptes_shared, |most| most as usize),
    }
}

fn note_scan(result: ScanResult) {
    explore::note(|| result.name().to_owned());
}
