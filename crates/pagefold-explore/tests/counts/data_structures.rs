//! Data structures.

use crate::check::check_all;
use crate::memory::{Body, Memory, body, times};
use crate::table::{GENMC, program};

#[test]
fn data_structures() {
    let deque = |threads: &[&'static str]| {
        let threads = threads.iter().map(|&calls| deque_calls(calls));
        threads.collect::<Vec<_>>()
    };
    check_all([
        program("stc", GENMC, 37, stack_of_attempts()),
        program("dq", GENMC, 1_373, deque(&["++-+", "ss", "s"])),
        program("chase-lev", GENMC, 59, deque(&["+++++---++", "s"])),
        program("qu", GENMC, 39, queue_of_attempts()),
        program("treiber-stack", GENMC, 18, treiber_stack()).may_block(),
        program("mpmc-queue", GENMC, 3, bounded_queue())
            .words(vec![1, 0, 1, 17, 0, 0, 0])
            .may_block(),
        program("barrier", GENMC, 2, spinning_barrier()),
    ]);
}

/// A stack whose operations are attempted once. Nodes 1 and 2 are pushed by the first thread,
/// which pops one then; the second thread pops, and pushes node 3.
fn stack_of_attempts() -> Vec<Body> {
    fn data(node: u32) -> usize {
        2 * node as usize - 1
    }
    fn next(node: u32) -> usize {
        2 * node as usize
    }
    fn push(m: &Memory, node: u32) {
        m.write(data(node), node);
        let head = m.read(0);
        m.write(next(node), head);
        m.cas(0, head, node);
    }
    fn pop(m: &Memory) {
        let head = m.read(0);
        if head != 0 {
            m.read(data(head));
            let rest = m.read(next(head));
            m.cas(0, head, rest);
        }
    }
    vec![
        body(|m| {
            push(m, 1);
            push(m, 2);
            pop(m);
        }),
        body(|m| {
            pop(m);
            push(m, 3);
        }),
    ]
}

/// A deque that one thread pushes to (`+`) and pops from (`-`), and others steal from (`s`).
fn deque_calls(calls: &'static str) -> Body {
    const BOTTOM: usize = 0;
    const TOP: usize = 1;
    const LENGTH: u32 = 10;
    let at = |i: u32| 2 + (i % LENGTH) as usize;
    body(move |m| {
        for (number, call) in (1..).zip(calls.chars()) {
            match call {
                '+' => {
                    let bottom = m.read(BOTTOM);
                    if bottom - m.read(TOP) < LENGTH {
                        m.write(at(bottom), number);
                        m.write(BOTTOM, bottom + 1);
                    }
                }
                '-' => {
                    let bottom = m.read(BOTTOM);
                    m.write(BOTTOM, bottom - 1);
                    let top = m.read(TOP);
                    if top >= bottom {
                        m.write(BOTTOM, bottom);
                        continue;
                    }
                    m.read(at(bottom - 1));
                    if top + 1 == bottom {
                        m.cas(TOP, top, top + 1);
                        m.write(BOTTOM, bottom);
                    }
                }
                _ => {
                    let top = m.read(TOP);
                    if m.read(BOTTOM) > top {
                        m.read(at(top));
                        m.cas(TOP, top, top + 1);
                    }
                }
            }
        }
    })
}

/// A linked queue whose operations are attempted once. The first thread sets it up and enqueues node
/// 2; the second one enqueues node 3, and the third one dequeues, if they find it set up. Node 1 is
/// the one before the first, 0 none.
fn queue_of_attempts() -> Vec<Body> {
    const READY: usize = 0;
    const HEAD: usize = 1;
    const TAIL: usize = 2;
    fn next(node: u32) -> usize {
        2 + node as usize
    }
    fn data(node: u32) -> usize {
        6 + node as usize
    }
    fn enqueue(m: &Memory, node: u32) {
        m.write(data(node), node);
        m.write(next(node), 0);
        loop {
            let tail = m.read(TAIL);
            let after = m.read(next(tail));
            if after == 0 {
                if m.cas(next(tail), 0, node) {
                    m.write(TAIL, node);
                }
                return;
            }
            m.write(TAIL, after);
        }
    }
    vec![
        body(|m| {
            m.write(next(1), 0);
            m.write(HEAD, 1);
            m.write(TAIL, 1);
            m.write(READY, 1);
            enqueue(m, 2);
        }),
        body(|m| {
            if m.read(READY) == 1 {
                enqueue(m, 3);
            }
        }),
        body(|m| {
            if m.read(READY) == 1 {
                let head = m.read(HEAD);
                let node = m.read(next(head));
                if node != 0 && m.cas(HEAD, head, node) {
                    m.read(data(node));
                }
            }
        }),
    ]
}

/// Two threads write a word and push its number, and one pops and reads the word. Pointers carry a
/// count of changes. Popping is tried once: the other tool counts no rounds that fail without effect.
fn treiber_stack() -> Vec<Body> {
    const TOP: usize = 0;
    const CHANGE: u32 = 1 << 8;
    fn value(node: u32) -> usize {
        node as usize
    }
    fn next(node: u32) -> usize {
        2 + node as usize
    }
    fn word(number: u32) -> usize {
        5 + number as usize
    }
    let mut threads = times(2, |t| {
        let node = t + 1;
        body(move |m| {
            m.write(word(t), 42 + t);
            m.write(value(node), t);
            loop {
                let top = m.read(TOP);
                m.write(next(node), top);
                let changes = top / CHANGE + 1;
                if m.cas(TOP, top, changes * CHANGE + node) {
                    return;
                }
            }
        })
    });
    threads.push(body(|m| {
        let top = m.read(TOP);
        let node = top % CHANGE;
        if node == 0 {
            return;
        }
        let rest = m.read(next(node)) % CHANGE;
        if !m.cas(TOP, top, (top / CHANGE + 1) * CHANGE + rest) {
            m.give_up(TOP);
        }
        let number = m.read(value(node));
        if number != 0 {
            m.read(word(number));
        }
    }));
    threads
}

/// A bounded queue with one element in it: one thread writes one more, the other one reads until it
/// finds no more. Rounds of exchanges that fail are no executions, as in the other tool.
fn bounded_queue() -> Vec<Body> {
    /// How many were begun to be read, and written.
    const BEGUN: usize = 0;
    const READ: usize = 1;
    const WRITTEN: usize = 2;
    const ONE_READ: u32 = 1 << 16;
    let at = |i: u32| 3 + (i % 4) as usize;
    let halves = |begun: u32| (begun / ONE_READ, begun % ONE_READ);
    vec![
        body(move |m| {
            let begun = m.read(BEGUN);
            if !m.cas(BEGUN, begun, begun + 1) {
                m.give_up(BEGUN);
            }
            let (read, written) = halves(begun);
            m.wait(READ, |done| done == read);
            m.write(at(written), 1);
            m.add(WRITTEN, 1);
        }),
        body(move |m| {
            loop {
                let begun = m.read(BEGUN);
                let (read, written) = halves(begun);
                if read == written {
                    return;
                }
                if !m.cas(BEGUN, begun, begun + ONE_READ) {
                    m.give_up(BEGUN);
                }
                m.wait(WRITTEN, |done| done == written);
                m.add(READ, 1);
            }
        }),
    ]
}

/// Two threads meet. What one of them writes before is read by the other one after.
fn spinning_barrier() -> Vec<Body> {
    const WAITING: usize = 0;
    const STEP: usize = 1;
    const SHARED: usize = 2;
    fn meet(m: &Memory) {
        let step = m.read(STEP);
        if m.add(WAITING, 1) == 1 {
            m.write(WAITING, 0);
            m.add(STEP, 1);
        } else {
            m.wait(STEP, |now| now != step);
        }
    }
    vec![
        body(|m| {
            m.write(SHARED, 42);
            meet(m);
        }),
        body(|m| {
            meet(m);
            assert_eq!(m.read(SHARED), 42);
        }),
    ]
}
