//! How a command ends: the exit codes, and what each means to a supervisor.

/// The exit code of every command. Numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// The command worked and its answer is no: rejected lines, a failed check.
    Negative = 1,
    /// Wrong usage or configuration; trying again changes nothing.
    Usage = 2,
    /// The log cannot be reached or opened.
    LogUnavailable = 3,
    /// Another process took over; this one changed nothing more.
    Fenced = 4,
    /// Another process holds the data folder.
    FolderHeld = 5,
    /// A live set runs on this log already; `--takeover` replaces it.
    AlreadyLive = 6,
    /// The HTTP address cannot be bound.
    AddressInUse = 7,
    /// The process met a failure that only a restart from the last commit repairs.
    Failed = 8,
    /// It did not stop in its grace period and was killed.
    Killed = 9,
}

/// When to start a process again that ended with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Never,
    /// After the usual back-off.
    Soon,
    /// After the long delay for a process that was taken over.
    Later,
}

impl Exit {
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Negative,
        Self::Usage,
        Self::LogUnavailable,
        Self::Fenced,
        Self::FolderHeld,
        Self::AlreadyLive,
        Self::AddressInUse,
        Self::Failed,
        Self::Killed,
    ];

    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| i32::from(exit.code()) == code)
    }

    pub fn restart(self) -> Restart {
        match self {
            Self::Ok | Self::Negative | Self::Usage => Restart::Never,
            Self::FolderHeld | Self::AlreadyLive | Self::AddressInUse => Restart::Never,
            Self::Fenced => Restart::Later,
            Self::LogUnavailable | Self::Failed | Self::Killed => Restart::Soon,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command that could not do its work: what to print, and the code to end with.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The failure of an internal step: a restart may repair it.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }
}
