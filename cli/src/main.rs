//! `feira`, the only binary: every role of the house, and the command line of those who publish and call.

mod breaks;
mod byte_size;
mod client;
mod command;
mod destination;
mod exit;
mod hello_world;
mod project;
mod publish;
mod settings;
mod show;
mod signed;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::Context;
use exit::Exit;
use settings::Settings;

/// An open model marketplace: publish a model, run it, pay by the second or by the token.
#[derive(Debug, Parser)]
#[command(name = "feira", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Call(Call),

    /// Compiles one hook under limits, for the server
    #[command(hide = true)]
    HookCompile,
    /// Steps into a sandbox and becomes a model's process, for the runner
    #[command(hide = true)]
    Confine,
    /// A model that is part of this binary, for the runner
    #[command(subcommand, hide = true)]
    Model(command::model::Model),
}

/// What people and scripts ask for.
#[derive(Debug, Subcommand)]
enum Call {
    /// Open the whole marketplace on this machine
    Up(Box<up::Up>),
    /// Say what this machine lacks: Python, uv, sandbox, GPU, disk, port
    Doctor(command::doctor::Doctor),

    /// Keep a token for a server
    Login(command::login::Login),
    /// Say whose token is used, and what credit is left
    Whoami,
    /// Publish the Cog project or feira.toml in a folder
    Push(command::push::Push),
    /// Bring a version's files into a folder
    Pull(command::pull::Pull),
    /// Sign a version that you have published
    Sign(command::sign::Sign),
    /// Check a version: its manifest, who signed it, and files on this machine
    Verify(command::verify::Verify),
    /// Run a model
    Run(command::run::Run),
    /// Show what a prediction printed
    Logs(command::logs::Logs),
    /// Stop a prediction
    Cancel(command::cancel::Cancel),
    /// Show what is warm, where
    Ps,

    /// Models: list, show, create
    #[command(subcommand)]
    Models(command::models::Models),
    /// Versions of a model: list, show
    #[command(subcommand)]
    Versions(command::versions::Versions),
    /// Say what a version is called: tags that point, and have pointed
    Tag(command::tag::TagVersion),
    /// Point a model's `latest` at an earlier version
    Rollback(command::tag::Rollback),
    /// Models that change hands: list, offer, accept, refuse
    #[command(subcommand)]
    Transfer(command::transfer::Transfer),
    /// What the account used and what it cost
    Usage(command::usage::Usage),
    /// Predictions: list, show
    #[command(subcommand)]
    Predictions(command::predictions::Predictions),
    /// Deployments: list, show, create, update, delete, rollback
    #[command(subcommand)]
    Deployments(command::deployments::Deployments),
    /// Trainings: list, show, create, cancel
    #[command(subcommand)]
    Trainings(command::trainings::Trainings),

    /// API tokens: create, list, revoke
    #[command(subcommand)]
    Token(command::token::Token),
    /// Keys with which you sign what you publish: add, list, revoke
    #[command(subcommand)]
    Keys(command::keys::Keys),
    /// Accounts: create, quota (operators)
    #[command(subcommand)]
    Account(command::account::Account),
    /// Credit: grant (operators)
    #[command(subcommand)]
    Credit(command::credit::Credit),
    /// The ledger: verify
    #[command(subcommand)]
    Ledger(command::ledger::Ledger),
    /// Remove files that no version names any more (operators)
    Gc(command::gc::Gc),
    /// Hooks: check
    #[command(subcommand)]
    Hook(command::hook::Hook),
}

fn main() -> ExitCode {
    if gpu_runner::is_cog_worker() {
        return gpu_runner::cog_worker_main();
    }
    let arguments = Arguments::parse();
    match arguments.command {
        // These three become something else: no runtime, no environment, nothing of ours comes first.
        Command::Confine => gpu_runner::confine_main(),
        Command::HookCompile => hooks::compile_child_main(std::io::stdin(), std::io::stdout(), std::io::stderr()),
        Command::Model(model) => model.serve(),
        Command::Call(call) => {
            let context = Context { settings: Settings::read(settings::from_process), json: arguments.json };
            let runtime = tokio::runtime::Runtime::new().expect("the operating system gives threads and a poller");
            runtime.block_on(run(call, &context)).into()
        }
    }
}

/// Runs a command to its end, and says what went wrong.
async fn run(call: Call, context: &Context) -> Exit {
    let ended = if matches!(call, Call::Run(_) | Call::Up(_)) {
        // They hear Ctrl-C themselves, for they have something to end first.
        execute(call, context).await
    } else {
        tokio::select! {
            ended = execute(call, context) => ended,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        }
    };
    ended.unwrap_or_else(|error| {
        if !exit::is_broken_pipe(&error) {
            show::note(&format!("feira: {error:#}"));
        }
        Exit::of(&error)
    })
}

async fn execute(call: Call, context: &Context) -> anyhow::Result<Exit> {
    match call {
        Call::Up(up) => return up.execute(context).await,
        Call::Doctor(doctor) => return doctor.execute(context).await,
        Call::Run(run) => return run.execute(context).await,
        Call::Verify(verify) => return verify.execute(context).await,
        Call::Ledger(ledger) => return ledger.execute(context).await,
        Call::Login(login) => login.execute(context).await?,
        Call::Whoami => command::whoami::execute(context).await?,
        Call::Push(push) => push.execute(context).await?,
        Call::Pull(pull) => pull.execute(context).await?,
        Call::Logs(logs) => logs.execute(context).await?,
        Call::Cancel(cancel) => cancel.execute(context).await?,
        Call::Ps => command::ps::execute(context).await?,
        Call::Models(models) => models.execute(context).await?,
        Call::Versions(versions) => versions.execute(context).await?,
        Call::Tag(tag) => tag.execute(context).await?,
        Call::Rollback(rollback) => rollback.execute(context).await?,
        Call::Transfer(transfer) => transfer.execute(context).await?,
        Call::Usage(usage) => usage.execute(context).await?,
        Call::Predictions(predictions) => predictions.execute(context).await?,
        Call::Deployments(deployments) => deployments.execute(context).await?,
        Call::Trainings(trainings) => trainings.execute(context).await?,
        Call::Sign(sign) => sign.execute(context).await?,
        Call::Keys(keys) => keys.execute(context).await?,
        Call::Token(token) => token.execute(context).await?,
        Call::Account(account) => account.execute(context).await?,
        Call::Credit(credit) => credit.execute(context).await?,
        Call::Gc(gc) => gc.execute(context).await?,
        Call::Hook(hook) => hook.execute(context).await?,
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_of_commands_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
