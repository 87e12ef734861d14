//! Supervision: `tidings run` starts itself as a child and starts it again when it
//! dies.
//!
//! Invariants:
//! - A child never outlives its supervisor: its standard input is a pipe that ends
//!   with the supervisor, however that ends, and the child then stops by itself.
//! - SIGTERM and SIGINT are passed on; after the grace period, or at the second
//!   signal, the child is killed.
//! - An exit that a restart cannot mend (configuration, a folder held by another
//!   process) ends the supervisor with the same code.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::ops::exit::{Exit, Failure, Restart};
use crate::ops::shutdown::Shutdown;

/// Table `[supervise]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub restart_delay_min_ms: u64,
    pub restart_delay_max_ms: u64,
    pub fenced_delay_ms: u64,
    pub healthy_after_s: u64,
    pub grace_s: u64,
}

/// Runs the child that `command` describes (given the number of restarts so far)
/// until it ends for good or we are told to stop. Returns its exit code.
pub fn supervise(settings: &Settings, command: impl Fn(u32) -> io::Result<Command>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the supervisor: {error}")))?;
    runtime
        .block_on(keep_running(settings, command))
        .map_err(|error| Failure::failed(format!("cannot run the supervised process: {error}")))
}

async fn keep_running(settings: &Settings, command: impl Fn(u32) -> io::Result<Command>) -> io::Result<u8> {
    let mut signals = Signals::new()?;
    let mut back_off = BackOff::new(settings);
    for restarts in 0.. {
        let started = Instant::now();
        let mut child = command(restarts)?.stdin(Stdio::piped()).spawn()?;
        tracing::info!(pid = child.id(), restarts, "started the supervised process");
        let status = tokio::select! {
            status = ended(&mut signals.child, &mut child) => Some(status?),
            () = signals.stop.told() => None,
        };
        let Some(status) = status else { return stop(settings, &mut signals, child).await };
        let exit = status.code().map(Exit::of_code);
        let restart = exit.flatten().map_or(Restart::Soon, Exit::restart);
        let Some(delay) = back_off.after(restart, started.elapsed()) else {
            return Ok(code(status));
        };
        let delay_ms = delay.as_millis() as u64;
        tracing::warn!(%status, delay_ms, restarts, "the supervised process ended, starting it again");
        tokio::select! {
            () = sleep(delay) => {}
            () = signals.stop.told() => return Ok(Exit::Ok.code()),
        }
    }
    unreachable!("the loop over all restarts has no end")
}

/// Passes the signal on and waits; kills the child if it takes too long.
async fn stop(settings: &Settings, signals: &mut Signals, mut child: Child) -> io::Result<u8> {
    // It may have ended meanwhile: then there is nobody to tell.
    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    let grace = Duration::from_secs(settings.grace_s);
    let status = tokio::select! {
        status = timeout(grace, ended(&mut signals.child, &mut child)) => status.ok().transpose()?,
        () = signals.stop.told() => None,
    };
    if let Some(status) = status {
        return Ok(code(status));
    }
    tracing::error!(grace_s = settings.grace_s, "the supervised process did not stop, killing it");
    child.kill()?;
    child.wait()?;
    Ok(Exit::Killed.code())
}

/// The exit code to pass on. A death by signal has none, and a death by the signal
/// that asked it to stop is what was asked.
fn code(status: ExitStatus) -> u8 {
    if status.signal() == Some(Signal::TERM.as_raw()) {
        return Exit::Ok.code();
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failed.code())
}

/// Returns how the child ended.
async fn ended(signals: &mut Stream, child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        // First the look, then the wait: a signal that came before both is not missed.
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        signals.recv().await;
    }
}

/// The signals of the supervisor, which wakes up for nothing else.
struct Signals {
    child: Stream,
    stop: StopSignals,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { child: signal(SignalKind::child())?, stop: StopSignals::new()? })
    }
}

/// SIGTERM and SIGINT.
pub struct StopSignals {
    terminate: Stream,
    interrupt: Stream,
}

impl StopSignals {
    /// From now on the signals do not end the process. Needs a runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns at the next of them.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// In a supervised child: triggers `shutdown` once the supervisor is gone, and
/// ends the process if it has not ended by itself within `grace`.
pub fn follow_supervisor(shutdown: Shutdown, grace: Duration) -> io::Result<()> {
    std::thread::Builder::new().name("supervisor".to_string()).spawn(move || {
        // The supervisor writes nothing: reading returns when the pipe ends.
        let mut pipe = io::stdin().lock();
        let mut byte = [0];
        while matches!(pipe.read(&mut byte), Ok(1..)) {}
        if !shutdown.is_triggered() {
            tracing::error!("the supervisor is gone, stopping");
        }
        shutdown.trigger();
        std::thread::sleep(grace);
        std::process::exit(i32::from(Exit::Killed.code()));
    })?;
    Ok(())
}

/// Delays between restarts.
struct BackOff<'s> {
    settings: &'s Settings,
    delay_ms: u64,
}

impl<'s> BackOff<'s> {
    fn new(settings: &'s Settings) -> Self {
        Self { settings, delay_ms: settings.restart_delay_min_ms }
    }

    /// How long to wait after a process that ran for `ran`; `None`: not again.
    fn after(&mut self, restart: Restart, ran: Duration) -> Option<Duration> {
        let settings = self.settings;
        if ran >= Duration::from_secs(settings.healthy_after_s) {
            self.delay_ms = settings.restart_delay_min_ms;
        }
        let delay_ms = match restart {
            Restart::Never => return None,
            Restart::Soon => self.delay_ms,
            Restart::Later => self.delay_ms.max(settings.fenced_delay_ms),
        };
        self.delay_ms = self.delay_ms.saturating_mul(2).min(settings.restart_delay_max_ms);
        Some(Duration::from_millis(delay_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        restart_delay_min_ms: 500,
        restart_delay_max_ms: 3_000,
        fenced_delay_ms: 30_000,
        healthy_after_s: 120,
        grace_s: 1,
    };

    #[test]
    fn delays_grow_to_their_limit_and_begin_anew_after_health() {
        let mut back_off = BackOff::new(&SETTINGS);
        let mut delay = |ran_s| back_off.after(Restart::Soon, Duration::from_secs(ran_s));
        let delays: Vec<u128> =
            [1, 1, 1, 1, 1, 500, 1].map(|s| delay(s).expect("restarts").as_millis()).into();
        assert_eq!(delays, [500, 1_000, 2_000, 3_000, 3_000, 500, 1_000]);
    }

    #[test]
    fn a_fenced_process_waits_long_and_a_misconfigured_one_stays_down() {
        let mut back_off = BackOff::new(&SETTINGS);
        let now = Duration::ZERO;
        assert_eq!(back_off.after(Exit::Fenced.restart(), now), Some(Duration::from_secs(30)));
        for exit in [Exit::Usage, Exit::FolderHeld, Exit::AlreadyLive, Exit::AddressInUse, Exit::Ok] {
            assert_eq!(back_off.after(exit.restart(), now), None, "{exit:?}");
        }
        assert!(back_off.after(Exit::LogUnavailable.restart(), now).is_some());
    }
}
