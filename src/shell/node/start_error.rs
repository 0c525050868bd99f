//! Why a node does not start.
//!
//! In: what the system, the disk or a setting's file refused. Out: the line that is printed. Never:
//! holds a secret.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::shell::disk::Fault;
use crate::shell::runtime::secrets::SettingFileError;

/// Why a node does not start. Nothing of the log has changed.
#[derive(Debug)]
pub(super) enum StartError {
    /// The file of a setting gives no value.
    Setting(SettingFileError),
    /// The address of this flag cannot be listened at.
    Bind(&'static str, SocketAddr, io::Error),
    /// The data directory cannot be used.
    Disk(Fault),
    /// The system refuses something else that a process needs.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Setting(error) => error.fmt(out),
            StartError::Bind(flag, address, error) => write!(out, "--{flag} {address}: {error}"),
            StartError::Disk(fault) => fault.fmt(out),
            StartError::System(error) => error.fmt(out),
        }
    }
}

impl StartError {
    /// A setting that has to be changed ends as one of the command line does, for which a
    /// supervisor makes no other try.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            StartError::Setting(_) => 2,
            StartError::Bind(..) | StartError::Disk(_) | StartError::System(_) => 1,
        }
    }
}

impl From<SettingFileError> for StartError {
    fn from(error: SettingFileError) -> StartError {
        StartError::Setting(error)
    }
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> StartError {
        StartError::Disk(fault)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::System(error)
    }
}
