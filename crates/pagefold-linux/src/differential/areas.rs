//! What is mapped where, and how much of it is there: on the real kernel, what `/proc/PID/smaps` says.
//!
//! What is compared is what each page is mapped to, and how; and also where one mapping ends and the next begins, for Linux joins neighbours that
//! are alike, and so does pagefold.

use std::fmt;
use std::io::{self, BufRead};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::sys::memory::{PAGE, Pages, REGION};

/// What may be done with the pages of an area: some of the following.
pub(crate) type Rights = u16;

/// They may be read.
pub(crate) const READ: Rights = 1;
/// They may be written.
pub(crate) const WRITE: Rights = 1 << 1;
/// Who writes, writes to the object.
pub(crate) const SHARED: Rights = 1 << 2;
/// A userfaultfd hears of pages that are missing.
pub(crate) const UFFD_MISSING: Rights = 1 << 3;
/// A userfaultfd hears of writes to what is protected.
pub(crate) const UFFD_WP: Rights = 1 << 4;
/// A userfaultfd hears of pages that the object has and that are not mapped.
pub(crate) const UFFD_MINOR: Rights = 1 << 5;

/// Their names, in the order of the bits.
const NAMES: [&str; 6] = ["read", "write", "shared", "missing", "wp", "minor"];

/// Numbers of small pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Those that are there, without pages of zeros that are everyone's.
    pub(crate) rss: usize,
    /// Those of them that are no object's.
    pub(crate) anonymous: usize,
    /// Those of them that huge pages map which are no object's.
    pub(crate) huge_anonymous: usize,
    /// Those of them that huge pages of objects map: of shmem, for all objects of sequences are that.
    pub(crate) huge_shmem: usize,
    /// Those that are in swap.
    pub(crate) swap: usize,
}

impl Counts {
    /// Adds others.
    pub(crate) fn add(&mut self, other: Self) {
        self.rss += other.rss;
        self.anonymous += other.anonymous;
        self.huge_anonymous += other.huge_anonymous;
        self.huge_shmem += other.huge_shmem;
        self.swap += other.swap;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages", self.rss)?;
        let parts = [
            (self.anonymous, "anonymous"),
            (self.huge_anonymous, "by anonymous huge pages"),
            (self.huge_shmem, "by huge pages of objects"),
            (self.swap, "in swap"),
        ];
        let parts = parts.iter().filter(|(pages, _)| *pages > 0);
        parts
            .into_iter()
            .try_for_each(|(pages, name)| write!(f, ", {pages} {name}"))
    }
}

/// A mapping: pages one after the other that are mapped alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Area {
    /// The first, counted from the start of the region.
    pub(crate) first: usize,
    /// How many.
    pub(crate) pages: usize,
    /// What may be done with them.
    pub(crate) rights: Rights,
    /// The object, and which of its pages is the first; none is anonymous memory.
    pub(crate) object: Option<(usize, usize)>,
    /// What is there.
    pub(crate) counts: Counts,
}

impl Area {
    /// Whether they are the same pages, mapped alike, whatever is there.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let counts = self.counts;
        *self
            == Self {
                counts,
                ..other.clone()
            }
    }
}

/// An area in words; `name` is that of an object.
pub(super) fn describe(area: &Area, name: impl Fn(usize) -> String) -> String {
    let names = NAMES.iter().enumerate();
    let rights: Vec<&str> = names
        .filter(|(bit, _)| area.rights >> bit & 1 != 0)
        .map(|(_, name)| *name)
        .collect();
    let of = area.object.map_or("anonymous".to_owned(), |(object, at)| {
        format!("{} from page {at}", name(object))
    });
    let rights = rights.join("|");
    let last = area.first + area.pages - 1;
    format!("{} to {last} ({of}; {rights})", area.first)
}

/// The areas of the region, of the text of a `smaps`; `inodes` are those of the objects.
pub(super) fn read(mut smaps: impl BufRead, inodes: &[u64]) -> io::Result<Vec<Area>> {
    let Pages { start, bytes } = Pages::all();
    let region = start.get()..start.get() + bytes;
    let mut areas = Vec::new();
    let mut open: Option<Area> = None;
    let mut line = String::new();
    while smaps.read_line(&mut line)? > 0 {
        match header(&line, inodes) {
            Some((range, area)) => {
                areas.extend(open.take());
                if range.start >= region.end {
                    break;
                }
                open = (range.start >= region.start).then_some(area);
            }
            None => {
                if let Some(area) = &mut open {
                    detail(area, &line);
                }
            }
        }
        line.clear();
    }
    areas.extend(open);
    Ok(areas)
}

/// The line that a mapping begins with: addresses, rights, offset, device, inode, name.
fn header(line: &str, inodes: &[u64]) -> Option<(Range<usize>, Area)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |word: &str| usize::from_str_radix(word, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let letters = words.next()?;
    let offset = hex(words.next()?)?;
    let inode: u64 = words.nth(1)?.parse().ok()?;
    let object = inodes.iter().position(|object| *object == inode);
    let right = |letter: char, right: Rights| if letters.contains(letter) { right } else { 0 };
    let area = Area {
        first: start.saturating_sub(REGION.start) / PAGE,
        pages: (end - start) / PAGE,
        rights: right('r', READ) | right('w', WRITE) | right('s', SHARED),
        object: object.map(|object| (object, offset / PAGE)),
        counts: Counts::default(),
    };
    Some((start..end, area))
}

/// One of the lines that follow.
fn detail(area: &mut Area, line: &str) {
    let Some((name, rest)) = line.split_once(':') else {
        return;
    };
    let counts = &mut area.counts;
    let count = match name {
        "Rss" => &mut counts.rss,
        "Anonymous" => &mut counts.anonymous,
        "AnonHugePages" => &mut counts.huge_anonymous,
        "ShmemPmdMapped" => &mut counts.huge_shmem,
        "Swap" => &mut counts.swap,
        "VmFlags" => {
            for flag in rest.split_ascii_whitespace() {
                area.rights |= match flag {
                    "um" => UFFD_MISSING,
                    "uw" => UFFD_WP,
                    "ui" => UFFD_MINOR,
                    _ => 0,
                };
            }
            return;
        }
        _ => return,
    };
    let bytes = rest.trim().trim_end_matches(" kB");
    *count = bytes.parse::<usize>().unwrap_or(0) * 1024 / PAGE;
}
