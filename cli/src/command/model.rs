//! `feira model`: models that are part of the binary, each the whole life of a process.

use std::process::ExitCode;

use crate::{hello_world, show};

#[derive(Debug, clap::Subcommand)]
pub enum Model {
    /// Greets by name
    HelloWorld {
        /// The port on 127.0.0.1 to answer at
        #[arg(long, env = "PORT")]
        port: u16,
    },
}

impl Model {
    pub fn serve(self) -> ExitCode {
        let Self::HelloWorld { port } = self;
        match hello_world::serve(port) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                show::note(&format!("hello-world: {error}"));
                ExitCode::FAILURE
            }
        }
    }
}
