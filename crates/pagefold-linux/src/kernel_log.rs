//! What a kernel says against itself in its log.
//!
//! A kernel that was raced into an inconsistency rarely dies of it, and programs rarely see it: a lost page shows as "Bad rss-counter
//! state" when its process ends. So the log is evidence of its own. Found is what begins a message of the known sorts, and quoted with
//! what belongs to it. A message of a sort that is not known here is missed; nothing else is taken for one, because each is looked for
//! at the beginning of its line, where programs cannot write without being named first.
//!
//! Lines that begin with [`MARKER`] are written by the guest itself: what comes after one happened during that part.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Begins the lines that say what runs from here on.
pub const MARKER: &str = "pagefold: now ";

/// So many lines of one message are quoted: of KASAN's, also who freed what is used; of lockdep's, also how two would wait for each other.
const QUOTE: usize = 72;

/// So many different messages are kept.
const COMPLAINTS: usize = 100;

/// A sort of message.
struct Sort {
    kind: &'static str,
    /// The first begins the line, the others come after it, in this order.
    parts: &'static [&'static str],
    /// More lines belong to it.
    block: bool,
}

const fn line(kind: &'static str, parts: &'static [&'static str]) -> Sort {
    Sort {
        kind,
        parts,
        block: false,
    }
}

const fn block(kind: &'static str, parts: &'static [&'static str]) -> Sort {
    Sort {
        kind,
        parts,
        block: true,
    }
}

/// The sorts that are known, the special before the general.
const SORTS: &[Sort] = &[
    line("rss", &["BUG: Bad rss-counter state"]),
    line("page-tables", &["BUG: non-zero pgtables_bytes"]),
    block("page-map", &["BUG: Bad page map"]),
    block("page-state", &["BUG: Bad page state"]),
    block("kasan", &["BUG: KASAN:"]),
    block("kcsan", &["BUG: KCSAN:"]),
    block("kfence", &["BUG: KFENCE:"]),
    block("kmsan", &["BUG: KMSAN:"]),
    block("ubsan", &["UBSAN:"]),
    block("page-table-check", &["kernel BUG at ", "page_table_check"]),
    block("bug", &["kernel BUG at "]),
    block("bug", &["BUG: "]),
    block("lockdep", &["WARNING: possible "]),
    block("lockdep", &["WARNING: inconsistent lock state"]),
    block("lockdep", &["WARNING: bad unlock balance"]),
    block("lockdep", &["WARNING: bad contention detected"]),
    block("lockdep", &["WARNING: lock held when returning"]),
    block("lockdep", &["WARNING: held lock freed"]),
    block("lockdep", &["WARNING: suspicious RCU usage"]),
    block("lockdep", &["WARNING: nested lock was not taken"]),
    block("lockdep", &["WARNING: Nested lock was not taken"]),
    block("lockdep", &["WARNING: ", "-safe -> ", "-unsafe lock order"]),
    block("lockdep", &["WARNING: ", " still has locks held!"]),
    block("lockdep", &["[ BUG: "]),
    block("lockdep", &["INFO: trying to register non-static key"]),
    block("warning", &["WARNING: "]),
    block("lockup", &["watchdog: BUG: soft lockup"]),
    block("lockup", &["watchdog: ", "hard LOCKUP"]),
    block("stall", &["rcu: INFO: ", " stall"]),
    block("hung-task", &["INFO: task ", " blocked for more than "]),
    block("oops", &["general protection fault"]),
    block("oops", &["Oops: general protection fault"]),
    block("oops", &["traps: PANIC: double fault"]),
    block("panic", &["Kernel panic - not syncing"]),
];

/// A message in which the kernel says that something is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Its sort, as `rss` or `lockdep`.
    pub kind: String,
    /// What ran: the rest of the last line that began with [`MARKER`]. None before the first.
    pub during: Option<String>,
    /// The message, without times.
    pub quote: Vec<String>,
    /// So often it was repeated after that, with other numbers at most.
    pub repeated: usize,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quote.join("\n"))?;
        match self.repeated {
            0 => Ok(()),
            1 => f.write_str("\n... and once more"),
            times => write!(f, "\n... and {times} times more"),
        }
    }
}

impl Complaint {
    /// Whether `other` says the same, perhaps of something else.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let same = |(mine, its): (&String, &String)| shape(mine) == shape(its);
        self.kind == other.kind && self.quote.iter().zip(&other.quote).take(3).all(same)
    }
}

/// All that the kernel says against itself in `log`, in this order, the same once.
#[must_use]
pub fn complaints(log: &str) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut during: Option<&str> = None;
    let mut open: Option<Open> = None;
    let mut introduction = Vec::new();
    for line in log.lines().map(plain) {
        if let Some(name) = line.strip_prefix(MARKER) {
            close(&mut open, during, &mut found);
            during = Some(name);
        } else if let Some(sort) = SORTS.iter().find(|sort| begins(sort, line)) {
            close(&mut open, during, &mut found);
            let mut quote = std::mem::take(&mut introduction);
            quote.push(line);
            let complaint = Open {
                kind: sort.kind,
                headline: line,
                quote,
            };
            open = Some(complaint);
            if !sort.block {
                close(&mut open, during, &mut found);
            }
        } else if line.contains("[ cut here ]") {
            close(&mut open, during, &mut found);
            introduction.clear();
            introduction.push(line);
        } else if let Some(complaint) = &mut open {
            if !line.starts_with("====") && tells(line) && complaint.quote.len() < QUOTE {
                complaint.quote.push(line);
            }
            if line.starts_with("---[ end trace") || line.starts_with("====") {
                close(&mut open, during, &mut found);
            }
        } else if !introduction.is_empty() {
            // The text of a warning comes between the cut and its headline.
            if introduction.len() < 4 {
                introduction.push(line);
            } else {
                introduction.clear();
            }
        }
    }
    close(&mut open, during, &mut found);
    found.into_iter().map(|(complaint, _)| complaint).collect()
}

/// A message of which more lines may come.
struct Open<'a> {
    kind: &'static str,
    headline: &'a str,
    quote: Vec<&'a str>,
}

/// The message is complete: one more, or the repetition of one with a headline of this shape.
fn close(open: &mut Option<Open<'_>>, during: Option<&str>, found: &mut Vec<(Complaint, String)>) {
    let Some(complete) = open.take() else { return };
    let shape = shape(complete.headline);
    let same = |(earlier, its): &&mut (Complaint, String)| {
        earlier.kind == complete.kind && earlier.during.as_deref() == during && *its == shape
    };
    if let Some((earlier, _)) = found.iter_mut().find(same) {
        earlier.repeated += 1;
    } else if found.len() < COMPLAINTS {
        let complaint = Complaint {
            kind: complete.kind.to_owned(),
            during: during.map(str::to_owned),
            quote: complete.quote.into_iter().map(str::to_owned).collect(),
            repeated: 0,
        };
        found.push((complaint, shape));
    }
}

fn begins(sort: &Sort, line: &str) -> bool {
    let mut rest = line;
    sort.parts.iter().enumerate().all(|(index, part)| {
        let at = match index {
            0 => rest.starts_with(part).then_some(0),
            _ => rest.find(part),
        };
        rest = at.map_or("", |at| &rest[at + part.len()..]);
        at.is_some()
    })
}

/// Whether there is anything in a line of a message. What the kernel marks with a question mark is what it found on the stack by chance.
fn tells(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("? ")
}

/// The text of a record of `/dev/kmsg`: `priority,number,time,flags;text`, where text has `\xNN` for what cannot be printed, lines are ended by such
/// a one too, and what follows in lines of their own is about the message.
pub(crate) fn text_of(record: &str) -> String {
    let text = record.split_once(';').map_or("", |(_, text)| text);
    let mut pieces = text.lines().next().unwrap_or("").split("\\x");
    let mut whole = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        let code = piece
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(code) => {
                whole.push(char::from(code));
                whole.push_str(&piece[2..]);
            }
            None => whole.push_str(piece),
        }
    }
    whole.push('\n');
    whole
}

/// A line without its time, and without the thread that newer kernels name after it.
fn plain(line: &str) -> &str {
    let mut rest = line.trim_end();
    for _ in 0..2 {
        let bracket = rest
            .strip_prefix('[')
            .and_then(|inside| inside.split_once(']'))
            .filter(|(stamp, _)| is_stamp(stamp));
        match bracket {
            Some((_, after)) => rest = after,
            None => break,
        }
    }
    rest.strip_prefix(' ').unwrap_or(rest)
}

/// `    1.234567`, or `   T42` and `   C1`.
fn is_stamp(text: &str) -> bool {
    let text = text.trim_start();
    let number = text.strip_prefix(['T', 'C']).unwrap_or(text);
    !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// A line without what differs from one occurrence to the next: words with digits in them.
fn shape(line: &str) -> String {
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.contains(|c: char| c.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(log: &str) -> Vec<String> {
        complaints(log)
            .into_iter()
            .map(|complaint| complaint.kind)
            .collect()
    }

    #[test]
    fn an_ordinary_boot_says_nothing() {
        let log = "\
[    0.000000] Linux version 6.1.0 (someone@somewhere) (gcc 12.2.0) #1 SMP
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.012345] Spectre V2 : WARNING would be elsewhere; BUG: not at the beginning
[    0.200000] traps: pagefold[71] general protection fault ip:55d0 sp:7ffc error:0 in pagefold[55d0+1000]
[    2.536993] Run /init as init process
[    2.592434] ACPI: PM: Preparing to enter system sleep state S5
";
        assert_eq!(complaints(log), []);
    }

    #[test]
    fn a_lost_page_is_named_with_what_ran() {
        let log = "\
[    2.500000] pagefold: now uffd-copy-vs-retract.litmus
[    3.100000] BUG: Bad rss-counter state mm:00000000c0ffee01 type:MM_ANONPAGES val:1
[    3.200000] BUG: Bad rss-counter state mm:00000000c0ffee02 type:MM_ANONPAGES val:1\r
[    3.250000] BUG: Bad rss-counter state mm:00000000c0ffee02 type:MM_FILEPAGES val:-1
[    3.300000] pagefold: now another.litmus
[    3.400000] BUG: Bad rss-counter state mm:00000000c0ffee03 type:MM_ANONPAGES val:1
[    3.500000] reboot: Power down
";
        let found = complaints(log);
        let summary: Vec<_> = found
            .iter()
            .map(|complaint| (complaint.during.as_deref().unwrap(), complaint.repeated))
            .collect();
        assert_eq!(
            summary,
            [
                ("uffd-copy-vs-retract.litmus", 1),
                ("uffd-copy-vs-retract.litmus", 0),
                ("another.litmus", 0)
            ]
        );
        assert_eq!(
            found[0].to_string(),
            "BUG: Bad rss-counter state mm:00000000c0ffee01 type:MM_ANONPAGES val:1\n... and once more"
        );
    }

    #[test]
    fn a_warning_is_quoted_from_its_cut_to_its_end() {
        let log = "\
[    4.000000][   T71] ------------[ cut here ]------------
[    4.000001][   T71] refcount_t: underflow; use-after-free.
[    4.000002][   T71] WARNING: CPU: 1 PID: 71 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110
[    4.000003][   T71] Modules linked in:
[    4.000004][   T71] ---[ end trace 0000000000000000 ]---
[    4.000005][   T71] something else
";
        let found = complaints(log);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, "warning");
        assert_eq!(found[0].during, None);
        assert_eq!(
            found[0].quote,
            [
                "------------[ cut here ]------------",
                "refcount_t: underflow; use-after-free.",
                "WARNING: CPU: 1 PID: 71 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110",
                "Modules linked in:",
                "---[ end trace 0000000000000000 ]---",
            ]
        );
    }

    #[test]
    fn lock_order_and_kasan_have_frames() {
        let log = "\
[    5.0] ======================================================
[    5.0] WARNING: possible circular locking dependency detected
[    5.0] 6.12.0 #1 Not tainted
[    5.0] ------------------------------------------------------
[    5.0] collapse/80 is trying to acquire lock:
[    6.0] ==================================================================
[    6.0] BUG: KASAN: slab-use-after-free in retract_page_tables+0x1f0/0x3a0
[    6.0] Read of size 8 at addr ffff888003c0ffee by task collapse/80
[    6.0] ==================================================================
[    6.1] Disabling lock debugging due to kernel taint
[    7.0] ============================================
[    7.0] WARNING: possible recursive locking detected
[    7.0] --------------------------------------------
";
        let found = complaints(log);
        assert_eq!(kinds(log), ["lockdep", "kasan", "lockdep"]);
        assert_eq!(found[0].quote.len(), 4);
        assert_eq!(found[1].quote.len(), 2);
        assert!(found[2].quote[0].contains("recursive"));
    }

    /// From Linux 6.12.117 that takes the mmap_lock of others under i_mmap_rwsem, shortened.
    #[test]
    fn of_a_circle_of_locks_the_lines_that_tell_are_quoted() {
        let log = "\
[    4.933296]
[    4.933684] ======================================================
[    4.933842] WARNING: possible circular locking dependency detected
[    4.934302] 6.12.117 #6 Not tainted
[    4.934609] ------------------------------------------------------
[    4.934773] exe/43 is trying to acquire lock:
[    4.935040] ff11000005328978 (&mm->mmap_lock){++++}-{3:3}, at: collapse_file+0x1c04/0x2e00
[    4.938068]
[    4.938068] but task is already holding lock:
[    4.953585]  <TASK>
[    4.953850]  check_noncircular+0x2da/0x3c0
[    4.953877]  ? __kasan_record_aux_stack+0x93/0xa0
[    9.907561] pagefold: now read-fault-vs-collapse
";
        let found = complaints(log);
        assert_eq!(kinds(log), ["lockdep"]);
        assert_eq!(
            found[0].quote[4..],
            [
                "ff11000005328978 (&mm->mmap_lock){++++}-{3:3}, at: collapse_file+0x1c04/0x2e00",
                "but task is already holding lock:",
                " <TASK>",
                " check_noncircular+0x2da/0x3c0",
            ]
        );
    }

    #[test]
    fn lockdep_says_more_than_circles() {
        let heads = "\
[ BUG: Invalid wait context ]
WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected
WARNING: exe/43 still has locks held!
INFO: trying to register non-static key.
";
        assert_eq!(kinds(heads), ["lockdep"; 4]);
        let bug =
            "[    4.1] BUG: sleeping function called from invalid context at mm/khugepaged.c:1763";
        assert_eq!(kinds(bug), ["bug"]);
    }

    #[test]
    fn a_record_has_all_lines_of_its_text() {
        let record = "4,310,4938068,-;\\x0abut task is already holding lock:\n SUBSYSTEM=mm\n";
        assert_eq!(text_of(record), "\nbut task is already holding lock:\n");
        assert_eq!(text_of("4,1,2,-;a\\x5cxb \\xg\n"), "a\\xb g\n");
        assert_eq!(text_of("no record"), "\n");
    }

    #[test]
    fn a_death_is_a_bug_and_a_panic() {
        let log = "\
[    8.0] ------------[ cut here ]------------
[    8.0] kernel BUG at mm/page_table_check.c:157!
[    8.0] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI
[    8.0] RIP: 0010:__page_table_check_zero+0x7a/0xa0
[    8.1] ---[ end trace 0000000000000000 ]---
[    8.1] Kernel panic - not syncing: Fatal exception
[    8.1] Rebooting in 1 seconds..
";
        assert_eq!(kinds(log), ["page-table-check", "panic"]);
        assert_eq!(
            kinds(
                "[ 9.0] kernel BUG at mm/rmap.c:1!\n[ 9.0] BUG: kernel NULL pointer dereference, address: 0"
            ),
            ["bug", "bug"]
        );
        assert_eq!(
            kinds(
                "[ 9.0] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]"
            ),
            ["oops"]
        );
    }

    #[test]
    fn what_does_not_go_on_is_told() {
        assert_eq!(
            kinds(
                "\
[   40.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [pagefold:71]
[   41.0] rcu: INFO: rcu_preempt self-detected stall on CPU
[   42.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[  130.0] INFO: task pagefold:71 blocked for more than 120 seconds.
[  131.0] INFO: task list
"
            ),
            ["lockup", "stall", "stall", "hung-task"]
        );
    }

    #[test]
    fn endless_complaints_are_bounded() {
        let mut log = String::new();
        for index in 0..500u32 {
            let name: String = index
                .to_string()
                .chars()
                .map(|c| (c as u8 + 49) as char)
                .collect();
            log.push_str(&format!("BUG: Bad page state in process {name}\n"));
            log.push_str(&"more\n".repeat(2 * QUOTE));
        }
        let found = complaints(&log);
        assert_eq!(found.len(), COMPLAINTS);
        assert!(found.iter().all(|complaint| complaint.quote.len() == QUOTE));
    }
}
