//! A tenant's rules on which calls of tools a person has to approve, and which are not made at all, whatever agents and
//! strategies say, and whatever a model has read.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::Provenance;
use crate::access::named_enum;
use crate::ids::AgentId;

/// The most characters of a tool's name, or of its beginning.
const MAX_TOOL_CHARS: usize = 64;
/// The most characters of a reason.
pub const MAX_REASON_CHARS: usize = 500;
/// The most agents that a rule names.
pub const MAX_RULE_AGENTS: usize = 100;
/// The most rules of a tenant.
pub const MAX_RULES: usize = 100;

/// Which tools: one by its name, or all whose names begin so, written with a `*` at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolPattern {
    /// The tool of this name.
    Exactly(String),
    /// Tools whose names begin with this; all, when it is empty.
    Beginning(String),
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tool's name, or its beginning and `*`: at most {MAX_TOOL_CHARS} letters, digits, `_`, `-`, `.` and `/`"
)]
pub struct InvalidPattern;

impl FromStr for ToolPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let is_name = |text: &str| {
            text.len() <= MAX_TOOL_CHARS
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'))
        };
        match text.strip_suffix('*') {
            Some(beginning) if is_name(beginning) => Ok(Self::Beginning(beginning.to_owned())),
            None if is_name(text) && !text.is_empty() => Ok(Self::Exactly(text.to_owned())),
            _ => Err(InvalidPattern),
        }
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => f.write_str(name),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

impl ToolPattern {
    fn is_of(&self, tool: &str) -> bool {
        match self {
            Self::Exactly(name) => name == tool,
            Self::Beginning(beginning) => tool.starts_with(beginning),
        }
    }
}

named_enum! {
    /// When a rule holds.
    Condition as "condition" {
        /// For each call.
        Always = "always",
        /// Once the run has read anything from outside.
        AfterUntrusted = "after_untrusted",
        /// When an argument was copied from what the run has read from outside.
        Tainted = "tainted",
    }
}

named_enum! {
    /// What comes of it.
    Consequence as "consequence" {
        /// The call waits for a person.
        Ask = "ask",
        /// The call is not made, and the model is told so.
        Refuse = "refuse",
    }
}

/// A rule: calls of these tools wait for a person, or are not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRule {
    tool: ToolPattern,
    agents: Vec<AgentId>,
    reason: String,
    condition: Condition,
    consequence: Consequence,
}

/// Why a rule, or a list of rules, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// Too many agents.
    #[error("a rule names at most {MAX_RULE_AGENTS} agents")]
    TooManyAgents,
    /// The reason is too long.
    #[error("a reason has at most {MAX_REASON_CHARS} characters")]
    ReasonTooLong,
    /// Too many rules.
    #[error("a tenant has at most {MAX_RULES} rules")]
    TooManyRules,
}

impl ApprovalRule {
    /// A rule on the calls of these agents; of every agent, when none is named. The reason is shown to whoever is asked.
    pub fn new(tool: ToolPattern, agents: Vec<AgentId>, reason: String) -> Result<Self, InvalidRule> {
        if agents.len() > MAX_RULE_AGENTS {
            return Err(InvalidRule::TooManyAgents);
        }
        if reason.chars().nth(MAX_REASON_CHARS).is_some() {
            return Err(InvalidRule::ReasonTooLong);
        }
        Ok(Self { tool, agents, reason, condition: Condition::Always, consequence: Consequence::Ask })
    }

    /// The same under a condition, and with another consequence.
    #[must_use]
    pub fn that(self, condition: Condition, consequence: Consequence) -> Self {
        Self { condition, consequence, ..self }
    }

    /// When it holds.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// What comes of it.
    pub fn consequence(&self) -> Consequence {
        self.consequence
    }

    fn holds(&self, arguments: &Value, read: &Provenance) -> bool {
        match self.condition {
            Condition::Always => true,
            Condition::AfterUntrusted => read.has_untrusted(),
            Condition::Tainted => read.taints(arguments),
        }
    }

    /// Which tools.
    pub fn tool(&self) -> &ToolPattern {
        &self.tool
    }

    /// Whose calls; everybody's when empty.
    pub fn agents(&self) -> &[AgentId] {
        &self.agents
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// All rules of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalRules {
    rules: Vec<ApprovalRule>,
    version: u64,
}

impl ApprovalRules {
    /// Rules as they were stored.
    pub fn restore(rules: Vec<ApprovalRule>, version: u64) -> Self {
        Self { rules, version }
    }

    /// Puts other rules in their place.
    pub fn replaced(self, rules: Vec<ApprovalRule>) -> Result<Self, InvalidRule> {
        if rules.len() > MAX_RULES {
            return Err(InvalidRule::TooManyRules);
        }
        Ok(Self { rules, version: self.version + 1 })
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[ApprovalRule] {
        &self.rules
    }

    /// Counts changes, from 0.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn about<'a, 'b>(
        &'a self,
        agent: AgentId,
        tool: &'b str,
    ) -> impl Iterator<Item = &'a ApprovalRule> + use<'a, 'b> {
        let binds = move |rule: &&ApprovalRule| rule.agents.is_empty() || rule.agents.contains(&agent);
        self.rules.iter().filter(binds).filter(move |rule| rule.tool.is_of(tool))
    }

    /// Whether what holds for an agent's call of a tool depends on what its run has read.
    pub fn depend_on_reading(&self, agent: AgentId, tool: &str) -> bool {
        self.about(agent, tool).any(|rule| rule.condition != Condition::Always)
    }

    /// The rule that decides on an agent's call: the first that refuses it, or else the first that asks.
    pub fn on(
        &self,
        agent: AgentId,
        tool: &str,
        arguments: &Value,
        read: &Provenance,
    ) -> Option<&ApprovalRule> {
        let holds = |rule: &&ApprovalRule| rule.holds(arguments, read);
        let refuses = |rule: &&ApprovalRule| rule.consequence == Consequence::Refuse && holds(rule);
        self.about(agent, tool).find(refuses).or_else(|| self.about(agent, tool).find(holds))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn rule(tool: &str, agents: &[u128], reason: &str) -> ApprovalRule {
        let agents = agents.iter().map(|id| AgentId::from_uuid(Uuid::from_u128(*id))).collect();
        ApprovalRule::new(tool.parse().unwrap(), agents, reason.into()).unwrap()
    }

    #[test]
    fn the_first_rule_that_binds_counts() {
        let rules = vec![rule("pay", &[1], "money"), rule("pay*", &[], "payments"), rule("*", &[2], "new")];
        let rules = ApprovalRules::default().replaced(rules).unwrap();
        let on = |agent, tool| {
            let found = rules.on(
                AgentId::from_uuid(Uuid::from_u128(agent)),
                tool,
                &Value::Null,
                &Provenance::default(),
            );
            found.map(|rule| rule.reason().to_owned())
        };
        assert_eq!(on(1, "pay").as_deref(), Some("money"));
        assert_eq!(on(2, "pay").as_deref(), Some("payments"));
        assert_eq!(on(1, "pay_back").as_deref(), Some("payments"));
        assert_eq!(on(2, "look").as_deref(), Some("new"));
        assert_eq!(on(1, "look"), None);
        assert_eq!(on(1, "repay"), None);
        assert_eq!(rules.version(), 1);
    }

    #[test]
    fn a_rule_that_refuses_goes_before_one_that_asks_when_it_holds() {
        let refusing = rule("pay", &[], "read").that(Condition::AfterUntrusted, Consequence::Refuse);
        let rules = ApprovalRules::default().replaced(vec![rule("*", &[], "all"), refusing]).unwrap();
        let agent = AgentId::from_uuid(Uuid::nil());
        let on = |read: &Provenance| rules.on(agent, "pay", &Value::Null, read).unwrap().reason().to_owned();
        assert_eq!(on(&Provenance::default()), "all");
        let request =
            crate::effects::EffectRequest::Tool(crate::effects::ToolRequest::new("read", Value::Null));
        let key: crate::effects::EffectKey = "0".parse().unwrap();
        let journal = [
            crate::runs::EventBody::StepStarted {
                step: crate::ids::StepId::from_uuid(Uuid::nil()),
                key: key.clone(),
                kind: crate::runs::StepKind::from(&request),
                fingerprint: None,
                reservation: None,
            },
            crate::runs::EventBody::StepEnded {
                key,
                fingerprint: request.fingerprint(),
                outcome: crate::effects::EffectOutcome::Tool(crate::tools::ToolOutput::ok("x")),
            },
        ];
        let mut read = Provenance::given("t");
        for event in &journal {
            read.note(event, |_| true);
        }
        assert_eq!(on(&read), "read");
        assert!(rules.depend_on_reading(agent, "pay") && !rules.depend_on_reading(agent, "look"));
    }

    #[test]
    fn a_pattern_is_a_name_or_its_beginning() {
        for good in ["pay", "pay*", "*", "mcp/files.read-all"] {
            assert_eq!(good.parse::<ToolPattern>().unwrap().to_string(), good);
        }
        for bad in ["", "p*y", "**", "a b", "é", &"x".repeat(65)] {
            assert_eq!(bad.parse::<ToolPattern>(), Err(InvalidPattern), "{bad}");
        }
    }

    #[test]
    fn rules_have_bounds() {
        let tool = || "*".parse().unwrap();
        let agent = AgentId::from_uuid(Uuid::nil());
        let agents = vec![agent; MAX_RULE_AGENTS + 1];
        assert_eq!(ApprovalRule::new(tool(), agents, String::new()), Err(InvalidRule::TooManyAgents));
        let reason = "é".repeat(MAX_REASON_CHARS + 1);
        assert_eq!(ApprovalRule::new(tool(), Vec::new(), reason), Err(InvalidRule::ReasonTooLong));
        let rules = vec![rule("*", &[], ""); MAX_RULES + 1];
        assert_eq!(ApprovalRules::default().replaced(rules), Err(InvalidRule::TooManyRules));
    }
}
