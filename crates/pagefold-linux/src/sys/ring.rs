//! A page that an io_uring has pinned for long, for reading and writing (`FOLL_LONGTERM|FOLL_WRITE`): its one fixed buffer.
//!
//! The kernel makes both ends of a ring in memory that it shares with the process. One request at a time is put there and waited
//! for; so who uses a ring has it for themselves.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::io_uring::{
    IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringEnterFlags, IoringFeatureFlags, IoringOp,
    IoringRegisterOp, buf_union, io_uring_cqe, io_uring_enter, io_uring_params, io_uring_ptr,
    io_uring_register, io_uring_setup, io_uring_sqe,
};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::memory::Address;
use super::pipe;

/// Bytes of the buffer.
const WORD: usize = size_of::<u64>();

/// A ring for one request at a time.
#[derive(Debug)]
pub(crate) struct Ring {
    fd: OwnedFd,
    /// Where the number of requests is that were made.
    sent: u32,
    results: Results,
    /// The heads and tails of both queues, and the entries of the second one.
    queues: Mapped,
    /// The entries of the first one.
    requests: Mapped,
}

/// The queue of results, in bytes from the start.
#[derive(Debug)]
struct Results {
    head: u32,
    tail: u32,
    entries: u32,
    count: u32,
}

/// Memory that the kernel shares.
#[derive(Debug)]
struct Mapped {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: what is there is read and written through raw pointers: by atomic instructions, or between them by whom the ring is for.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn new(fd: &OwnedFd, bytes: usize, offset: u64) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping is nobody else's.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), bytes, protection, flags, fd, offset)? };
        let start = NonNull::new(start.cast()).expect("a mapping is not at 0");
        Ok(Self { start, bytes })
    }

    /// What is so many bytes behind the start.
    fn at<T>(&self, offset: u32) -> *mut T {
        let offset = offset as usize;
        assert!(offset + size_of::<T>() <= self.bytes, "beyond the queues");
        // SAFETY: it is within the mapping.
        unsafe { self.start.as_ptr().add(offset).cast() }
    }

    /// A number that the kernel reads or writes at any time.
    fn number(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the mapping lives as long as this, and the kernel says that a number is there.
        unsafe { AtomicU32::from_ptr(self.at(offset)) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: nobody has a pointer to it any more.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

impl Ring {
    /// A new one of this process.
    pub(crate) fn new() -> Result<Self, Errno> {
        let mut params = io_uring_params::default();
        // SAFETY: the parameters are read and written, no other memory is.
        let fd = unsafe { io_uring_setup(1, &mut params)? };
        if !params.features.contains(IoringFeatureFlags::SINGLE_MMAP) {
            return Err(Errno::NOSYS);
        }
        // The one request is always in the first entry, which is what a new ring's array of indices says.
        let requests = params.sq_off.array + params.sq_entries * size_of::<u32>() as u32;
        let results = params.cq_off.cqes + params.cq_entries * size_of::<io_uring_cqe>() as u32;
        let queues = Mapped::new(&fd, requests.max(results) as usize, IORING_OFF_SQ_RING)?;
        let bytes = params.sq_entries as usize * size_of::<io_uring_sqe>();
        let requests = Mapped::new(&fd, bytes, IORING_OFF_SQES)?;
        Ok(Self {
            fd,
            sent: params.sq_off.tail,
            results: Results {
                head: params.cq_off.head,
                tail: params.cq_off.tail,
                entries: params.cq_off.cqes,
                count: params.cq_entries,
            },
            queues,
            requests,
        })
    }

    /// Pins the page at an address, whose word is the buffer from now on.
    pub(crate) fn hold(&self, address: Address) -> Result<(), Errno> {
        let buffer = libc::iovec {
            iov_base: address.pointer(),
            iov_len: WORD,
        };
        let buffer = ptr::from_ref(&buffer).cast();
        // SAFETY: one buffer is named, in the region, where nothing of Rust lies.
        unsafe { io_uring_register(&self.fd, IoringRegisterOp::RegisterBuffers, buffer, 1)? };
        Ok(())
    }

    /// Gives the pin up.
    pub(crate) fn let_go(&self) -> Result<(), Errno> {
        let none = ptr::null::<c_void>();
        // SAFETY: no memory is named.
        unsafe { io_uring_register(&self.fd, IoringRegisterOp::UnregisterBuffers, none, 0)? };
        Ok(())
    }

    /// Reads the word through the pin. `address` is that of the buffer.
    pub(crate) fn read(&self, address: Address) -> Result<u64, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        self.request(IoringOp::WriteFixed, writer.as_fd(), address)?;
        pipe::read(reader)
    }

    /// Writes the word through the pin. `address` is that of the buffer.
    pub(crate) fn write(&self, address: Address, word: u64) -> Result<(), Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::write(writer, &word.to_ne_bytes())?;
        self.request(IoringOp::ReadFixed, reader.as_fd(), address)
    }

    /// Has a file read or written, from or to the buffer, and waits until that is done.
    fn request(
        &self,
        operation: IoringOp,
        file: BorrowedFd<'_>,
        address: Address,
    ) -> Result<(), Errno> {
        let mut request = io_uring_sqe {
            opcode: operation,
            fd: file.as_raw_fd(),
            buf: buf_union { buf_index: 0 },
            ..io_uring_sqe::default()
        };
        request.addr_or_splice_off_in.addr = io_uring_ptr::new(address.pointer());
        request.len.len = WORD as u32;
        // SAFETY: it is the first entry, which the kernel reads when it is told of it, below.
        unsafe { self.requests.at::<io_uring_sqe>(0).write(request) };
        let Results {
            head,
            tail,
            entries,
            count,
        } = self.results;
        let sent = self.queues.number(self.sent);
        sent.fetch_add(1, Ordering::Release);
        let head = self.queues.number(head);
        let tail = self.queues.number(tail);
        let mut to_send = 1;
        let next = head.load(Ordering::Relaxed);
        while tail.load(Ordering::Acquire) == next {
            // SAFETY: the kernel reads the request, and accesses the buffer, in the region.
            match unsafe { io_uring_enter(&self.fd, to_send, 1, IoringEnterFlags::GETEVENTS) } {
                Ok(_) => to_send = 0,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        let entry = next % count * size_of::<io_uring_cqe>() as u32;
        let result = self.queues.at::<io_uring_cqe>(entries + entry);
        // SAFETY: the kernel has written this entry, and writes it again when it is given back, below.
        let result = unsafe { (*result).res };
        head.store(next.wrapping_add(1), Ordering::Release);
        match result {
            bytes if bytes == WORD as i32 => Ok(()),
            error if error < 0 => Err(Errno::from_raw_os_error(-error)),
            _ => Err(Errno::IO),
        }
    }
}
