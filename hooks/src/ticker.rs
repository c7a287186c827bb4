//! The engine's clock: one thread that moves the epoch on every millisecond while a guest runs, and sleeps while none does.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a running guest looks at its deadline and lets others run.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Owns the thread; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps the ticker going while it lives.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    guests_running: usize,
    stopped: bool,
}

impl Ticker {
    pub(crate) fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = shared.clone();
        let thread = thread::Builder::new().name("hook-epochs".to_owned()).spawn(move || ticking.tick(&engine))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn run(&self) -> Running {
        let mut state = self.shared.lock();
        state.guests_running += 1;
        if state.guests_running == 1 {
            self.shared.wake.notify_one();
        }
        Running { shared: self.shared.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lock().guests_running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread runs no code that can panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn tick(&self, engine: &wasmtime::Engine) {
        loop {
            let idle = |state: &mut State| !state.stopped && state.guests_running == 0;
            let state = self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            if state.stopped {
                return;
            }
            drop(state);
            thread::sleep(TICK);
            engine.increment_epoch();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is two plain numbers: no panic leaves it half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
