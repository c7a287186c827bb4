//! The socket between runner and launcher: one order down, answers with open sockets up; its end is the end of the model.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::spec::Spec;

/// Asks for a connection to the model's port.
const CONNECT: u8 = b'c';
/// Asks that all of the model's processes stop, or go on.
const STOP: u8 = b's';
const GO_ON: u8 = b'g';
/// Begin an answer; the length of its reason follows in two bytes, then the reason.
const DONE: u8 = 0;
const REFUSED: u8 = 1;
const HEAD_BYTES: usize = 3;
/// The listener for the model's calls, and the other end of its standard input.
const SOCKETS_MAX: usize = 2;

const ORDER_BYTES_MAX: u32 = 4 << 20;
const REASON_BYTES_MAX: u16 = 2048;

/// A loopback connection is made or refused at once, unless the model's backlog is full.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The runner's end.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    /// Answers that are still to come, also those for which nobody waits any more.
    owed: u32,
}

impl Line {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, owed: 0 }
    }

    pub(super) async fn order(&mut self, spec: &Spec) -> io::Result<()> {
        let order = serde_json::to_vec(spec)?;
        let length = u32::try_from(order.len()).ok().filter(|length| *length <= ORDER_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("the order is too long"))?;
        self.stream.write_all(&length.to_le_bytes()).await?;
        self.stream.write_all(&order).await
    }

    pub(super) async fn connect(&mut self) -> io::Result<TcpStream> {
        let socket = self.ask(CONNECT).await?.pop().ok_or_else(|| io::Error::other("the launcher sent no socket"))?;
        Ok(TcpStream::from(socket))
    }

    pub(super) async fn stop(&mut self) -> io::Result<()> {
        self.ask(STOP).await.map(drop)
    }

    pub(super) async fn go_on(&mut self) -> io::Result<()> {
        self.ask(GO_ON).await.map(drop)
    }

    /// Cancel safe: the next call passes over the answer to this one.
    async fn ask(&mut self, what: u8) -> io::Result<Vec<OwnedFd>> {
        self.stream.write_all(&[what]).await?;
        self.owed += 1;
        loop {
            let answer = self.reply().await;
            self.owed -= 1;
            match answer {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error),
                answer if self.owed == 0 => return answer,
                _ => {}
            }
        }
    }

    /// The answer to the last thing asked, with the sockets that came along.
    pub(super) async fn reply(&mut self) -> io::Result<Vec<OwnedFd>> {
        self.stream.async_io(Interest::READABLE, || receive(self.stream.as_fd())).await
    }

    /// The same socket, to be shut from elsewhere while an answer is awaited.
    pub(super) fn lifeline(&self) -> io::Result<StdUnixStream> {
        Ok(StdUnixStream::from(self.stream.as_fd().try_clone_to_owned()?))
    }
}

/// Takes one answer and no byte of the next: the kernel would hand over a refusal and the socket sent after it as one.
fn receive(line: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut head = [0; HEAD_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(line, &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut rights = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            rights.extend(sockets);
        }
    }
    // An answer is sent at once and is much smaller than the socket's buffer, so what follows its first byte is there with it.
    let [kind, length @ ..] = match received.bytes {
        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
        HEAD_BYTES => head,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut reason = vec![0; usize::from(u16::from_le_bytes(length))];
    if !reason.is_empty() {
        let received = recvmsg(line, &mut [IoSliceMut::new(&mut reason)], &mut RecvAncillaryBuffer::default(), RecvFlags::empty())?;
        reason.truncate(received.bytes);
    }
    if kind == DONE { Ok(rights) } else { Err(io::Error::other(String::from_utf8_lossy(&reason).into_owned())) }
}

/// The launcher's end.
#[derive(Debug)]
pub(super) struct LauncherLine(StdUnixStream);

impl LauncherLine {
    /// The socket that the runner gave the launcher as its standard input.
    pub(super) fn on_stdin() -> io::Result<Self> {
        Ok(Self(StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    /// Waits for the order; there is none when the runner has no need of this launcher any more.
    pub(super) fn take_order(&self) -> io::Result<Option<Spec>> {
        let mut length = [0; 4];
        match (&self.0).read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u32::from_le_bytes(length);
        if length > ORDER_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut order = Vec::new();
        (&self.0).take(length.into()).read_to_end(&mut order)?;
        Ok(Some(serde_json::from_slice(&order)?))
    }

    /// The model's program runs; the sockets are those that [`super::Confined`] takes.
    pub(super) fn started(&self, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.answer(DONE, "", sockets)
    }

    pub(super) fn refuse(&self, reason: &str) -> io::Result<()> {
        self.answer(REFUSED, reason, &[])
    }

    /// Does what the runner asks for until the runner has gone: makes connections to the model's port, stops its processes, lets them go on.
    pub(super) fn attend(&self, port: u16, signal: impl Fn(Signal) -> io::Result<()>) {
        let mut asked = [0; 1];
        while (&self.0).read_exact(&mut asked).is_ok() {
            let done = match asked {
                [STOP] => signal(Signal::SIGSTOP).map(|()| None),
                [GO_ON] => signal(Signal::SIGCONT).map(|()| None),
                _ => TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT_WAIT).map(Some),
            };
            let answered = match &done {
                Ok(socket) => self.answer(DONE, "", &socket.iter().map(AsFd::as_fd).collect::<Vec<_>>()),
                Err(error) => self.refuse(&error.to_string()),
            };
            if answered.is_err() {
                return;
            }
        }
    }

    fn answer(&self, kind: u8, reason: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let length = u16::try_from(reason.len()).unwrap_or(REASON_BYTES_MAX).min(REASON_BYTES_MAX);
        let reason = &reason.as_bytes()[..usize::from(length)];
        let text = [&[kind], length.to_le_bytes().as_slice(), reason].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(sockets));
        }
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
        (&self.0).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn a_refusal_and_the_socket_sent_right_after_it_are_two_answers() {
        let (runner, launcher) = StdUnixStream::pair().unwrap();
        runner.set_nonblocking(true).unwrap();
        let mut line = Line::new(UnixStream::from_std(runner).unwrap());
        let launcher = LauncherLine(launcher);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        launcher.refuse("not yet").unwrap();
        launcher.started(&[listener.as_fd(), listener.as_fd()]).unwrap();
        launcher.refuse(&"x".repeat(5_000)).unwrap();
        assert_eq!(line.reply().await.unwrap_err().to_string(), "not yet");
        assert_eq!(line.reply().await.unwrap().len(), SOCKETS_MAX);
        assert_eq!(line.reply().await.unwrap_err().to_string().len(), usize::from(REASON_BYTES_MAX));
        drop(launcher);
        assert_eq!(line.reply().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
