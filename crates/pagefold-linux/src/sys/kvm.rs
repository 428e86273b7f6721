//! A virtual machine whose memory is a part of the region, and CPUs of it that do one access each time they are asked.
//!
//! The guest is two instructions of 64-bit code in user mode: the access, and a store to where the machine has no memory, which KVM
//! hands out. No more of a machine is there: no interrupts, no devices, no supervisor. KVM runs user mode by the tables that
//! it keeps for the guest, also where supervisor mode is emulated, as under a KVM without hardware of its own; so each access goes by
//! an entry that follows the process's tables. Where the process cannot map a page, `KVM_RUN` fails with EFAULT.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use rustix::io::Errno;

use super::memory::{self, HUGE, PAGE, Pages, Source};
use super::shared::{Shareable, Shared};
use super::{Address, access, process};

/// Words in a page.
const WORDS: usize = PAGE / size_of::<u64>();

/// The pages of the guest's own memory, which begins at 0: code, and tables of three levels.
const CODE: usize = 0;
const TOP: usize = 1;
const MIDDLE: usize = 2;
const LOW: usize = 3;
const OWN: usize = 4;

/// Where the process's memory is for the guest, by physical and by virtual addresses: at the second entry of the lowest table.
const MEMORY: u64 = HUGE as u64;

/// Where nothing is, within what the first entry maps.
const NOWHERE: u64 = (16 * PAGE) as u64;

/// `mov rax, [rbx]; mov [rcx], rax`.
const LOAD: [u8; 8] = [0x48, 0x8b, 0x03, 0x48, 0x89, 0x01, 0xf4, 0xf4];

/// `xchg [rbx], rax; mov [rcx], rax`. An exchange, as stores of threads are.
const STORE: [u8; 8] = [0x48, 0x87, 0x03, 0x48, 0x89, 0x01, 0xf4, 0xf4];

/// Where each is, in bytes.
const LOAD_AT: u64 = 0;
const STORE_AT: u64 = 8;

/// A signal may come in between; but hardly more than one.
const TRIES: u32 = 100;

/// How often, and after what time, is looked whether the trial has ended.
const LOOKS: u32 = 200;
const LOOK: Duration = Duration::from_millis(5);

/// The guest's own memory.
struct Own([AtomicU64; OWN * WORDS]);

// SAFETY: it consists of atomics, and zero is a value of each.
unsafe impl Shareable for Own {}

/// A virtual machine of this process.
pub(crate) struct Vm {
    vm: VmFd,
    /// What its CPUs are told that they have: 64-bit code, for one.
    cpuid: CpuId,
    _own: Shared<Own>,
    /// The memory that it shares with the process.
    memory: Pages,
}

impl Vm {
    /// One whose memory is `memory`, at most a huge page. What is mapped there may change.
    pub(crate) fn new(memory: Pages) -> Result<Self, Errno> {
        let own = Shared::<Own>::new()?;
        own.lay_out();
        let kvm = Kvm::new().map_err(errno)?;
        let vm = kvm.create_vm().map_err(errno)?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(errno)?;
        let base = std::ptr::from_ref(&own.0).expose_provenance();
        let own_slot = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: (OWN * PAGE) as u64,
            userspace_addr: base as u64,
        };
        let slot = kvm_userspace_memory_region {
            slot: 1,
            guest_phys_addr: MEMORY,
            memory_size: memory.bytes as u64,
            userspace_addr: memory.start.get() as u64,
            ..own_slot
        };
        for slot in [own_slot, slot] {
            // SAFETY: the guest can write to its own memory, which is kept as long as the machine and consists of atomics; and to
            // the region, where nothing of Rust lies.
            unsafe { vm.set_user_memory_region(slot) }.map_err(errno)?;
        }
        Ok(Self {
            vm,
            cpuid,
            _own: own,
            memory,
        })
    }

    /// A CPU of it, in user mode; each has another number.
    pub(crate) fn vcpu(&self, number: usize) -> Result<Vcpu<'_>, Errno> {
        let vcpu = self.vm.create_vcpu(number as u64).map_err(errno)?;
        vcpu.set_cpuid2(&self.cpuid).map_err(errno)?;
        let mut sregs = vcpu.get_sregs().map_err(errno)?;
        let code = kvm_segment {
            limit: u32::MAX,
            selector: 0x33,
            type_: 0b1011,
            present: 1,
            dpl: 3,
            s: 1,
            l: 1,
            g: 1,
            ..kvm_segment::default()
        };
        let data = kvm_segment {
            selector: 0x2b,
            type_: 0b0011,
            db: 1,
            l: 0,
            ..code
        };
        sregs.cs = code;
        for segment in [
            &mut sregs.ds,
            &mut sregs.es,
            &mut sregs.fs,
            &mut sregs.gs,
            &mut sregs.ss,
        ] {
            *segment = data;
        }
        sregs.cr0 = 0x8001_0031; // PG, WP, NE, ET, PE
        sregs.cr3 = (TOP * PAGE) as u64;
        sregs.cr4 = 0x20; // PAE
        sregs.efer = 0x500; // LMA, LME
        vcpu.set_sregs(&sregs).map_err(errno)?;
        Ok(Vcpu {
            fd: RefCell::new(vcpu),
            vm: self,
        })
    }
}

impl Own {
    /// The code, and tables by which each address is its own.
    fn lay_out(&self) {
        let put = |page: usize, word: usize, value: u64| {
            self.0[page * WORDS + word].store(value, Relaxed);
        };
        let table = |page: usize| (page * PAGE) as u64 | 0b111; // present, writable, for user mode
        put(CODE, 0, u64::from_le_bytes(LOAD));
        put(CODE, 1, u64::from_le_bytes(STORE));
        put(TOP, 0, table(MIDDLE));
        put(MIDDLE, 0, table(LOW));
        for huge in 0..2 {
            put(LOW, huge, (huge * HUGE) as u64 | 0b1000_0111); // a huge page
        }
    }
}

/// A virtual CPU, of one thread.
pub(crate) struct Vcpu<'vm> {
    fd: RefCell<VcpuFd>,
    /// Without which it would go on without its code.
    vm: &'vm Vm,
}

impl Vcpu<'_> {
    /// Reads a word.
    pub(crate) fn load(&self, address: Address) -> Result<u64, Errno> {
        self.run(LOAD_AT, address, 0)
    }

    /// Writes a word.
    pub(crate) fn store(&self, address: Address, value: u64) -> Result<(), Errno> {
        self.run(STORE_AT, address, value).map(drop)
    }

    /// Runs an access to its end: what the register holds then.
    fn run(&self, code: u64, address: Address, value: u64) -> Result<u64, Errno> {
        let mut fd = self.fd.borrow_mut();
        let offset = address.get() - self.vm.memory.start.get();
        let registers = kvm_regs {
            rip: code,
            rax: value,
            rbx: MEMORY + offset as u64,
            rcx: NOWHERE,
            rflags: 2,
            ..kvm_regs::default()
        };
        fd.set_regs(&registers).map_err(errno)?;
        for _ in 0..TRIES {
            match fd.run() {
                Ok(VcpuExit::MmioWrite(NOWHERE, word)) => {
                    let word = <[u8; 8]>::try_from(word).map_err(|_| Errno::IO)?;
                    return Ok(u64::from_ne_bytes(word));
                }
                Ok(VcpuExit::MemoryFault { .. }) => return Err(Errno::FAULT),
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
                Err(error) => return Err(errno(error)),
                // It was not this guest that ran.
                Ok(_) => return Err(Errno::IO),
            }
        }
        Err(Errno::INTR)
    }
}

fn errno(error: kvm_ioctls::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

/// Whether virtual machines can be made, whatever they can run.
pub(crate) fn is_there() -> bool {
    idle().is_some()
}

/// A machine that does nothing, if one can be made.
pub(crate) fn idle() -> Option<VmFd> {
    Kvm::new().and_then(|kvm| kvm.create_vm()).ok()
}

/// Whether such guests run here, and why not if they do not. Nobody else uses the region meanwhile.
///
/// It is tried in a process of its own: under a hypervisor that promises more than it does, a guest may run for ever.
pub(crate) fn trial() -> Result<(), String> {
    Kvm::new().map_err(|error| format!("/dev/kvm: {error}"))?;
    let pid = process::fork(|| {
        let status = match one_access() {
            Ok(true) => 0,
            Ok(false) | Err(_) => 1,
        };
        process::exit(status);
    })
    .map_err(|error| format!("a process: {error}"))?;
    for _ in 0..LOOKS {
        match process::ended_with(pid) {
            None => thread::sleep(LOOK),
            Some(0) => return Ok(()),
            Some(_) => return Err("a KVM that runs 64-bit guests".to_owned()),
        }
    }
    process::kill(pid);
    Err("a KVM that runs 64-bit guests: one did not come to an end".to_owned())
}

/// Whether a store and a load of a guest do what they should, and fail where nothing is.
fn one_access() -> Result<bool, Errno> {
    let page = Pages::one(Address::new(0));
    memory::mmap(page, Source::Anonymous)?;
    let vm = Vm::new(page)?;
    let vcpu = vm.vcpu(0)?;
    vcpu.store(page.start, 7)?;
    let both = vcpu.load(page.start)? == 7 && access::load(page.start) == Ok(7);
    memory::munmap(page)?;
    Ok(both && vcpu.load(page.start) == Err(Errno::FAULT))
}
