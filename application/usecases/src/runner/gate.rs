//! What is to become of an effect before it is performed: whether it may be, and whether a person has a word in it.

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::{EffectRequest, ToolRequest};
use powerhouse_domain::ids::{AgentId, ApprovalId};
use powerhouse_domain::runs::{ApprovalRules, Demand, OpenEffect, Question};
use powerhouse_domain::tools::ToolOutput;
use serde_json::Value;

/// What is to become of an effect.
#[derive(Debug, PartialEq)]
pub(super) enum Gate {
    /// It is performed, as it stands here.
    Perform(EffectRequest),
    /// A person is asked first.
    Ask(Question),
    /// A person was asked; there is time.
    Hold {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// A person was asked, and the time is over.
    Lapse(ApprovalId),
    /// It is not performed: this is what came of it.
    Outcome(ToolOutput),
}

/// What holds for the tool that is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToolTerms {
    /// Its calls may be repeated without harm.
    pub(super) is_safe_to_repeat: bool,
    /// Who wants a person to approve the call, if anybody does.
    pub(super) demand: Option<Demand>,
}

/// Who wants a person to approve a call: a rule of the tenant comes before the strategy, and that before the agent.
pub(super) fn demand(
    tool: &ToolRequest,
    agent: AgentId,
    listed: &[String],
    rules: &ApprovalRules,
) -> Option<Demand> {
    if let Some(rule) = rules.on(agent, &tool.name) {
        return Some(Demand::Policy { reason: rule.reason().to_owned() });
    }
    let strategy = tool.approval.clone().map(|reason| Demand::Strategy { reason });
    strategy.or_else(|| listed.contains(&tool.name).then_some(Demand::Agent))
}

/// Decides on an effect that has no outcome, by what the journal says of it.
pub(super) fn gate(
    request: &EffectRequest,
    open: Option<&OpenEffect>,
    terms: &ToolTerms,
    now: DateTime<Utc>,
) -> Gate {
    // A model's answer changes nothing outside: it may be asked again. A run is begun once, under the id of its step.
    let EffectRequest::Tool(tool) = request else { return Gate::Perform(request.clone()) };
    let with = |arguments: Option<&Value>| {
        let arguments = arguments.unwrap_or(&tool.arguments).clone();
        EffectRequest::Tool(ToolRequest { arguments, ..tool.clone() })
    };
    match open {
        None => match &terms.demand {
            Some(demand) => Gate::Ask(Question::ToolCall {
                name: tool.name.clone(),
                arguments: tool.arguments.clone(),
                demand: demand.clone(),
            }),
            None => Gate::Perform(request.clone()),
        },
        Some(OpenEffect::Begun { arguments, .. }) if terms.is_safe_to_repeat => {
            Gate::Perform(with(arguments.as_ref()))
        }
        Some(OpenEffect::Begun { arguments, .. }) => Gate::Ask(Question::InDoubt {
            name: tool.name.clone(),
            arguments: arguments.as_ref().unwrap_or(&tool.arguments).clone(),
        }),
        Some(OpenEffect::Asked { expires_at, .. }) if now < *expires_at => Gate::Hold { until: *expires_at },
        Some(OpenEffect::Asked { approval, .. }) => Gate::Lapse(*approval),
        Some(OpenEffect::Answered { decision, arguments }) => match decision.outcome() {
            Some(output) => Gate::Outcome(output),
            None => Gate::Perform(with(arguments.as_ref())),
        },
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use powerhouse_domain::ids::StepId;
    use powerhouse_domain::model::{Message, ModelRequest};
    use powerhouse_domain::runs::{ApprovalRule, Decision};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const FREE: ToolTerms = ToolTerms { is_safe_to_repeat: true, demand: None };
    const CAREFUL: ToolTerms = ToolTerms { is_safe_to_repeat: false, demand: Some(Demand::Agent) };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn pay(amount: u32) -> EffectRequest {
        EffectRequest::Tool(ToolRequest::new("pay", json!({ "amount": amount })))
    }

    fn begun(arguments: Option<Value>) -> OpenEffect {
        OpenEffect::Begun { step: StepId::from_uuid(Uuid::nil()), arguments }
    }

    fn decide(open: &OpenEffect, terms: &ToolTerms) -> Gate {
        gate(&pay(5), Some(open), terms, now())
    }

    fn answered(decision: Decision, arguments: Option<Value>) -> OpenEffect {
        OpenEffect::Answered { decision, arguments }
    }

    #[test]
    fn a_model_call_is_never_held_up() {
        let request = EffectRequest::Model(ModelRequest::thought("plan", vec![Message::user("go")]));
        let open = begun(None);
        assert_eq!(gate(&request, Some(&open), &CAREFUL, now()), Gate::Perform(request));
    }

    #[test]
    fn a_call_is_made_unless_it_needs_approval() {
        assert_eq!(gate(&pay(5), None, &FREE, now()), Gate::Perform(pay(5)));
        let (name, arguments) = ("pay".to_owned(), json!({"amount": 5}));
        let question = Question::ToolCall { name, arguments, demand: Demand::Agent };
        assert_eq!(gate(&pay(5), None, &CAREFUL, now()), Gate::Ask(question));
    }

    #[test]
    fn a_rule_of_the_tenant_comes_first_then_the_strategy_then_the_agent() {
        let agent = AgentId::from_uuid(Uuid::nil());
        let rule = ApprovalRule::new("pa*".parse().unwrap(), Vec::new(), "money".into()).unwrap();
        let (none, rules) = (ApprovalRules::default(), ApprovalRules::restore(vec![rule], 1));
        let plain = ToolRequest::new("pay", json!({}));
        let confirmed = ToolRequest { approval: Some("sure?".into()), ..plain.clone() };
        let listed = ["pay".to_owned()];
        assert_eq!(demand(&plain, agent, &[], &none), None);
        assert_eq!(demand(&plain, agent, &listed, &none), Some(Demand::Agent));
        let asked = Demand::Strategy { reason: "sure?".into() };
        assert_eq!(demand(&confirmed, agent, &listed, &none), Some(asked));
        let policy = Demand::Policy { reason: "money".into() };
        assert_eq!(demand(&confirmed, agent, &listed, &rules), Some(policy));
    }

    #[test]
    fn a_call_in_doubt_is_repeated_only_when_that_is_safe_and_as_it_was_made() {
        let edited = json!({"amount": 4});
        assert_eq!(decide(&begun(None), &FREE), Gate::Perform(pay(5)));
        assert_eq!(decide(&begun(Some(edited.clone())), &FREE), Gate::Perform(pay(4)));
        let (name, arguments) = ("pay".to_owned(), edited.clone());
        assert_eq!(decide(&begun(Some(edited)), &CAREFUL), Gate::Ask(Question::InDoubt { name, arguments }));
    }

    #[test]
    fn a_question_is_waited_for_until_its_time_is_over() {
        let approval = ApprovalId::from_uuid(Uuid::nil());
        let asked = |seconds| {
            let question =
                Question::ToolCall { name: "pay".into(), arguments: json!({}), demand: Demand::Agent };
            OpenEffect::Asked { approval, question, expires_at: now() + TimeDelta::seconds(seconds) }
        };
        assert_eq!(decide(&asked(1), &CAREFUL), Gate::Hold { until: now() + TimeDelta::seconds(1) });
        assert_eq!(decide(&asked(0), &CAREFUL), Gate::Lapse(approval));
    }

    #[test]
    fn an_answer_is_followed() {
        assert_eq!(decide(&answered(Decision::Approve, None), &CAREFUL), Gate::Perform(pay(5)));
        let arguments = json!({"amount": 3});
        let edit = Decision::Edit { arguments: arguments.clone() };
        assert_eq!(decide(&answered(edit, Some(arguments)), &CAREFUL), Gate::Perform(pay(3)));
        let settled = decide(&answered(Decision::Settle { output: "paid".into() }, None), &CAREFUL);
        assert_eq!(settled, Gate::Outcome(ToolOutput::ok("paid")));
        let refused = decide(&answered(Decision::Reject { reason: "too much".into() }, None), &CAREFUL);
        assert!(
            matches!(refused, Gate::Outcome(output) if output.is_error && output.content.contains("too much"))
        );
    }
}
