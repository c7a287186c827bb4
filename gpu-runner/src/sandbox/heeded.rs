//! Signals that a shell has Feira ignore when it starts it in the background are not ignored by models.
#![expect(unsafe_code, reason = "a handler may do what a signal must not interrupt; the default is no handler")]

use std::io;

use nix::sys::signal::{SigHandler, Signal, signal};

/// What is ignored stays so in all that is started from here; what has a handler does not.
pub(super) fn heed() -> io::Result<()> {
    for ignored in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: the kernel's own default is installed, no code of ours.
        unsafe { signal(ignored, SigHandler::SigDfl) }?;
    }
    Ok(())
}
