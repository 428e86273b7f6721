//! What the loads and stores of a thread are made by: itself, or a virtual CPU that it runs; or a system call, for a monitor.
//!
//! A virtual machine has one huge page's worth of the process's memory, the first of its first mapping, as in the model. It belongs to
//! the process, and is made before the threads begin; what is mapped there changes from race to race.

use pagefold_litmus::{Actor, MmId};
use rustix::io::Errno;

use crate::board::{Board, Given};
use crate::geometry;
use crate::sys::Address;
use crate::sys::access;
use crate::sys::kvm::{self, Vcpu, Vm};
use crate::worker::Context;

/// Who makes an access.
pub(crate) enum Processor<'vm> {
    /// The one that the thread runs on.
    Own,
    /// A virtual one.
    Virtual(Vcpu<'vm>),
    /// The kernel reads the memory of this address space.
    Remote(&'vm Board, MmId),
}

impl<'vm> Processor<'vm> {
    /// The one of a thread; the virtual machine is that of its process.
    pub(crate) fn of(
        context: &'vm Context<'_>,
        thread: usize,
        vm: Option<&'vm Vm>,
    ) -> Result<Self, Errno> {
        match (context.program.scenario.threads[thread].actor, vm) {
            (Actor::Vcpu(_), Some(vm)) => vm.vcpu(thread).map(Self::Virtual),
            (Actor::Monitor(mm), _) => Ok(Self::Remote(context.board, mm)),
            _ => Ok(Self::Own),
        }
    }

    /// Reads a word; what came instead.
    pub(crate) fn load(&self, address: Address) -> Result<u64, Given> {
        match self {
            Self::Own => access::load(address).map_err(Given::Signal),
            Self::Virtual(vcpu) => vcpu.load(address).map_err(Given::Errno),
            Self::Remote(board, mm) => board
                .process(*mm)
                .and_then(|process| process.read(address))
                .map_err(|_| Given::Errno(Errno::FAULT)),
        }
    }

    /// Writes a word; what came instead.
    pub(crate) fn store(&self, address: Address, value: u64) -> Result<(), Given> {
        match self {
            Self::Own => access::store(address, value).map_err(Given::Signal),
            Self::Virtual(vcpu) => vcpu.store(address, value).map_err(Given::Errno),
            Self::Remote(..) => unreachable!("monitors do not write to the pages of a process"),
        }
    }
}

/// The virtual machine of a worker, if threads of it are virtual CPUs. One without CPUs, if there can be one, where events are traced: it is told of
/// ranges, which is an event.
pub(crate) fn virtual_machine(context: &Context<'_>, worker: usize) -> Result<Option<Vm>, Errno> {
    let program = context.program;
    let taps = context.marker.is_some() && worker < program.scenario.mms.len() && kvm::is_there();
    if !taps && !program.runs_guest(worker) {
        return Ok(None);
    }
    let mappings = program.scenario.mappings_of(MmId::new(worker));
    let slot = mappings
        .map(|(mapping, _)| program.slots[mapping.index()])
        .next();
    Vm::new(geometry::first_huge(slot.unwrap_or(0))).map(Some)
}
