//! Loads and stores by address, with the faults they take.

use pagefold::addr::VirtAddr;
use pagefold::fault::{FaultError, handle_user_fault};
use pagefold::handle::Ref;
use pagefold::mm::Mm;
use pagefold::mmap;
use pagefold_explore as explore;
use pagefold_litmus::{Actor, MappingPage, Symbol, Value};

use super::{Session, Who};
use crate::model::Model;
use crate::model::cpu::{self, Access};
use crate::model::oracle;
use crate::model::world::World;

/// Faults that an access may take one after the other before it waits for somebody else. While nobody else does
/// anything it needs at most four (a huge page is split, a page is mapped, its protection is lifted, a stale entry is dropped),
/// and each interference of another thread costs it one more.
const FAULTS: u32 = 8;

impl Session<'_> {
    /// A load or store by address: tried until it goes through or ends in a signal.
    pub(super) fn access(&self, who: Who<'_>, page: MappingPage, access: Access) -> Value {
        let mm = who.machine.mm(self.plan.scenario[page.mapping].mm);
        let addr = self.addr(page);
        let write = matches!(access, Access::Store(_));
        let world = World::current();
        let mut faults = 0;
        loop {
            if faults == FAULTS {
                // Either somebody else is in the way or a cache is stale: nothing comes of trying again before something has
                // changed.
                explore::hint::relax();
                faults = 0;
            }
            faults += 1;
            let (value, fault) = match (who.actor, who.cpu) {
                (Actor::Vcpu(id), Some(cpu)) => {
                    let kvm = who.machine.kvms[id.index()].expect("a vcpu has a virtual machine");
                    let cpu = &world.cpus[cpu];
                    let value = cpu::try_guest_access(cpu, mm, kvm, addr, access);
                    let fault = value.is_none().then(|| kvm.page_fault(addr, write));
                    (value, fault)
                }
                (Actor::Device(_) | Actor::Monitor(_), Some(cpu)) => {
                    let value = cpu::try_access(&world.cpus[cpu], mm, addr, access);
                    let fault = value.is_none().then(|| page_request(mm, addr, write));
                    (value, fault)
                }
                (_, Some(cpu)) => {
                    let value = cpu::try_access(&world.cpus[cpu], mm, addr, access);
                    let fault = value.is_none().then(|| handle_user_fault(mm, addr, write));
                    (value, fault)
                }
                (_, None) => {
                    let value = oracle::access_uncached(world, mm, addr, access);
                    let fault = value.is_none().then(|| handle_user_fault(mm, addr, write));
                    (value, fault)
                }
            };
            match (value, fault) {
                (Some(value), _) => return Value::Number(value),
                (None, Some(Err(error))) => return ended(who.actor, &error),
                (None, _) => {}
            }
        }
    }
}

/// A fault of a device or a monitor: the kernel handles it on behalf of a process that may be going away.
fn page_request(
    mm: Ref<Model, Mm<Model>>,
    addr: VirtAddr,
    write: bool,
) -> Result<(), FaultError<Model>> {
    if !mmap::mmget_not_zero(mm) {
        return Err(FaultError::SigSegv);
    }
    let result = handle_user_fault(mm, addr, write);
    mmap::exit_mm(mm);
    result
}

/// What an access ends in that does not go through: the signal, or what the call returns that runs a virtual CPU or reads for a monitor.
fn ended(actor: Actor, error: &FaultError<Model>) -> Value {
    match error {
        FaultError::SigSegv | FaultError::SigBus if matches!(actor, Actor::Vcpu(_)) => {
            Symbol::EFAULT.into()
        }
        _ if matches!(actor, Actor::Monitor(_)) => Symbol::EFAULT.into(),
        FaultError::SigSegv => Symbol::SIGSEGV.into(),
        FaultError::SigBus => Symbol::SIGBUS.into(),
        FaultError::HwPoison => Symbol::HWPOISON.into(),
        FaultError::OutOfMemory => Symbol::ENOMEM.into(),
        FaultError::Userfault(..) | FaultError::NeedsMmapLock => {
            unreachable!("`handle_user_fault` does not return these")
        }
    }
}
