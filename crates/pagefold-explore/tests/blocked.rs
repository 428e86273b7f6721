//! What is said when no thread can go on.

use std::rc::Rc;

use pagefold_explore::interrupt::Cpu;
use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, RawLock, RawRwSem};
use pagefold_explore::{Config, Verdict, explore, hint, kind, rcu, thread};

static SPIN: LockClass = LockClass::spin("spin");
static LOCK: LockClass = LockClass::sleep("lock");
static SEM: LockClass = LockClass::sleep("sem");
static PAIR: LockClass = LockClass::sleep("pair").ranked(1);

/// The message of a program that breaks in this way, and the steps that lead there.
#[track_caller]
fn broken(kind: &str, program: impl FnMut()) -> String {
    let report = explore(&Config::default(), program);
    let Verdict::Broken(violation) = report.verdict else {
        panic!("expected {kind}: {report}")
    };
    assert_eq!(violation.kind, kind, "{violation}");
    format!("{}\n{}", violation.message, violation.trace)
}

#[test]
fn two_locks_the_other_way_round() {
    let message = broken(kind::DEADLOCK, || {
        let pair = Arc::new([RawLock::new(&PAIR), RawLock::new(&PAIR)]);
        let other = Arc::clone(&pair);
        let left = thread::spawn_named("left", move || {
            other[0].lock();
            other[1].lock_nested();
            other[1].unlock();
            other[0].unlock();
        });
        thread::spawn_named("right", move || {
            pair[1].lock();
            pair[0].lock_nested();
            pair[0].unlock();
            pair[1].unlock();
        });
        left.join().unwrap();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      left holds pair#1 since step 2; it waits since step 2 for pair#2, held by right since step 4
      right holds pair#2 since step 4; it waits since step 4 for pair#1, held by left since step 2
      cycle: left -> pair#2 held by right -> pair#1 held by left
       0  main   start
       1  left   start
       2         lock pair#1
       3  right  start
       4         lock pair#2
    ");
}

#[test]
fn a_circle_of_three_and_one_who_only_waits() {
    let message = broken(kind::DEADLOCK, || {
        let locks = Arc::new([0; 3].map(|_| RawRwSem::new(&SEM)));
        let ready = Arc::new(AtomicU32::new(0));
        for (name, number) in [("a", 0), ("b", 1), ("c", 2)] {
            let (locks, ready) = (Arc::clone(&locks), Arc::clone(&ready));
            thread::spawn_named(name, move || {
                locks[number].read();
                ready.fetch_add(1, SeqCst);
                ready.wait_until(|value| value == 3);
                locks[(number + 1) % 3].write_out_of_order();
            });
        }
        ready.wait_until(|value| value == 3);
        locks[2].write();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      main waits since step 11 for sem#4, shared by c since step 8
      a holds sem#2 shared since step 2; it waits since step 12 for sem#3, shared by b since step 5
      b holds sem#3 shared since step 5; it waits since step 13 for sem#4, shared by c since step 8
      c holds sem#4 shared since step 8; it waits since step 10 for sem#2, shared by a since step 2
      cycle: c -> sem#2 shared by a -> sem#3 shared by b -> sem#4 shared by c
       0  main  start
       1  a     start
       2        share sem#2
       3        update a1: 0 -> 1
       4  b     start
       5        share sem#3
       6        update a1: 1 -> 2
       7  c     start
       8        share sem#4
       9        update a1: 2 -> 3
      10        wait for a1 -> 3
      11  main  wait for a1 -> 3
      12  a     wait for a1 -> 3
      13  b     wait for a1 -> 3
    ");
}

#[test]
fn a_value_that_never_comes() {
    let message = broken(kind::DEADLOCK, || {
        let word = Arc::new(AtomicU32::new(0));
        let lock = Arc::new(RawLock::new(&LOCK));
        let (w, l) = (Arc::clone(&word), Arc::clone(&lock));
        let waiter = thread::spawn_named("waiter", move || {
            l.lock();
            w.wait_until(|value| value == 7);
        });
        let w = Arc::clone(&word);
        thread::spawn_named("writer", move || w.store(1, SeqCst));
        waiter.join().unwrap();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      waiter holds lock#1 since step 2; it waits since step 2 for a2 to change, which is 1
       0  main    start
       1  waiter  start
       2          lock lock#1
       3  writer  start
       4          store a2 = 1
    ");
}

#[test]
fn a_join_of_one_who_waits_for_the_lock() {
    let message = broken(kind::DEADLOCK, || {
        let lock = Arc::new(RawLock::new(&LOCK));
        let other = Arc::clone(&lock);
        lock.lock();
        let child = thread::spawn_named("child", move || other.lock());
        child.join().unwrap();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      main holds lock#1 since step 1; it waits since step 1 for the end of child
      child waits since step 2 for lock#1, held by main since step 1
      cycle: main -> the end of child -> lock#1 held by main
       0  main   start
       1         lock lock#1
       2  child  start
    ");
}

#[test]
fn threads_that_wait_for_each_other_to_end() {
    let message = broken(kind::DEADLOCK, || {
        let inner = thread::spawn_named("outer", || {
            let never = AtomicU32::new(0);
            let stuck = thread::spawn_named("stuck", move || never.wait_until(|value| value == 1));
            stuck.join().unwrap();
        });
        inner.join().unwrap();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      stuck waits since step 2 for a1 to change, which is 0
       0  main   start
       1  outer  start
       2  stuck  start
    ");
}

#[test]
fn a_retry_loop_that_nothing_ends() {
    let message = broken(kind::LIVELOCK, || {
        let words = [AtomicU32::new(3), AtomicU32::new(4)];
        while words[0].load(SeqCst) + words[1].load(SeqCst) != 0 {
            hint::relax();
        }
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      main retries since step 2: until a1 changes, read as 3 at step 1; until a2 changes, read as 4 at step 2
       0  main  start
       1        load a1 -> 3
       2        load a2 -> 4
    ");
}

#[test]
fn attempts_at_a_lock_that_is_never_free() {
    let message = broken(kind::LIVELOCK, || {
        let locks = Arc::new([RawLock::new(&LOCK), RawLock::new(&SPIN)]);
        let other = Arc::clone(&locks);
        thread::spawn_named("tries", move || {
            other[1].lock();
            while !other[0].try_lock() {
                hint::relax();
            }
            other[0].unlock();
            other[1].unlock();
        });
        locks[0].lock();
        locks[1].lock();
        locks[1].unlock();
        locks[0].unlock();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      main holds lock#1 since step 1; it waits since step 1 for spin#2, held by tries since step 3
      tries holds spin#2 since step 3; it retries since step 4: until lock#1 changes, tried at step 4, held by main since step 1
      cycle: main -> spin#2 held by tries -> lock#1 held by main
       0  main   start
       1         lock lock#1
       2  tries  start
       3         lock spin#2
       4         try to lock lock#1: held
    ");
}

#[test]
fn a_grace_period_that_a_reader_delays() {
    let message = broken(kind::LIVELOCK, || {
        let lock = Arc::new(RawLock::new(&SPIN));
        let word = Arc::new(AtomicU32::new(0));
        let (l, w) = (Arc::clone(&lock), Arc::clone(&word));
        thread::spawn_named("reader", move || {
            let _section = rcu::read();
            w.store(1, SeqCst);
            l.lock();
            l.unlock();
        });
        lock.lock();
        // Spins for the end of a grace period with the lock held.
        let done = Arc::new(AtomicU32::new(0));
        let d = Arc::clone(&done);
        rcu::call(move || d.store(1, SeqCst));
        while done.load(SeqCst) == 0 {
            hint::relax();
        }
        lock.unlock();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      main holds spin#1 since step 1; it retries since step 3: until a2 changes, read as 0 at step 3
      reader waits since step 5 for spin#1, held by main since step 1
      rcu callback waits since step 2 for a grace period, with readers in reader (since step 5)
       0  main          start
       1                lock spin#1
       2                ask for a grace period
       3                load a2 -> 0
       4  reader        start
       5                store a3 = 1
    ");
}

#[test]
fn an_interrupt_that_is_waited_for_with_interrupts_off() {
    let message = broken(kind::DEADLOCK, || {
        let cpu = Rc::new(Cpu::new(0));
        cpu.disable();
        cpu.ipi(|| {}).join();
    });
    insta::assert_snapshot!(message, @"
    no thread can go on
      main holds interrupts of cpu0 since step 1; it waits since step 2 for the end of ipi
      ipi waits since step 2 for interrupts of cpu0, held by main since step 1
      cycle: main -> the end of ipi -> interrupts of cpu0 held by main
       0  main  start
       1        lock interrupts of cpu0
       2        send an interrupt
    ");
}
