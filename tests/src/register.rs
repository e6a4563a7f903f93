//! What the cluster agrees on, seen as registers: each policy document by its generation, and the layout by its epoch.
//!
//! A client is told that its change was made, that it was refused for the generation that it named, or nothing that it can rely on.

use proto::control::v1::layout_service_client::LayoutServiceClient;
use proto::control::v1::policy_service_client::PolicyServiceClient;
use proto::control::v1::{ApplyLayoutRequest, ApplyPolicyRequest, GetLayoutRequest, GetPolicyRequest};
use proto::{ErrorCode, Fault};

use crate::linear::State;
use crate::operator::{Operator, options};
use crate::rpc;

/// What a client knows of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// It was made.
    Made,
    /// Another generation was there.
    Refused,
    /// It may have been made, or may yet be.
    Nothing,
}

/// One of the registers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Register {
    /// The policy document of this name.
    Policy(String),
    /// The layout in force.
    Layout,
}

impl Register {
    /// What it holds, by the `at`-th control node; `None` if that could not be told.
    pub async fn read(&self, operator: &Operator, at: usize) -> Option<State> {
        let read = match self {
            Self::Policy(name) => read_policy(operator, at, name).await,
            Self::Layout => read_layout(operator, at).await,
        };
        match read {
            Ok(state) => Some(state),
            Err(fault) if fault.code == ErrorCode::NotFound => Some(State::default()),
            Err(fault) => {
                assert!(is_trouble(&fault), "{fault:?}");
                None
            }
        }
    }

    /// Writes a value in place of a generation, under an idempotency key.
    pub async fn swap(&self, operator: &Operator, at: usize, expected: u64, value: u64, key: &str) -> Told {
        let made = match self {
            Self::Policy(name) => {
                let request = ApplyPolicyRequest {
                    options: options(key, ""),
                    name: name.clone(),
                    content: document(value),
                    expected_generation: Some(expected),
                };
                operator.call(at, request, rpc!(PolicyServiceClient::apply_policy)).await.map(|_| ())
            }
            Self::Layout => {
                let request = ApplyLayoutRequest {
                    options: options(key, &value.to_string()),
                    // It names the layout that is to come.
                    expected_epoch: expected + 1,
                    replication_factor: 0,
                };
                operator.call(at, request, rpc!(LayoutServiceClient::apply_layout)).await.map(|_| ())
            }
        };
        match made {
            Ok(()) => Told::Made,
            Err(fault) if matches!(fault.code, ErrorCode::WrongGeneration | ErrorCode::WrongEpoch) => {
                Told::Refused
            }
            Err(fault) => {
                assert!(is_trouble(&fault), "{fault:?}");
                Told::Nothing
            }
        }
    }
}

async fn read_policy(operator: &Operator, at: usize, name: &str) -> Result<State, Fault> {
    let request = GetPolicyRequest { name: name.to_owned(), generation: 0 };
    let policy = operator.call(at, request, rpc!(PolicyServiceClient::get_policy)).await?.policy;
    let policy = policy.expect("a policy");
    Ok(State { generation: policy.generation, value: value_of(&policy.content) })
}

async fn read_layout(operator: &Operator, at: usize) -> Result<State, Fault> {
    let request = GetLayoutRequest { epoch: 0, include_slots: false };
    let layout = operator.call(at, request, rpc!(LayoutServiceClient::get_layout)).await?.layout;
    let layout = layout.expect("a layout");
    // One that the cluster applied by itself has a reason in words.
    Ok(State { generation: layout.epoch, value: layout.reason.parse().unwrap_or_default() })
}

/// A sound document that says this value.
fn document(value: u64) -> String {
    format!(
        "[[rules]]\neffect = \"deny\"\nverbs = [\"publish\"]\nsubjects = [\"anyone\"]\nmodules = \"example.com/none\"\nreason = \"value {value}\"\n"
    )
}

fn value_of(document: &str) -> u64 {
    let value = document.split_once("value ").and_then(|(_, rest)| rest.split_once('"'));
    value.and_then(|(value, _)| value.parse().ok()).unwrap_or_else(|| panic!("no value in {document}"))
}

/// Whether a call came to nothing for reasons that a fault in the cluster explains.
fn is_trouble(fault: &Fault) -> bool {
    matches!(
        fault.code,
        ErrorCode::Unavailable
            | ErrorCode::Deadline
            | ErrorCode::Cancelled
            | ErrorCode::NoQuorum
            | ErrorCode::NotLeader
            | ErrorCode::Overloaded
            | ErrorCode::Unhealthy
    )
}
