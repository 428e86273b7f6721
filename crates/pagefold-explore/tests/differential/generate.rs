//! Random programs. Each is about a theme, so that its threads have something to do with each other.

use crate::program::{Body, Break, Op, Program};
use crate::random::Random;
use crate::world::REFERENCES;

/// What may stand where a statement is wanted.
#[derive(Clone, Copy)]
struct Place {
    depth: u32,
    /// Sleeping is allowed.
    sleep: bool,
    /// Interrupts may be disabled, or sent and waited for.
    irq: bool,
    /// Locks may be taken.
    locks: bool,
    /// The locks with content may be taken. Not while they are held.
    contents: bool,
    rcu: bool,
}

impl Place {
    const THREAD: Self = Self {
        depth: 0,
        sleep: true,
        irq: true,
        locks: true,
        contents: true,
        rcu: true,
    };
    /// In an interrupt, a callback.
    const HANDLER: Self = Self {
        depth: 1,
        sleep: false,
        irq: false,
        locks: false,
        contents: false,
        rcu: false,
    };

    fn without_contents(self) -> Self {
        Self {
            contents: false,
            ..self
        }
    }
}

/// What a program is about.
#[derive(Clone, Copy)]
enum Theme {
    Locks,
    Semaphore,
    Contents,
    Waits,
    Grace,
    Freeing,
    References,
    Interrupts,
    Threads,
    Rules,
}

const THEMES: [Theme; 10] = [
    Theme::Locks,
    Theme::Semaphore,
    Theme::Contents,
    Theme::Waits,
    Theme::Grace,
    Theme::Freeing,
    Theme::References,
    Theme::Interrupts,
    Theme::Threads,
    Theme::Rules,
];

struct Generator {
    random: Random,
    logs: usize,
    theme: Theme,
    /// How many of the first references are given back.
    puts: u64,
    /// How many statements may still be made: more would give too many interleavings.
    left: u32,
}

/// How large programs are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Every interleaving can be looked at.
    Small,
    Large,
}

/// The program of a seed.
pub(crate) fn generate(seed: u64, size: Size) -> Program {
    let mut random = Random::new(seed);
    let threads = 2 + random.index(2) + usize::from(size == Size::Large);
    let theme = THEMES[random.index(THEMES.len())];
    let (left, max) = match (size, threads) {
        (Size::Small, 2) => (8, 4),
        (Size::Small, _) => (6, 2),
        (Size::Large, _) => (12, 4),
    };
    let mut generator = Generator {
        random,
        logs: threads,
        theme,
        puts: 0,
        left,
    };
    let mut bodies = Vec::new();
    for number in 0..threads {
        // What is left is shared fairly, and the last one need not do without.
        let others = u32::try_from(threads - 1 - number).expect("few threads");
        generator.left = generator.left.saturating_sub(others);
        bodies.push(generator.body(max, Place::THREAD));
        generator.left += others;
    }
    Program {
        threads: bodies,
        logs: generator.logs,
    }
}

impl Generator {
    fn body(&mut self, max: u64, place: Place) -> Body {
        let mut body = vec![self.op(place)];
        for _ in 0..self.random.below(max) {
            if self.left > 0 {
                body.push(self.op(place));
            }
        }
        body
    }

    fn inner(&mut self, place: Place) -> Body {
        let place = Place {
            depth: place.depth + 1,
            ..place
        };
        self.body(2, place)
    }

    fn downgrade(&mut self, place: Place) -> Option<Body> {
        self.random.chance(60).then(|| self.inner(place))
    }

    fn log(&mut self) -> usize {
        self.logs += 1;
        self.logs - 1
    }

    fn word(&mut self) -> usize {
        self.random.index(2)
    }

    fn atomic(&mut self) -> Op {
        let a = self.word();
        let value = self.random.below(3);
        match self.random.below(24) {
            0..=6 => Op::Load(a),
            7..=11 => Op::Store(a, value),
            12 | 13 => Op::FetchAdd(a),
            14 | 15 => Op::Cas(a, self.random.below(2), value),
            16 => Op::Swap(a, value),
            17 => Op::FetchMax(a, value),
            18 => Op::Update(a),
            19 => Op::CounterGet,
            20 if self.random.chance(30) => Op::CounterSet(value),
            _ => Op::CounterAdd,
        }
    }

    fn op(&mut self, place: Place) -> Op {
        self.left = self.left.saturating_sub(1);
        if place.depth >= 2 || self.left == 0 || self.random.chance(30) {
            return self.atomic();
        }
        if self.random.chance(8) {
            let a = self.word();
            let value = self.random.below(2);
            return Op::If(a, value, self.inner(place));
        }
        let theme = if self.random.chance(80) {
            self.theme
        } else {
            THEMES[self.random.index(THEMES.len())]
        };
        self.themed(theme, place).unwrap_or_else(|| self.atomic())
    }

    /// A statement of the theme, unless the place forbids it.
    fn themed(&mut self, theme: Theme, place: Place) -> Option<Op> {
        match theme {
            Theme::Locks => place.locks.then(|| self.lock(place)),
            Theme::Semaphore => place.locks.then(|| self.semaphore(place)),
            Theme::Contents => (place.locks && place.contents).then(|| self.contents(place)),
            Theme::Waits => place.sleep.then(|| self.wait()),
            Theme::Grace => self.grace(place),
            Theme::Freeing => Some(self.freeing(place)),
            Theme::References => Some(self.references(place)),
            Theme::Interrupts => place.irq.then(|| self.interrupt(place)),
            Theme::Threads => place.sleep.then(|| self.spawn(place)),
            Theme::Rules => Some(self.rule(place)),
        }
    }

    fn lock(&mut self, place: Place) -> Op {
        let lock = self.word();
        match self.random.below(6) {
            0..=2 => Op::Lock(lock, self.inner(place)),
            3 | 4 => Op::TryLock(lock, self.inner(place)),
            _ => Op::RetryLock(lock),
        }
    }

    fn semaphore(&mut self, place: Place) -> Op {
        match self.random.below(4) {
            0 => {
                let locks = self.random.chance(30);
                Op::Read(self.inner(Place { locks, ..place }))
            }
            1 => Op::TryRead(self.inner(place)),
            2 => {
                let inner = self.inner(place);
                Op::Write(inner, self.downgrade(place))
            }
            _ => {
                let inner = self.inner(place);
                Op::TryWrite(inner, self.downgrade(place))
            }
        }
    }

    fn contents(&mut self, place: Place) -> Op {
        let place = place.without_contents();
        let value = self.random.below(3);
        match self.random.below(8) {
            0 | 1 => Op::Mutex(value, self.inner(place)),
            2 => Op::TryMutex(value, self.inner(place)),
            3 | 4 => Op::View(self.inner(place)),
            5 => Op::TryView(self.inner(place)),
            6 => {
                let inner = self.inner(place);
                Op::Change(value, inner, self.downgrade(place))
            }
            _ => {
                let inner = self.inner(place);
                Op::TryChange(value, inner, self.downgrade(place))
            }
        }
    }

    fn wait(&mut self) -> Op {
        let a = self.word();
        let value = self.random.below(2);
        match self.random.below(4) {
            0 | 1 => Op::Await(a, value),
            2 => Op::RetryWhile(a, value),
            _ => Op::RetryCas(a, value, self.random.below(3)),
        }
    }

    /// A spin lock may be held where sleeping is forbidden.
    fn spin(&mut self, place: Place) -> Op {
        Op::Spin(self.inner(Place {
            locks: false,
            irq: false,
            sleep: false,
            ..place
        }))
    }

    fn grace(&mut self, place: Place) -> Option<Op> {
        if !place.rcu {
            return Some(match self.random.below(3) {
                0 => Op::Use(self.word()),
                1 => self.spin(place),
                _ => return None,
            });
        }
        Some(match self.random.below(8) {
            0..=3 => {
                let rcu = self.random.chance(30);
                Op::Rcu(self.inner(Place {
                    sleep: false,
                    locks: false,
                    rcu,
                    ..place
                }))
            }
            4 => {
                let log = self.log();
                let mut body = self.inner(Place::HANDLER);
                if self.random.chance(40) {
                    body.push(Op::Free);
                }
                Op::Call(log, body)
            }
            5 | 6 if place.sleep => Op::Synchronize,
            5 | 6 => Op::RetryWhile(self.word(), self.random.below(2)),
            _ => self.spin(place),
        })
    }

    fn freeing(&mut self, place: Place) -> Op {
        match self.random.below(6) {
            0 => Op::Free,
            1 if place.rcu => Op::Call(self.log(), vec![Op::Free]),
            1 | 2 => Op::UseLock,
            3 | 4 => Op::Use(self.word()),
            _ if place.rcu => Op::Rcu(self.inner(Place {
                sleep: false,
                locks: false,
                rcu: false,
                ..place
            })),
            _ => Op::Use(self.word()),
        }
    }

    fn references(&mut self, place: Place) -> Op {
        match self.random.below(8) {
            0 | 1 => Op::Reference(self.inner(place)),
            2 => Op::References(self.inner(place)),
            3..=5 if self.puts < REFERENCES => {
                self.puts += 1;
                Op::Put
            }
            3..=6 => Op::Use(self.word()),
            _ => Op::CountReferences,
        }
    }

    fn interrupt(&mut self, place: Place) -> Op {
        if self.random.chance(40) {
            return Op::IrqOff(self.inner(Place {
                sleep: false,
                irq: false,
                locks: false,
                rcu: false,
                ..place
            }));
        }
        let log = self.log();
        let body = self.inner(Place::HANDLER);
        Op::Ipi(log, body, place.sleep && self.random.chance(50))
    }

    fn spawn(&mut self, place: Place) -> Op {
        let log = self.log();
        let body = self.inner(Place {
            contents: false,
            ..Place::THREAD
        });
        let meanwhile = self.inner(place);
        Op::Spawn(log, body, meanwhile, self.random.chance(70))
    }

    /// Something forbidden, usually only in some interleavings.
    fn rule(&mut self, place: Place) -> Op {
        let rule = match self.random.below(10) {
            0 => Break::Fail,
            1 => Break::Panic,
            2 if place.sleep => Break::RecursiveLock,
            3 if place.sleep => Break::WrongOrder,
            4..=6 if place.sleep => Break::OneOrder(self.random.chance(50)),
            7 => Break::NotHeld,
            8 if place.sleep => Break::SleepInAtomic,
            _ if place.sleep => Break::Leak,
            _ => Break::Fail,
        };
        // One order alone is harmless.
        let always = if matches!(rule, Break::OneOrder(_)) {
            60
        } else {
            10
        };
        if self.random.chance(always) {
            return Op::Break(rule);
        }
        let a = self.word();
        Op::If(a, 1 + self.random.below(2), vec![Op::Break(rule)])
    }
}
