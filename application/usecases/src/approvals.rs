//! Approvals: what runs ask people, and the answers.

mod answer_approval;
mod approval_rules;
mod list_approvals;
mod read_approval;

pub use answer_approval::AnswerApproval;
pub use approval_rules::{ReadApprovalRules, ReplaceApprovalRules};
pub use list_approvals::ListApprovals;
pub use read_approval::ReadApproval;
