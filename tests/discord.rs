//! Digests, alerts, the outbox and delivery, against a local Discord that enforces the
//! documented limits and loses replies.

#[path = "discord/alert_commands.rs"]
mod alert_commands;
#[path = "discord/alert_crash.rs"]
mod alert_crash;
#[path = "discord/alert_desk.rs"]
mod alert_desk;
#[path = "discord/alert_kinds.rs"]
mod alert_kinds;
#[path = "discord/alert_life.rs"]
mod alert_life;
#[path = "discord/alert_oracle.rs"]
mod alert_oracle;
#[path = "discord/alert_shown.rs"]
mod alert_shown;
#[path = "discord/commands.rs"]
mod commands;
#[path = "discord/crash.rs"]
mod crash;
#[path = "discord/delivery.rs"]
mod delivery;
#[path = "discord/digests.rs"]
mod digests;
#[path = "discord/messages.rs"]
mod messages;
#[path = "discord/pace.rs"]
mod pace;
#[path = "discord/rig.rs"]
mod rig;
#[path = "discord/secrecy.rs"]
mod secrecy;
#[path = "discord/stories.rs"]
mod stories;
#[path = "support/discord_server.rs"]
mod server;
