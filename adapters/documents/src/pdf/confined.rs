//! The process's side: takes away from itself what it does not need, reads the document, and answers.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use powerhouse_domain::knowledge::MAX_PDF;

use super::document;

/// The most bytes of addresses, of which memory is a part: the program itself, the document, and what that inflates to.
#[cfg(unix)]
const MAX_ADDRESSES: u64 = 512 * 1024 * 1024;
/// The most seconds of a processor.
#[cfg(unix)]
const MAX_SECONDS: u64 = 10;

/// What the program that [`DocumentReader`](crate::DocumentReader) starts has to do, before anything else: reads a PDF from the
/// standard input, and says on the standard output what is in it. The process is bounded first, and whatever goes wrong ends it.
pub fn read_pdf() -> ExitCode {
    if confine().is_err() {
        return ExitCode::FAILURE;
    }
    let mut content = Vec::new();
    let read = std::io::stdin().take(MAX_PDF as u64).read_to_end(&mut content);
    let answer = match read {
        Ok(_) => serde_json::to_vec(&document::read(content)).unwrap_or_default(),
        Err(_) => return ExitCode::FAILURE,
    };
    let mut stdout = std::io::stdout();
    match stdout.write_all(&answer).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Bounds this process for good: nobody can raise again what is lowered here, unless they are root.
#[cfg(unix)]
fn confine() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    for (resource, most) in [
        (Resource::As, MAX_ADDRESSES),
        (Resource::Cpu, MAX_SECONDS),
        // Not one file, socket or pipe beside the three that are there.
        (Resource::Nofile, 0),
        // Not one process or thread.
        (Resource::Nproc, 0),
        // Not one byte into a file; pipes are none.
        (Resource::Fsize, 0),
        // What a crash leaves would have the document in it.
        (Resource::Core, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    #[cfg(target_os = "linux")]
    filter().map_err(std::io::Error::other)?;
    Ok(())
}

/// The calls of the system that reading three pipes, computing and ending take. None reaches a file, another process or the network.
#[cfg(target_os = "linux")]
const CALLS: [i64; 19] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Has the kernel refuse every other call, for good, where there is a filter for the processor's.
#[cfg(target_os = "linux")]
fn filter() -> Result<(), seccompiler::Error> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
    let Ok(processor) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    let calls = CALLS.map(|call| (call, Vec::new())).into();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(calls, refuse, SeccompAction::Allow, processor)?;
    apply_filter(&BpfProgram::try_from(filter)?)
}

/// Where nothing bounds it, nothing is read.
#[cfg(not(unix))]
fn confine() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
