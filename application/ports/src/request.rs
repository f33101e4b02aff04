//! The request that the task at work serves. Driving adapters say it once, and what is written down for people to follow up
//! names it; nothing is decided by it.

use tokio::task_local;

task_local! {
    static CORRELATION_ID: String;
}

/// Does something for the request with this id.
pub async fn serving<T>(correlation_id: String, work: impl Future<Output = T>) -> T {
    CORRELATION_ID.scope(correlation_id, work).await
}

/// The id of the request that the task at work serves, if it serves any.
pub fn correlation_id() -> Option<String> {
    CORRELATION_ID.try_with(Clone::clone).ok()
}
