//! A modelled machine: frames, CPUs, and the oracles' books, all in one arena.

use std::cell::Cell;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

use pagefold::Ref;
use pagefold::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use pagefold::frame::Frame;
use pagefold::platform::{Order, Platform, Word};
use pagefold::protocol::{Protocol, Safeguard, SafeguardSet};
use pagefold::swap::SwapSlot;
use pagefold::userfault::Userfaultfd;
use pagefold_explore as explore;
use pagefold_litmus::{Memory, Value};

use super::arena::{Arena, ModelPtr};
use super::cpu::{Cpu, CpuKind};
use super::format::EntryFormat;
use super::free_list::FreeList;
use super::held::HeldPages;
use super::names;
use super::oracle::{AccessOrder, Books, LiveEntries, MMS, Through};
use super::violation::{self, Kind};
use super::word::ModelWord;
use super::{Model, PTRS_PER_TABLE};

/// Frames of the machine. Frame 0 is the page of zeros; the second huge page may be one of zeros.
pub(crate) const FRAMES: usize = 96;
/// Pages that there is room for outside of the frames.
pub(crate) const SWAP_SLOTS: usize = 4;
/// What a frame holds before anything is written to it.
const GARBAGE: u64 = 0xbad;
/// CPUs, devices and virtual CPUs.
pub(crate) const CPUS: usize = 16;
/// Mappings of a scenario.
pub(crate) const MAPPINGS: usize = MMS * VIRT_PAGES / PTRS_PER_TABLE;
/// Where an object of the engine is named.
type Place<T> = Cell<Option<Ref<Model, T>>>;

/// Threads of an execution, as the explorer counts them.
const THREADS: usize = explore::MAX_THREADS;

/// What a frame is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Free,
    Allocated,
    Freed,
}

/// A frame with its metadata. All of it is one object for the purpose of being freed.
#[repr(C)]
pub(crate) struct FrameSlot {
    pub(crate) state: Cell<Use>,
    /// The address space that the frame was taken from as a page table.
    pub(crate) table_of: Cell<Option<u32>>,
    /// It was freed in this execution, and handed out again.
    used_again: Cell<bool>,
    meta: Frame<Model>,
    words: [ModelWord; PTRS_PER_TABLE],
    content: ModelWord,
}

impl FrameSlot {
    fn new() -> Self {
        Self {
            state: Cell::new(Use::Free),
            table_of: Cell::new(None),
            used_again: Cell::new(false),
            meta: Frame::new(),
            words: std::array::from_fn(|_| ModelWord::new(0)),
            content: ModelWord::new(0),
        }
    }
}

/// A swap slot with its content.
pub(crate) struct ModelSwapSlot {
    pub(crate) meta: SwapSlot<Model>,
    pub(crate) content: ModelWord,
}

/// The machine.
pub(crate) struct World {
    arena: *const Arena,
    pub(crate) protocol: Protocol,
    pub(crate) format: EntryFormat,
    removed: SafeguardSet,
    pub(crate) split_ptlocks: bool,
    /// Whether huge pages of shmem are denied.
    pub(crate) shmem_denied: bool,
    borders: Borders,
    pub(crate) strict: bool,
    pub(crate) memory: Memory,
    /// Whether the order of accesses and of changes of permissions matters.
    pub(crate) watch_permissions: bool,
    /// For each address space, what is written when permissions change and read by each access: so the two are ordered.
    pub(crate) permissions: [ModelWord; MMS],
    pub(crate) access_order: AccessOrder,
    /// Those that were handed out, and those left out between them. A frame comes into being when it is first handed out: what is not
    /// there need not be saved.
    frames: *const Arena,
    /// Where the scenario says so, frames are used again.
    free_list: Option<FreeList>,
    /// The huge page of zeros, where the scenario may use it.
    pub(crate) huge_zero_page: Option<Pfn>,
    swap: [ModelSwapSlot; SWAP_SLOTS],
    pub(crate) cpus: [Cpu; CPUS],
    pub(crate) nr_cpus: Cell<usize>,
    cpu_of_thread: [Cell<u8>; THREADS],
    /// RCU callbacks of this execution.
    callbacks: [Cell<Option<explore::thread::ThreadId>>; THREADS],
    /// The scenario's threads that run or have run, but for monitors, in the order in which they were spawned.
    spawned: [Cell<Option<explore::thread::ThreadId>>; THREADS],
    nr_spawned: Cell<usize>,
    /// The monitors, which have to be told that it is over.
    monitors: [Cell<Option<explore::thread::ThreadId>>; THREADS],
    nr_monitors: Cell<usize>,
    /// Whether each address space has been made by a fork.
    pub(crate) forked: [ModelWord; MMS],
    /// The userfaultfds that children's mappings have, once the monitor of their parent has read of them.
    pub(crate) forked_userfaultfds: [Place<Userfaultfd<Model>>; MAPPINGS],
    /// Pages that programs hold.
    pub(crate) held: HeldPages,
    /// The frame whose memory has gone bad, where the scenario has one go bad.
    bad_frame: Option<ModelWord>,
    pub(crate) books: Books,
    /// What the scenario's registers hold.
    registers: NonNull<[Register]>,
    /// The books on live entries, if the format is strict about them and the order of execution says how entries change.
    live: Option<NonNull<LiveEntries>>,
}

type Register = Cell<Option<Value>>;

const NO_CPU: u8 = u8::MAX;
const NO_FRAME: u64 = u64::MAX;
const ROOM: &str = "an empty arena has room for a machine";

thread_local! {
    static CURRENT: Cell<*const World> = const { Cell::new(ptr::null()) };
}

/// Which tables of which address space a mapping of the scenario begins with. On a real machine there is a hole before each.
pub(crate) type Borders = [[bool; VIRT_PAGES / PTRS_PER_TABLE]; MMS];

/// What the scenario asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) protocol: Protocol,
    pub(crate) format: EntryFormat,
    pub(crate) without: SafeguardSet,
    pub(crate) split_ptlocks: bool,
    pub(crate) strict: bool,
    pub(crate) memory: Memory,
    pub(crate) reuse_frames: bool,
    pub(crate) shmem_denied: bool,
    pub(crate) borders: Borders,
    /// Whether the memory of a page goes bad.
    pub(crate) goes_bad: bool,
    /// Whether faults may bring huge pages.
    pub(crate) huge_faults: bool,
    /// Whether permissions are taken away while threads run.
    pub(crate) watch_permissions: bool,
}

impl World {
    /// Whether a mapping of the scenario begins at this address.
    pub(crate) fn is_border(&self, mm: u32, addr: VirtAddr) -> bool {
        let page = addr.page() as usize;
        page.is_multiple_of(PTRS_PER_TABLE) && self.borders[mm as usize][page / PTRS_PER_TABLE]
    }

    /// Builds a machine for so many registers in `arena` and makes it the one of this OS thread.
    ///
    /// Its frames are put into an arena of their own.
    pub(crate) fn build(arena: &Arena, frames: &Arena, rules: Rules, registers: usize) {
        let registers = arena
            .place_slice(|| Register::new(None), registers)
            .expect(ROOM);
        let strict = rules.format.breaks_before_make() && rules.memory == Memory::Sc;
        let live = strict.then(|| arena.place(LiveEntries::new()).expect(ROOM));
        let world = World {
            arena,
            protocol: rules.protocol,
            format: rules.format,
            removed: rules.without.union(rules.protocol.lacks),
            split_ptlocks: rules.split_ptlocks,
            shmem_denied: rules.shmem_denied,
            borders: rules.borders,
            strict: rules.strict,
            memory: rules.memory,
            watch_permissions: rules.watch_permissions,
            permissions: std::array::from_fn(|_| ModelWord::new(0)),
            access_order: AccessOrder::new(),
            frames,
            free_list: rules.reuse_frames.then(FreeList::new),
            huge_zero_page: rules.huge_faults.then_some(Pfn(PTRS_PER_TABLE as u64)),
            swap: std::array::from_fn(|_| ModelSwapSlot {
                meta: SwapSlot::new(),
                content: ModelWord::new(GARBAGE),
            }),
            cpus: std::array::from_fn(Cpu::new),
            nr_cpus: Cell::new(0),
            cpu_of_thread: std::array::from_fn(|_| Cell::new(NO_CPU)),
            callbacks: std::array::from_fn(|_| Cell::new(None)),
            spawned: std::array::from_fn(|_| Cell::new(None)),
            nr_spawned: Cell::new(0),
            monitors: std::array::from_fn(|_| Cell::new(None)),
            nr_monitors: Cell::new(0),
            forked: std::array::from_fn(|_| ModelWord::new(0)),
            forked_userfaultfds: std::array::from_fn(|_| Cell::new(None)),
            held: HeldPages::new(),
            bad_frame: rules.goes_bad.then(|| ModelWord::new(NO_FRAME)),
            books: Books::new(),
            registers,
            live,
        };
        let place = arena.place(world).expect(ROOM);
        CURRENT.set(place.as_ptr());
        let zeros = if rules.huge_faults {
            2 * PTRS_PER_TABLE
        } else {
            1
        };
        for _ in 0..zeros {
            frames.place(FrameSlot::new());
        }
    }

    /// The frames that were handed out, by number, and those left out between them.
    #[inline]
    pub(crate) fn frames(&self) -> &[FrameSlot] {
        // SAFETY: the arena outlives the machine, and nothing but frames is put into it.
        unsafe { (*self.frames).all() }
    }

    /// The machine of this OS thread.
    #[inline]
    pub(crate) fn current() -> &'static World {
        let world = CURRENT.get();
        debug_assert!(!world.is_null(), "the engine runs only inside a check");
        // SAFETY: set by `build` to an object of an arena that lives until the check that runs on this OS thread is over;
        // only code of that check gets here. All of the machine is changed through cells and atomics.
        unsafe { &*world }
    }

    /// What the scenario's registers hold.
    pub(crate) fn registers(&self) -> &[Register] {
        // SAFETY: placed in the arena by `build`, which outlives the machine.
        unsafe { self.registers.as_ref() }
    }

    /// Forgets the machine of this OS thread, whose arena is going away.
    pub(crate) fn forget() {
        CURRENT.set(ptr::null());
    }

    /// From now on the content of a frame cannot be copied. Of several frames it is the last.
    pub(crate) fn go_bad(&self, pfn: Pfn) {
        explore::label(|| format!("frame {} goes bad", pfn.0));
        if let Some(bad) = &self.bad_frame {
            bad.write_once(pfn.0);
        }
    }

    pub(crate) fn is_bad(&self, pfn: Pfn) -> bool {
        self.bad_frame.as_ref().is_some_and(|bad| {
            explore::label(|| format!("whether frame {} is bad", pfn.0));
            bad.read_once() == pfn.0
        })
    }

    pub(crate) fn enforces(&self, safeguard: Safeguard) -> bool {
        !self.removed.contains(safeguard)
    }

    pub(crate) fn place<T: 'static>(&self, value: T) -> ModelPtr<T> {
        // SAFETY: the arena that the machine lies in outlives it.
        let object = ModelPtr::new(unsafe { &*self.arena }, value);
        if self.memory == Memory::Ra && !explore::is_quiet() {
            object.note_making();
        }
        object
    }

    fn slot(&self, pfn: Pfn) -> &FrameSlot {
        match self.frames().get(pfn.0 as usize) {
            Some(slot) => slot,
            None => violation::fail(
                Kind::UseAfterFree,
                format!(
                    "frame {:#x} does not exist: its number was read from garbage",
                    pfn.0
                ),
            ),
        }
    }

    /// A swap slot.
    pub(crate) fn swap_slot(&'static self, slot: u64) -> &'static ModelSwapSlot {
        match self.swap.get(slot as usize) {
            Some(slot) => slot,
            None => violation::fail(
                Kind::Swap,
                format!("swap slot {slot} does not exist: its number was read from garbage"),
            ),
        }
    }

    /// The frame that the metadata, word or lock at an address lies in.
    fn frame_at(&self, address: *const u8) -> Option<(Pfn, &FrameSlot)> {
        let first = self.frames().as_ptr().addr();
        let offset = address.addr().wrapping_sub(first);
        let index = offset / size_of::<FrameSlot>();
        self.frames()
            .get(index)
            .map(|slot| (Pfn(index as u64), slot))
    }

    pub(crate) fn frame(&'static self, pfn: Pfn) -> &'static Frame<Model> {
        &self.slot(pfn).meta
    }

    pub(crate) fn entry(&'static self, table: Pfn, index: usize) -> &'static ModelWord {
        &self.slot(table).words[index]
    }

    pub(crate) fn content(&self, pfn: Pfn) -> &ModelWord {
        &self.slot(pfn).content
    }

    /// A store to a page by a program or a device, or through a pin.
    ///
    /// Under a weak memory model it is a read-modify-write, so that the order in which racing stores reach a page is that in
    /// which they are executed, and the books know the last one. It orders nothing else under [`Memory::Ra`]; under
    /// [`Memory::Tso`] it is one that does not wait in a store buffer.
    pub(crate) fn store_by_user(
        &self,
        mm: u32,
        addr: VirtAddr,
        pfn: Pfn,
        value: u64,
        through: Through,
    ) {
        self.store(pfn, value);
        self.books.note_store(mm, addr, pfn, value, through);
        self.after_store(mm, addr);
    }

    /// A write to a page of a file, in the frame that caches it.
    pub(crate) fn write_object(&self, object: usize, index: usize, pfn: Pfn, value: u64) {
        self.store(pfn, value);
        self.books.note_write(object, index, value);
        self.after_write(object, index);
    }

    fn store(&self, pfn: Pfn, value: u64) {
        let content = self.content(pfn);
        match self.memory {
            Memory::Sc => content.write_once(value),
            Memory::Tso | Memory::Ra => drop(content.xchg_relaxed(value)),
        }
    }

    /// The content of a frame is no page of an object any more. To whoever may be using it, that is a write.
    pub(crate) fn give_up_content(&self, pfn: Pfn) {
        let content = self.content(pfn);
        explore::label(|| format!("frame {} leaves its object", pfn.0));
        explore::write_range(ptr::from_ref(content).cast(), size_of::<ModelWord>());
    }

    /// Frames that are free. There is always one: an execution that needs more than the machine has is given up, so that nobody takes
    /// the size of the model for a want of memory that the scenario is about.
    pub(crate) fn alloc_frames(&self, order: Order) -> Pfn {
        if order == Order::Small
            && let Some(pfn) = self.free_list.as_ref().and_then(FreeList::pop)
        {
            self.begin_again(pfn);
            return pfn;
        }
        let pages = pages(order);
        let first = self.frames().len().next_multiple_of(pages);
        if first + pages > FRAMES {
            explore::run_out("frames");
        }
        // SAFETY: the arena outlives the machine.
        let arena = unsafe { &*self.frames };
        while self.frames().len() < first + pages {
            arena.place(FrameSlot::new()).expect(ROOM);
        }
        for slot in &self.frames()[first..first + pages] {
            slot.state.set(Use::Allocated);
            slot.content.poke(GARBAGE);
            // Before a table is cleared: whether taken for an entry of a page table or for a slot of a page cache, it names a frame
            // that does not exist.
            let entry = self.format.garbage();
            slot.words.iter().for_each(|word| word.poke(entry));
        }
        Pfn(first as u64)
    }

    /// A frame that was freed is handed out again. To whoever may be using it, that is a write to all of it.
    fn begin_again(&self, pfn: Pfn) {
        let slot = self.slot(pfn);
        explore::label(|| format!("use frame {} again", pfn.0));
        explore::write_range(ptr::from_ref(slot).cast(), size_of::<FrameSlot>());
        slot.state.set(Use::Allocated);
        slot.table_of.set(None);
        slot.used_again.set(true);
        self.books.begin_frame(pfn);
    }

    pub(crate) fn free_frames(&self, pfn: Pfn, order: Order) {
        for i in 0..pages(order) {
            let pfn = pfn.add(i);
            let slot = self.slot(pfn);
            explore::label(|| format!("free frame {}", pfn.0));
            explore::write_range(ptr::from_ref(slot).cast(), size_of::<FrameSlot>());
            let held = ptr::from_ref(&slot.words).cast::<u8>();
            let len = size_of::<FrameSlot>() - offset_of!(FrameSlot, words);
            if let Some(unknown) = explore::unknown_use(held, len) {
                violation::fail(
                    Kind::UseAfterFree,
                    format!(
                        "frame {} is freed, and nothing orders that after the last use: {unknown}",
                        pfn.0
                    ),
                );
            }
            if let Some(live) = self.live_entries() {
                live.note_freed(pfn);
            }
            if slot.state.replace(Use::Freed) != Use::Allocated {
                violation::fail(
                    Kind::UseAfterFree,
                    format!("frame {} is freed twice", pfn.0),
                );
            }
            self.check_not_mapped(pfn);
        }
        if order == Order::Small
            && let Some(list) = &self.free_list
        {
            list.push(pfn);
        }
    }

    /// See [`World::live`].
    #[inline]
    pub(crate) fn live_entries(&self) -> Option<&LiveEntries> {
        // SAFETY: they lie in the arena that the machine lies in, and are changed through cells and atomics.
        self.live.map(|live| unsafe { live.as_ref() })
    }

    /// Whether devices use the tables of an address space.
    fn has_devices(&self, mm: u32) -> bool {
        self.cpus[..self.nr_cpus.get()]
            .iter()
            .any(|cpu| cpu.kind.get() == CpuKind::Device && cpu.mm.get() == mm)
    }

    /// The CPU that the current thread runs on; none for the kernel's own actors.
    #[inline]
    pub(crate) fn current_cpu(&self) -> Option<&Cpu> {
        let number = self.cpu_of_thread[explore::thread::current().id().index()].get();
        self.cpus.get(number as usize)
    }

    /// Remembers an RCU callback.
    pub(crate) fn note_callback(&self, thread: explore::thread::ThreadId) {
        self.callbacks[thread.index()].set(Some(thread));
    }

    /// Waits until all RCU callbacks have run.
    pub(crate) fn rcu_barrier(&self) {
        for callback in &self.callbacks {
            if let Some(thread) = callback.get() {
                explore::label(|| "rcu_barrier".into());
                explore::thread::join(thread);
            }
        }
    }

    /// Remembers a thread of the scenario.
    pub(crate) fn note_spawned(&self, thread: explore::thread::ThreadId) {
        let number = self.nr_spawned.get();
        self.spawned[number].set(Some(thread));
        self.nr_spawned.set(number + 1);
    }

    /// Remembers a monitor.
    pub(crate) fn note_monitor(&self, thread: explore::thread::ThreadId) {
        let number = self.nr_monitors.get();
        self.monitors[number].set(Some(thread));
        self.nr_monitors.set(number + 1);
    }

    /// Waits for the monitors.
    pub(crate) fn join_monitors(&self) {
        for thread in &self.monitors[..self.nr_monitors.get()] {
            if let Some(thread) = thread.get() {
                explore::thread::join(thread);
            }
        }
    }

    /// Waits for all threads of the scenario but monitors, those that are spawned meanwhile included.
    pub(crate) fn join_spawned(&self) {
        for thread in &self.spawned {
            let Some(thread) = thread.get() else {
                return;
            };
            explore::thread::join(thread);
        }
    }

    /// Makes a thread one that runs on a CPU.
    pub(crate) fn place_thread(&self, thread: explore::thread::ThreadId, cpu: usize) {
        self.cpu_of_thread[thread.index()].set(u8::try_from(cpu).expect("CPUs are few"));
    }
}

fn pages(order: Order) -> usize {
    match order {
        Order::Small => 1,
        Order::Huge => Model::PTRS_PER_TABLE,
    }
}

/// Called after each use of a word: if it is part of what a frame holds, the frame must be in use. Its metadata may be
/// looked at all the same.
#[inline]
pub(crate) fn check_content_at(address: *const u8) {
    let world = CURRENT.get();
    if world.is_null() {
        return;
    }
    let offset = address
        .addr()
        .wrapping_sub(World::current().frames().as_ptr().addr());
    if offset % size_of::<FrameSlot>() >= offset_of!(FrameSlot, words) {
        check_frame_of(address);
    }
}

/// Called after each write of a word: if it may be one of a page table, it goes into the books on live entries.
#[inline]
pub(crate) fn note_write_at(address: *const u8, value: u64) {
    if CURRENT.get().is_null() {
        return;
    }
    let world = World::current();
    let Some(live) = world.live_entries() else {
        return;
    };
    if let Some((pfn, slot)) = world.frame_at(address) {
        let offset = address.addr().wrapping_sub(slot.words.as_ptr().addr());
        let index = offset / size_of::<ModelWord>();
        if index < PTRS_PER_TABLE {
            live.note_write(pfn, index, value, |mm| world.has_devices(mm));
        }
    }
}

/// Whether an address lies in a frame, or its metadata, that had an earlier life in this execution.
pub(crate) fn is_used_again(address: *const u8) -> bool {
    !CURRENT.get().is_null()
        && World::current()
            .frame_at(address)
            .is_some_and(|(_, slot)| slot.used_again.get())
}

/// If an address lies in a frame or its metadata, the frame must be in use.
pub(crate) fn check_frame_of(address: *const u8) {
    if CURRENT.get().is_null() {
        return;
    }
    if let Some((pfn, slot)) = World::current().frame_at(address)
        && slot.state.get() == Use::Freed
    {
        let what = match slot.table_of.get() {
            Some(mm) => format!(", a page table taken from {},", names::mm(mm)),
            None => String::new(),
        };
        let who = match World::current().current_cpu().map(|cpu| cpu.kind.get()) {
            Some(CpuKind::Device) => "a device walks it",
            Some(CpuKind::Vcpu) => "a virtual machine uses it",
            _ => "it is used",
        };
        violation::fail(
            Kind::UseAfterFree,
            format!("frame {}{what} was freed, and {who}", pfn.0),
        );
    }
}

/// The virtual page numbers an address space of the model has.
pub(crate) const VIRT_PAGES: usize = PTRS_PER_TABLE * PTRS_PER_TABLE * PTRS_PER_TABLE;

const _: () = assert!(PAGE_SHIFT == 12);
