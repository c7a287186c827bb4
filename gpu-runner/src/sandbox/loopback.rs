//! Brings up the loopback of a new network namespace, which is born down.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// The kernel gives the loopback the first index of every network namespace.
const LOOPBACK_INDEX: i32 = 1;
const IFF_UP: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_AND_ACK: u16 = 1 | 4;
/// `struct nlmsghdr` and `struct ifinfomsg`: <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>.
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 32;

pub(super) fn bring_up() -> io::Result<()> {
    // No protocol is 0, which is `NETLINK_ROUTE`.
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&kernel, &message(), SendFlags::empty())?;
    acknowledged(&kernel)
}

fn message() -> Vec<u8> {
    let mut message = Vec::with_capacity(MESSAGE_BYTES);
    let length = u32::try_from(MESSAGE_BYTES).expect("32 fits");
    message.extend(length.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence, port
    message.extend([0; 4]); // family, padding, type
    message.extend(LOOPBACK_INDEX.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // flags
    message.extend(IFF_UP.to_ne_bytes()); // which of them change
    message
}

/// The answer is a header and an error number that is 0 when all is well.
fn acknowledged(kernel: &OwnedFd) -> io::Result<()> {
    let mut answer = [0; 256];
    let (_, length) = recv(kernel, &mut answer, RecvFlags::empty())?;
    let code = answer[..length].get(HEADER_BYTES..HEADER_BYTES + 4).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
