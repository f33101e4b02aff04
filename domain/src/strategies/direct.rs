//! Direct answer: the task as it is, one call.

use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Message, ModelRequest};

pub(super) async fn run(brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
    let messages = vec![Message::system(brief.instructions), Message::user(brief.task)];
    let reply = fx.model(ModelRequest::answer("answer", messages)).await?;
    Ok(Answer { text: reply.text })
}
