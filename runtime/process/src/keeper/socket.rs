//! Packets with descriptors over a unix socket that keeps their borders.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a packet carries at most. A longer text goes as a file in memory, since
/// the kernel bounds a packet by the socket's buffer.
const INLINE_BYTES: usize = 48 * 1024;

/// The longest text: above what the kernel takes as arguments and environment.
const MAX_BYTES: u64 = 16 << 20;

/// stdin, stdout and stderr of a child, and the text when it is long.
const MAX_DESCRIPTORS: usize = 4;

/// The packet that says: the text is in the first descriptor.
const IN_FILE: &[u8] = b"@";

/// A socket of this kind, not connected.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socket_with(family, kind, flags, None)?)
}

/// Two sockets that are connected with each other.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socketpair(family, kind, flags, None)?)
}

/// One message, ready to be sent.
#[derive(Debug)]
pub(crate) struct Packet {
    text: Vec<u8>,
    descriptors: Vec<Arc<OwnedFd>>,
}

impl Packet {
    /// Puts `message` and the descriptors that go with it into a packet.
    ///
    /// # Errors
    /// The text is too long, or there is no memory or descriptor for it.
    pub(crate) fn new(
        message: &impl Serialize,
        mut descriptors: Vec<Arc<OwnedFd>>,
    ) -> io::Result<Self> {
        let text = serde_json::to_vec(message)?;
        if text.len() <= INLINE_BYTES {
            return Ok(Self { text, descriptors });
        }
        if text.len() as u64 > MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::ArgumentListTooLong));
        }
        descriptors.insert(0, Arc::new(memory_file("drover-message", &text)?));
        Ok(Self { text: IN_FILE.to_vec(), descriptors })
    }

    /// Sends the packet whole, or nothing of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the other side has to read first.
    pub(crate) fn send(&self, socket: impl AsFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let borrowed: Vec<BorrowedFd<'_>> =
            self.descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
        if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(socket, &[IoSlice::new(&self.text)], &mut control, flags) {
            Ok(_) => Ok(()),
            // Too many descriptors are on their way: the other side has to take some.
            Err(rustix::io::Errno::TOOMANYREFS) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            Err(error) => Err(error.into()),
        }
    }
}

/// One message, as it came.
#[derive(Debug)]
pub(crate) struct Received<M> {
    pub(crate) message: M,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Descriptors that came along were lost, because this process may not have
    /// more of them.
    pub(crate) descriptors_lost: bool,
}

/// Takes one message; `None` when the other side is gone.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when there is none yet;
/// [`io::ErrorKind::InvalidData`] when it is not one of ours.
pub(crate) fn receive<M: DeserializeOwned>(
    socket: impl AsFd,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Received<M>>> {
    buffer.resize(INLINE_BYTES, 0);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let slices = &mut [IoSliceMut::new(buffer)];
    let received = match rustix::net::recvmsg(socket, slices, &mut control, flags) {
        Ok(received) => received,
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptors_lost = received.flags.contains(ReturnFlags::CTRUNC);
    let text = &buffer[..received.bytes];
    let message = if text == IN_FILE {
        if descriptors.is_empty() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut text = Vec::new();
        reread(&descriptors.remove(0))?.take(MAX_BYTES).read_to_end(&mut text)?;
        serde_json::from_slice(&text)?
    } else {
        serde_json::from_slice(text)?
    };
    Ok(Some(Received { message, descriptors, descriptors_lost }))
}

/// A file without a name that holds `bytes`, ready to be read from its start.
pub(crate) fn memory_file(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    (&file).write_all(bytes)?;
    Ok(reread(&OwnedFd::from(file))?.into())
}

/// Opens a file anew, to read it from the start by a position of its own.
fn reread(file: &OwnedFd) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
