//! A transaction over mocked repositories, for use cases that must see a store fail.

use async_trait::async_trait;
use powerhouse_domain::tenants::Tenant;

use super::{
    AgentRepository, ApprovalRepository, ApprovalRuleRepository, AuditRepository, BudgetRepository,
    IdempotencyRepository, KnowledgeRepository, MemoryRepository, MockAgentRepository,
    MockApprovalRepository, MockApprovalRuleRepository, MockAuditRepository, MockBudgetRepository,
    MockIdempotencyRepository, MockKnowledgeRepository, MockMemoryRepository, MockModelProviderRepository,
    MockPriceRepository, MockRunRepository, MockScheduleRepository, MockSecretRepository,
    MockSelectionRepository, MockThreadRepository, MockToolRepository, MockUsageRepository,
    MockUserRepository, MockWebhookRepository, ModelProviderRepository, PriceRepository, RunRepository,
    ScheduleRepository, SecretRepository, SelectionRepository, StoreError, TenantTx, TenantView,
    ThreadRepository, ToolRepository, UsageRepository, UserRepository, WebhookRepository,
};

/// A transaction whose repositories are mocks; `commit` answers as told. It serves for reading too.
#[derive(Debug, Default)]
pub struct MockTenantTx {
    /// What `tenant()` gives.
    pub tenant: Option<Tenant>,
    /// What `users()` gives.
    pub users: MockUserRepository,
    /// What `agents()` gives.
    pub agents: MockAgentRepository,
    /// What `runs()` gives.
    pub runs: MockRunRepository,
    /// What `approvals()` gives.
    pub approvals: MockApprovalRepository,
    /// What `approval_rules()` gives.
    pub approval_rules: MockApprovalRuleRepository,
    /// What `schedules()` gives.
    pub schedules: MockScheduleRepository,
    /// What `webhooks()` gives.
    pub webhooks: MockWebhookRepository,
    /// What `model_providers()` gives.
    pub model_providers: MockModelProviderRepository,
    /// What `secrets()` gives.
    pub secrets: MockSecretRepository,
    /// What `tools()` gives.
    pub tools: MockToolRepository,
    /// What `knowledge()` gives.
    pub knowledge: MockKnowledgeRepository,
    /// What `prices()` gives.
    pub prices: MockPriceRepository,
    /// What `budgets()` gives.
    pub budgets: MockBudgetRepository,
    /// What `usage()` gives.
    pub usage: MockUsageRepository,
    /// What `idempotency()` gives.
    pub idempotency: MockIdempotencyRepository,
    /// What `selection()` gives.
    pub selection: MockSelectionRepository,
    /// What `memories()` gives.
    pub memories: MockMemoryRepository,
    /// What `threads()` gives.
    pub threads: MockThreadRepository,
    /// What `audit()` gives.
    pub audit: MockAuditRepository,
    /// How committing fails, if it does.
    pub commit_error: Option<StoreError>,
}

#[async_trait]
impl TenantView for MockTenantTx {
    async fn tenant(&mut self) -> Result<Option<Tenant>, StoreError> {
        Ok(self.tenant.clone())
    }

    fn users(&mut self) -> &mut dyn UserRepository {
        &mut self.users
    }

    fn agents(&mut self) -> &mut dyn AgentRepository {
        &mut self.agents
    }

    fn runs(&mut self) -> &mut dyn RunRepository {
        &mut self.runs
    }

    fn approvals(&mut self) -> &mut dyn ApprovalRepository {
        &mut self.approvals
    }

    fn approval_rules(&mut self) -> &mut dyn ApprovalRuleRepository {
        &mut self.approval_rules
    }

    fn schedules(&mut self) -> &mut dyn ScheduleRepository {
        &mut self.schedules
    }

    fn webhooks(&mut self) -> &mut dyn WebhookRepository {
        &mut self.webhooks
    }

    fn model_providers(&mut self) -> &mut dyn ModelProviderRepository {
        &mut self.model_providers
    }

    fn secrets(&mut self) -> &mut dyn SecretRepository {
        &mut self.secrets
    }

    fn tools(&mut self) -> &mut dyn ToolRepository {
        &mut self.tools
    }

    fn knowledge(&mut self) -> &mut dyn KnowledgeRepository {
        &mut self.knowledge
    }

    fn prices(&mut self) -> &mut dyn PriceRepository {
        &mut self.prices
    }

    fn budgets(&mut self) -> &mut dyn BudgetRepository {
        &mut self.budgets
    }

    fn usage(&mut self) -> &mut dyn UsageRepository {
        &mut self.usage
    }

    fn selection(&mut self) -> &mut dyn SelectionRepository {
        &mut self.selection
    }

    fn memories(&mut self) -> &mut dyn MemoryRepository {
        &mut self.memories
    }

    fn threads(&mut self) -> &mut dyn ThreadRepository {
        &mut self.threads
    }

    fn audit(&mut self) -> &mut dyn AuditRepository {
        &mut self.audit
    }
}

#[async_trait]
impl TenantTx for MockTenantTx {
    fn idempotency(&mut self) -> &mut dyn IdempotencyRepository {
        &mut self.idempotency
    }

    async fn update_tenant(&mut self, tenant: &Tenant) -> Result<(), StoreError> {
        self.tenant = Some(tenant.clone());
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.commit_error.map_or(Ok(()), Err)
    }
}
