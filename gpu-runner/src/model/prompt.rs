//! A connection to a model that acknowledges at once what it reads.
//!
//! Cog's server writes an answer in pieces and leaves Nagle's algorithm on: each piece waits until the one before it is acknowledged, which the
//! kernel puts off for 40 ms to save a packet. That is forty times what a short prediction takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_tcp_quickack};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// As much as a window can be here.
const RECEIVE_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub struct PromptStream(TcpStream);

impl PromptStream {
    /// Also widens what the kernel holds for it: Cog cuts off who falls behind, and a reader that waits for a processor does. Only root may ask
    /// for more than the machine's usual most; without it that has to do.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        if let Err(error) = set_socket_recv_buffer_size_force(&stream, RECEIVE_BYTES) {
            tracing::debug!(%error, "a connection to a model keeps its usual buffer");
        }
        Ok(Self(stream))
    }
}

impl AsyncRead for PromptStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buffer);
        // The kernel forgets it with every answer; without it the connection is only slower.
        set_tcp_quickack(&self.0, true).ok();
        polled
    }
}

impl AsyncWrite for PromptStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Connection for PromptStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
