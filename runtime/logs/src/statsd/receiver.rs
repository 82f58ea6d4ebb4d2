//! Receives metrics on a socket of this host, on a thread of its own.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Where a [`MetricReceiver`] listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverAddress {
    /// A unix datagram socket. A socket that a dead agent left there is
    /// replaced; one that somebody listens on is not.
    Unix(PathBuf),
    /// UDP on a loopback address.
    Udp(SocketAddr),
}

/// Why metrics cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// Anyone on the network could write metrics.
    #[error("metrics are received on this host only: use 127.0.0.1 or [::1] instead of {0}")]
    NotLoopback(SocketAddr),
    /// The operating system refused the socket.
    #[error("cannot receive metrics on {address}")]
    Socket {
        /// The path or address.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Receives datagrams until it is dropped. What was sent before that is taken;
/// dropping it waits for it.
#[derive(Debug)]
pub struct MetricReceiver {
    address: ReceiverAddress,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopped: AtomicBool,
    lost: AtomicU64,
}

/// Datagrams that one call takes. Clients keep them below the size of a
/// packet, 1,432 bytes; loopback and unix sockets allow more, up to 8 KiB.
const BATCH: usize = 64;
const LONGEST_DATAGRAM: usize = 8 * 1024;

/// Room for what arrives while the thread is not running. Packets were lost
/// above 40,000 a second with the system's default.
const RECEIVE_BUFFER: usize = 16 * 1024 * 1024;

/// How soon the thread notices that it is to end.
const STOP_CHECK: Duration = Duration::from_millis(100);

impl MetricReceiver {
    /// Listens, and gives every datagram to `take` on a thread of its own.
    ///
    /// # Errors
    ///
    /// The address is not on this host, is in use, or may not be used.
    pub fn start(
        address: ReceiverAddress,
        take: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, ReceiverError> {
        let (socket, address) = match address {
            ReceiverAddress::Udp(address) => bind_udp(address)?,
            ReceiverAddress::Unix(path) => bind_unix(&path)
                .map(|socket| (socket.into(), ReceiverAddress::Unix(path.clone())))
                .map_err(|source| ReceiverError::Socket {
                    address: path.display().to_string(),
                    source,
                })?,
        };
        let shared = Arc::new(Shared::default());
        let refuse = |source| ReceiverError::Socket { address: format!("{address:?}"), source };
        prepare(&socket).map_err(|errno| refuse(errno.into()))?;
        let in_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("metric-receiver".into())
            .spawn(move || receive(&socket, &in_thread, take))
            .map_err(refuse)?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens, with the port that was chosen if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &ReceiverAddress {
        &self.address
    }

    /// Datagrams that the system threw away because they came faster than they
    /// were taken. A unix socket loses none: it makes the sender wait.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for MetricReceiver {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell, and a panic in `take` was reported.
            let _ = thread.join();
        }
        if let ReceiverAddress::Unix(path) = &self.address {
            // What is left is replaced by the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_udp(address: SocketAddr) -> Result<(OwnedFd, ReceiverAddress), ReceiverError> {
    if !address.ip().is_loopback() {
        return Err(ReceiverError::NotLoopback(address));
    }
    let socket = UdpSocket::bind(address)
        .and_then(|socket| Ok((socket.local_addr()?, socket)))
        .map_err(|source| ReceiverError::Socket { address: address.to_string(), source })?;
    Ok((socket.1.into(), ReceiverAddress::Udp(socket.0)))
}

fn bind_unix(path: &Path) -> io::Result<UnixDatagram> {
    let is_socket = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        let answer = UnixDatagram::unbound()?.connect(path);
        if answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            std::fs::remove_file(path)?;
        }
    }
    UnixDatagram::bind(path)
}

fn prepare(socket: &OwnedFd) -> nix::Result<()> {
    // Only root may go past the system's limit; less room is no reason to fail.
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    // Unix sockets do not count losses, having none.
    let _ = setsockopt(socket, sockopt::RxqOvfl, &1);
    let check = i64::try_from(STOP_CHECK.as_millis()).unwrap_or(i64::MAX);
    setsockopt(socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(check))
}

fn receive(socket: &OwnedFd, shared: &Shared, mut take: impl FnMut(&[u8])) {
    let mut buffers = vec![0; BATCH * LONGEST_DATAGRAM];
    // What was sent before the end is taken, but no flood keeps it from coming.
    let mut last_batches = RECEIVE_BUFFER / LONGEST_DATAGRAM;
    while last_batches > 0 {
        let is_stopped = shared.is_stopped.load(Ordering::Relaxed);
        last_batches -= usize::from(is_stopped);
        match receive_batch(socket, &mut buffers, shared, &mut take) {
            Err(Errno::EAGAIN) if is_stopped => return,
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => {
                tracing::error!(error = %errno, "metrics are no longer received");
                return;
            }
        }
    }
}

fn receive_batch(
    socket: &OwnedFd,
    buffers: &mut [u8],
    shared: &Shared,
    take: &mut impl FnMut(&[u8]),
) -> nix::Result<()> {
    let mut slices: Vec<[IoSliceMut<'_>; 1]> =
        buffers.chunks_mut(LONGEST_DATAGRAM).map(|buffer| [IoSliceMut::new(buffer)]).collect();
    // Made anew each time: the system overwrites the lengths in it.
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, Some(cmsg_space!(u32)));
    let datagrams = recvmmsg(
        socket.as_fd().as_raw_fd(),
        &mut headers,
        slices.iter_mut(),
        MsgFlags::MSG_WAITFORONE,
        None,
    )?;
    for datagram in datagrams {
        if let Some(text) = datagram.iovs().next() {
            take(text);
        }
        for message in datagram.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::RxqOvfl(lost) = message {
                shared.lost.store(lost.into(), Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Longer than any machine is busy.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn start(address: ReceiverAddress) -> (MetricReceiver, mpsc::Receiver<String>) {
        let (sender, texts) = mpsc::channel();
        let receiver = MetricReceiver::start(address, move |text| {
            let _ = sender.send(String::from_utf8_lossy(text).into_owned());
        });
        (receiver.unwrap(), texts)
    }

    #[test]
    fn datagrams_arrive_over_udp() {
        let (receiver, texts) = start(ReceiverAddress::Udp("127.0.0.1:0".parse().unwrap()));
        let ReceiverAddress::Udp(address) = receiver.address() else { unreachable!() };
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for i in 0..200 {
            sender.send_to(format!("a:{i}|c").as_bytes(), address).unwrap();
        }
        for i in 0..200 {
            assert_eq!(texts.recv_timeout(PATIENCE).unwrap(), format!("a:{i}|c"));
        }
        assert_eq!(receiver.lost(), 0);
    }

    #[test]
    fn datagrams_arrive_over_a_unix_socket_that_replaces_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("statsd");
        drop(UnixDatagram::bind(&path).unwrap());
        let (receiver, texts) = start(ReceiverAddress::Unix(path.clone()));
        let sender = UnixDatagram::unbound().unwrap();
        for i in 0..200 {
            sender.send_to(format!("a:{i}|c").as_bytes(), &path).unwrap();
        }
        for i in 0..200 {
            assert_eq!(texts.recv_timeout(PATIENCE).unwrap(), format!("a:{i}|c"));
        }
        for i in 0..200 {
            sender.send_to(format!("b:{i}|c").as_bytes(), &path).unwrap();
        }
        let second = MetricReceiver::start(ReceiverAddress::Unix(path.clone()), |_| {});
        assert!(second.unwrap_err().to_string().contains(path.to_str().unwrap()));
        drop(receiver);
        assert!(!path.exists(), "the socket is removed");
        assert!(texts.into_iter().eq((0..200).map(|i| format!("b:{i}|c"))), "all was taken");
    }

    #[test]
    fn other_hosts_are_not_listened_to() {
        let address = ReceiverAddress::Udp("0.0.0.0:0".parse().unwrap());
        let error = MetricReceiver::start(address, |_| {}).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1 or [::1] instead of 0.0.0.0:0"));
    }
}
