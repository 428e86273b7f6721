//! fork: the threads of the child begin when it returns.

use pagefold::fork::dup_mmap;
use pagefold::mmap;
use pagefold::platform::Word;
use pagefold_explore as explore;
use pagefold_litmus::{MmId, Value};

use super::{Session, Who, status};
use crate::model::check::layout::users;
use crate::model::world::World;

impl Session<'_> {
    pub(super) fn fork(&self, who: Who<'_>, child: MmId) -> Value {
        let scenario = self.plan.scenario;
        let Some(parent) = who
            .actor
            .mm()
            .filter(|mm| scenario[child].parent == Some(*mm))
        else {
            return status(Err("EINVAL"));
        };
        explore::label(|| "clone".into());
        if World::current().forked[child.index()].xchg_relaxed(1) != 0 {
            return status(Err("EAGAIN"));
        }
        let (parent, mm) = (who.machine.mm(parent), who.machine.mm(child));
        match dup_mmap(parent, mm) {
            Ok(()) => {
                // After the set-up, they begin with all others.
                if !explore::is_quiet() {
                    self.spawn_threads(who.machine, Some(child));
                }
                Value::SUCCESS
            }
            Err(_) => {
                for _ in 0..users(scenario, child) {
                    mmap::exit_mm(mm);
                }
                status(Err("ENOMEM"))
            }
        }
    }
}
