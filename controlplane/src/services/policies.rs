//! Policy documents: shown, compared, applied, tried.

use std::collections::{BTreeMap, BTreeSet};

use cluster::command::{DeletePolicy, PutPolicy};
use cluster::policy::{Document, Policies as InForce, Principal, Subject, Verb};
use cluster::record::{PolicyRecord, Token};
use cluster::{Command, Generation, PolicyName, Role, Tables};
use gomod::ModulePath;
use proto::control::v1 as pb;
use proto::control::v1::policy_service_server::PolicyService;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status};

use super::convert::{self, access_steps, differences, options, parse, subject};
use super::page::page;
use super::{Desk, deadline};

pub(crate) struct Policies(pub(crate) Desk);

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let page = self.0.control.shared.read(|state| {
            let there = state.tables().policies.values().filter(|record| record.document.is_some());
            let shown = there.map(|record| (&record.name, convert::policy(record, false)));
            page(shown, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListPoliciesResponse { policies: page.entries, next_page_token: page.next }))
    }

    async fn get_policy(
        &self,
        request: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::GetPolicyResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let name: PolicyName = parse("name", &request.name)?;
        let policy = self.0.control.shared.read(|state| {
            find(state.tables(), &name, request.generation).map(|record| convert::policy(record, true))
        })?;
        Ok(Response::new(pb::GetPolicyResponse { policy: Some(policy) }))
    }

    async fn diff_policy(
        &self,
        request: Request<pb::DiffPolicyRequest>,
    ) -> Result<Response<pb::DiffPolicyResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let name: PolicyName = parse("name", &request.name)?;
        let (generation, before) = self.in_force(&name);
        let answer = match convert::document(&request.content) {
            Ok(after) => pb::DiffPolicyResponse {
                generation: generation.get(),
                differences: differences(before.as_ref(), Some(&after)),
                problems: Vec::new(),
            },
            Err(problems) => {
                pb::DiffPolicyResponse { generation: generation.get(), differences: Vec::new(), problems }
            }
        };
        Ok(Response::new(answer))
    }

    async fn apply_policy(
        &self,
        request: Request<pb::ApplyPolicyRequest>,
    ) -> Result<Response<pb::ApplyPolicyResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        let name: PolicyName = parse("name", &request.name)?;
        let document = document(&request.content)?;
        self.0.control.read_latest(until).await?;
        let (generation, before) = self.in_force(&name);
        let differences = differences(before.as_ref(), Some(&document));
        let expect_generation = request.expected_generation.map_or(generation, Generation::new);
        let note = options.why.clone();
        let command = Command::PutPolicy(PutPolicy { name: name.clone(), expect_generation, document, note });
        self.0.carry_out(operator, options, command, until).await?;
        let policy = self
            .0
            .control
            .shared
            .read(|state| state.tables().policies.get(&name).map(|record| convert::policy(record, true)));
        Ok(Response::new(pb::ApplyPolicyResponse { policy, differences }))
    }

    async fn delete_policy(
        &self,
        request: Request<pb::DeletePolicyRequest>,
    ) -> Result<Response<pb::DeletePolicyResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        let name: PolicyName = parse("name", &request.name)?;
        self.0.control.read_latest(until).await?;
        let (generation, _) = self.in_force(&name);
        let expect_generation = match request.expected_generation {
            0 => generation,
            expected => Generation::new(expected),
        };
        let command = Command::DeletePolicy(DeletePolicy { name: name.clone(), expect_generation });
        self.0.carry_out(operator, options, command, until).await?;
        let policy =
            self.0.control.shared.read(|state| {
                state.tables().policies.get(&name).map(|record| convert::policy(record, false))
            });
        Ok(Response::new(pb::DeletePolicyResponse { policy }))
    }

    async fn test_access(
        &self,
        request: Request<pb::TestAccessRequest>,
    ) -> Result<Response<pb::TestAccessResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let policies = InForce::new(self.with_document(&request.name, &request.content)?);
        let mut results = Vec::with_capacity(request.tests.len());
        for test in request.tests {
            let (principal, verb, module) = self.asked(test.case.as_ref())?;
            let decision = convert::decision(&policies.decide(&principal, verb, &module));
            let passed = decision.effect == test.expected_effect;
            results.push(pb::AccessTestResult { test: Some(test), decision: Some(decision), passed });
        }
        let failed = results.iter().filter(|result| !result.passed).count();
        Ok(Response::new(pb::TestAccessResponse { results, failed_count: failed as u32 }))
    }

    async fn explain_access(
        &self,
        request: Request<pb::ExplainAccessRequest>,
    ) -> Result<Response<pb::ExplainAccessResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let documents = self.with_document("", "")?;
        let (principal, verb, module) = self.asked(request.case.as_ref())?;
        let steps = access_steps(&documents, &principal, verb, &module);
        let bound = documents.values().flat_map(|document| &document.bindings);
        let roles: BTreeSet<_> = bound
            .filter(|binding| principal.is_any_of(&binding.subjects))
            .map(|binding| binding.role.to_string())
            .collect();
        let decision = convert::decision(&InForce::new(documents).decide(&principal, verb, &module));
        Ok(Response::new(pb::ExplainAccessResponse {
            decision: Some(decision),
            steps,
            roles: roles.into_iter().collect(),
        }))
    }

    async fn list_policy_revisions(
        &self,
        request: Request<pb::ListPolicyRevisionsRequest>,
    ) -> Result<Response<pb::ListPolicyRevisionsResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let name: PolicyName = parse("name", &request.name)?;
        let page = self.0.control.shared.read(|state| {
            let tables = state.tables();
            let mut records: Vec<_> = tables
                .policy_history
                .values()
                .chain(tables.policies.values())
                .filter(|record| record.name == name)
                .collect();
            records.sort_by_key(|record| std::cmp::Reverse(record.generation));
            let shown = records.into_iter().map(|record| (record.generation, convert::policy(record, false)));
            page(shown, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListPolicyRevisionsResponse {
            policies: page.entries,
            next_page_token: page.next,
        }))
    }
}

impl Policies {
    /// A case as it is judged: who, what, of which module. A credential is in the groups that it was made for.
    fn asked(&self, case: Option<&pb::AccessCase>) -> Result<(Principal, Verb, ModulePath), Fault> {
        let case = case.ok_or_else(|| Fault::new(ErrorCode::InvalidArgument, "case is not set"))?;
        let module = ModulePath::parse(&case.module).map_err(|error| {
            Fault::new(ErrorCode::InvalidArgument, format!("module {:?}: {error}", case.module))
        })?;
        let principal = match subjects(&case.principal)? {
            None => Principal::anonymous(),
            Some(subjects) => {
                let groups = self.0.control.shared.read(|state| groups_of(state.tables(), &subjects));
                Principal::known(subjects.into_iter().chain(groups))
            }
        };
        Ok((principal, verb(&case.verb)?, module))
    }

    /// The generation and the document of a name; 0 and none if there never was one.
    fn in_force(&self, name: &PolicyName) -> (Generation, Option<Document>) {
        self.0.control.shared.read(|state| {
            let record = state.tables().policies.get(name);
            record.map(|record| (record.generation, record.document.clone())).unwrap_or_default()
        })
    }

    /// All documents in force, one of them replaced by `content` unless that is empty.
    fn with_document(&self, name: &str, content: &str) -> Result<BTreeMap<PolicyName, Document>, Fault> {
        let mut documents: BTreeMap<_, _> = self.0.control.shared.read(|state| {
            let records = state.tables().policies.values();
            records.filter_map(|record| Some((record.name.clone(), record.document.clone()?))).collect()
        });
        if !content.is_empty() {
            let name = if name.is_empty() { "tested" } else { name };
            documents.insert(parse("name", name)?, document(content)?);
        }
        Ok(documents)
    }
}

fn document(content: &str) -> Result<Document, Fault> {
    convert::document(content).map_err(|problems| {
        let text = format!("the document is not sound: {}", problems.join("; "));
        Fault::new(ErrorCode::InvalidArgument, text).hint("`goproxyctl policy diff FILE` shows all problems")
    })
}

/// Somebody as a case names him: `anonymous`, or subjects parted by commas.
fn subjects(text: &str) -> Result<Option<Vec<Subject>>, Fault> {
    if text.is_empty() || text == "anonymous" {
        return Ok(None);
    }
    text.split(',').map(|one| parse("principal", one.trim())).collect::<Result<_, _>>().map(Some)
}

/// The groups that the credentials among `subjects` are in.
fn groups_of(tables: &Tables, subjects: &[Subject]) -> Vec<Subject> {
    let is_meant = |token: &&Token| {
        token.revoked.is_none()
            && subjects
                .iter()
                .any(|one| matches!(one, Subject::Token(name) if name.as_str() == token.name.as_str()))
    };
    let meant = tables.tokens.values().filter(is_meant);
    meant.flat_map(|token| token.groups.iter().cloned().map(Subject::Group)).collect()
}

fn verb(text: &str) -> Result<Verb, Fault> {
    Verb::ALL.into_iter().find(|verb| verb.name() == text).ok_or_else(|| {
        let all = Verb::ALL.map(Verb::name).join(", ");
        Fault::new(ErrorCode::InvalidArgument, format!("verb {text:?} is none of: {all}"))
    })
}

fn find<'a>(tables: &'a Tables, name: &PolicyName, generation: u64) -> Result<&'a PolicyRecord, Fault> {
    let current = tables.policies.get(name);
    let found = if generation == 0 {
        current.filter(|record| record.document.is_some())
    } else {
        let generation = Generation::new(generation);
        current
            .filter(|record| record.generation == generation)
            .or_else(|| tables.policy_history.get(&(name.clone(), generation)))
    };
    found.ok_or_else(|| {
        Fault::new(ErrorCode::NotFound, format!("there is no policy {name}"))
            .about(subject("policy", name))
            .hint("`goproxyctl policy show` lists those that there are")
    })
}
