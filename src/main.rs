//! The `stemedb-edge` program: arguments in, exit code out.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use stemedb_edge::base::digest::hex;
use stemedb_edge::commands::adopt;
use stemedb_edge::commands::backup;
use stemedb_edge::commands::check;
use stemedb_edge::commands::check::Verdict;
use stemedb_edge::commands::demo;
use stemedb_edge::commands::export;
use stemedb_edge::commands::import;
use stemedb_edge::commands::keygen;
use stemedb_edge::commands::output;
use stemedb_edge::commands::request;
use stemedb_edge::commands::status;
use stemedb_edge::config::{self, Command};
use stemedb_edge::shell::node;
use stemedb_edge::shell::runtime::process;

fn main() -> ExitCode {
    process::prepare();
    match config::parse(env::args_os().skip(1), env::vars_os()) {
        Ok(Command::Serve(settings)) => node::run(&settings),
        Ok(Command::Import(options)) => import::run(&options),
        Ok(Command::Keygen { file }) => make_key(&file),
        Ok(Command::Check { dir }) => report(&check::check(&dir)),
        Ok(Command::Backup { dir, target }) => match backup::back_up(&dir, &target) {
            Ok(verdict) => report(&verdict),
            Err(fault) => output::fail(&fault.to_string(), 1),
        },
        Ok(Command::AdoptCluster { dir, cluster }) => match adopt::adopt(&dir, cluster) {
            Ok(text) => output::print(&text, 0),
            Err(fault) => output::fail(&fault.to_string(), 1),
        },
        Ok(Command::Export(options)) => export::run(&options),
        Ok(Command::Put(options)) => request::put(&options),
        Ok(Command::Get(options)) => request::get(&options),
        Ok(Command::Query(options)) => request::query(&options),
        Ok(Command::Status(options)) => status::run(&options),
        Ok(Command::Demo) => demo::run(),
        Ok(Command::Print(text)) => output::print(&text, 0),
        Err(usage) => output::fail(&usage.to_string(), 2),
    }
}

fn report(verdict: &Verdict) -> ExitCode {
    output::print(&verdict.text, verdict.code)
}

fn make_key(file: &Path) -> ExitCode {
    match keygen::make(file) {
        Ok(agent_id) => output::print(&format!("{}\n", hex(&agent_id)), 0),
        Err(why) => output::fail(&why.to_string(), 1),
    }
}
