//! The contract of `TenantStore` and `PlatformStore`.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::TenantStore;

pub mod approvals;
pub mod audit;
pub mod catalogue;
pub mod families;
pub mod idempotency;
pub mod isolation;
pub mod knowledge;
pub mod memories;
pub mod model;
pub mod money;
pub mod plain;
pub mod queue;
pub mod reading;
pub mod retention;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod selection;
pub mod sessions;
pub mod threads;
pub mod tools;
pub mod transactions;
pub mod twins;
pub mod webhooks;

/// The adapter under test. Each call gives stores on data of their own.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Fresh stores.
    async fn stores(&self) -> Stores;
}

/// Both sides of one database.
#[derive(Clone)]
pub struct Stores {
    /// The tenants' side.
    pub tenants: Arc<dyn TenantStore>,
    /// The platform's side.
    pub platform: Arc<dyn PlatformStore>,
    /// How many tenants' transactions may be open at the same time: one, where there is one writer.
    pub open_at_once: usize,
}

/// Declares the suite for a harness, an expression that may be evaluated often: one test a promise.
#[macro_export]
macro_rules! store_contract {
    ($harness:expr) => {
        $crate::store_contract!(@ $harness;
            transactions: dropping_rolls_back, committing_shows, a_lost_update_is_refused, of_many_writers_one_wins, an_address_is_taken_once_in_a_tenant,
                a_conflict_does_not_poison_the_store, values_survive, pages_are_stable_under_inserts, pages_of_users_and_runs_are_stable_too,
                published_versions_never_change;
            reading: reading_writes_nothing, reading_sees_one_state, reading_waits_for_no_writer, reading_shows_no_other_tenants_rows;
            isolation: no_method_shows_or_changes_another_tenants_rows;
            model: every_tenant_has_exactly_what_it_did;
            twins: twins_never_meet;
            runs: events_have_no_gaps_whoever_writes, a_stale_lease_cannot_write, runs_are_advanced_together, work_that_was_decided_by_other_rules_is_refused,
                a_cancelled_run_takes_no_more,
                feedback_replaces, only_an_owners_runs_are_listed_when_asked;
            approvals: a_question_is_answered_once, open_questions_are_listed,
                what_is_said_is_appended_to_a_run_that_stays_as_it_is, rules_are_replaced_as_a_whole,
                rules_are_their_tenants_own;
            idempotency: a_key_has_its_answer_for_its_user_only, a_key_goes_with_its_transaction,
                of_many_with_one_key_one_does_it, keys_expire;
            money: budgets_are_kept_and_apply_to_whom_they_are_for, what_is_reserved_is_within_the_caps,
                many_who_reserve_at_once_do_not_pass_a_cap, prices_are_replaced_as_a_whole, usage_adds_up;
            catalogue: providers_survive, providers_are_their_tenants_own, what_is_masked_survives;
            plain: plain_work_is_stored_as_by_its_tenants, claimed_runs_are_read_as_their_tenants_see_them;
            audit: records_are_chained_in_the_order_of_their_commits, a_record_lasts_with_its_change_or_not_at_all, records_survive,
                records_are_listed_by_what_is_asked_for, trails_are_their_tenants_own, what_becomes_of_sessions_is_written_down;
            retention: old_runs_are_purged_with_all_that_is_theirs_and_no_others,
                usage_of_old_months_is_purged_and_no_other,
                audit_records_of_old_months_are_purged_and_the_rest_is_whole;
            queue: no_run_is_granted_twice, concurrent_claims_keep_a_plans_limit, an_expired_lease_is_granted_anew_with_a_higher_token,
                tenants_take_turns, a_backlog_leaves_the_room_for_newcomers, a_backlog_holds_nobody_up, tenants_at_their_limit_hold_nobody_up,
                the_oldest_run_is_first, a_waiting_run_is_not_granted, a_plans_concurrency_is_kept, a_released_run_is_free_at_once,
                a_suspended_tenants_runs_wait, a_run_that_waits_for_a_time_is_granted_then, a_delayed_run_is_granted_in_time,
                priorities_count_inside_a_tenant_only, agents_take_turns_within_their_limits, plans_have_their_weight,
                claims_without_progress_are_counted;
            families: a_run_goes_on_when_one_ends_that_it_has_begun,
                a_run_that_a_worker_has_is_not_granted_again_when_one_ends, trees_are_their_tenants_own;
            schedules: schedules_survive, a_due_schedule_is_claimed_once, schedules_of_a_suspended_tenant_wait,
                schedules_are_their_tenants_own;
            secrets: secrets_survive, secrets_are_their_tenants_own, data_keys_are_wrapped_anew;
            memories: memories_survive, memories_are_found_by_whose_they_are, memories_are_their_tenants_own;
            threads: threads_survive, turns_are_the_runs_that_have_succeeded, a_summary_is_replaced_by_one_of_more,
                threads_are_their_tenants_own;
            tools: tools_survive, tools_are_their_tenants_own;
            knowledge: documents_survive, documents_are_their_tenants_own, what_is_in_a_collection_is_counted, the_nearest_are_found;
            webhooks: a_change_and_its_announcement_do_not_part, a_due_delivery_is_claimed_once,
                deliveries_end_and_are_replayed, deliveries_of_tenants_take_turns, webhooks_survive,
                webhooks_are_their_tenants_own;
            selection: what_is_known_is_kept, knowledge_is_its_tenants_own,
                outcomes_are_those_of_runs_that_ended_by_themselves, praised_tasks_are_told_by_when_they_were_praised;
            sessions: refresh_tokens_rotate_and_reuse_ends_the_session, the_token_before_serves_after_a_lost_answer,
                an_ended_sessions_tokens_are_unknown, sessions_end_one_by_one, an_ended_session_is_nobody, a_removed_or_disabled_user_is_nobody, a_role_is_that_of_now, expired_sessions_are_purged_and_no_others,
                credentials_are_those_of_the_named_tenant;
        );
    };
    (@ $harness:expr; $($module:ident: $($test:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let harness = $harness;
                let stores = $crate::contract::stores::Harness::stores(&harness).await;
                $crate::contract::stores::$module::$test(&stores).await;
            })+
        })+
    };
}
