//! `cert`.

use proto::control::v1::certificate_service_client::CertificateServiceClient;
use proto::control::v1::{GetCertificateStatusRequest, RotateAuthorityRequest};

use super::context::{dry_run_note, options};
use super::{Context, Outcome, jobs, rpc};
use crate::args::cert::{Rotate, Verb};
use crate::output::Answer;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Status => {
            let request = GetCertificateStatusRequest {};
            let status =
                context.read(request, rpc!(CertificateServiceClient::get_certificate_status)).await?;
            let page = view::cert::status(&status);
            Ok(Some(Answer::new(status, page)))
        }
        Verb::Rotate(rotate) => self::rotate(context, rotate).await,
    }
}

async fn rotate(context: &Context, rotate: Rotate) -> Outcome {
    let deed = "put another authority in the place of the present one, and have everybody renew";
    context.screen.confirm(deed, "authority", rotate.confirmation.yes || rotate.mutation.dry_run).await?;
    let options = options(&rotate.mutation)?;
    let key = options.idempotency_key.clone();
    let request = RotateAuthorityRequest { options: Some(options) };
    let response = context.change(&key, request, rpc!(CertificateServiceClient::rotate_authority)).await?;
    let job_id = if rotate.mutation.dry_run { String::new() } else { response.job_id.clone() };
    let page = view::cert::authorities(&response.authorities);
    let said = Answer::new(response, page).notes(dry_run_note(&rotate.mutation)).note(
        "give operators the new `ca.pem` before the old authority is dropped; `goproxyctl cert status -o json` has it",
    );
    jobs::after(context, &rotate.waiting, &job_id, said).await
}
