//! Having data nodes fetch versions before anybody asks for them.

use std::time::Instant;

use proto::ErrorCode;
use proto::control::v1 as pb;
use proto::data::v1 as data;

use super::about::About;
use super::modules::VERSION_TIMEOUT;
use crate::data_nodes::DataNodes;

/// Has the first node that can be asked fetch a version: who is to hold it first, then any.
pub(super) async fn warm(nodes: &DataNodes, item: pb::WarmItem) -> pb::WarmVersionsResponse {
    let mut answer = pb::WarmVersionsResponse::default();
    if let Err(fault) = About::read(&item.module_path, &item.version) {
        return pb::WarmVersionsResponse { item: Some(item), problem: fault.to_string(), ..answer };
    }
    let name = data::VersionName { module_path: item.module_path.clone(), version: item.version.clone() };
    for node in nodes.near(&item.module_path) {
        let asked = data::WarmVersionRequest { name: Some(name.clone()), go_mod_only: item.go_mod_only };
        let until = Instant::now() + VERSION_TIMEOUT;
        let told = nodes.ask(&node, until, |mut node| async move { node.warm_version(asked).await }).await;
        answer.node = node.to_string();
        match told {
            Ok(warmed) => {
                answer.problem = mismatch(&item, &warmed).unwrap_or_default();
                (answer.was_held, answer.bytes) = (warmed.was_held, warmed.bytes);
                break;
            }
            Err(fault) => {
                let elsewhere = matches!(fault.code, ErrorCode::Unavailable | ErrorCode::Deadline);
                answer.problem = fault.to_string();
                if !elsewhere {
                    break;
                }
            }
        }
    }
    if answer.node.is_empty() {
        "there is no data node".clone_into(&mut answer.problem);
    }
    pb::WarmVersionsResponse { item: Some(item), ..answer }
}

/// What came, against what was said that it must be.
fn mismatch(item: &pb::WarmItem, warmed: &data::WarmVersionResponse) -> Option<String> {
    let compare = |what: &str, wanted: &str, found: &str| {
        let differ = !wanted.is_empty() && !found.is_empty() && wanted != found;
        differ.then(|| format!("its {what} is {found}, not {wanted}"))
    };
    compare("zip", &item.zip_h1, &warmed.zip_h1)
        .or_else(|| compare("go.mod", &item.go_mod_h1, &warmed.go_mod_h1))
}
