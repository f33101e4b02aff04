//! Runs Python that models write, where it can reach nothing: `CPython` as a WebAssembly module, in an interpreter of
//! WebAssembly, with bounds on work, time, memory and output.
//!
//! Start at [`RunCode`], the tool. [`Sandbox`] bounds how many programs run at once, `guest` is one of them, and `wasi` is all
//! the world that it has: a place to print to, a clock that stands still, and numbers that are the same each time. The module
//! itself is built by `python/build.sh` and checked in (ADR 0039).

mod guest;
mod python;
mod run_code;
mod wasi;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;

pub use run_code::RunCode;

/// What a program may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Units of work. One is a WebAssembly instruction or less; a step of Python is some ten thousand. The same program takes
    /// the same each time.
    pub fuel: u64,
    /// How long it may run, whatever it does.
    pub time: Duration,
    /// The most bytes of memory, of which the interpreter itself takes some 14 MiB.
    pub memory: usize,
    /// The most bytes that are kept of what it prints.
    pub output: usize,
    /// How many run at the same time; others wait for their turn.
    pub places: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            fuel: 500_000_000_000,
            time: Duration::from_secs(20),
            memory: 64 * 1024 * 1024,
            output: 32 * 1024,
            places: 4,
        }
    }
}

/// A program, and what it works on.
#[derive(Clone, Debug)]
pub struct Program {
    /// Python.
    pub code: String,
    /// Any JSON value: what the code finds as `data`.
    pub data: serde_json::Value,
}

/// What came of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it printed, the beginning of it.
    pub printed: String,
    /// How many bytes it printed in all.
    pub printed_bytes: u64,
    /// Its value, or why it has none.
    pub outcome: Result<Option<String>, Failed>,
}

/// Why a program has come to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It raised an exception, or is not Python.
    #[error("{kind}: {message}")]
    Raised {
        /// The exception's type.
        kind: String,
        /// What it says.
        message: String,
        /// In which line of the code, from 1.
        line: Option<u32>,
    },
    /// It took too much work.
    #[error("the program did too much work and was stopped; it may have an endless loop")]
    OutOfFuel,
    /// It ran for too long.
    #[error("the program ran for more than {0} seconds and was stopped; it may have an endless loop")]
    TooSlow(u64),
    /// Calls within calls went too deep.
    #[error("the program went too deep: calls within calls, or lists within lists")]
    TooDeep,
    /// Its interpreter could not go on, for want of memory as a rule.
    #[error("the program broke its interpreter: it may need more than {0} MiB of memory")]
    Broken(usize),
    /// It has ended its interpreter.
    #[error("the program ended its interpreter with the status {0}")]
    Exited(i32),
}

/// The module could not be made ready. That is a fault of the build, or there is no memory.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the sandbox cannot be made ready: {0}")]
pub struct NotReady(String);

/// Where programs run.
pub struct Sandbox {
    bounds: Bounds,
    places: Arc<Semaphore>,
    ready: OnceLock<Result<guest::Ready, NotReady>>,
}

/// Tells a program's thread to stop once nobody waits for it any more.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Sandbox {
    /// One with these bounds. The module is made ready when the first program runs.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, places: Arc::new(Semaphore::new(bounds.places)), ready: OnceLock::new() }
    }

    /// Runs a program to its end, once there is a place. Dropping the future stops it within a moment.
    pub async fn run(self: &Arc<Self>, program: Program) -> Result<Ended, NotReady> {
        let stopped = || NotReady("its thread has ended".to_owned());
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| stopped())?;
        let wanted = Wanted(Arc::new(AtomicBool::new(true)));
        let (sandbox, is_wanted) = (Arc::clone(self), Arc::clone(&wanted.0));
        let ran = tokio::task::spawn_blocking(move || {
            // Held until the memory is given back, even when nobody waits any more.
            let _place = place;
            let ready = sandbox.ready.get_or_init(guest::Ready::new).as_ref().map_err(Clone::clone)?;
            guest::run(ready, sandbox.bounds, &program, &is_wanted)
        });
        ran.await.map_err(|_| stopped())?
    }
}

/// What the interpreter answers (`python/driver.py`).
#[derive(Deserialize)]
struct Answer {
    result: Option<String>,
    error: Option<Raised>,
}

#[derive(Deserialize)]
struct Raised {
    kind: String,
    message: String,
    line: Option<u32>,
}

impl From<Answer> for Result<Option<String>, Failed> {
    fn from(answer: Answer) -> Self {
        match answer.error {
            None => Ok(answer.result),
            Some(Raised { kind, message, line }) => Err(Failed::Raised { kind, message, line }),
        }
    }
}
