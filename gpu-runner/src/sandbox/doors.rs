//! The two ports between the runner and a model: where the model listens, and where it reaches the runner.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Chosen before the launch, so that the command line can name them.
#[derive(Debug)]
pub struct Doors {
    port: u16,
    runner_port: u16,
    /// On the host the port is held from the moment it is named.
    pub(super) held: Option<TcpListener>,
}

/// In a network of its own every model has the same two ports.
const PORT: u16 = 5000;
const RUNNER_PORT: u16 = 5001;

impl Doors {
    pub(super) fn of_own_network() -> Self {
        Self { port: PORT, runner_port: RUNNER_PORT, held: None }
    }

    /// Two free ports of the host. The model's own must be let go so that the model can take it: another program may come first, and then
    /// the model fails to start.
    pub(super) fn on_the_host() -> io::Result<Self> {
        let ours = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let theirs = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { port: theirs.local_addr()?.port(), runner_port: ours.local_addr()?.port(), held: Some(ours) })
    }

    /// Where the model must listen, on 127.0.0.1; also in its environment as `PORT`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the model reaches the listener that [`super::Confined::listen`] gives.
    pub fn runner(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.runner_port))
    }
}
