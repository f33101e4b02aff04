//! What each slice of the API is made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use powerhouse_documents::DocumentReader;
use powerhouse_http::{
    Agents, Api, Approvals, Audit, Collections, Health, Memories, Models, Money, Runs, Schedules, Secrets,
    Selection, Sessions, Tenants, Threads, Tools, Users, Webhooks,
};
use powerhouse_ports::models::ProviderOpener;
use powerhouse_ports::tools::ToolFactory;
use powerhouse_usecases::{
    Keeper, agents, approvals, audit, catalogue, knowledge, memories, models, money, runs, schedules,
    secrets as vault, selection, sessions, tenants, threads, tools, users, webhooks,
};

use super::Ports;
use crate::cli::READ_PDF;
use crate::settings::Settings;

pub(super) fn models_slice(
    ports: &Ports,
    models: &Arc<models::Models>,
    opener: &Arc<dyn ProviderOpener>,
) -> Models {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    Models {
        models: catalogue::ListModels { store: store(), models: Arc::clone(models) },
        list: catalogue::ListProviders { store: store() },
        read: catalogue::ReadProvider { store: store() },
        create: catalogue::CreateProvider {
            store: store(),
            opener: Arc::clone(opener),
            models: Arc::clone(models),
            clock: clock(),
            ids: Arc::clone(&ports.ids),
        },
        change: catalogue::ChangeProvider {
            store: store(),
            opener: Arc::clone(opener),
            models: Arc::clone(models),
            clock: clock(),
        },
        delete: catalogue::DeleteProvider { store: store(), models: Arc::clone(models), clock: clock() },
        masking: catalogue::ReadMaskingRules { store: store() },
        replace_masking: catalogue::ReplaceMaskingRules {
            store: store(),
            models: Arc::clone(models),
            clock: clock(),
        },
    }
}

pub(super) fn api(
    settings: &Settings,
    ports: &Ports,
    tools: &tools::Resolver,
    (model, models): (&str, Models),
) -> Api {
    let clock = || Arc::clone(&ports.clock);
    Api {
        tenants: tenants_slice(settings, ports),
        sessions: sessions_slice(ports),
        users: users_slice(ports),
        agents: agents_slice(ports, tools),
        runs: runs_slice(ports, tools),
        threads: threads_slice(ports),
        memories: memories_slice(ports),
        selection: selection_slice(ports),
        approvals: approvals_slice(ports),
        schedules: schedules_slice(ports),
        webhooks: webhooks_slice(ports),
        secrets: secrets_slice(ports),
        tools: tools_slice(ports, tools),
        collections: collections_slice(ports),
        models,
        money: money_slice(ports),
        audit: Audit {
            list: audit::ListAudit { store: Arc::clone(&ports.store) },
            export: audit::ExportAudit { store: Arc::clone(&ports.store) },
        },
        health: Health {
            platform: Arc::clone(&ports.platform),
            pulse: Arc::clone(&ports.pulse),
            models: model.into(),
            redis: ports.redis.clone(),
        },
        authenticate: sessions::Authenticate {
            verifier: Arc::clone(&ports.verifier),
            callers: ports.callers.clone(),
            clock: clock(),
        },
        limiter: Arc::clone(&ports.limiter),
        anonymous: settings.anonymous,
        keeper: keeper(settings, ports),
        ids: Arc::clone(&ports.ids),
    }
}

/// How answers are kept.
fn keeper(settings: &Settings, ports: &Ports) -> Keeper {
    Keeper {
        sealer: Arc::clone(&ports.answers),
        clock: Arc::clone(&ports.clock),
        kept: settings.answers_kept,
    }
}

fn threads_slice(ports: &Ports) -> Threads {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    Threads {
        list: threads::ListThreads { store: store() },
        read: threads::ReadThread { store: store() },
        create: threads::CreateThread { store: store(), clock: clock(), ids: Arc::clone(&ports.ids) },
        delete: threads::DeleteThread { store: store(), clock: clock() },
    }
}

fn remembrance(ports: &Ports) -> memories::Remembrance {
    memories::Remembrance {
        store: Arc::clone(&ports.store),
        clock: Arc::clone(&ports.clock),
        ids: Arc::clone(&ports.ids),
        embedding: ports.embedding.clone(),
    }
}

/// The tools by which runs reach what their agents remember.
pub(super) fn memory_tools(settings: &Settings, ports: &Ports) -> [Arc<dyn ToolFactory>; 2] {
    let remembrance = remembrance(ports);
    let search = memories::MemorySearch { remembrance: remembrance.clone() };
    let apply = memories::MemoryApply { remembrance, keeper: keeper(settings, ports) };
    [Arc::new(search), Arc::new(apply)]
}

fn memories_slice(ports: &Ports) -> Memories {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    let remembrance = remembrance(ports);
    Memories {
        list: memories::ListMemories { store: store() },
        read: memories::ReadMemory { store: store() },
        search: memories::SearchMemories { store: store(), remembrance: remembrance.clone() },
        add: memories::AddMemory { remembrance },
        forget: memories::ForgetMemory { store: store(), clock: clock() },
        erase: memories::EraseMemories { store: store(), clock: clock() },
    }
}

fn tenants_slice(settings: &Settings, ports: &Ports) -> Tenants {
    let sign_up = tenants::SignUp {
        platform: Arc::clone(&ports.platform),
        store: Arc::clone(&ports.store),
        hasher: Arc::clone(&ports.hasher),
        plan: settings.sign_up_plan,
        clock: Arc::clone(&ports.clock),
        ids: Arc::clone(&ports.ids),
    };
    Tenants { sign_up, read: tenants::ReadTenant { store: Arc::clone(&ports.store) } }
}

fn sessions_slice(ports: &Ports) -> Sessions {
    Sessions {
        sign_in: sessions::SignIn {
            platform: Arc::clone(&ports.platform),
            hasher: Arc::clone(&ports.hasher),
            issuer: Arc::clone(&ports.issuer),
            refresh: Arc::clone(&ports.refresh),
            clock: Arc::clone(&ports.clock),
            ids: Arc::clone(&ports.ids),
        },
        refresh: sessions::Refresh {
            platform: Arc::clone(&ports.platform),
            callers: ports.callers.clone(),
            issuer: Arc::clone(&ports.issuer),
            refresh: Arc::clone(&ports.refresh),
            clock: Arc::clone(&ports.clock),
        },
        sign_out: sessions::SignOut {
            platform: Arc::clone(&ports.platform),
            callers: ports.callers.clone(),
            clock: Arc::clone(&ports.clock),
        },
    }
}

fn users_slice(ports: &Ports) -> Users {
    let store = || Arc::clone(&ports.store);
    Users {
        list: users::ListUsers { store: store() },
        read: users::ReadUser { store: store() },
        add: users::AddUser {
            store: store(),
            hasher: Arc::clone(&ports.hasher),
            clock: Arc::clone(&ports.clock),
            ids: Arc::clone(&ports.ids),
        },
        change: users::ChangeUser {
            store: store(),
            callers: ports.callers.clone(),
            clock: Arc::clone(&ports.clock),
        },
        remove: users::RemoveUser {
            store: store(),
            callers: ports.callers.clone(),
            clock: Arc::clone(&ports.clock),
        },
        tenant: tenants::ReadTenant { store: store() },
    }
}

fn agents_slice(ports: &Ports, tools: &tools::Resolver) -> Agents {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    let tools = tools.names();
    Agents {
        create: agents::CreateAgent {
            store: store(),
            tools: Arc::clone(&tools),
            clock: clock(),
            ids: Arc::clone(&ports.ids),
        },
        edit: agents::EditAgent { store: store(), tools, clock: clock() },
        publish: agents::PublishAgent { store: store(), clock: clock() },
        archive: agents::ArchiveAgent { store: store(), clock: clock() },
        list: agents::ListAgents { store: store() },
        read: agents::ReadAgent { store: store() },
    }
}

fn going(ports: &Ports) -> runs::Going {
    runs::Going { bus: Arc::clone(&ports.bus), wake: Arc::clone(&ports.wake) }
}

fn approvals_slice(ports: &Ports) -> Approvals {
    let store = || Arc::clone(&ports.store);
    Approvals {
        list: approvals::ListApprovals { store: store() },
        read: approvals::ReadApproval { store: store() },
        answer: approvals::AnswerApproval {
            store: store(),
            going: going(ports),
            clock: Arc::clone(&ports.clock),
        },
        rules: approvals::ReadApprovalRules { store: store() },
        replace_rules: approvals::ReplaceApprovalRules { store: store(), clock: Arc::clone(&ports.clock) },
    }
}

fn runs_slice(ports: &Ports, tools: &tools::Resolver) -> Runs {
    let store = || Arc::clone(&ports.store);
    let bus = || Arc::clone(&ports.bus);
    let clock = || Arc::clone(&ports.clock);
    Runs {
        submit: submit_run(ports, tools),
        list: runs::ListRuns { store: store() },
        read: runs::ReadRun { store: store() },
        steps: runs::ReadSteps { store: store() },
        tree: runs::ReadRunTree { store: store() },
        explain: runs::ExplainRun { store: store() },
        record: runs::RecordRun { store: store(), tools: tools.clone() },
        watch: runs::WatchRun { store: store(), bus: bus() },
        cancel: runs::CancelRun { store: store(), going: going(ports), clock: clock() },
        pause: runs::PauseRun { store: store(), bus: bus(), clock: clock() },
        resume: runs::ResumeRun { store: store(), going: going(ports), clock: clock() },
        fork: runs::ForkRun {
            store: store(),
            going: going(ports),
            clock: clock(),
            ids: Arc::clone(&ports.ids),
        },
        feedback: runs::GiveFeedback {
            store: store(),
            selectors: Arc::clone(&ports.selectors),
            clock: clock(),
        },
    }
}

fn selection_slice(ports: &Ports) -> Selection {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    Selection {
        read: selection::ReadSelection { store: store() },
        change: selection::ChangeSelection { store: store(), clock: clock() },
        reset: selection::ResetSelection {
            store: store(),
            selectors: Arc::clone(&ports.selectors),
            clock: clock(),
        },
    }
}

pub(super) fn submit_run(ports: &Ports, tools: &tools::Resolver) -> runs::SubmitRun {
    runs::SubmitRun {
        store: Arc::clone(&ports.store),
        selectors: Arc::clone(&ports.selectors),
        tools: tools.names(),
        bus: Arc::clone(&ports.bus),
        wake: Arc::clone(&ports.wake),
        clock: Arc::clone(&ports.clock),
        ids: Arc::clone(&ports.ids),
    }
}

fn schedules_slice(ports: &Ports) -> Schedules {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    let read = schedules::ReadSchedule { store: store() };
    Schedules {
        list: schedules::ListSchedules { store: store() },
        preview: schedules::PreviewFirings { read: read.clone(), clock: clock() },
        read,
        create: schedules::CreateSchedule { store: store(), clock: clock(), ids: Arc::clone(&ports.ids) },
        change: schedules::ChangeSchedule { store: store(), clock: clock() },
        pause: schedules::PauseSchedule { store: store(), clock: clock() },
        resume: schedules::ResumeSchedule { store: store(), clock: clock() },
        delete: schedules::DeleteSchedule { store: store(), clock: clock() },
    }
}

fn webhooks_slice(ports: &Ports) -> Webhooks {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    let sender = || Arc::clone(&ports.sender);
    Webhooks {
        list: webhooks::ListWebhooks { store: store() },
        read: webhooks::ReadWebhook { store: store() },
        create: webhooks::CreateWebhook {
            store: store(),
            sender: sender(),
            secrets: webhooks::Secrets { vault: ports.vault.clone() },
            clock: clock(),
            ids: Arc::clone(&ports.ids),
        },
        change: webhooks::ChangeWebhook { store: store(), sender: sender(), clock: clock() },
        rotate: webhooks::RotateSecret {
            store: store(),
            secrets: webhooks::Secrets { vault: ports.vault.clone() },
            clock: clock(),
        },
        delete: webhooks::DeleteWebhook { store: store(), clock: clock() },
        deliveries: webhooks::ListDeliveries { store: store() },
        replay: webhooks::ReplayDelivery {
            store: store(),
            clock: clock(),
            wake: Arc::clone(&ports.wake_deliverer),
        },
        test: webhooks::TestWebhook {
            store: store(),
            clock: clock(),
            ids: Arc::clone(&ports.ids),
            wake: Arc::clone(&ports.wake_deliverer),
        },
    }
}

fn secrets_slice(ports: &Ports) -> Secrets {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    let vault = || ports.vault.clone();
    Secrets {
        list: vault::ListSecrets { store: store() },
        read: vault::ReadSecret { store: store() },
        create: vault::CreateSecret { store: store(), vault: vault(), clock: clock() },
        change: vault::ChangeSecret { store: store(), vault: vault(), clock: clock() },
        delete: vault::DeleteSecret { store: store(), clock: clock() },
    }
}

fn tools_slice(ports: &Ports, tools: &tools::Resolver) -> Tools {
    let store = || Arc::clone(&ports.store);
    let maker = || Arc::clone(&ports.maker);
    let clock = || Arc::clone(&ports.clock);
    let built_in = tools.names();
    Tools {
        list: tools::ListTools { store: store() },
        read: tools::ReadTool { store: store() },
        create: tools::CreateTool {
            store: store(),
            maker: maker(),
            built_in: Arc::clone(&built_in),
            clock: clock(),
        },
        import: tools::ImportTools { store: store(), maker: maker(), built_in, clock: clock() },
        change: tools::ChangeTool { store: store(), maker: maker(), clock: clock() },
        refresh: tools::RefreshServer { store: store(), maker: maker(), clock: clock() },
        delete: tools::DeleteTool { store: store(), clock: clock() },
        egress: tools::ReadEgressRules { store: store() },
        replace_egress: tools::ReplaceEgressRules { store: store(), clock: clock() },
    }
}

fn collections_slice(ports: &Ports) -> Collections {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    Collections {
        list: knowledge::ListCollections { store: store() },
        read: knowledge::ReadCollection { store: store() },
        create: knowledge::CreateCollection { store: store(), clock: clock() },
        delete: knowledge::DeleteCollection { store: store(), clock: clock() },
        documents: knowledge::ListDocuments { store: store() },
        document: knowledge::ReadDocument { store: store() },
        add_document: knowledge::AddDocument {
            store: store(),
            extractor: Arc::new(DocumentReader::new(own_program(), [READ_PDF])),
            embedding: ports.embedding.clone(),
            clock: clock(),
            ids: Arc::clone(&ports.ids),
        },
        delete_document: knowledge::DeleteDocument { store: store(), clock: clock() },
        search: knowledge::SearchKnowledge { searcher: ports.searcher.clone() },
    }
}

/// The file of this program. On Linux what runs, also after another was put in its place.
fn own_program() -> PathBuf {
    let running = Path::new("/proc/self/exe");
    if running.exists() { running.to_owned() } else { std::env::current_exe().unwrap_or_default() }
}

fn money_slice(ports: &Ports) -> Money {
    let store = || Arc::clone(&ports.store);
    let clock = || Arc::clone(&ports.clock);
    Money {
        list: money::ListBudgets { store: store(), clock: clock() },
        read: money::ReadBudget { store: store(), clock: clock() },
        create: money::CreateBudget { store: store(), clock: clock(), ids: Arc::clone(&ports.ids) },
        change: money::ChangeBudget { store: store(), clock: clock() },
        remove: money::RemoveBudget { store: store(), clock: clock() },
        prices: money::ReadPrices { store: store() },
        replace_prices: money::ReplacePrices { store: store(), clock: clock() },
        usage: money::ReadUsage { store: store(), clock: clock() },
    }
}
