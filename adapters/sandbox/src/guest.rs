//! One program, from its request to its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;
use wasmi::{
    Config, Engine, Error, Linker, Module, Store, StoreLimitsBuilder, TrapCode, TypedFunc,
    TypedResumableCall, WasmParams, WasmResults,
};

use crate::wasi::{self, World};
use crate::{Answer, Bounds, Ended, Failed, NotReady, Program, python};

/// How deep calls within the module may go: Python stops at a thousand of its own, each some of these.
const MAX_DEPTH: usize = 12_000;
/// The most bytes of their frames.
const MAX_FRAMES: usize = 16 * 1024 * 1024;
/// After so much work, at most, it is looked whether time is up.
const SLICE: u64 = 200_000_000;

/// The module, made ready for all programs.
pub(crate) struct Ready {
    engine: Engine,
    module: Module,
    linker: Linker<World>,
}

impl Ready {
    pub(crate) fn new() -> Result<Self, NotReady> {
        let mut config = Config::default();
        config
            .consume_fuel(true)
            .set_max_recursion_depth(MAX_DEPTH)
            .set_max_stack_height(MAX_FRAMES)
            .set_max_cached_stacks(1);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, python::module()?).map_err(|error| NotReady(error.to_string()))?;
        let mut linker = Linker::new(&engine);
        wasi::link(&mut linker, &module)?;
        Ok(Self { engine, module, linker })
    }
}

/// Why a call into the module has no result.
enum Stopped {
    By(Failed),
    /// Nobody wants it any more.
    Unwanted,
}

struct Running<'a> {
    store: Store<World>,
    bounds: Bounds,
    fuel: u64,
    since: Instant,
    is_wanted: &'a AtomicBool,
}

impl Running<'_> {
    /// Calls a function of the module, a slice of work after the other.
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: TypedFunc<P, R>,
        with: P,
    ) -> Result<R, Stopped> {
        self.refuel(0)?;
        let mut call =
            function.call_resumable(&mut self.store, with).map_err(|error| self.stopped(&error))?;
        loop {
            match call {
                TypedResumableCall::Finished(result) => return Ok(result),
                TypedResumableCall::HostTrap(trap) => return Err(self.stopped(trap.host_error())),
                TypedResumableCall::OutOfFuel(paused) => {
                    self.refuel(paused.required_fuel())?;
                    call = paused.resume(&mut self.store).map_err(|error| self.stopped(&error))?;
                }
            }
        }
    }

    /// Gives it fuel for the next slice, which takes at least this much to go on.
    fn refuel(&mut self, least: u64) -> Result<(), Stopped> {
        if !self.is_wanted.load(Ordering::Relaxed) {
            return Err(Stopped::Unwanted);
        }
        if self.since.elapsed() > self.bounds.time {
            return Err(Stopped::By(Failed::TooSlow(self.bounds.time.as_secs())));
        }
        let left = self.store.get_fuel().unwrap_or_default();
        let slice = SLICE.max(least).saturating_sub(left);
        if slice > self.fuel {
            return Err(Stopped::By(Failed::OutOfFuel));
        }
        self.fuel -= slice;
        // It fails without metering only, which is on.
        let _ = self.store.set_fuel(left + slice);
        Ok(())
    }

    fn stopped(&self, error: &Error) -> Stopped {
        if let Some(status) = error.i32_exit_status() {
            return Stopped::By(Failed::Exited(status));
        }
        Stopped::By(match error.as_trap_code() {
            Some(TrapCode::StackOverflow) => Failed::TooDeep,
            _ => Failed::Broken(self.bounds.memory >> 20),
        })
    }
}

/// Runs a program in an instance of its own.
pub(crate) fn run(
    ready: &Ready,
    bounds: Bounds,
    program: &Program,
    is_wanted: &AtomicBool,
) -> Result<Ended, NotReady> {
    let limits =
        StoreLimitsBuilder::new().memory_size(bounds.memory).instances(1).memories(1).tables(4).build();
    let mut store = Store::new(&ready.engine, World::new(bounds.output, limits));
    store.limiter(|world| &mut world.limits);
    let broken = |error: Error| NotReady(error.to_string());
    // Making an instance runs nothing: the module has no start function.
    store.set_fuel(SLICE).map_err(broken)?;
    let instance = ready.linker.instantiate_and_start(&mut store, &ready.module).map_err(broken)?;
    let allocate = instance.get_typed_func::<i32, i32>(&store, "allocate").map_err(broken)?;
    let run = instance.get_typed_func::<(i32, i32), i32>(&store, "run").map_err(broken)?;
    let answer = instance.get_typed_func::<(), i32>(&store, "answer").map_err(broken)?;
    let memory =
        instance.get_memory(&store, "memory").ok_or_else(|| NotReady("it has no memory".to_owned()))?;
    store.set_fuel(0).map_err(broken)?;
    let mut running = Running { store, bounds, fuel: bounds.fuel, since: Instant::now(), is_wanted };

    let request = json!({"code": program.code, "data": program.data}).to_string();
    let length = i32::try_from(request.len()).map_err(|_| NotReady("the request is too long".to_owned()))?;
    let mut answered = || {
        let no_place = || Stopped::By(Failed::Broken(bounds.memory >> 20));
        let at = running.call(allocate, length)?;
        memory.write(&mut running.store, place(at), request.as_bytes()).map_err(|_| no_place())?;
        let length = running.call(run, (at, length))?;
        let at = place(running.call(answer, ())?);
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| memory.data(&running.store).get(at..at.checked_add(length)?));
        serde_json::from_slice::<Answer>(bytes.ok_or_else(no_place)?).map_err(|_| no_place())
    };
    let outcome = match answered() {
        Ok(answer) => answer.into(),
        Err(Stopped::By(failed)) => Err(failed),
        Err(Stopped::Unwanted) => return Err(NotReady("nobody waits for the program".to_owned())),
    };
    let world = running.store.into_data();
    Ok(Ended {
        printed: String::from_utf8_lossy(&world.printed).into_owned(),
        printed_bytes: world.printed_bytes,
        outcome,
    })
}

/// An address in the module's memory.
fn place(at: i32) -> usize {
    at.cast_unsigned() as usize
}
