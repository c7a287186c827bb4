//! The hooks room through its front door: components are checked, compiled in a child process, loaded and called.

mod guests;
mod hostile;
mod imports;
mod publish;
mod real;
mod wasi;
