//! Digests, the outbox and delivery, against a local Discord that enforces the
//! documented limits and loses replies.

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
