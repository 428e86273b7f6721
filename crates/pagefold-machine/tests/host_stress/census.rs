//! What page tables and page cache hold, counted afresh, to be compared with the books.

use std::collections::HashMap;

use pagefold::Ref;
use pagefold::accounting::PageKind;
use pagefold::addr::{PageIndex, Pfn};
use pagefold::arch::{Format, PMD_LEVEL};
use pagefold::mm::Mm;
use pagefold::page_cache::{Entry, Mapping};
use pagefold::platform::{Counter, Platform, RefCount, Word};
use pagefold_machine::host::{Host, HostFormat, PTRS_PER_TABLE};

/// What one process maps.
#[derive(Default)]
struct Resident {
    shmem: i64,
    anon: i64,
    tables: i64,
}

/// A count of everything, while nothing is under way.
pub(crate) struct Census {
    residents: Vec<Resident>,
    /// Entries that map each folio, by first frame.
    maps: HashMap<Pfn, u64>,
    /// Pages that the cache has of each folio.
    cached: HashMap<Pfn, u64>,
}

impl Census {
    /// Counts.
    pub(crate) fn of(spaces: &[Ref<Host, Mm<Host>>], object: Ref<Host, Mapping<Host>>) -> Self {
        let mut census = Self {
            residents: Vec::new(),
            maps: HashMap::new(),
            cached: HashMap::new(),
        };
        for mm in spaces {
            let resident = census.count_tables(mm.root());
            census.residents.push(resident);
        }
        for index in 0..object.pages_protected() {
            match object.load_protected(PageIndex(index)) {
                Entry::Folio(folio) => *census.cached.entry(folio.pfn()).or_default() += 1,
                Entry::None => {}
                other @ (Entry::Retry | Entry::Swap(_) | Entry::Node(_)) => {
                    panic!("the cache is left with {other:?} at {index}")
                }
            }
        }
        census
    }

    fn count_tables(&mut self, root: Pfn) -> Resident {
        let mut resident = Resident::default();
        self.count_table(root, HostFormat::levels() - 1, &mut resident);
        resident
    }

    fn count_table(&mut self, table: Pfn, level: u32, resident: &mut Resident) {
        for index in 0..PTRS_PER_TABLE {
            let pte = HostFormat::decode(Host::entry(table, index).read_once(), level);
            if pte.is_table() {
                resident.tables += i64::from(level == PMD_LEVEL);
                self.count_table(pte.pfn(), level - 1, resident);
            } else if pte.is_page() {
                let head = Host::frame(pte.pfn()).folio_head();
                *self.maps.entry(head).or_default() += 1;
                let pages = PTRS_PER_TABLE.pow(level) as i64;
                if Host::frame(head).is_anon() {
                    resident.anon += pages;
                } else {
                    resident.shmem += pages;
                }
            }
        }
    }

    /// Compares with the books.
    pub(crate) fn check(&self, spaces: &[Ref<Host, Mm<Host>>], object: Ref<Host, Mapping<Host>>) {
        for (mm, found) in spaces.iter().zip(&self.residents) {
            assert_eq!(mm.rss(PageKind::Shmem).get(), found.shmem, "mm {}", mm.id);
            assert_eq!(mm.rss(PageKind::Anon).get(), found.anon, "mm {}", mm.id);
            assert_eq!(mm.nr_ptes().get(), found.tables, "mm {}", mm.id);
        }
        for &folio in self.maps.keys().chain(self.cached.keys()) {
            let maps = self.maps.get(&folio).copied().unwrap_or(0);
            let cached = self.cached.get(&folio).copied().unwrap_or(0);
            let frame = Host::frame(folio);
            assert_eq!(frame.mapcount().get(), maps as i64, "{folio:?}");
            assert_eq!(frame.refcount().read(), maps + cached, "{folio:?}");
            assert!(frame.is_anon() || cached > 0, "{folio:?} of {}", object.id);
        }
    }

    /// Whether nothing is mapped.
    pub(crate) fn is_unmapped(&self) -> bool {
        self.maps.is_empty()
    }
}
