//! All the world that a program has: functions of WASI (preview 1) that give away nothing.
//!
//! There are no files, no sockets, no environment and no other processes. What is printed is kept, up to a bound. The clock
//! stands still, and what is random is the same in each run, so that a program gives the same each time. Every other function
//! that the module wants says that there is no such function.

use wasmi::{Caller, Error, ExternType, Linker, Module, StoreLimits, Val};

use crate::NotReady;

/// What a program's store has.
pub(crate) struct World {
    /// What was printed, up to the bound.
    pub(crate) printed: Vec<u8>,
    /// How much was printed.
    pub(crate) printed_bytes: u64,
    /// The bound.
    pub(crate) most_printed: usize,
    /// Bounds of its memory.
    pub(crate) limits: StoreLimits,
    /// The state of what passes for random.
    random: u64,
}

impl World {
    pub(crate) fn new(most_printed: usize, limits: StoreLimits) -> Self {
        Self { printed: Vec::new(), printed_bytes: 0, most_printed, limits, random: 0 }
    }

    fn print(&mut self, bytes: &[u8]) {
        let room = self.most_printed.saturating_sub(self.printed.len());
        self.printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.printed_bytes += bytes.len() as u64;
    }

    /// `SplitMix64`. It is not meant to keep a secret.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Where the functions are from.
const WASI: &str = "wasi_snapshot_preview1";

/// Errors of WASI.
const OK: i32 = 0;
const BAD_FILE: i32 = 8;
const INVALID: i32 = 28;
const NO_SUCH_FUNCTION: i32 = 52;
const NO_SEEK: i32 = 70;

/// 2000-01-01T00:00:00Z, in nanoseconds since 1970.
const NOW: u64 = 946_684_800_000_000_000;
/// The most bytes of randomness at once.
const MOST_RANDOM: u32 = 64 * 1024;

/// Gives the module what it wants to import. A module that wants anything but functions of WASI is refused.
pub(crate) fn link(linker: &mut Linker<World>, module: &Module) -> Result<(), NotReady> {
    for import in module.imports() {
        let refused = || NotReady(format!("it wants {}.{}", import.module(), import.name()));
        let ExternType::Func(kind) = import.ty() else { return Err(refused()) };
        if import.module() != WASI {
            return Err(refused());
        }
        let (name, function) = (import.name(), function(import.name()));
        let ends = name == "proc_exit";
        linker
            .func_new(WASI, name, kind.clone(), move |mut caller, given, results| {
                if ends {
                    return Err(Error::i32_exit(number(given, 0).cast_signed()));
                }
                let status = function(&mut caller, given);
                if let [result] = results {
                    *result = Val::I32(status);
                }
                Ok(())
            })
            .map_err(|error| NotReady(error.to_string()))?;
    }
    Ok(())
}

type Function = fn(&mut Caller<'_, World>, &[Val]) -> i32;

fn function(name: &str) -> Function {
    match name {
        "fd_write" => write,
        "fd_read" => read,
        "fd_fdstat_get" => status,
        "fd_seek" | "fd_tell" => |_, _| NO_SEEK,
        "fd_close" | "sched_yield" | "environ_get" | "args_get" => |_, _| OK,
        "clock_time_get" => clock,
        "clock_res_get" => |caller, given| put(caller, number(given, 1), &1_u64.to_le_bytes()),
        "random_get" => random,
        "environ_sizes_get" | "args_sizes_get" => nothing,
        name if name.starts_with("fd_") || name.starts_with("path_") => |_, _| BAD_FILE,
        _ => |_, _| NO_SUCH_FUNCTION,
    }
}

/// An argument. All that are looked at are 32-bit numbers.
fn number(given: &[Val], index: usize) -> u32 {
    given.get(index).and_then(Val::i32).unwrap_or_default().cast_unsigned()
}

/// Writes into the module's memory, or says that there is no such place.
fn put(caller: &mut Caller<'_, World>, at: u32, bytes: &[u8]) -> i32 {
    let memory = caller.get_export("memory").and_then(wasmi::Extern::into_memory);
    let written = memory.map(|memory| memory.write(caller, at as usize, bytes));
    if matches!(written, Some(Ok(()))) { OK } else { INVALID }
}

/// `fd_write`: the lists of what is printed, one after the other.
fn write(caller: &mut Caller<'_, World>, given: &[Val]) -> i32 {
    let (file, lists, count, written) =
        (number(given, 0), number(given, 1) as usize, number(given, 2), number(given, 3));
    if file != 1 && file != 2 {
        return BAD_FILE;
    }
    let Some(memory) = caller.get_export("memory").and_then(wasmi::Extern::into_memory) else {
        return INVALID;
    };
    let (data, world) = memory.data_and_store_mut(&mut *caller);
    let u32_at = |at: usize| -> Option<usize> {
        let bytes = data.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let mut total = 0_u32;
    for index in 0..count as usize {
        let list = lists.saturating_add(index.saturating_mul(8));
        let (Some(at), Some(length)) = (u32_at(list), u32_at(list.saturating_add(4))) else {
            return INVALID;
        };
        let Some(bytes) = data.get(at..at.saturating_add(length)) else { return INVALID };
        world.print(bytes);
        total = total.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }
    put(caller, written, &total.to_le_bytes())
}

/// `fd_read`: there is nothing to read.
fn read(caller: &mut Caller<'_, World>, given: &[Val]) -> i32 {
    if number(given, 0) != 0 {
        return BAD_FILE;
    }
    put(caller, number(given, 3), &0_u32.to_le_bytes())
}

/// `fd_fdstat_get`: something to print to, and nothing else.
fn status(caller: &mut Caller<'_, World>, given: &[Val]) -> i32 {
    if number(given, 0) > 2 {
        return BAD_FILE;
    }
    let mut status = [0; 24];
    // A character device, with all rights.
    status[0] = 2;
    status[8..].fill(0xff);
    put(caller, number(given, 1), &status)
}

fn clock(caller: &mut Caller<'_, World>, given: &[Val]) -> i32 {
    put(caller, number(given, 2), &NOW.to_le_bytes())
}

fn random(caller: &mut Caller<'_, World>, given: &[Val]) -> i32 {
    let (at, length) = (number(given, 0), number(given, 1));
    if length > MOST_RANDOM {
        return INVALID;
    }
    let mut bytes = vec![0; length as usize];
    for chunk in bytes.chunks_mut(8) {
        let next = caller.data_mut().next().to_le_bytes();
        chunk.copy_from_slice(&next[..chunk.len()]);
    }
    put(caller, at, &bytes)
}

/// `environ_sizes_get`: none, of no length.
fn nothing(caller: &mut Caller<'_, World>, given: &[Val]) -> i32 {
    put(caller, number(given, 0), &[0; 4]);
    put(caller, number(given, 1), &[0; 4])
}
