//! `lb`: configurations of load balancers from the nodes there are.

use proto::control::v1::{Node, NodeState};
use serde::Serialize;

use super::{Context, Outcome, all_nodes};
use crate::args::lb::{Floating, Program, Render, Verb};
use crate::balancer::{self, Algorithm, Balancer, FloatingAddress, Server};
use crate::failure::Failure;
use crate::output::Answer;
use crate::output::page::Page;

#[derive(Serialize)]
struct Rendered {
    program: &'static str,
    config: String,
}

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    let Verb::Render(program) = verb;
    let (program, config) = match program {
        Program::Nginx(render) if render.zone.is_some() && render.algorithm == Algorithm::IpHash => {
            return Err(Failure::usage(
                "nginx cannot prefer a zone when it chooses by the client's address",
                "leave out --zone, choose another --algorithm, or use haproxy",
            ));
        }
        Program::Nginx(render) => ("nginx", balancer::nginx(&balancer_of(context, render).await?)),
        Program::Haproxy(render) => ("haproxy", balancer::haproxy(&balancer_of(context, render).await?)),
        Program::Envoy(render) => ("envoy", balancer::envoy(&balancer_of(context, render).await?)),
        Program::Keepalived(floating) => ("keepalived", balancer::keepalived(&floating_of(floating))),
    };
    let page = Page::new().verbatim(config.clone());
    Ok(Some(Answer::new(Rendered { program, config }, page)))
}

fn floating_of(floating: Floating) -> FloatingAddress {
    let Floating { address, interface, priority, process } = floating;
    FloatingAddress { address, interface, priority, process }
}

async fn balancer_of(context: &Context, render: Render) -> Result<Balancer, Failure> {
    let servers: Vec<_> = all_nodes(context).await?.into_iter().filter(gets_requests).map(server).collect();
    if servers.is_empty() {
        return Err(Failure::Nothing {
            message: "there is no data node to send requests to".to_owned(),
            hint: "add one with `goproxyctl node add NAME`".to_owned(),
        });
    }
    let Render { listen, algorithm, zone, tls_ca } = render;
    Ok(Balancer { listen, algorithm, servers, zone, tls_ca })
}

/// Nodes that serve or will again: a balancer finds out by itself which of them do just now.
fn gets_requests(node: &Node) -> bool {
    let state = matches!(
        node.state(),
        NodeState::Joining | NodeState::Active | NodeState::Cordoned | NodeState::Down
    );
    state && !node.listen.is_empty()
}

fn server(node: Node) -> Server {
    Server { name: node.name, address: node.listen, zone: node.zone, weight: node.weight }
}
