//! A socket that this program was started with, by its number.
#![expect(unsafe_code, reason = "that a number is an open file of this process is known to whoever started it alone; here it is checked")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Takes over the socket; must be called once for a number, before anything else opens files.
pub(super) fn socket(number: Option<OsString>) -> io::Result<UnixStream> {
    let number = number.and_then(|number| number.to_str()?.parse::<RawFd>().ok()).filter(|number| *number > 2);
    let number = number.ok_or(io::ErrorKind::NotFound)?;
    if !std::fs::read_link(format!("/proc/self/fd/{number}"))?.as_os_str().to_string_lossy().starts_with("socket:") {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is open, and this process has opened nothing of its own yet: it is inherited, and nobody else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) }.into())
}
