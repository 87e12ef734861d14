//! The memory: one suite against both backends, the line that embeds, the line that
//! remembers, and the model.
//!
//! The Qdrant half speaks the wire protocol to `support/qdrant_server.rs`, and to the
//! Qdrant at QDRANT_URL too where that is set (in collections of its own).

#[path = "support/qdrant_server.rs"]
mod qdrant_server;
#[path = "memory/fixtures.rs"]
mod fixtures;
#[path = "memory/contract.rs"]
mod contract;
#[path = "memory/qdrant.rs"]
mod qdrant_only;
#[path = "memory/sqlite.rs"]
mod sqlite_only;
#[path = "memory/lines.rs"]
mod lines;
#[path = "memory/crash.rs"]
mod crash;
#[path = "memory/model.rs"]
mod model;

/// Runs each case against both memories.
macro_rules! both {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $case() { super::contract::$case(&super::fixtures::Deployment::sqlite()); })+
        }
        mod qdrant {
            $(#[test] fn $case() {
                super::contract::$case(&super::fixtures::Deployment::served());
                if let Some(real) = super::fixtures::Deployment::real() {
                    super::contract::$case(&real);
                }
            })+
        }
    };
}

both! {
    applying_again_changes_nothing,
    an_older_version_never_returns,
    chunks_follow_their_versions,
    a_chunk_without_its_item_is_no_hit,
    filters_hold_in_both_rankings,
    words_of_any_script_are_found,
    a_question_is_never_syntax,
    rare_words_and_titles_weigh_more,
    fusion_equals_its_recomputation,
    hybrid_beats_either_half,
    pages_are_one_list,
    an_item_is_one_hit_with_its_best_chunk,
    words_answer_while_there_is_no_model,
    what_is_old_expires,
    the_earliest_leave_when_there_are_too_many,
    positions_and_content_survive_reopening,
}
