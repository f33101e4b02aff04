//! Approvals: what runs ask people, and the answers.

mod answer_approval;
mod list_approvals;
mod read_approval;

pub use answer_approval::AnswerApproval;
pub use list_approvals::ListApprovals;
pub use read_approval::ReadApproval;
