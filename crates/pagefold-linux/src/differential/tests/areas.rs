//! What is mapped where, and how much of it is there.

use super::super::Sequence;
use super::super::areas::{self, Area, Counts};
use super::super::compare::{Compared, compare};
use super::super::observe::{PRESENT, Space};
use super::{alone, observed};
use crate::kernel::Version;

/// What Linux says of memory: a mapping before the region, two neighbours of an object, a registered one, the anchor.
const SMAPS: &str = "\
1000000000-1000001000 rw-p 00000000 00:00 0
Rss:                   4 kB
2000000000-2000100000 rw-s 00200000 00:01 77                             /memfd:f (deleted)
Rss:                1024 kB
Anonymous:             0 kB
ShmemPmdMapped:     1024 kB
VmFlags: rd wr sh mr mw me ms
2000100000-2000200000 rw-s 00300000 00:01 77                             /memfd:f (deleted)
Rss:                1024 kB
VmFlags: rd wr sh mr mw me ms
2000200000-2000400000 r--p 00000000 00:00 0
Rss:                2048 kB
Anonymous:          2048 kB
AnonHugePages:      2048 kB
Swap:                  8 kB
VmFlags: rd mr mw me um uw ui
203fe00000-203fe01000 rw-p 00000000 00:00 0
Rss:                   4 kB
";

#[test]
fn what_linux_says_of_memory_is_understood() {
    let read = areas::read(SMAPS.as_bytes(), &[5, 77]).unwrap();
    let object = |first, huge_shmem| Area {
        first,
        pages: 256,
        rights: areas::READ | areas::WRITE | areas::SHARED,
        object: Some((1, 512 + first)),
        counts: Counts {
            rss: 256,
            huge_shmem,
            ..Counts::default()
        },
    };
    let anonymous = Area {
        first: 512,
        pages: 512,
        rights: areas::READ | areas::UFFD_MISSING | areas::UFFD_WP | areas::UFFD_MINOR,
        object: None,
        counts: Counts {
            rss: 512,
            anonymous: 512,
            huge_anonymous: 512,
            swap: 2,
            ..Counts::default()
        },
    };
    assert_eq!(read, [object(0, 256), object(256, 0), anonymous]);
}

/// What is mapped, how, how much of it is there, and what the books say of that: each counts when all entries say the same.
#[test]
fn a_difference_in_what_is_mapped_is_noticed() {
    let source = "MM areas
{ shmem f[2]; mm A { x: mmap(ANON[2], MAP_PRIVATE); } }
P0 (A) { x[0] = 1; }
";
    let sequence = Sequence::parse(source).unwrap();
    let after = |change: fn(&mut Space)| {
        let mut seen = observed(PRESENT, 1);
        let counts = Counts {
            rss: 100,
            anonymous: 100,
            ..Counts::default()
        };
        let space = seen.spaces[0].as_mut().unwrap();
        space.books = counts;
        space.areas = vec![Area {
            first: 0,
            pages: 512,
            rights: areas::READ | areas::WRITE,
            object: None,
            counts,
        }];
        change(space);
        vec![seen]
    };
    let said = |change: fn(&mut Space)| {
        let kernel = after(|_| {});
        match compare(&sequence, Version(6, 18), &kernel, &after(change)) {
            Compared::Different(difference) => {
                let texts = difference.what.iter().map(|what| what.text().to_owned());
                texts.collect::<Vec<_>>().join("; ")
            }
            compared => format!("{compared:?}"),
        }
    };
    let changes: [fn(&mut Space); 6] = [
        |_| {},
        |space| space.books.anonymous = 99,
        |space| space.areas[0].counts.huge_anonymous = 1,
        |space| space.areas[0].rights = areas::READ,
        |space| space.areas[0].object = Some((0, 0)),
        |space| space.areas.clear(),
    ];
    let said: Vec<String> = changes.iter().map(|change| said(*change)).collect();
    let expected = [
        "Same",
        "A has 100 pages, 100 anonymous on Linux, 100 pages, 99 anonymous in the books of pagefold",
        "A: of pages 0 to 511 there are 100 pages, 100 anonymous on Linux, 100 pages, 100 anonymous, 1 by anonymous huge pages on pagefold",
        "A maps 0 to 511 (anonymous; read|write) on Linux, 0 to 511 (anonymous; read) on pagefold",
        "A maps 0 to 511 (anonymous; read|write) on Linux, 0 to 511 (f from page 0; read|write) on pagefold",
        "A maps 0 to 511 (anonymous; read|write) on Linux, nothing more on pagefold",
    ];
    assert_eq!(said, expected);
}

/// The engine by itself: its books say what its entries say, of a huge page, of a private copy, and of a page of zeros.
#[test]
fn the_engine_says_what_is_mapped() {
    let source = "MM engine
{ shmem f[2] = { 1, 2 }; mm A { x: mmap(f, MAP_PRIVATE); z: mmap(ANON[2], MAP_PRIVATE); } A: r0 = z[0]; }
P0 (A) { r1 = madvise(x, MADV_COLLAPSE); x[0] = 7; r2 = mprotect(z, PROT_NONE); }
";
    let sequence = Sequence::parse(source).unwrap();
    let seen = alone(&sequence);
    let space = |step: usize| seen[step].spaces[0].as_ref().unwrap();
    assert_eq!(space(0).books, Counts::default());
    let huge = Counts {
        rss: 512,
        huge_shmem: 512,
        ..Counts::default()
    };
    assert_eq!((space(1).books, space(1).areas[0].counts), (huge, huge));
    // Private copies of as many pages as stand for the one.
    let copied = space(2).areas[0].counts;
    assert_eq!(space(2).books, copied);
    assert!(copied.anonymous > 0 && copied.anonymous < 512 && copied.huge_shmem == 0);
    let rights = |step: usize| {
        space(step)
            .areas
            .iter()
            .map(|area| area.rights)
            .collect::<Vec<_>>()
    };
    assert_eq!(rights(2), [areas::READ | areas::WRITE; 2]);
    assert_eq!(rights(3), [areas::READ | areas::WRITE, 0]);
}
