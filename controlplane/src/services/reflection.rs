//! Reflection: what operators can call, told to programs such as grpcurl that know no `.proto` file. For admins alone: it is a map
//! of everything that can be done to the cluster.

use cluster::Role;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::service::Interceptor;
use tonic::{Request, Status};
use tonic_reflection::server::Builder;

use crate::authorize::Gate;

/// Files that are told of begin with one of these: what operators call, why they are refused, and what both are made of.
const TOLD: [&str; 3] = ["goproxy.control.", "goproxy.error.", "google.protobuf"];

/// The operators' services and health, to be built for one of the protocol's two versions.
pub(crate) fn told() -> Result<Builder<'static>, prost::DecodeError> {
    let mut files = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET)?;
    files.file.retain(|file| TOLD.iter().any(|package| file.package().starts_with(package)));
    Ok(Builder::configure()
        .register_file_descriptor_set(files)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}

/// Lets admins through.
#[derive(Clone)]
pub(crate) struct AdminsOnly(pub(crate) Gate);

impl Interceptor for AdminsOnly {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.0.operator(&request, Role::Admin)?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_whole_and_has_nothing_of_what_nodes_say() {
        assert!(told().unwrap().build_v1().is_ok());
        assert!(told().unwrap().build_v1alpha().is_ok());
        let all = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        let kept = |name: &str| {
            let file = all.file.iter().find(|file| file.name() == name);
            file.is_some_and(|file| TOLD.iter().any(|package| file.package().starts_with(package)))
        };
        for file in all.file.iter().filter(|file| kept(file.name())) {
            for needed in &file.dependency {
                assert!(kept(needed), "{} needs {needed}", file.name());
            }
        }
        assert!(kept("goproxy/control/v1/cluster.proto") && !kept("goproxy/raft/v1/raft.proto"));
    }
}
