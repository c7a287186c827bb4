//! `feira:hook/log`: lines kept for the report, up to a budget.

use super::{Sandbox, Stop};
use crate::bindings::feira::hook::log;
use crate::error::Budget;
use crate::report::{LogLevel, LogLine};

impl log::Host for Sandbox {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        if self.log.len() >= self.limits.log_lines_max {
            return Err(Stop::Budget(Budget::LogLines).into());
        }
        self.log_bytes += message.len();
        if self.log_bytes > self.limits.log_bytes_max {
            return Err(Stop::Budget(Budget::LogBytes).into());
        }
        self.log.push(LogLine { level: level.into(), message });
        Ok(())
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Trace => Self::Trace,
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}
