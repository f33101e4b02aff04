//! Conversation threads: beginning, reading and removing them, and saying something in one.

mod create_thread;
mod delete_thread;
mod join_thread;
mod read_threads;

pub use create_thread::CreateThread;
pub use delete_thread::DeleteThread;
pub(crate) use join_thread::join;
pub use read_threads::{ListThreads, ReadThread};

use powerhouse_domain::access::{OwnedThread, Permit, Principal, Privilege, ReadThread as Read};
use powerhouse_domain::ids::ThreadId;
use powerhouse_domain::threads::Thread;
use powerhouse_ports::store::TenantView;

use crate::{Refused, permit};

/// A thread that the caller may see, with the permit to do `A` to it.
async fn find<A: Privilege<Resource = OwnedThread>>(
    view: &mut dyn TenantView,
    principal: &Principal,
    id: ThreadId,
) -> Result<(Thread, Permit<A>), Refused> {
    let thread = view.threads().find(id).await?.ok_or(Refused::NotFound("thread"))?;
    let owned = OwnedThread { thread: id, owner: thread.owner };
    let visible = principal.permit::<Read>(owned).is_ok();
    let permit = permit::<A>(principal, owned, "thread", visible)?;
    Ok((thread, permit))
}
