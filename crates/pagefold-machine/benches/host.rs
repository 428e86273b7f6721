//! What the engine costs on real threads: faults, accesses, and a collapse next to the copy that it cannot do without.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use pagefold::Ref;
use pagefold::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use pagefold::collapse::{self, Limits, ScanResult};
use pagefold::madvise;
use pagefold::mm::Mm;
use pagefold::mmap::{self, Backing, Sharing};
use pagefold::page_cache::Mapping;
use pagefold::platform::{Order, Platform};
use pagefold_machine::host::{Host, HostCpu, PTRS_PER_TABLE, Page};

const HUGE: u64 = PTRS_PER_TABLE as u64;
const START: VirtAddr = VirtAddr::of_page(HUGE);
const RANGE: AddrRange = AddrRange::pages(START, HUGE);

fn shared(mapping: Ref<Host, Mapping<Host>>) -> Backing<Host> {
    Backing::Object {
        mapping,
        pgoff: PageIndex(0),
        sharing: Sharing::Shared,
    }
}

/// An object of one huge page's size, resident in small pages, and processes that map it.
struct Scene {
    object: Ref<Host, Mapping<Host>>,
    spaces: Vec<Ref<Host, Mm<Host>>>,
}

impl Scene {
    /// The object, whose first `resident` pages are in the cache.
    fn new(mappings: u32, resident: u64) -> Self {
        let object = Mapping::new(0, HUGE).unwrap();
        for index in 0..resident {
            Mapping::fill_page(object, PageIndex(index), Host::clear_page).unwrap();
        }
        let spaces = (0..mappings)
            .map(|id| {
                let mm = Mm::new(id).unwrap();
                mmap::mmap(mm, RANGE, shared(object)).unwrap();
                mm
            })
            .collect();
        Self { object, spaces }
    }

    /// Every process writes to every page, so that all of them are mapped.
    fn map_all_pages(&self) {
        for mm in &self.spaces {
            let mut cpu = HostCpu::run(*mm);
            for page in 0..HUGE {
                cpu.store(START.add_pages(page), page).unwrap();
            }
        }
    }

    fn end(self) {
        for mm in self.spaces {
            mmap::exit_mm(mm);
            // SAFETY: no thread runs the process.
            unsafe { mmap::mmdrop(mm) };
        }
        // SAFETY: nobody maps the object and nobody uses it.
        unsafe { Mapping::evict(self.object) };
        Host::rcu_barrier();
    }
}

/// The time of `measured` alone, over `iterations`, each after `prepare` and before `finish`.
fn timed<S>(
    iterations: u64,
    mut prepare: impl FnMut() -> S,
    mut measured: impl FnMut(&mut S),
    mut finish: impl FnMut(S),
) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..iterations {
        let mut scene = prepare();
        let start = Instant::now();
        measured(&mut scene);
        total += start.elapsed();
        finish(scene);
    }
    total
}

fn accesses(criterion: &mut Criterion) {
    let scene = Scene::new(1, 1);
    let mut cpu = HostCpu::run(scene.spaces[0]);
    cpu.store(START, 1).unwrap();
    let mut group = criterion.benchmark_group("access");
    group.bench_function("load hit", |bencher| {
        bencher.iter(|| cpu.load(black_box(START)).unwrap());
    });
    group.bench_function("store hit", |bencher| {
        bencher.iter(|| cpu.store(black_box(START), 1).unwrap());
    });
    group.finish();
    drop(cpu);
    scene.end();
}

fn faults(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fault");
    // A write maps the one page, a read those around it as well.
    for (name, write, resident) in [
        ("write", true, HUGE),
        ("read, alone in the cache", false, 1),
        ("read, with 511 neighbours in the cache", false, HUGE),
    ] {
        let scene = Scene::new(1, resident);
        let mm = scene.spaces[0];
        let fault = |cpu: &mut HostCpu| {
            if write {
                cpu.store(START, 1).unwrap();
            } else {
                black_box(cpu.load(START).unwrap());
            }
        };
        group.bench_function(format!("{name}, table exists"), |bencher| {
            let mut cpu = HostCpu::run(mm);
            bencher.iter_custom(|iterations| {
                let prepare = || madvise::dontneed(mm, RANGE).unwrap();
                timed(iterations, prepare, |()| fault(&mut cpu), |()| ())
            });
        });
        group.bench_function(format!("{name}, with a new table"), |bencher| {
            let mut cpu = HostCpu::run(mm);
            bencher.iter_custom(|iterations| {
                let prepare = || {
                    mmap::munmap(mm, RANGE).unwrap();
                    mmap::mmap(mm, RANGE, shared(scene.object)).unwrap();
                };
                timed(iterations, prepare, |()| fault(&mut cpu), |()| ())
            });
        });
        scene.end();
    }
    group.finish();
}

/// Frames to copy, as scattered as those that a collapse finds.
struct Copies {
    from: Vec<Pfn>,
    to: Pfn,
}

impl Copies {
    fn new() -> Self {
        let from = (0..HUGE).map(|_| Host::alloc_frames(Order::Small).unwrap());
        let copies = Self {
            from: from.collect(),
            to: Host::alloc_frames(Order::Huge).unwrap(),
        };
        copies.from.iter().for_each(|pfn| Host::clear_page(*pfn));
        copies
    }

    /// What `memcpy` needs for as many pages as a collapse copies.
    fn copy(&mut self) {
        for (index, from) in self.from.iter().enumerate() {
            let to = std::ptr::from_ref(Host::page(self.to.add(index))).cast_mut();
            // SAFETY: the frames are this function's, different, and those of whole pages, whose words may be written to
            // through shared references, being atomics. No other thread knows of them.
            unsafe {
                to.copy_from_nonoverlapping(std::ptr::from_ref::<Page>(Host::page(*from)), 1)
            };
        }
    }

    fn end(self) {
        Host::free_frames(self.to, Order::Huge);
        for pfn in self.from {
            Host::free_frames(pfn, Order::Small);
        }
    }
}

fn copy_floor(iterations: u64) -> Duration {
    timed(iterations, Copies::new, Copies::copy, Copies::end)
}

fn collapse_with(mappings: u32, mapped: bool, iterations: u64) -> Duration {
    let prepare = || {
        let scene = Scene::new(mappings, HUGE);
        if mapped {
            scene.map_all_pages();
        }
        scene
    };
    let collapse = |scene: &mut Scene| {
        let result = collapse::collapse_mapping(scene.object, PageIndex(0), Limits::NONE);
        assert_eq!(result, ScanResult::Succeed);
    };
    timed(iterations, prepare, collapse, Scene::end)
}

fn collapses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("collapse");
    group.sample_size(50);
    group.bench_function("floor: copy of 512 pages", |bencher| {
        bencher.iter_custom(copy_floor);
    });
    group.bench_function("512 pages, not mapped", |bencher| {
        bencher.iter_custom(|iterations| collapse_with(1, false, iterations));
    });
    for mappings in [1, 8, 64] {
        group.bench_function(format!("512 pages, {mappings} mappings"), |bencher| {
            bencher.iter_custom(|iterations| collapse_with(mappings, true, iterations));
        });
    }
    group.finish();
}

/// Collapses next to the copy, one after the other, so that both meet the same machine.
fn print_ratios() {
    const SAMPLES: usize = 60;
    println!("collapse of 512 pages, as a multiple of copying them:");
    for mappings in [1, 8, 64] {
        let mut samples: Vec<(f64, Duration, Duration)> = (0..SAMPLES)
            .map(|_| {
                let floor = copy_floor(1);
                let collapse = collapse_with(mappings, true, 1);
                (
                    collapse.as_secs_f64() / floor.as_secs_f64(),
                    collapse,
                    floor,
                )
            })
            .collect();
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));
        let at = |percent: usize| samples[(SAMPLES - 1) * percent / 100];
        let (ratio, collapse, floor) = at(50);
        println!(
            "  {mappings:2} mappings: {ratio:.2} (10 %: {:.2}, 90 %: {:.2}); there {collapse:.0?} for {floor:.0?}",
            at(10).0,
            at(90).0,
        );
    }
}

criterion_group!(benches, accesses, faults, collapses);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    print_ratios();
}
