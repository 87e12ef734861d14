//! What every log promises: one suite, run against the embedded log and against a
//! real Apache Kafka. The Kafka half needs KAFKA_BOOTSTRAP_SERVERS (`scripts/kafka.sh
//! up` starts one and prints it) and fails without it.

#[path = "support/broker.rs"]
mod broker;
#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "conformance/command.rs"]
mod command;
#[path = "conformance/contract.rs"]
mod contract;
#[path = "conformance/crash.rs"]
mod crash;
#[path = "conformance/embedded.rs"]
mod embedded_only;
#[path = "conformance/harness.rs"]
mod harness;
#[path = "conformance/kafka.rs"]
mod kafka_only;
#[path = "conformance/load.rs"]
mod load;
#[path = "conformance/retention.rs"]
mod retention;

/// Runs each case against both logs.
macro_rules! both {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        mod embedded {
            $(#[test] fn $case() { super::$module::$case(&super::harness::Deployment::embedded()); })+
        }
        mod kafka {
            $(#[test] fn $case() { super::$module::$case(&super::harness::Deployment::kafka()); })+
        }
    };
}

both! {
    contract::records_read_back_as_they_were_appended,
    contract::records_and_positions_are_committed_together,
    contract::a_refused_transaction_changes_nothing,
    contract::a_new_committer_fences_the_old_one,
    contract::a_group_that_never_committed_has_no_positions,
    contract::a_reader_waits_for_records_and_reaches_the_end,
    contract::reading_resumes_at_any_position,
    contract::a_position_beyond_the_end_is_refused,
    contract::a_key_goes_to_the_partition_that_java_gives_it,
    contract::a_named_partition_wins_over_the_key,
    contract::another_partition_count_is_refused,
    contract::creating_twice_changes_nothing,
    contract::a_time_finds_the_first_record_not_older,
    contract::topics_are_listed_with_their_ranges,
    load::records_of_a_megabyte_pass_and_larger_ones_are_refused,
    load::a_hundred_thousand_records_arrive_once_and_in_order,
    load::concurrent_appenders_keep_the_order_of_each_key,
    load::a_reader_takes_about_as_much_as_it_asks_for,
    retention::compaction_keeps_the_last_record_of_each_key,
    retention::a_reader_behind_retention_starts_at_the_first_record_kept,
    cluster::a_second_set_is_refused_while_the_first_lives,
    cluster::a_takeover_fences_everything_of_the_set_before,
    cluster::a_set_that_left_makes_room_at_once,
    command::a_tail_prints_what_is_there_and_ends,
    command::a_following_tail_prints_what_arrives_until_it_is_stopped,
    command::http_gives_the_same_lines,
    crash::a_killed_process_leaves_whole_transactions_only,
}
