//! userfaultfd by its requests.

use std::ffi::{c_int, c_ulong};
use std::fmt;
use std::fs::File;
use std::os::fd::AsRawFd;

use linux_raw_sys::general as raw;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};

use super::memory::{PAGE, Pages};
use super::slot::Slot;
use super::{errno, result};

/// The letter of userfaultfd's requests.
const UFFDIO: u8 = 0xAA;

const API: Opcode = opcode::read_write::<raw::uffdio_api>(UFFDIO, raw::_UFFDIO_API as u8);
const REGISTER: Opcode =
    opcode::read_write::<raw::uffdio_register>(UFFDIO, raw::_UFFDIO_REGISTER as u8);
const UNREGISTER: Opcode = opcode::read::<raw::uffdio_range>(UFFDIO, raw::_UFFDIO_UNREGISTER as u8);
const COPY: Opcode = opcode::read_write::<raw::uffdio_copy>(UFFDIO, raw::_UFFDIO_COPY as u8);
const ZEROPAGE: Opcode =
    opcode::read_write::<raw::uffdio_zeropage>(UFFDIO, raw::_UFFDIO_ZEROPAGE as u8);
const MOVE: Opcode = opcode::read_write::<raw::uffdio_move>(UFFDIO, raw::_UFFDIO_MOVE as u8);
const WRITEPROTECT: Opcode =
    opcode::read_write::<raw::uffdio_writeprotect>(UFFDIO, raw::_UFFDIO_WRITEPROTECT as u8);
const CONTINUE: Opcode =
    opcode::read_write::<raw::uffdio_continue>(UFFDIO, raw::_UFFDIO_CONTINUE as u8);
const POISON: Opcode = opcode::read_write::<raw::uffdio_poison>(UFFDIO, raw::_UFFDIO_POISON as u8);

/// `UFFDIO_CONTINUE_MODE_WP`, which the headers at hand do not have.
const CONTINUE_MODE_WP: u32 = 2;

/// `UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES`, likewise.
const MOVE_MODE_ALLOW_SRC_HOLES: u32 = 2;

/// What a range is registered for, and how the userfaultfd behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    /// Faults on pages that are not there.
    pub(crate) missing: bool,
    /// Writes to protected pages.
    pub(crate) wp: bool,
    /// Faults on pages of the object that are not mapped.
    pub(crate) minor: bool,
    /// Whoever faults gets SIGBUS.
    pub(crate) sigbus: bool,
    /// A write takes the protection away.
    pub(crate) wp_async: bool,
    /// Pages that are given up, and mappings that go, are events.
    pub(crate) changes: bool,
    /// A fork is an event, and the child's mappings are registered as well.
    pub(crate) fork: bool,
    /// A mapping that moves is an event, and stays registered.
    pub(crate) remap: bool,
}

impl Modes {
    /// Whether writes to protected pages matter.
    fn protects(self) -> bool {
        self.wp || self.wp_async
    }

    fn needed(self) -> impl Iterator<Item = &'static Feature> {
        FEATURES
            .iter()
            .filter(move |feature| (feature.is_for)(self))
    }

    /// The features to ask for.
    fn features(self) -> u32 {
        self.needed().fold(0, |all, feature| all | feature.bit)
    }

    fn register_mode(self) -> u32 {
        let mut mode = 0;
        if self.missing {
            mode |= raw::UFFDIO_REGISTER_MODE_MISSING;
        }
        if self.protects() {
            mode |= raw::UFFDIO_REGISTER_MODE_WP;
        }
        if self.minor {
            mode |= raw::UFFDIO_REGISTER_MODE_MINOR;
        }
        mode
    }
}

/// The features that they need, each with the Linux that brought it.
impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Feature { name, since, .. }) in self.needed().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{name} (Linux {since})")?;
        }
        Ok(())
    }
}

/// Something that not every kernel's userfaultfd can do.
struct Feature {
    bit: u32,
    name: &'static str,
    /// The first Linux that has it.
    since: &'static str,
    is_for: fn(Modes) -> bool,
}

macro_rules! features {
    ($($bit:ident since $since:literal: $is_for:expr;)*) => {
        &[$(Feature { bit: raw::$bit, name: stringify!($bit), since: $since, is_for: $is_for }),*]
    };
}

/// All that is asked for. Pages of objects always are, as the model knows no other userfaultfd.
const FEATURES: &[Feature] = features! {
    UFFD_FEATURE_MISSING_SHMEM since "4.11": |_| true;
    UFFD_FEATURE_PAGEFAULT_FLAG_WP since "5.7": Modes::protects;
    UFFD_FEATURE_WP_HUGETLBFS_SHMEM since "5.19": Modes::protects;
    UFFD_FEATURE_WP_UNPOPULATED since "6.4": Modes::protects;
    UFFD_FEATURE_WP_ASYNC since "6.7": |modes| modes.wp_async;
    UFFD_FEATURE_MINOR_SHMEM since "5.14": |modes| modes.minor;
    UFFD_FEATURE_SIGBUS since "4.14": |modes| modes.sigbus;
    UFFD_FEATURE_EVENT_REMOVE since "4.11": |modes| modes.changes;
    UFFD_FEATURE_EVENT_UNMAP since "4.11": |modes| modes.changes;
    UFFD_FEATURE_EVENT_FORK since "4.11": |modes| modes.fork;
    UFFD_FEATURE_EVENT_REMAP since "4.11": |modes| modes.remap;
};

/// A place for a userfaultfd.
#[derive(Debug, Default)]
pub(crate) struct Userfaultfd(Slot);

impl Userfaultfd {
    /// Makes one with what these modes need; what was there is closed.
    pub(crate) fn open(&self, modes: Modes) -> Result<(), Errno> {
        // SAFETY: the call makes a file, and nothing else.
        let fd =
            unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        let Ok(fd @ 0..) = c_int::try_from(fd) else {
            return Err(errno());
        };
        self.put(fd);
        let mut api = raw::uffdio_api {
            api: u64::from(raw::UFFD_API),
            features: u64::from(modes.features()),
            ioctls: 0,
        };
        self.request(API, &mut api)
    }

    /// Whether there is one.
    pub(crate) fn is_open(&self) -> bool {
        self.number() >= 0
    }

    /// Its number, or -1.
    pub(crate) fn number(&self) -> c_int {
        self.0.number()
    }

    /// Puts one here that was got from elsewhere; what was here is closed.
    pub(crate) fn put(&self, fd: c_int) {
        self.0.put(fd);
    }

    /// Takes the next message, if there is one.
    pub(crate) fn read(&self) -> Option<Message> {
        let mut bytes = [0; size_of::<raw::uffd_msg>()];
        // SAFETY: as many bytes are written as the array has, or none.
        let read = unsafe { libc::read(self.number(), bytes.as_mut_ptr().cast(), bytes.len()) };
        (usize::try_from(read) == Ok(bytes.len())).then(|| Message::decode(&bytes))
    }

    /// Registers a range with it.
    pub(crate) fn register(&self, pages: Pages, modes: Modes) -> Result<(), Errno> {
        let mut register = raw::uffdio_register {
            range: range(pages),
            mode: u64::from(modes.register_mode()),
            ioctls: 0,
        };
        self.request(REGISTER, &mut register)
    }

    /// Ends the registration of a range.
    pub(crate) fn unregister(&self, pages: Pages) -> Result<(), Errno> {
        self.request(UNREGISTER, &mut range(pages))
    }

    /// Fills missing pages with copies of one that begins with `value`, write-protected if `protect`. On failure tells how many bytes were filled.
    pub(crate) fn copy(
        &self,
        pages: Pages,
        value: u64,
        protect: bool,
    ) -> Result<(), (Errno, usize)> {
        let mut source = Page([0; PAGE / 8]);
        source.0[0] = value;
        if pages.bytes == PAGE {
            self.copy_from(&[source], pages, protect)
        } else {
            self.copy_from(&[source; AT_ONCE], pages, protect)
        }
    }

    /// Fills missing pages from those given, again and again.
    fn copy_from(
        &self,
        source: &[Page],
        pages: Pages,
        protect: bool,
    ) -> Result<(), (Errno, usize)> {
        let mut done = 0;
        while done < pages.bytes {
            let bytes = size_of_val(source).min(pages.bytes - done);
            let mut copy = raw::uffdio_copy {
                dst: (pages.start.get() + done) as u64,
                src: source.as_ptr().expose_provenance() as u64,
                len: bytes as u64,
                mode: mode(protect, raw::UFFDIO_COPY_MODE_WP),
                copy: 0,
            };
            let result = self.request(COPY, &mut copy);
            partial(result, copy.copy).map_err(|(error, more)| (error, done + more))?;
            done += bytes;
        }
        Ok(())
    }

    /// Fills missing pages with zeroes.
    pub(crate) fn zeropage(&self, pages: Pages) -> Result<(), (Errno, usize)> {
        let mut zeropage = raw::uffdio_zeropage {
            range: range(pages),
            mode: 0,
            zeropage: 0,
        };
        let result = self.request(ZEROPAGE, &mut zeropage);
        partial(result, zeropage.zeropage)
    }

    /// Maps pages that the object has, write-protected if `protect`.
    pub(crate) fn continue_pages(&self, pages: Pages, protect: bool) -> Result<(), (Errno, usize)> {
        let mut request = raw::uffdio_continue {
            range: range(pages),
            mode: mode(protect, CONTINUE_MODE_WP),
            mapped: 0,
        };
        let result = self.request(CONTINUE, &mut request);
        partial(result, request.mapped)
    }

    /// Marks missing pages as broken.
    pub(crate) fn poison(&self, pages: Pages) -> Result<(), (Errno, usize)> {
        let mut poison = raw::uffdio_poison {
            range: range(pages),
            mode: 0,
            updated: 0,
        };
        let result = self.request(POISON, &mut poison);
        partial(result, poison.updated)
    }

    /// Moves private pages to where they are missing, those that are there if holes are skipped.
    pub(crate) fn move_pages(
        &self,
        to: Pages,
        from: Pages,
        skip_holes: bool,
    ) -> Result<(), (Errno, usize)> {
        let mut request = raw::uffdio_move {
            dst: to.start.get() as u64,
            src: from.start.get() as u64,
            len: from.bytes as u64,
            mode: mode(skip_holes, MOVE_MODE_ALLOW_SRC_HOLES),
            move_: 0,
        };
        let result = self.request(MOVE, &mut request);
        partial(result, request.move_)
    }

    /// Waits until there is a message, or `other` can be read from.
    pub(crate) fn wait(&self, other: &File) {
        let wanted = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut both = [wanted(self.number()), wanted(other.as_raw_fd())];
        // SAFETY: there are two. However it ends, the caller looks again.
        unsafe { libc::poll(both.as_mut_ptr(), 2, -1) };
    }

    /// Protects pages from writes, or ends that.
    pub(crate) fn writeprotect(&self, pages: Pages, protect: bool) -> Result<(), Errno> {
        let mut request = raw::uffdio_writeprotect {
            range: range(pages),
            mode: u64::from(protect),
        };
        self.request(WRITEPROTECT, &mut request)
    }

    /// Closes it, if there is one.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    fn request<T>(&self, request: Opcode, argument: &mut T) -> Result<(), Errno> {
        // SAFETY: each request is called with the structure that it is defined with. Where it names memory, that is in the
        // region, where nothing of Rust lies, or a source that is only read.
        result(unsafe {
            libc::ioctl(
                self.number(),
                c_ulong::from(request) as _,
                std::ptr::from_mut(argument),
            )
        })
    }
}

/// What a userfaultfd tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What happened.
    pub(crate) event: Event,
    /// The address where it did, or begins.
    pub(crate) address: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An access to a page that is not there.
    Missing,
    /// An access to a page of an object that is not mapped.
    Minor,
    /// A write to a protected page.
    WriteProtected,
    /// A fork; the number is that of the child's userfaultfd, now in this process.
    Fork(c_int),
    /// A change that needs no answer.
    Change,
}

impl Message {
    /// That of a `uffd_msg`: the event in the first byte, its arguments from the ninth.
    fn decode(bytes: &[u8; size_of::<raw::uffd_msg>()]) -> Self {
        let word = |at: usize| {
            let word = bytes[at..at + 8].try_into().expect("eight bytes");
            u64::from_ne_bytes(word)
        };
        match u32::from(bytes[0]) {
            raw::UFFD_EVENT_PAGEFAULT => {
                let has = |flag: u32| word(8) & u64::from(flag) != 0;
                let event = if has(raw::UFFD_PAGEFAULT_FLAG_MINOR) {
                    Event::Minor
                } else if has(raw::UFFD_PAGEFAULT_FLAG_WP) {
                    Event::WriteProtected
                } else {
                    Event::Missing
                };
                Self {
                    event,
                    address: word(16),
                }
            }
            raw::UFFD_EVENT_FORK => Self {
                event: Event::Fork((word(8) & u64::from(u32::MAX)) as c_int),
                address: 0,
            },
            // Of a move it is where from, of others where it begins.
            _ => Self {
                event: Event::Change,
                address: word(8),
            },
        }
    }
}

/// Pages that one request copies. They are on the stack.
const AT_ONCE: usize = 16;

/// What a page is copied from: it must not straddle two.
#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page([u64; PAGE / 8]);

fn mode(is_set: bool, bit: u32) -> u64 {
    if is_set { u64::from(bit) } else { 0 }
}

fn range(pages: Pages) -> raw::uffdio_range {
    raw::uffdio_range {
        start: pages.start.get() as u64,
        len: pages.bytes as u64,
    }
}

/// With how far a request came that failed; the kernel writes an error there if it did not come anywhere.
fn partial(result: Result<(), Errno>, done: i64) -> Result<(), (Errno, usize)> {
    result.map_err(|error| (error, usize::try_from(done).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_called_by_its_names() {
        let modes = Modes {
            minor: true,
            ..Modes::default()
        };
        let said = "UFFD_FEATURE_MISSING_SHMEM (Linux 4.11), UFFD_FEATURE_MINOR_SHMEM (Linux 5.14)";
        assert_eq!(modes.to_string(), said);
        let asked = raw::UFFD_FEATURE_MISSING_SHMEM | raw::UFFD_FEATURE_MINOR_SHMEM;
        assert_eq!(modes.features(), asked);
    }
}
