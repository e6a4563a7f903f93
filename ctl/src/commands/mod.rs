//! What each verb does: it asks, and returns what there is to say. Nothing here prints.

mod cache;
mod cert;
mod cluster;
mod completion;
mod context;
mod doctor;
mod env;
mod failover;
mod help;
mod jobs;
mod layout;
mod lb;
mod man;
mod member;
mod module;
mod node;
mod policy;
mod policy_file;
mod publish;
mod recover;
mod token;
mod version;

pub(crate) use context::Context;
pub(crate) use jobs::all as all_jobs;
pub(crate) use member::all as all_members;
pub(crate) use node::present as all_nodes;
pub(crate) use policy::all as all_policies;
pub(crate) use recover::{Plan, PlannedMember};
pub(crate) use token::present as all_tokens;

use crate::args::Noun;
use crate::failure::Failure;
use crate::output::Answer;

/// What there is to say at the end; nothing where it was shown piece by piece.
pub(crate) type Outcome = Result<Option<Answer>, Failure>;

/// Calls a method of a generated client.
macro_rules! rpc {
    ($client:ident :: $method:ident) => {
        async |channel, request| $client::new(channel).$method(request).await
    };
}
pub(crate) use rpc;

/// Does what the command line asks for.
pub(crate) async fn run(context: &Context, noun: Noun) -> Outcome {
    match noun {
        Noun::Cluster(verb) => cluster::run(context, verb).await,
        Noun::Member(verb) => member::run(context, verb).await,
        Noun::Node(verb) => node::run(context, verb).await,
        Noun::Layout(verb) => layout::run(context, verb).await,
        Noun::Failover(verb) => failover::run(context, verb).await,
        Noun::Policy(verb) => policy::run(context, verb).await,
        Noun::Module(verb) => module::run(context, verb).await,
        Noun::Cache(verb) => cache::run(context, verb).await,
        Noun::Token(verb) => token::run(context, verb).await,
        Noun::Cert(verb) => cert::run(context, verb).await,
        Noun::Lb(verb) => lb::run(context, verb).await,
        Noun::Env => Ok(Some(env::run(context))),
        Noun::Doctor => doctor::run(context).await.map(Some),
        Noun::Completion { shell } => completion::run(shell).map(Some),
        Noun::Version => Ok(Some(version::run())),
        Noun::Help { topic } => help::run(&topic).map(Some),
        Noun::Man { folder } => man::run(&folder).map(Some),
    }
}
