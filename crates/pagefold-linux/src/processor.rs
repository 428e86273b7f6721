//! What the loads and stores of a thread are made by: itself, or a virtual CPU that it runs.
//!
//! A virtual machine has one huge page's worth of the process's memory, the first of its first mapping, as in the model. It belongs to
//! the process, and is made before the threads begin; what is mapped there changes from race to race.

use pagefold_litmus::{Actor, MmId};
use rustix::io::Errno;

use crate::board::Given;
use crate::geometry;
use crate::plan::Program;
use crate::sys::Address;
use crate::sys::access;
use crate::sys::kvm::{Vcpu, Vm};

/// Who makes an access.
pub(crate) enum Processor<'vm> {
    /// The one that the thread runs on.
    Own,
    /// A virtual one.
    Virtual(Vcpu<'vm>),
}

impl<'vm> Processor<'vm> {
    /// The one of a thread; the virtual machine is that of its process.
    pub(crate) fn of(
        program: &Program<'_>,
        thread: usize,
        vm: Option<&'vm Vm>,
    ) -> Result<Self, Errno> {
        match (program.scenario.threads[thread].actor, vm) {
            (Actor::Vcpu(_), Some(vm)) => vm.vcpu(thread).map(Self::Virtual),
            _ => Ok(Self::Own),
        }
    }

    /// Reads a word; what came instead.
    pub(crate) fn load(&self, address: Address) -> Result<u64, Given> {
        match self {
            Self::Own => access::load(address).map_err(Given::Signal),
            Self::Virtual(vcpu) => vcpu.load(address).map_err(Given::Errno),
        }
    }

    /// Writes a word; what came instead.
    pub(crate) fn store(&self, address: Address, value: u64) -> Result<(), Given> {
        match self {
            Self::Own => access::store(address, value).map_err(Given::Signal),
            Self::Virtual(vcpu) => vcpu.store(address, value).map_err(Given::Errno),
        }
    }
}

/// The virtual machine of a worker, if threads of it are virtual CPUs.
pub(crate) fn virtual_machine(program: &Program<'_>, worker: usize) -> Result<Option<Vm>, Errno> {
    if !program.runs_guest(worker) {
        return Ok(None);
    }
    let mappings = program.scenario.mappings_of(MmId::new(worker));
    let slot = mappings
        .map(|(mapping, _)| program.slots[mapping.index()])
        .next();
    Vm::new(geometry::first_huge(slot.unwrap_or(0))).map(Some)
}
